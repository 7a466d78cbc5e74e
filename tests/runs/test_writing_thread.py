"""The thread that writes: it holds training up rather than letting work pile up, and its error stops the training."""

import threading

import pytest
import torch

import pldebias as pld
from pldebias.runs import Recorder, RunError
from pldebias.runs.store import Store
from pldebias.training import checkpoints


def test_a_slow_disk_holds_training_up(tmp_path, monkeypatch):
    """One epoch is being written and two wait; the fourth has to wait until there is room."""
    free, write = threading.Event(), Store.write_epoch

    def slow(store, *args, **kwargs):
        assert free.wait(30)
        write(store, *args, **kwargs)

    monkeypatch.setattr(Store, "write_epoch", slow)
    with Recorder(tmp_path / "run", [0, 1, 1], [2, 1], [*"ab"]) as recorder:
        for _ in range(3):
            recorder.end_epoch(scalars={"loss": 1.0})
        fourth = threading.Thread(target=recorder.end_epoch, kwargs={"scalars": {"loss": 2.0}})
        fourth.start()
        fourth.join(0.3)
        assert fourth.is_alive()
        free.set()
        fourth.join(30)
        assert not fourth.is_alive()
    assert list(pld.open_run(tmp_path / "run").scalars["loss"]) == [1, 1, 1, 2]


def test_a_crash_of_the_writer_stops_the_training(tmp_path, monkeypatch):
    write = Store.write_epoch

    def crash(store, epoch, **values):
        if epoch == 1:
            raise RunError("the writer cannot write any more")
        write(store, epoch, **values)

    monkeypatch.setattr(Store, "write_epoch", crash)
    short = {"steps": 8, "steps_per_epoch": 2, "snapshots": 1, "m1": 60, "batch_size": 8, "progress": False}
    with pytest.raises(RunError, match="cannot write any more"):
        pld.train("fixmatch", out=tmp_path, **short)
    (row,) = pld.catalogue(tmp_path).itertuples()
    assert row.epochs == 1 and not row.finished
    monkeypatch.undo()
    assert pld.train("fixmatch", out=tmp_path, **short).finished


def test_an_error_of_the_writer_does_not_hide_that_of_the_training(tmp_path, monkeypatch):
    def crash(store, epoch, **values):
        raise RuntimeError("CUDA error: the copy never arrived")

    monkeypatch.setattr(Store, "write_epoch", crash)
    with pytest.raises(ValueError, match="from the training") as caught, Recorder(tmp_path / "run", [0, 1], [2, 1], [*"ab"]) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0})
        raise ValueError("from the training")
    assert any("never arrived" in note for note in caught.value.__notes__)


def test_a_checkpoint_is_saved_behind_what_it_relies_on(tmp_path, monkeypatch):
    """Training goes on meanwhile; what is saved is what was handed over, and not what training has made of it since."""
    free, write, saved = threading.Event(), Store.write_epoch, []

    def slow(store, *args, **kwargs):
        assert free.wait(30)
        write(store, *args, **kwargs)

    def save(folder, state):
        saved.append((state["weights"].tolist(), state["part"][1]["few"].tolist(), list(pld.open_run(tmp_path / "run").epochs)))

    monkeypatch.setattr(Store, "write_epoch", slow)
    monkeypatch.setattr(checkpoints, "save", save)
    weights, few = torch.arange(6.0).view(2, 3).T, torch.ones(1)  # strides of its own
    with Recorder(tmp_path / "run", [0, 1, 1], [2, 1], [*"ab"], num_epochs=1) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0})
        checkpoints.save_behind(recorder, tmp_path, {"done": 1, "weights": weights, "part": (None, {"few": few})})
        weights.zero_(), few.zero_()
        assert not saved
        free.set()
    assert saved == [([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], [1.0], [0])]


def test_a_checkpoint_that_cannot_be_saved_stops_the_training(tmp_path, monkeypatch):
    """Every epoch that was recorded stays, and the training goes on from the checkpoint before."""
    save = checkpoints.save

    def full(folder, state):
        if state["done"] == 4:
            raise RunError("cannot write a checkpoint: no space left")
        save(folder, state)

    monkeypatch.setattr(checkpoints, "save", full)
    short = {"steps": 8, "steps_per_epoch": 2, "snapshots": 1, "m1": 60, "batch_size": 8, "progress": False}
    with pytest.raises(RunError, match="no space left"):
        pld.train("fixmatch", out=tmp_path / "full", **short)
    (row,) = pld.catalogue(tmp_path / "full").itertuples()
    assert row.epochs == 2 and not row.finished
    monkeypatch.undo()
    whole, resumed = (pld.train("fixmatch", out=tmp_path / name, **short) for name in ("whole", "full"))
    assert resumed.finished and (resumed.confusion("sweep") == whole.confusion("sweep")).all()
