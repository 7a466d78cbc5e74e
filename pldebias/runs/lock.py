"""One writer per run: a lock file beside the run's directory that names the process which writes."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

import psutil

from pldebias.paths import replace
from pldebias.runs.schema import RunError

_held: set[tuple[int, str]] = set()
"""Process and path of the locks that this process holds, to tell them from one that it could not remove."""


def _started(pid: int) -> str | float | None:
    """When a process of this machine started, to tell a reused process id; None where unknown.

    In clock ticks on Linux, else in seconds, which change by a little when the clock is set.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        return psutil.Process(pid).create_time()
    except (psutil.Error, OSError):
        return None


def _runs(pid: int, started: str | float | None) -> bool:
    """Whether the process that started then still runs; this must not send a signal, which would end it on Windows."""
    now = _started(pid)
    if isinstance(now, float) and isinstance(started, float):
        return abs(now - started) < 60
    return psutil.pid_exists(pid) if None in (now, started) else now == started


class WriterLock:
    """``<run>.lock``: holds process id and host; a lock left by a dead process of this machine is replaced.

    It lies beside the run, not in it, so that a run's directory holds a Zarr group and nothing of ours besides.

    Parameters
    ----------
    run : Path
        The run's directory (which need not exist yet).

    Raises
    ------
    RunError
        Another live process, or one on another machine, holds the lock.
    """

    def __init__(self, run: Path):
        self.run, self.path = run, run.with_name(run.name + ".lock")
        self._key = os.getpid(), os.path.abspath(self.path)
        self._own = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": _started(os.getpid())})
        for _ in range(3):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                self._clear_stale()
                continue
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self._own)
            _held.add(self._key)
            return
        raise RunError(f"{run} is being opened for writing by several processes at once; try again")

    def _clear_stale(self) -> None:
        try:
            if not stat.S_ISREG(os.lstat(self.path).st_mode):  # a pipe would be waited for
                raise RunError(f"{self.path} is no plain file, so no lock of ours; remove it, or choose another directory")
            with self.path.open("rb") as file:
                owner = json.loads(file.read(4096))
        except FileNotFoundError:
            return
        except (ValueError, RecursionError):
            owner = None
            if time.time() - self.path.stat().st_mtime < 10:  # created, its content still to come
                raise RunError(f"{self.run} is being opened for writing by another process; try again") from None
        owner = owner if isinstance(owner, dict) else {}
        host, pid = owner.get("host"), owner.get("pid")
        here = host == socket.gethostname() and isinstance(pid, int) and 0 < pid < 2**31
        if here and self._key in _held:
            raise RunError(f"{self.run} is already open for writing in this process; close() that Recorder first")
        # One with our own number is of a process before us (the first of a container is always 1), or of a disk that was gone for a while.
        if here and pid != os.getpid() and _runs(pid, owner.get("started")):
            raise RunError(f"{self.run} is being written by process {pid} on this machine; wait for it or choose another directory")
        if not here and owner:
            raise RunError(
                f"{self.run} is being written by process {pid} on {host}; wait for it, or delete {self.path} if that process is surely gone"
            )
        # Whoever renames the stale file has removed it; a second process finds nothing and simply tries again.
        grave = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            replace(self.path, grave)
            grave.unlink()
        except FileNotFoundError:
            return

    def release(self) -> None:
        """Remove the lock if it is still ours; one on a disk that refuses or is gone is replaced by the next writer of this machine."""
        _held.discard(self._key)
        with suppress(OSError):
            if self.path.read_text(encoding="utf-8") == self._own:
                self.path.unlink()
