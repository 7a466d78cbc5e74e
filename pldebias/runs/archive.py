"""Reads the arrays of a run, from a directory or any fsspec address, and says which epochs can be trusted."""

from __future__ import annotations

import math
import os
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from pldebias.hardware import memory
from pldebias.paths import PathError
from pldebias.runs import checks, layout, places
from pldebias.runs.layout import RunError

METADATA = 2**26
"""Most bytes of a ``zarr.json`` and of a chunk of names."""
BATCH = 64
"""Files that are held in memory, undecoded, at a time."""


@cache
def most_bytes() -> int:
    """What one read may take: half of this machine's memory, or what ``PLDEBIAS_READ_LIMIT`` says."""
    told = os.environ.get("PLDEBIAS_READ_LIMIT")
    if told:
        return int(told)
    return memory() // 2


@dataclass
class Progress:
    """Which epochs are on disk.

    `done` [E] marks epochs that were committed and are intact; `written` [E, items] holds the bytes of every chunk, 0 where an
    epoch has none; `snapshot` [S] the epoch of every snapshot slot, -1 where free; `crc` the checksums of every epoch by name of what
    they are of (None for runs that have none); `dropped` the epochs that were committed but cannot be read, with the reason.
    """

    done: np.ndarray
    iteration: np.ndarray
    written: np.ndarray
    items: list[str]
    snapshot: np.ndarray
    crc: dict[str, np.ndarray] | None = None
    dropped: dict[int, str] = field(default_factory=dict)

    @property
    def first_unfinished(self) -> int:
        """The first epoch to record: one that was begun and is not whole, or the one after the last.

        Epochs that were never recorded, since the recording began late, stay out.
        """
        end = int(np.flatnonzero(self.done).max(initial=-1)) + 1
        begun = ~self.done[:end]
        if self.crc is not None:
            touched = np.any([rows[:end] != 0 for rows in self.crc.values()], axis=0)
            begun &= touched | np.isin(np.arange(end), list(self.dropped))
        return int(np.append(np.flatnonzero(begun), end)[0])

    def expected(self, name: str, epochs: np.ndarray) -> np.ndarray | None:
        """Checksums of `name` at some epochs; None where there are none to compare with."""
        if self.crc is None:
            return None
        return self.crc[name][epochs] if name in self.crc else np.zeros(len(epochs), np.uint32)


class Archive:
    """Raw access to one run.

    Parameters
    ----------
    address : path or fsspec URL
        ``runs/x``, ``x.zip``, ``memory://x``, ``https://host/x``, ``s3://bucket/x`` ...

    Raises
    ------
    RunError
        Nothing there, not a run, damaged, or written by a newer version.
    """

    def __init__(self, address):
        try:
            self.place = places.place(address)
        except PathError as error:
            raise RunError(str(error)) from error
        self.address = self.place.address
        self.reload()

    def reload(self) -> None:
        """Read the metadata again."""
        self._seen = self.place.stamp("zarr.json")
        text = self._get(["zarr.json"], METADATA)[0]
        if text is None:
            raise RunError(self._nothing_here())
        self.attrs, self.arrays, self.others = checks.parse(text, self.address)
        self.checked: Progress | None = None

    def _nothing_here(self) -> str:
        if isinstance(self.place, places.Remote):
            return f"no run at {self.address} (no zarr.json there)"
        root = Path(self.place.root)
        if not root.is_dir():
            return f"no run at {root}: no such directory"
        inner = sorted(path.parent.relative_to(root).as_posix() for path in root.glob("*/*/zarr.json"))
        inner += sorted(path.parent.relative_to(root).as_posix() for path in root.glob("*/zarr.json"))
        hint = f"; there are runs inside it: {', '.join(inner[:5])}" if inner else ""
        return f"no run at {root}: the directory has no zarr.json{hint}"

    def _get(self, names: list[str], limit: int) -> list[bytes | None]:
        try:
            return self.place.get(names, limit)
        except RunError:
            raise
        except NotADirectoryError as error:
            raise RunError(f"{self.address} is no run: a file lies where a directory should be") from error
        except OSError as error:
            raise RunError(f"cannot read {self.address}: {error.strerror or error}") from error

    def read(self, name: str, where=None, fill: bool = False, damaged: dict[int, str] | None = None) -> np.ndarray:
        """An array, or some rows of it.

        Parameters
        ----------
        name : str
            Such as ``sweep`` or ``scheme/daso/class_dist``.
        where : sequence of int, optional
            Rows (positions on the first axis); None reads all.
        fill : bool
            A chunk that does not exist reads as the fill value instead of raising.
        damaged : dict, optional
            Given one, rows of damaged chunks read as the fill value and are entered here with the reason, instead of raising.

        Raises
        ------
        RunError
            A chunk is missing or damaged, or the rows are more than fits in memory.
        """
        meta = self.arrays[name]
        shape, chunks = tuple(meta["shape"]), layout.chunk_shape(meta)
        count = shape[0] if where is None else len(where)
        dtype = object if meta["data_type"] == "string" else np.dtype(meta["data_type"])
        width = 8 if dtype is object else dtype.itemsize
        need = width * (count * math.prod(shape[1:]) + math.prod(chunks)) + 16 * count
        if need > most_bytes():
            raise RunError(
                f"{self.address}: {count} x {list(shape[1:])} of {name} would take {need / 1e9:.1f} GB of memory, and at most "
                f"{most_bytes() / 1e9:.1f} GB are read at once (PLDEBIAS_READ_LIMIT, in bytes); read fewer epochs"
            )
        rows = np.arange(shape[0]) if where is None else np.asarray(where, np.int64)
        limit = METADATA if dtype is object else layout.most_bytes(meta)
        out = np.full((len(rows), *shape[1:]), layout.fill_value(meta), dtype)
        wanted = sorted(set((rows // chunks[0]).tolist()))
        grid = [(b, *rest) for b in wanted for rest in layout.blocks(shape[1:], chunks[1:])]
        sums = self._sums(name, meta, grid)
        for first in range(0, len(grid), BATCH):
            part = grid[first : first + BATCH]
            files = self._get([f"{name}/{layout.chunk_name(index)}" for index in part], limit)
            for position, (index, data) in enumerate(zip(part, files, strict=True), first):
                here = np.flatnonzero(rows // chunks[0] == index[0]) if len(wanted) > 1 else np.arange(len(rows))
                try:
                    if data is None:
                        if fill:
                            continue
                        raise ValueError("is missing")
                    if sums is not None and zlib.crc32(data) != sums[position]:
                        raise ValueError("was altered: its checksum is another one")
                    chunk = layout.decode(data, meta)
                except (ValueError, IndexError) as error:
                    if damaged is None:
                        raise RunError(f"{self.address} is damaged: {name}/{layout.chunk_name(index)} {error}") from error
                    damaged |= {int(row): f"{name}/{layout.chunk_name(index)} {error}" for row in rows[here]}
                    continue
                start = [i * c for i, c in zip(index, chunks, strict=True)]
                columns = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start[1:], chunks[1:], shape[1:], strict=True))
                inside = tuple(slice(0, s.stop - s.start) for s in columns)
                out[(here, *columns)] = chunk[(rows[here] - start[0], *inside)]
        return out

    def _sums(self, name: str, meta: dict, grid: list[tuple[int, ...]]) -> list[int] | None:
        """Checksums of chunks, where they are known."""
        if "crc32" in meta["attributes"]:
            return [meta["attributes"]["crc32"]] * len(grid)
        if layout.chunk_shape(meta)[0] != 1 or self.checked is None or name not in self.checked.items:
            return None
        first = np.array([index[0] for index in grid], np.int64)
        epochs = self.checked.snapshot[first] if meta["dimension_names"][0] == "snapshot" else first
        sums = self.checked.expected(name, epochs)
        return None if sums is None else sums.tolist()

    def table(self, name: str, epochs: np.ndarray) -> np.ndarray:
        """Rows of a table at some epochs, compared with their checksums.

        Raises
        ------
        RunError
            Some were damaged or altered; the message names the epochs.
        """
        values = self.read(name, epochs, fill=True)
        sums = None if self.checked is None else self.checked.expected(name, epochs)
        if sums is not None and len(wrong := np.flatnonzero(layout.row_checksums(values, self.arrays[name]) != sums)):
            listed = ", ".join(str(epochs[i]) for i in wrong[:8]) + (" ..." if len(wrong) > 8 else "")
            raise RunError(f"{self.address} is damaged: {name} at epoch {listed} is not what was recorded")
        return values

    # -- which epochs are there ---------------------------------------------------------------------------------------

    def progress(self, check: str = "sizes") -> Progress:
        """Which epochs are on disk, and for local runs whether every chunk of them is there ("names") and whole ("sizes"); "" trusts."""
        for _ in range(5):
            progress = self._progress()
            if self.place.stamp("zarr.json") == self._seen:
                break
            self.reload()  # it is being written, and names may have been added between the two
        self.checked = progress
        if check and isinstance(self.place, places.Folder):
            self._check_chunks(progress, check == "sizes")
        return progress

    def _progress(self) -> Progress:
        lost: dict[int, str] = {}
        unknown: dict[int, str] = {}
        done = self.read("done", fill=True, damaged=unknown)
        iteration, written = (self.read(name, fill=True, damaged=lost) for name in ("iteration", "written"))
        slots: dict[int, str] = {}
        snapshot = self.read("snapshot", fill=True, damaged=slots)
        crc = None
        if "crc32" in self.arrays:
            names, values = self.arrays["crc32"]["attributes"]["names"], self.read("crc32", fill=True, damaged=lost)
            crc = {name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(names)}
            for epoch in unknown:  # an epoch has checksums once all else of it is on disk
                done[epoch] = values[epoch].any()
        elif unknown:
            lost |= unknown
            done[list(unknown)] = True
        progress = Progress(done.astype(bool), iteration, written, list(self.arrays["written"]["attributes"]["names"]), snapshot, crc)
        if crc is not None:
            for name, rows in (("iteration", iteration), ("written", written)):
                differs = layout.row_checksums(rows, self.arrays[name]) != progress.expected(name, np.arange(len(done)))
                lost = {int(epoch): f"its entry in {name} was altered" for epoch in np.flatnonzero(differs & progress.done)} | lost
        self._check_slots(progress, slots, lost)
        progress.dropped = {epoch: lost[epoch] for epoch in sorted(lost) if progress.done[epoch]}
        progress.done[list(progress.dropped)] = False
        return progress

    def _check_slots(self, progress: Progress, slots: dict[int, str], lost: dict[int, str]) -> None:
        """Drop epochs whose outputs cannot be found, since the slot that held them is not told or told wrong."""
        taken = progress.snapshot
        taken[(taken < -1) | (taken >= len(progress.done))] = -1
        by_slot = [i for i, item in enumerate(progress.items) if self.arrays.get(item, {}).get("dimension_names", [""])[0] == "snapshot"]
        has = np.flatnonzero(progress.done & (progress.written[:, by_slot] > 0).any(1))
        sums = progress.expected("snapshot", has)
        for i, epoch in enumerate(has.tolist()):
            slot = np.flatnonzero(taken == epoch)
            if len(slot) != 1 or (sums is not None and layout.slot_checksum(int(slot[0])) != sums[i]):
                lost.setdefault(epoch, next(iter(slots.values()), "the place of its outputs (its entry in snapshot) was altered"))

    def _check_chunks(self, progress: Progress, whole: bool) -> None:
        slots = {int(epoch): slot for slot, epoch in enumerate(progress.snapshot) if epoch >= 0}
        for column, name in enumerate(progress.items):
            meta = self.arrays.get(name)
            if meta is None:
                for epoch in np.flatnonzero(progress.done & (progress.written[:, column] > 0)).tolist():
                    progress.dropped.setdefault(epoch, f"zarr.json does not list {name}")
                continue
            if layout.chunk_shape(meta)[0] != 1:
                continue
            sizes = self.place.sizes(name, whole)
            rest = ".0" * (len(meta["shape"]) - 1)
            by_slot = meta["dimension_names"][0] == "snapshot"
            told = progress.written[:, column]
            committed = np.flatnonzero(progress.done & (told > 0))
            for epoch, expected in zip(committed.tolist(), told[committed].tolist(), strict=True):
                chunk = f"c.{slots.get(epoch, -1) if by_slot else epoch}{rest}"
                found = sizes.get(chunk)
                if found != expected and (whole or found is None):
                    state = "missing" if found is None else f"{found} bytes long instead of {expected}"
                    progress.dropped.setdefault(epoch, f"{name}/{chunk} is {state}")
        for epoch in progress.dropped:
            progress.done[epoch] = False
