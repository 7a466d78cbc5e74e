"""Runs that version 0.1 recorded: they open from a zip file and a directory with every value, and an unfinished one goes on."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pldebias import metrics
from pldebias.runs import RunError, catalogue, open_run

OLD = Path(__file__).with_name("recorded_by_0_1")
GALLERY = Path(__file__).parents[2] / "data" / "gallery"


def unpacked(name, folder):
    with zipfile.ZipFile(OLD / f"{name}.zip") as archive:
        archive.extractall(folder / name)  # our own files, see test_security.py
    return folder / name


def holds(run, world, epochs, unknown=False):
    """Compares with what the fixture recorded; visits, and of a sweep everything."""
    assert run.dropped == {} and run.epochs.tolist() == list(epochs) and run.attrs["pldebias_format"] in (1, 2)
    assert (run.name, run.data, run.config, run.class_names) == ("fixmatch+daso/s3", "glyphs", {"lr": 0.03}, world.names)
    truth = world.truth(unknown)
    known = truth >= 0
    np.testing.assert_array_equal(run.true_labels, truth)
    for e in epochs:
        made = world.epoch(e, e in run.snapshots)
        index, label, used = (np.concatenate(parts) for parts in zip(*made.steps, strict=True))
        rows = known[index]
        visits = metrics.confusion_matrix(truth[index[rows]], label[rows], world.K)
        np.testing.assert_array_equal(run.confusion("visits", epoch=e), visits)
        rows &= used
        accepted = metrics.confusion_matrix(truth[index[rows]], label[rows], world.K)
        np.testing.assert_array_equal(run.confusion("visits", "accepted", e), accepted)
        for found, expected in zip(run.history(e), made.values["sweep"], strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(run.unknown(epoch=e), np.bincount(run.history(e)[0][~known], minlength=world.K))
        np.testing.assert_array_equal(run.confusion("test", epoch=e), metrics.confusion_matrix(*made.values["test"], world.K))
        assert dict(run.scalars.loc[e]) == made.values["scalars"] and run.iterations[list(epochs).index(e)] == made.values["iteration"]
        np.testing.assert_array_equal(run.state("daso/class_dist")[e], made.values["series"]["daso/class_dist"])
        if e in run.snapshots:
            np.testing.assert_array_equal(run.logits(e), made.values["logits"])
            np.testing.assert_array_equal(run.features(e), made.values["features"].astype(np.float16).astype(np.float32))
            np.testing.assert_array_equal(run.snapshot_state("daso/prototypes", e), made.values["snapshot"]["daso/prototypes"])


def test_a_finished_run(tmp_path, world):
    for path in (OLD / "whole.zip", unpacked("whole", tmp_path)):
        run = open_run(path)
        assert run.finished and run.snapshots.tolist() == [1, 3]
        holds(run, world, range(5), unknown=True)
        np.testing.assert_array_equal(run.test_labels, np.arange(30) % 4)
    assert xr.open_zarr(tmp_path / "whole").sizes["epoch"] == 5 and run.to_xarray().sizes["epoch"] == 5


def test_the_shipped_gallery():
    paths = sorted(GALLERY.glob("*.zip"))[:1]
    run = open_run(paths[0])
    assert run.finished and run.confusion("sweep").sum(axis=(1, 2)).tolist() == [run.num_unlabelled] * len(run.epochs)
    assert catalogue(GALLERY).problem.isna().all()


def test_an_unfinished_run_goes_on(tmp_path, world):
    path = unpacked("cut", tmp_path)
    holds(open_run(path), world, range(3))
    with world.start(path, snapshots=(1, 3), resume=True) as recorder:
        assert recorder.epoch == 3
        world.record(recorder, range(3, 5), snapshots=(1, 3))
    run = open_run(path)
    assert run.finished and run.snapshots.tolist() == [1, 3]
    holds(run, world, range(5))
    assert xr.open_zarr(path).done.values.tolist() == [True] * 5  # warnings are errors here


@pytest.mark.parametrize(("name", "message"), [("sweep/c.1.0.0", "sweep"), ("logits/c.0.0.0", "logits"), ("history/c.2.0", "history")])
def test_damage_is_still_found(tmp_path, name, message):
    path = unpacked("cut", tmp_path)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 4
    (path / name).write_bytes(data)
    run = open_run(path)
    with pytest.raises(RunError, match=f"is damaged: {name} was altered"):
        _ = run.confusion("sweep", epoch=1), run.logits(1), run.history(2)
    (path / name).unlink()
    assert len(open_run(path).dropped) == 1 and message in str(open_run(path).dropped)
