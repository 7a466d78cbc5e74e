"""One writer per run: a lease beside the run's directory, which names the process that writes and is renewed while it lives."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import SoftFileLease, Timeout

from pldebias.runs.schema import RunError

BEAT, LEASE = 20.0, 180.0
"""Seconds between two renewals, and after which a lease that nobody renewed ends."""
_held: set[tuple[int, str]] = set()
"""Process and path of the leases that this process holds, to tell them from one that it could not remove."""


class WriterLock:
    """``<run>.lock``: the lease of filelock, beside the run, so that its directory holds a Zarr group and nothing of ours besides.

    One that a dead process of this machine left is taken over at once. Whether a process of another machine lives nobody can ask: its
    lease is watched, and taken over if it is not renewed for `LEASE` seconds.

    Parameters
    ----------
    run : Path
        The run's directory (which need not exist yet).

    Raises
    ------
    RunError
        Another live process writes the run.
    """

    def __init__(self, run: Path):
        self.run, self.path = run, run.with_name(run.name + ".lock")
        self._key = os.getpid(), os.path.abspath(self.path)
        self._lease = SoftFileLease(self.path, lease_duration=LEASE, heartbeat_interval=BEAT, thread_local=False)
        wait = 0.0
        for _ in range(5):
            self._look()
            try:
                self._lease.acquire(timeout=wait, poll_interval=min(1.0, BEAT / 4))
                _held.add(self._key)
                return
            except Timeout:
                owner = self._owner()
            pid, host = owner.get("pid"), owner.get("host")
            if not pid:
                continue
            if host == socket.gethostname():
                raise RunError(f"{run} is being written by process {pid} on this machine; wait for it or choose another directory")
            if wait:
                raise RunError(f"{run} is being written by process {pid} on {host}; wait for it or choose another directory")
            wait = LEASE + 2 * BEAT  # it is taken over within, unless its owner lives
        raise RunError(f"{run} is being opened for writing by several processes at once; try again")

    def _owner(self) -> dict[str, str]:
        """What the lease tells of its owner; empty if it is gone, or being written."""
        with suppress(OSError, ValueError), self.path.open("rb") as file:
            return dict(line.split("=", 1) for line in file.read(4096).decode().splitlines() if "=" in line)
        return {}

    def _look(self) -> None:
        """Refuse what is no lock, and a lock of 0.1 (JSON) whose owner may live; remove what a dead process left."""
        try:
            found = os.lstat(self.path)
            if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
                raise RunError(f"{self.path} is no plain file, so no lock of ours; remove it, or choose another directory")
            with self.path.open("rb") as file:
                text = file.read(4096)
        except FileNotFoundError:
            return
        if text.startswith(b"filelock/"):
            mine = self._owner().get("pid") == str(os.getpid()) and self._owner().get("host") == socket.gethostname()
            if mine and self._key in _held:
                raise RunError(f"{self.run} is already open for writing in this process; close() that Recorder first")
            if mine:  # it lay on a disk that was gone for a while, or is of the first process of a container that was started again
                self.path.unlink(missing_ok=True)
            return
        try:
            owner = json.loads(text)
        except (ValueError, RecursionError):
            owner = None
            if time.time() - found.st_mtime < 10:  # created, its content still to come
                raise RunError(f"{self.run} is being opened for writing by another process; try again") from None
        owner = owner if isinstance(owner, dict) else {}
        host, pid = owner.get("host"), owner.get("pid")
        here = host == socket.gethostname() and isinstance(pid, int) and 0 < pid < 2**31
        if owner and (not here or (pid != os.getpid() and psutil.pid_exists(pid))):
            raise RunError(
                f"{self.run} is being written by process {pid} on {host}; wait for it, or delete {self.path} if that process is surely gone"
            )
        self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Ask before an epoch counts: a process that slept through its lease must not write into what another goes on with.

        Raises
        ------
        RunError
            Another process has taken over.
        """
        if self._lease.compromise is not None or self._owner().get("token") != self._lease.token:
            raise RunError(
                f"{self.run} was taken over by another process, since this one was silent for more than {LEASE:.0f} s (or {self.path} was "
                "removed); it stops here, and the other goes on"
            )

    def release(self) -> None:
        """Give the lease up; one on a disk that refuses or is gone is replaced by the next writer of this machine."""
        _held.discard(self._key)
        with suppress(OSError):
            self._lease.release()
