"""Killed at random moments and at every kind of file operation: what was finished is whole, a training ends as if it had lived."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import victims
from made_runs import make_run
from needs import SOAK

import pldebias
from pldebias.runs import Recorder, catalogue, open_run
from pldebias.training import checkpoints

HERE = Path(__file__).parent


def environment(*more: Path) -> dict[str, str]:
    places = [Path(pldebias.__file__).parents[1], *more, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))}


def kill(what: str, folder: Path, seed: int, kills: int) -> None:
    """Run a victim until it was killed often enough: `kills` times after `seed`, or in `make soak` 100 times after a seed never tried."""
    seed, kills = (int.from_bytes(os.urandom(4), "big"), 100) if SOAK else (seed, kills)
    command = [sys.executable, str(HERE / "victims.py"), what, str(folder), str(seed), str(kills)]
    done = subprocess.run(command, env=environment(), timeout=7200, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    print(what, "seed", seed, told)
    assert told["killed"] == kills


def test_recording(tmp_path):
    """Every epoch that counts as done holds what was recorded, value for value, and recording goes on after it."""
    kill("record", tmp_path, 7, 15)
    n, k = victims.N, victims.K
    truth, finished = np.arange(n) % k, []
    for path in sorted({Path(str(p).removesuffix(".lock").removesuffix(".init")) for p in tmp_path.iterdir()}):
        done = 0
        if path.exists():
            run = open_run(path)
            epochs = run.epochs.tolist()
            assert run.dropped == {} and run.iterations.tolist() == epochs == list(range(len(epochs)))
            for e in epochs:
                label, expected = victims.label(e), np.zeros((k, k), int)
                np.add.at(expected, (truth, label), 1)
                for kind in ("visits", "sweep"):
                    np.testing.assert_array_equal(run.confusion(kind, epoch=e), expected)
                    np.testing.assert_array_equal(run.confusion(kind, "accepted", e), expected * (np.arange(k) > 1))
                np.testing.assert_array_equal(run.history(e)[0], label)
            snapshots = [e for e in epochs if e % 2]
            assert run.snapshots.tolist() == snapshots
            for e in snapshots:
                assert (run.logits(e) == e).all() and (run.features(e) == e).all() and (run.snapshot_state("s/state", e) == e).all()
            if epochs:
                np.testing.assert_array_equal(run.state("s/e"), np.repeat(np.array(epochs)[:, None], k, 1))
                assert run.scalars["e"].tolist() == epochs
                assert "late" not in run.scalars or run.scalars["late"][3:].tolist() == epochs[3:]
            assert catalogue(tmp_path).problem.isna().all()
            done = len(epochs)
        with Recorder(path, truth, [5, 4, 3, 2, 1], [*"abcde"], resume=True) as recorder:
            assert recorder.epoch == done
            recorder.end_epoch(scalars={"e": done})
        assert len(open_run(path).epochs) == done + 1
        assert not list(path.rglob("*.partial")) and not path.with_name(path.name + ".init").exists()
        finished.append(done)
    assert not list(tmp_path.glob("*.lock"))
    assert sum(finished) > len(finished) and max(finished) == 40  # or the victims were killed before they did anything


def test_reading_while_it_is_written(tmp_path):
    """A reader beside the writer, a listing one too, sees the first so many epochs, each whole, and never fewer than before."""
    path, epochs, seen = tmp_path / "run", 2000 if SOAK else 80, []
    code = f"import victims, pldebias.runs.store as store; store.force = lambda paths: None; victims.record({str(path)!r}, {epochs})"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment(HERE)) as writer:
        while writer.poll() is None or not seen:
            if not (path / "zarr.json").exists():
                continue
            run = open_run(path)
            assert run.dropped == {} and run.epochs.tolist() == list(range(len(run.epochs))) == run.iterations.tolist()
            assert catalogue(tmp_path).problem.isna().all()
            seen.append(len(run.epochs))
            if e := len(run.epochs):
                last = e - 1
                np.testing.assert_array_equal(run.history(last)[0], victims.label(last))
                assert run.confusion("sweep", epoch=last).sum() == victims.N and run.scalars["e"].tolist() == list(range(e))
                assert run.state("s/e")[last, 0] == last and (last % 2 == 0 or (run.logits(last) == last % 1000).all())
    assert writer.returncode == 0 and seen == sorted(seen) and len(set(seen)) > 3
    assert len(open_run(path).epochs) == epochs


def test_listing_and_exporting(tmp_path):
    """What only reads a run changes nothing in it, and an export is there whole or not at all."""
    path = Path(make_run(tmp_path / "runs" / "run").path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    kill("export", tmp_path, 5, 6)
    assert {file: file.read_bytes() for file in tmp_path.joinpath("runs").rglob("*") if file.is_file()} == before
    assert catalogue(tmp_path / "runs").problem.isna().all()


def test_training(tmp_path):
    """Killed again and again, also inside checkpoints and snapshots, it ends bit for bit as the training that nobody disturbed."""
    kill("train", tmp_path / "cut", 3, 5)
    victims.train(tmp_path / "whole")
    (whole,) = (open_run(path) for path in catalogue(tmp_path / "whole").path)
    ended = [open_run(path) for path in catalogue(tmp_path).path if f"{tmp_path}/cut" in path]
    assert ended
    for run in ended:
        assert run.finished and run.dropped == {} and run.snapshots.tolist() == whole.snapshots.tolist() == [0, 1, 5]
        clock = ["seconds", "images_per_second"]
        assert run.scalars.drop(columns=clock).equals(whole.scalars.drop(columns=clock))
        for kind in whole.kinds:
            for split in ("all",) if kind == "test" else ("all", "accepted"):
                np.testing.assert_array_equal(run.confusion(kind, split), whole.confusion(kind, split))
        np.testing.assert_array_equal(run.history()[0], whole.history()[0])
        for name in whole.series:
            np.testing.assert_array_equal(run.state(name), whole.state(name))
        for epoch in whole.snapshots:
            np.testing.assert_array_equal(run.logits(epoch), whole.logits(epoch))
            np.testing.assert_array_equal(run.features(epoch), whole.features(epoch))
            np.testing.assert_array_equal(run.snapshot_state("daso/prototypes", epoch), whole.snapshot_state("daso/prototypes", epoch))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            weights, theirs = (checkpoints.load(checkpoints.folder_of(Path(r.path))) for r in (run, whole))
        for network in ("student", "teacher"):
            for name, value in theirs[network].items():
                assert (weights[network][name] == value).all(), name
