"""What Windows and macOS lack or do otherwise, by fakes."""

import ctypes
import os

import pytest

from pldebias import hardware


def test_memory_is_measured_or_guessed(monkeypatch):
    assert 2**28 < hardware.memory() < 2**50
    monkeypatch.setattr(os, "sysconf", lambda name: -1 if name == "SC_PHYS_PAGES" else 4096)  # unknown there
    assert hardware.memory() == 2**34
    monkeypatch.delattr(os, "sysconf")
    assert hardware.memory() == 2**34


@pytest.mark.parametrize(("answers", "found"), [(1, 12 * 2**30), (0, 2**34)])
def test_memory_of_windows(answers, found, monkeypatch):
    class Kernel:
        @staticmethod
        def GlobalMemoryStatusEx(pointer):
            status = pointer._obj
            assert status.length == ctypes.sizeof(status) == 64
            status.bytes0 = 12 * 2**30
            return answers

    monkeypatch.setattr(hardware.os, "name", "nt")
    monkeypatch.setattr(ctypes, "windll", type("windll", (), {"kernel32": Kernel}), raising=False)
    assert hardware.memory() == found


def test_processors_without_proc(monkeypatch):
    def none(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(hardware.Path, "read_text", none)
    assert isinstance(hardware.processor(), str) and hardware.native_bf16() in (True, False)
