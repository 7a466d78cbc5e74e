"""What Windows and macOS lack or do otherwise, by fakes."""

import importlib
import ntpath
import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import pldebias as pld
from pldebias import hardware, paths
from pldebias._files import put
from pldebias.data.errors import DataError
from pldebias.data.files import visible
from pldebias.presets import ConfigError
from pldebias.runs import disk, places
from pldebias.training.device import pick_device

sweep = importlib.import_module("pldebias.training.sweep")  # the package has a function of this name


@pytest.fixture
def windows(monkeypatch):
    """Flags that are not there, and the file system's manners; `os.name` stays, since pathlib reads it."""
    monkeypatch.setattr(paths, "WINDOWS", True)
    monkeypatch.delattr(os, "O_NOFOLLOW", raising=False)


@pytest.mark.parametrize("error", [psutil.Error, OSError, RuntimeError])
def test_memory_is_measured_or_guessed(monkeypatch, error):
    assert 2**28 < hardware.memory() < 2**50

    def unknown():
        raise error

    monkeypatch.setattr(psutil, "virtual_memory", unknown)
    assert hardware.memory() == 2**34


def test_processors_without_proc(monkeypatch):
    def none(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(hardware.Path, "read_text", none)
    assert isinstance(hardware.processor(), str) and hardware.native_bf16() in (True, False)


def busy(times):
    """Fails as a file does that another process has open, that often."""
    left = [times]

    def work(real, *arguments):
        if left[0]:
            left[0] -= 1
            raise PermissionError(13, "used by another process")
        return real(*arguments)

    return work


def test_a_file_that_a_reader_has_open_is_replaced_when_it_is_closed(windows, tmp_path, monkeypatch):
    real, work = os.replace, busy(3)
    monkeypatch.setattr(os, "replace", lambda *arguments: work(real, *arguments))
    put(f"{tmp_path}/file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    monkeypatch.setattr(paths, "PATIENCE", 0)
    work = busy(10**9)
    with pytest.raises(PermissionError):
        put(f"{tmp_path}/file", b"newer")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_elsewhere_nothing_is_waited_for(monkeypatch):
    def refused():
        raise PermissionError

    began = time.perf_counter()
    with pytest.raises(PermissionError):
        paths.patiently(refused)
    assert time.perf_counter() - began < 1


def test_files_are_forced_through_a_handle_that_may_write(windows, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    opened, real = [], os.open
    monkeypatch.setattr(disk.os, "open", lambda path, flags, *mode: opened.append((path, flags)) or real(path, flags, *mode))
    disk.force([f"{tmp_path}/file"])
    assert opened == [(f"{tmp_path}/file", os.O_RDWR)]  # and no folder, which Windows cannot open


def test_links_are_refused_without_the_flag_for_it(windows, tmp_path):
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(pld.runs.RunError, match="link is a link"):
        places.Folder(tmp_path).get(["link"], 10)
    with pytest.raises(OSError, match="is a link"):
        disk.no_link(f"{tmp_path}/link", os.O_RDWR)
    assert places.Folder(tmp_path).get(["real"], 10) == [b"x"]


def test_a_worker_ends_when_its_parent_is_gone(windows, monkeypatch):
    ended, started = [], []

    def leave(code):
        ended.append(code)
        raise SystemExit

    class Parent:
        def join(self):
            pass

        def is_alive(self):
            return False

    class Thread:
        def __init__(self, target, daemon):
            started.append(target)

        def start(self):
            pass

    monkeypatch.setattr(sweep, "_parent", Parent)
    monkeypatch.setattr(sweep.threading, "Thread", Thread)
    monkeypatch.setattr(sweep.os, "kill", lambda *_: ended.append("killed"))
    monkeypatch.setattr(sweep.os, "_exit", leave)
    monkeypatch.setattr(sweep, "LAST_WORDS", 0)
    before = [(number, signal.getsignal(number)) for number in sweep._STOP]
    try:
        sweep._follow()
        with pytest.raises(SystemExit):
            started[0]()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    assert ended == [130]


def test_what_goes_to_workers_can_be_pickled(tmp_path):
    """Windows and macOS start processes anew, and so does Python 3.14 everywhere."""
    from pldebias.data.decode import ArrayReader, FileReader, LazyImages
    from pldebias.data.stream import _one_thread, _Reader

    np.save(tmp_path / "x.npy", np.arange(48, dtype=np.uint8).reshape(4, 3, 2, 2))
    lazy = LazyImages(ArrayReader(tmp_path / "x.npy"))
    assert lazy[torch.tensor([2])].sum() > 0  # mapped now, which cannot be pickled
    part = type("Part", (), {"images": lazy})
    data = type("Data", (), {"labelled": part, "unlabelled": part, "test": None, "validation": None, "holdout": None})
    reader = _Reader(data)
    for what in (reader, LazyImages(FileReader(["a.png"], 3, 2)), _one_thread, sweep._work, sweep._follow):
        pickle.dumps(what)
    images, positions = pickle.loads(pickle.dumps(reader))[[("unlabelled", torch.tensor([3]))]]
    assert torch.equal(images, lazy[torch.tensor([3])]) and positions.tolist() == [3]


@pytest.mark.parametrize("name", ["mps", "mps:0", "meta", "xpu", "hpu"])
def test_other_accelerators_are_refused(name):
    with pytest.raises(ConfigError, match=r"choose auto, cpu, cuda or cuda:N"):
        pick_device(name, "fp32")


@pytest.mark.parametrize("name", ["daso/con", "AUX/x", "daso/nul.txt", "daso/lpt1", "da:so/x", "daso/x.", "daso/a?"])
def test_state_is_not_named_as_devices_are(tmp_path, name):
    recorder = pld.Recorder(tmp_path / "run", [0, 1], [1, 1], ["a", "b"])
    with recorder, pytest.raises(ValueError, match="state is named"):
        recorder.end_epoch(series={name: [1.0, 2.0]})


def test_state_that_differs_in_case_alone_is_refused(tmp_path):
    with pld.Recorder(tmp_path / "run", [0, 1], [1, 1], ["a", "b"]) as recorder, pytest.raises(ValueError, match="cannot be told from"):
        recorder.end_epoch(series={"daso/T": [1.0, 2.0], "daso/t": [1.0, 2.0]})


def test_addresses_of_files(tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    (tmp_path / "c%20d").mkdir()
    assert paths.local((tmp_path / "a b").as_uri()) == paths.local(f"FILE://localhost{tmp_path}/a%20b") == tmp_path / "a b"
    assert paths.local(f"file://{tmp_path}/c%20d") == paths.local((tmp_path / "c%20d").as_uri()) == tmp_path / "c%20d"
    monkeypatch.setattr(paths, "WINDOWS", True)
    monkeypatch.setattr(paths.os.path, "splitdrive", ntpath.splitdrive)
    assert paths.local("file:///C:/Users/a%20b") == Path("C:/Users/a b")


def test_junctions_that_lead_back_are_refused(tmp_path, monkeypatch):
    class Entry:
        name, path = "back", str(tmp_path)
        is_dir, is_symlink, is_junction = lambda *_: True, lambda *_: False, lambda *_: True

    class Scan(list):
        __enter__, __exit__ = lambda self: self, lambda *_: None

    (tmp_path / "inner").mkdir()
    monkeypatch.setattr("pldebias.data.files.os.scandir", lambda _: Scan([Entry()]))
    with pytest.raises(DataError, match="leads to a folder that it lies in"):
        visible(tmp_path / "inner")
