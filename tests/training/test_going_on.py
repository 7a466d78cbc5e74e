"""Going on after damage: checkpoints and log are brought to one state, or the training is refused with the reason."""

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from made_runs import make_run

import pldebias as pld
from pldebias.runs import Recorder, RunError
from pldebias.training import ConfigError, checkpoints, loop

SHORT = {"data": "digits-lt", "steps": 16, "steps_per_epoch": 4, "snapshots": 2, "progress": False}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing disturbed."""
    return pld.train("fixmatch", out=tmp_path_factory.mktemp("whole"), **SHORT)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The same, ended by Ctrl-C after three of four epochs."""
    save, saves = checkpoints.save, []

    def interrupted(folder, state):
        save(folder, state)
        saves.append(state["done"])
        if len(saves) == 3:
            raise KeyboardInterrupt

    out = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.checkpoints, "save", interrupted)
        pld.train("fixmatch", out=out, **SHORT)
    return out


@pytest.fixture
def cut(stopped, tmp_path):
    """A copy of it: `out`, and the run's folder."""
    out = shutil.copytree(stopped, tmp_path / "cut")
    return out, next(out.rglob("s0"))


def same(run, whole):
    assert run.finished and run.dropped == {}
    for kind in whole.kinds:
        np.testing.assert_array_equal(run.confusion(kind), whole.confusion(kind))
    np.testing.assert_array_equal(run.history()[0], whole.history()[0])
    clock = ["seconds", "images_per_second"]
    assert run.scalars.drop(columns=clock).equals(whole.scalars.drop(columns=clock))
    for epoch in whole.snapshots:
        np.testing.assert_array_equal(run.logits(epoch), whole.logits(epoch))


def test_an_end_before_the_last_checkpoint(cut, whole, monkeypatch):
    """Every epoch is there; going on makes the network that they end with, bit for bit."""
    out, folder = cut

    def interrupted(folder, state):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.checkpoints, "save", interrupted)
        pld.train("fixmatch", out=out, **SHORT)
    assert pld.open_run(folder).finished and checkpoints.steps(checkpoints.folder_of(folder)) == 12
    same(pld.train("fixmatch", out=out, **SHORT), whole)
    ours, theirs = (checkpoints.load(checkpoints.folder_of(Path(path))) for path in (folder, whole.path))
    assert ours["done"] == theirs["done"] == 16
    assert all(torch.equal(value, theirs["teacher"][name]) for name, value in ours["teacher"].items())


def test_a_damaged_checkpoint_takes_the_log_back_to_the_one_before(cut, whole):
    out, folder = cut
    last = checkpoints.folder_of(folder) / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    assert len(pld.open_run(folder).epochs) == 3
    with pytest.warns(RuntimeWarning, match=r"last\.pt cannot be read"):
        same(pld.train("fixmatch", out=out, **SHORT), whole)


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_last_epoch_is_recorded_again(cut, whole, damage):
    out, folder = cut
    chunk = folder / "sweep" / "c.2.0.0"
    if damage == "missing":
        chunk.unlink()
    elif damage == "truncated":
        chunk.write_bytes(chunk.read_bytes()[:7])
    else:  # seen only when it is read; the epoch is lost, and says so
        chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
        run = pld.train("fixmatch", out=out, **SHORT)
        with pytest.raises(RunError, match=r"sweep/c\.2\.0\.0 was altered"):
            run.confusion()
        np.testing.assert_array_equal(run.confusion(epoch=3), whole.confusion(epoch=3))
        return
    assert list(pld.open_run(folder).dropped) == [2]
    same(pld.train("fixmatch", out=out, **SHORT), whole)


def test_an_epoch_too_old_to_be_recorded_again_stays_out(cut, whole):
    out, folder = cut
    (folder / "sweep" / "c.0.0.0").unlink()
    run = pld.train("fixmatch", out=out, **SHORT)
    assert run.epochs.tolist() == [1, 2, 3] and list(run.dropped) == [0] and not run.finished
    np.testing.assert_array_equal(run.confusion(), whole.confusion()[1:])
    assert pld.train("fixmatch", out=out, **SHORT).epochs.tolist() == [1, 2, 3]  # nothing left to do


def test_a_log_without_a_checkpoint_is_not_thrown_away(cut):
    out, folder = cut
    for name in checkpoints.NAMES:
        checkpoints.folder_of(folder).joinpath(name).write_bytes(b"PK\x03\x04 and then nothing")
    with (
        pytest.warns(RuntimeWarning, match="cannot be read"),
        pytest.raises(RunError, match=r"holds 3 epochs, but no checkpoint .*: there is none that can be read. Choose another out="),
    ):
        pld.train("fixmatch", out=out, **SHORT)
    assert len(pld.open_run(folder).epochs) == 3
    shutil.rmtree(checkpoints.folder_of(folder))
    with pytest.raises(RunError, match="no checkpoint"):
        pld.train("fixmatch", out=out, **SHORT)
    assert len(pld.open_run(folder).epochs) == 3


def test_checkpoints_lie_beside_the_zarr_group(cut, whole):
    """Zarr finds nothing in a run that it does not know; a run of 0.1, whose checkpoints lie in it, goes on with them there."""
    out, folder = cut
    assert {path.name for path in folder.parent.iterdir()} == {"s0", "s0.checkpoints"}
    assert xarray.open_zarr(folder, consolidated=False).sizes["epoch"] == 4  # warnings are errors here
    (folder.parent / "s0.checkpoints").rename(folder / "checkpoints")
    same(pld.train("fixmatch", out=out, **SHORT), whole)
    assert not (folder.parent / "s0.checkpoints").exists() and checkpoints.steps(folder / "checkpoints") == 16


def test_checkpoints_of_a_run_that_is_gone(cut, whole):
    """A run that was moved without them does not lose them to the next one."""
    out, folder = cut
    folder.rename(folder.with_name("kept"))
    with pytest.raises(RunError, match=r"s0.checkpoints holds checkpoints of a run that is gone; move them"):
        pld.train("fixmatch", out=out, **SHORT)
    assert checkpoints.load(folder.with_name("s0.checkpoints")) and not folder.exists()
    same(pld.train("fixmatch", out=out, overwrite=True, **SHORT), whole)


def test_a_log_behind_its_checkpoints_is_refused(cut):
    """As after restoring an old copy of the log alone."""
    out, folder = cut
    with Recorder(folder, *recorded(folder), resume=True, num_epochs=4) as recorder:
        recorder.rewind(1)
    with pytest.raises(RunError, match=r"holds 1 epochs, but no checkpoint .*: those in it are of later epochs") as refused:
        pld.train("fixmatch", out=out, **SHORT)
    assert len(pld.open_run(folder).epochs) == 1 and "overwrite=True" in str(refused.value)


def recorded(folder):
    run = pld.open_run(folder)
    return run.true_labels, run.labelled_counts, run.class_names


def test_a_checkpoint_of_another_configuration_is_refused(cut, tmp_path):
    """Also where the log is the right one, as after copying checkpoints by hand."""
    out, folder = cut
    other = pld.train("fixmatch", out=tmp_path / "other", **{**SHORT, "lr": 0.05, "steps": 4})
    for name in checkpoints.NAMES:
        checkpoints.folder_of(folder).joinpath(name).unlink()
    shutil.copy(checkpoints.folder_of(Path(other.path)) / "last.pt", checkpoints.folder_of(folder) / "last.pt")
    with pytest.raises(RunError, match=r"is of another training: lr is 0\.05 there, 0\.03 here; steps is 4 there, 16 here\. Choose"):
        pld.train("fixmatch", out=out, **SHORT)
    assert len(pld.open_run(folder).epochs) == 3  # and nothing was taken back


def test_a_checkpoint_that_fits_in_name_alone(cut):
    out, folder = cut
    path = checkpoints.folder_of(folder) / "last.pt"
    state = torch.load(path, weights_only=True)
    for change, message in (
        ({"student": {}}, "does not fit this training"),
        ({"generator": torch.zeros(3, dtype=torch.uint8)}, "does not fit this training"),
        ({"optimizer": None}, "does not fit this training"),
    ):
        torch.save(state | change, path)
        with pytest.raises(RunError, match=message):
            pld.train("fixmatch", out=out, **SHORT)
    del state["evaluated"]
    torch.save(state, path)
    with pytest.raises(ConfigError, match="without the network of a training"):
        pld.train("fixmatch", out=out / "after", init=str(folder), **SHORT)
    assert len(pld.open_run(folder).epochs) == 3


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_checkpoint_runs_nobodys_code_and_fills_no_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pt"
    torch.save({"done": 1, "harm": Harm()}, path)
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert checkpoints.load(tmp_path) is None
    path.write_bytes(pickle.dumps({"done": 1, "harm": Harm()}))
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert checkpoints.load(tmp_path) is None
    assert not (tmp_path / "harm").exists()
    torch.save({"done": 1, "zeros": torch.zeros(2**20)}, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert (tmp_path / "packed").stat().st_size < path.stat().st_size / 100
    os.replace(tmp_path / "packed", path)
    with pytest.warns(RuntimeWarning, match="packed in a way that torch.save does not use"):
        assert checkpoints.load(tmp_path) is None
    path.unlink()
    os.mkfifo(path)  # reading it would wait for ever
    assert checkpoints.load(tmp_path) is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.ESTALE])
def test_a_disk_that_refuses_a_checkpoint(cut, whole, monkeypatch, code):
    """Full, read-only, or a mount that is gone: both older checkpoints stay, and once there is room the training goes on."""
    out, folder = cut
    before = {path.name: path.read_bytes() for path in (checkpoints.folder_of(folder)).iterdir()}

    def refuse(state, file):
        file.write(b"half")
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", refuse)
        with pytest.raises(RunError, match=rf"cannot write a checkpoint in .*: {os.strerror(code)}. Make the place writable"):
            pld.train("fixmatch", out=out, **SHORT)
    assert {path.name: path.read_bytes() for path in (checkpoints.folder_of(folder)).iterdir()} == before
    assert len(pld.open_run(folder).epochs) == 4  # the fourth was logged before
    same(pld.train("fixmatch", out=out, **SHORT), whole)


def test_a_second_training_of_one_run_is_refused(cut):
    out, folder = cut
    with Recorder(folder, *recorded(folder), resume=True, num_epochs=4), pytest.raises(RunError, match="already open for writing"):
        pld.train("fixmatch", out=out, **SHORT)


SWEEP = """
import sys, pldebias as pld, pldebias.training
module = sys.modules["pldebias.training.sweep"]
train = module.train
module.train = lambda method, **job: pld.open_run(sys.argv[2]) if method == "supervised" else train(method, **job)
if __name__ == "__main__":
    pld.sweep(["fixmatch", "supervised"], "digits-lt", jobs=2, out=sys.argv[1], steps=40000, steps_per_epoch=4, progress=False)
"""
"""One of its two workers trains. The other has nothing left to do, and waits with the lock of the queue of jobs in its hand."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_asked_for_them(tmp_path, number):
    """A sweep told to stop, or killed: no worker trains on and keeps its run, none waits for ever, and every epoch is whole."""
    (tmp_path / "sweep.py").write_text(SWEEP)
    command = [sys.executable, tmp_path / "sweep.py", tmp_path / "runs", make_run(tmp_path / "done").path]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    folder, begin = tmp_path / "runs" / "digits-lt" / "fixmatch" / "s0", time.monotonic()
    while not (folder / "zarr.json").exists() or len(pld.open_run(folder).epochs) < 3:
        assert process.poll() is None and time.monotonic() - begin < 300
        time.sleep(0.1)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # Ctrl-C reaches every process of a terminal
    else:
        os.kill(process.pid, number)
    _, told = process.communicate(timeout=120)
    assert process.returncode != 0 and (number == signal.SIGKILL or "KeyboardInterrupt" in told)
    assert number == signal.SIGTERM or "Process SpawnProcess" not in told  # no traceback of a worker that was only waiting
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() - begin < 400:
        time.sleep(0.1)
    assert len(workers) >= 2 and not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert not folder.with_name("s0.lock").exists()
    run = pld.open_run(folder)
    assert run.dropped == {} and run.epochs.tolist() == list(range(len(run.epochs))) and not run.finished
