"""`train` end to end on the embedded data: reproducible, resumable, interruptible, refusing."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import pldebias as pld
from pldebias.data import DataError
from pldebias.methods import MethodError, build_method
from pldebias.nets import Network, Output
from pldebias.runs import RunError
from pldebias.schemes import Problem
from pldebias.training import ConfigError, TrainingError, checkpoints, loop
from pldebias.training.train import run_folder

SHORT = {"steps": 60, "steps_per_epoch": 20, "snapshots": 2, "m1": 200, "gamma_u": 5.0, "progress": False}
"""Three epochs on 1,081 unlabelled images."""


@pytest.fixture(scope="module")
def fixmatch_run(tmp_path_factory):
    return pld.train("fixmatch+daso", out=tmp_path_factory.mktemp("runs"), **SHORT)


def everything(run):
    """All that a run recorded, except what the clock says."""
    arrays = {kind: run.confusion(kind) for kind in run.kinds}
    arrays |= {f"accepted {kind}": run.confusion(kind, "accepted") for kind in ("visits", "sweep") if kind in run.kinds}
    arrays["scalars"] = run.scalars.drop(columns=["seconds", "images_per_second"]).to_numpy()
    arrays |= {name: run.state(name) for name in run.series}
    for epoch in run.snapshots:
        arrays |= {f"logits {epoch}": run.logits(epoch), f"features {epoch}": run.features(epoch)}
    arrays |= {f"history {e}": run.history(e)[0] for e in run.epochs}
    return arrays


def same(ours, theirs):
    ours, theirs = everything(ours), everything(theirs)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_a_run_is_complete(fixmatch_run):
    run = fixmatch_run
    assert run.finished
    assert list(run.epochs) == [0, 1, 2]
    assert list(run.iterations) == [20, 40, 60]
    assert run.kinds == ("visits", "sweep", "test")
    assert run.confusion("visits").sum() == 60 * 64  # 64 unlabelled images a step
    assert (run.confusion("sweep").sum((1, 2)) == len(run.true_labels)).all()
    assert run.confusion("sweep").sum(2)[0].tolist() == np.bincount(run.true_labels, minlength=10).tolist()
    assert {"loss/labelled", "loss/unlabelled", "mask_rate", "balanced_accuracy", "ece", "lr", "images_per_second"} <= set(run.scalars)
    assert run.series == ("daso/blend_weight", "daso/class_dist")
    assert run.config["options"]["daso"]["queue"] == 64
    assert run.attrs["source_hash"]


def test_sweep_labels_follow_from_the_stored_outputs(fixmatch_run):
    """Relabelling what the store kept, with the method and its stored state, gives the logged labels exactly."""
    run, epoch = fixmatch_run, int(fixmatch_run.snapshots[-1])
    features = torch.tensor(run.features(epoch))
    counts = torch.tensor(run.labelled_counts)
    method = build_method(run.method, run.config["options"]).setup(Problem(10, counts, len(features), 60, 20, features.shape[1]))
    method.chain[0].class_dist.copy_(torch.tensor(run.state("daso/class_dist")[epoch]))
    method.chain[0].prototypes.copy_(torch.tensor(run.snapshot_state("daso/prototypes", epoch)))
    label, accepted = run.history(epoch)
    for t in (run.iterations[epoch], 10_000):  # before DASO starts (step 100), as logged, and after
        step = method.relabel(torch.tensor(run.logits(epoch)), features, torch.tensor(int(t)))
        agrees = (step.label.numpy() == label).all() and (step.mask.numpy() == accepted).all()
        assert agrees == (t < 100)


def test_a_seed_is_a_run_and_another_seed_another(fixmatch_run, tmp_path):
    same(pld.train("fixmatch+daso", out=tmp_path, **SHORT), fixmatch_run)
    other = pld.train("fixmatch+daso", out=tmp_path, seed=1, **SHORT)
    assert not np.array_equal(other.confusion("visits"), fixmatch_run.confusion("visits"))


def test_resumed_equals_uninterrupted(fixmatch_run, tmp_path, monkeypatch):
    """Every method of the contract table, at every checkpoint, is in test_resuming.py."""
    method, whole = "fixmatch+daso", fixmatch_run
    save, saves = checkpoints.save, []

    def interrupted(folder, state):
        save(folder, state)
        saves.append(state["done"])
        if len(saves) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pld.train(method, out=tmp_path / "cut", **SHORT)
    partial = pld.open_run(run_folder(whole.method, "glyphs-lt", 0, tmp_path / "cut"))
    assert not partial.finished
    assert list(partial.epochs) == [0]
    resumed = pld.train(method, out=tmp_path / "cut", **SHORT)
    assert saves == [20, 40, 60]
    same(resumed, whole)


def test_killed_run_keeps_its_epochs_and_resumes(tmp_path):
    """SIGKILL in the middle of an epoch; then SIGTERM, which is taken like Ctrl-C."""
    code = "import sys, pldebias as pld; pld.train('fixmatch', out=sys.argv[1], steps=2000, steps_per_epoch=20, m1=200, gamma_u=5.0)"
    folder = run_folder("fixmatch", "glyphs-lt", 0, tmp_path)
    recorded = 0
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if (folder / "zarr.json").exists() and len(pld.open_run(folder).epochs) > recorded + 1:
                break
        os.kill(process.pid, number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode != 0
        if number == signal.SIGTERM:
            assert "KeyboardInterrupt" in stderr
        run = pld.open_run(folder)
        assert len(run.epochs) > recorded
        assert not run.finished
        recorded = len(run.epochs)
    assert (run.confusion("visits").sum((1, 2)) == 20 * 64).all()


def test_finished_run_is_kept_and_another_refused(fixmatch_run, tmp_path):
    out = fixmatch_run.path.split("/glyphs-lt/")[0]
    began = time.perf_counter()
    assert pld.train("fixmatch+daso", out=out, **SHORT).path == fixmatch_run.path
    assert time.perf_counter() - began < 30
    with pytest.raises(RunError, match=r"already holds another run: lr is 0\.03 there, 0\.1 here.*overwrite=True"):
        pld.train("fixmatch+daso", out=out, lr=0.1, **SHORT)
    (tmp_path / "glyphs-lt" / "fixmatch" / "s0").mkdir(parents=True)
    (tmp_path / "glyphs-lt" / "fixmatch" / "s0" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match=r"thesis\.tex"):
        pld.train("fixmatch", out=tmp_path, **SHORT)


def test_overwrite_starts_anew(tmp_path):
    short = {**SHORT, "steps": 20}
    pld.train("supervised", out=tmp_path, **short)
    run = pld.train("supervised", out=tmp_path, overwrite=True, **{**short, "lr": 0.1})
    assert run.config["lr"] == 0.1


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    for step in (1, 2):
        checkpoints.save(tmp_path, {"done": step})
    assert checkpoints.load(tmp_path)["done"] == 2
    (tmp_path / "last.pt").write_bytes(b"cut short")
    with pytest.warns(RuntimeWarning, match=r"last\.pt cannot be read"):
        assert checkpoints.load(tmp_path)["done"] == 1


def test_diverging_training_stops_and_names_the_last_checkpoint(tmp_path):
    with pytest.raises(TrainingError, match=r"fixmatch diverged: loss/.* became .* in step \d+, at a learning.*Lower lr \(now 1e\+30\)"):
        pld.train("fixmatch", out=tmp_path, **{**SHORT, "lr": 1e30})


@pytest.mark.parametrize(("method", "lr"), [("fixmatch", 1e300), ("fixmatch", 1e30), ("fixmatch+daso", 1e6), ("fixmatch+seval", 1e30)])
def test_divergence_in_the_last_step_of_an_epoch_is_told_as_such(method, lr, tmp_path):
    """No loss shows it: the weights do, or what the network says of the images that the epoch's end looks at."""
    settings = {"data": "digits-lt", "n1": 20, "gamma_l": 4.0, "m1": 20, "gamma_u": 4.0, "batch_size": 8, "steps": 2, "steps_per_epoch": 1}
    rate = re.escape(f"{lr:.3g}")
    with pytest.raises(TrainingError, match=rf"diverged: .* infinite in step 1, at a learning rate of {rate};.*Lower lr.*warmup"):
        pld.train(method, out=tmp_path, lr=lr, warmup=0, schedule="constant", progress=False, **settings)


def test_errors_of_finite_trainings_pass():
    class State:
        is_finite = staticmethod(lambda: True)

    with pytest.raises(ValueError, match="mine"), loop.divergence_told(State(), None):
        raise ValueError("mine")


@pytest.mark.parametrize(
    ("bad", "saved"), [(3, "there is no earlier checkpoint"), (17, "the last good checkpoint, of step 10, is in .*checkpoints")]
)
def test_the_step_whose_logits_are_not_finite_is_named(tmp_path, monkeypatch, bad, saved):
    forward = Network.forward

    def failing(network, x):
        features, logits = forward(network, x)
        network.count = getattr(network, "count", 0) + network.training
        return Output(features, logits * float("nan") if network.count == bad else logits)

    monkeypatch.setattr(Network, "forward", failing)
    with pytest.raises(TrainingError, match=rf"fixmatch\+la diverged: loss/labelled, loss/unl.* became nan in step {bad}, .*; {saved}"):
        pld.train("fixmatch+la", out=tmp_path, **{**SHORT, "steps": 20, "steps_per_epoch": 10})


def test_supervised_has_no_visits(tmp_path):
    run = pld.train("supervised", out=tmp_path, **SHORT)
    assert run.kinds == ("sweep", "test")
    assert "mask_rate" not in run.scalars


def test_unknown_truth_is_never_guessed(tmp_path):
    run = pld.train("fixmatch", out=tmp_path, unknown_labels=True, **SHORT)
    assert run.unlabelled_counts is None
    assert run.confusion("visits").sum() == 0
    assert (run.true_labels == -1).all()


def test_bfloat16_trains(tmp_path):
    run = pld.train("fixmatch", out=tmp_path, precision="bf16", **SHORT)
    assert np.isfinite(run.scalars.to_numpy()).all()


@pytest.mark.parametrize(
    ("method", "settings", "error", "message"),
    [
        ("fixmatsh", {}, MethodError, "did you mean 'fixmatch'"),
        ("fixmatch+la+la", {}, MethodError, "named twice"),
        ("supervised+daso", {}, MethodError, "which supervised has not"),
        ("fixmatch", {"gamma_l": 0.5}, DataError, "gamma_l=0.5"),
        ("fixmatch", {"n1": 2, "gamma_l": 5.0}, DataError, "labelled"),
        ("fixmatch", {"network": "vgg"}, ValueError, "'vgg' is not known"),
        ("fixmatch", {"device": "cuda:0"}, ConfigError, "finds no CUDA device"),
        ("fixmatch", {"device": "abacus"}, ConfigError, "abacus"),
    ],
)
def test_bad_input_stops_before_anything_is_written(method, settings, error, message, tmp_path):
    if settings.get("device", "").startswith("cuda") and torch.cuda.is_available():
        settings, message = {"device": "abacus"}, "abacus"
    with pytest.raises(error, match=message):
        pld.train(method, out=tmp_path, **{**SHORT, **settings})
    assert not list(tmp_path.rglob("zarr.json"))


def test_out_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match="file"):
        pld.train("fixmatch", out=tmp_path / "file", **SHORT)


def test_sweep_in_processes_equals_runs_one_by_one(tmp_path, fixmatch_run, my_methods):
    """The second method is of a plugin, which its process loads."""
    short = {**SHORT, "steps": 60}
    runs = pld.sweep(["fixmatch+daso", "twice+relaxed"], seeds=[0], jobs=2, out=tmp_path, plugins=my_methods, **short)
    assert [run.method for run in runs] == ["fixmatch+daso", "twice+relaxed"]
    assert runs[1].finished and list(runs[1].attrs["plugins"]) == [str(my_methods)]
    same(runs[0], fixmatch_run)
    with pytest.raises(MethodError, match="fixmatsh"):
        pld.sweep(["fixmatch", "fixmatsh"], out=tmp_path / "none", **short)
    assert not (tmp_path / "none").exists()
