"""Reads a run: a directory, a zip file or any fsspec address, and says which epochs are whole.

Chunks are read and decoded here, and not by the zarr library, for three reasons. A chunk that is missing raises, where zarr reads fill
values; no size is believed before it was compared; and it is quick: 500 matrices take 14 ms instead of 50 to 100, a table 0.07 ms instead
of 0.4, and a reader need not import zarr (0.3 s). That the library reads the same is tested.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
import time
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import google_crc32c
import numpy as np

from pldebias.hardware import memory
from pldebias.paths import PathError
from pldebias.runs import places, schema
from pldebias.runs.schema import RunError

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
    epoch has none; `snapshot` [S] the epoch of every snapshot slot, -1 where free; `dropped` the epochs that were committed but cannot be
    read, with the reason.
    """

    done: np.ndarray
    iteration: np.ndarray
    written: np.ndarray
    items: list[str]
    snapshot: np.ndarray
    dropped: dict[int, str] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """One more than the last whole epoch."""
        return int(np.flatnonzero(self.done).max(initial=-1)) + 1

    @property
    def first_unfinished(self) -> int:
        """The first epoch to record: a damaged one, or the one after the last. Those before a recording that began late stay out."""
        return min([*self.dropped, self.end])


class Reader:
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
        self.attrs, self.arrays, self.others = schema.parse(text, self.address)
        self.checked: Progress | None = None
        self._crc: dict[str, np.ndarray] = {}

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

    def read(self, name: str, where=None, damaged: dict[int, str] | None = None) -> np.ndarray:
        """An array, or some rows of it.

        Parameters
        ----------
        name : str
            Such as ``sweep`` or ``scheme/daso/class_dist``.
        where : sequence of int, optional
            Rows (positions on the first axis); None reads all.
        damaged : dict, optional
            Given one, rows that are missing or damaged read as the fill value and are entered here with the reason, instead of raising.

        Raises
        ------
        RunError
            A chunk is missing or damaged, or the rows are more than fits in memory.
        """
        meta = self.arrays[name]
        shape, chunks = tuple(meta["shape"]), schema.chunk_shape(meta)
        count = shape[0] if where is None else len(where)
        dtype = object if meta["data_type"] == "string" else np.dtype(meta["data_type"])
        width = 8 if dtype is object else dtype.itemsize
        need = width * (count * math.prod(shape[1:]) + math.prod(chunks)) + 16 * count
        if need > most_bytes():
            raise RunError(
                f"{self.address}: {count} x {list(shape[1:])} of {name} would take {need / 1e9:.1f} GB of memory, and at most "
                f"{most_bytes() / 1e9:.1f} GB are read at once (PLDEBIAS_READ_LIMIT, in bytes); read fewer epochs"
            )
        rows = np.arange(count) if where is None else np.asarray(where, np.int64)
        limit = METADATA if dtype is object else _most_bytes(meta)
        out = np.full((len(rows), *shape[1:]), schema.fill_value(meta), dtype)
        wanted = sorted(set((rows // chunks[0]).tolist()))
        grid = list(itertools.product(wanted, *(range(-(-n // c)) for n, c in zip(shape[1:], chunks[1:], strict=True))))
        sums = self._sums(name, meta, grid)
        for first in range(0, len(grid), BATCH):
            part = grid[first : first + BATCH]
            files = self._get([f"{name}/{schema.chunk_name(index)}" for index in part], limit)
            for position, (index, data) in enumerate(zip(part, files, strict=True), first):
                here = np.flatnonzero(rows // chunks[0] == index[0]) if len(wanted) > 1 else np.arange(len(rows))
                inside = rows[here] - index[0] * chunks[0]
                try:
                    if data is None:
                        if _may_be_missing(name, meta):
                            continue
                        raise ValueError("is missing")
                    if sums is not None and sums[position] not in (0, _checksum(data, meta)):
                        raise ValueError("was altered: its checksum is not the one that was recorded")
                    chunk, broken = decode(data, meta, inside, self._told(name, index[1:], rows[here]))
                except (ValueError, IndexError) as error:
                    chunk, broken, why = None, inside, str(error)
                else:
                    why = f"was altered at {meta['dimension_names'][0]} {', '.join(map(str, (broken + index[0] * chunks[0])[:8]))}"
                if len(broken):
                    lost = here[np.isin(inside, broken)]
                    if damaged is None:
                        raise RunError(f"{self.address} is damaged: {name}/{schema.chunk_name(index)} {why}")
                    damaged |= {int(row): f"{name}/{schema.chunk_name(index)} {why}" for row in rows[lost]}
                    keep = ~np.isin(here, lost)
                    here, inside = here[keep], inside[keep]
                if len(here):
                    starts = [i * c for i, c in zip(index[1:], chunks[1:], strict=True)]
                    columns = tuple(slice(s, min(s + c, n)) for s, c, n in zip(starts, chunks[1:], shape[1:], strict=True))
                    out[(here, *columns)] = chunk[(inside, *(slice(0, s.stop - s.start) for s in columns))]
        return out

    def _sums(self, name: str, meta: dict, grid: list[tuple[int, ...]]) -> list[int] | None:
        """Recorded checksums of chunks, 0 where they are not known: one may be whole and of another epoch or run."""
        if "crc32" in meta["attributes"]:
            return [meta["attributes"]["crc32"]] * len(grid)
        if schema.kind_of(name).role != "chunk" or name not in self._crc or self.checked is None:
            return None
        first = np.array([index[0] for index in grid], np.int64)
        epochs = self.checked.snapshot[first] if meta["dimension_names"][0] == "snapshot" else first
        return self._crc[name][epochs].tolist()

    def _told(self, name: str, columns: tuple[int, ...], epochs: np.ndarray) -> np.ndarray | None:
        """Likewise of rows of a table, or of the part of them that lies in one file."""
        sums = self._crc.get(schema.entry(name, columns))
        return None if sums is None else sums[epochs]

    # -- which epochs are there ---------------------------------------------------------------------------------------

    def progress(self, check: str = "sizes") -> Progress:
        """Which epochs are on disk, and for local runs whether every chunk of them is there ("names") and whole ("sizes"); "" trusts."""
        for attempt in range(5):
            progress = self._progress()
            if self.place.stamp("zarr.json") != self._seen:  # it is being written, and names may have been added between the two
                self.reload()
            elif not progress.dropped or attempt > 1:
                break
            else:
                time.sleep(0.001)  # a row may have been read while it was set
        self.checked = progress
        if check and isinstance(self.place, places.Folder):
            self._check_chunks(progress, check == "sizes")
        return progress

    def _progress(self) -> Progress:
        lost: dict[int, str] = {}
        unsure: dict[int, str] = {}
        done = self.read("done", damaged=unsure)
        begun = np.flatnonzero(done | np.isin(np.arange(len(done)), list(unsure)))
        iteration, written = (
            np.full((len(done), *self.arrays[name]["shape"][1:]), fill) for name, fill in (("iteration", -1), ("written", 0))
        )
        self._crc = self._checksums(begun, lost)
        written[begun] = self.read("written", begun, damaged=lost)
        for epoch in unsure:  # the row in `written` is nearly the last before that in `done`
            done[epoch] = written[epoch].any()
        whole = np.flatnonzero(done)
        iteration[whole] = self.read("iteration", whole, damaged=lost)
        slots: dict[int, str] = {}
        snapshot = self.read("snapshot", damaged=slots)
        progress = Progress(done, iteration, written, list(self.arrays["written"]["attributes"]["names"]), snapshot)
        self._check_slots(progress, slots, lost)
        progress.dropped = {epoch: lost[epoch] for epoch in sorted(lost) if done[epoch] or epoch in unsure}
        done[list(progress.dropped)] = False
        return progress

    def _checksums(self, epochs: np.ndarray, lost: dict[int, str]) -> dict[str, np.ndarray]:
        self._crc = {}
        table = next((name for name in ("crc32c", "crc32") if name in self.arrays), None)
        if table is None:
            return {}
        meta = self.arrays[table]
        values = np.zeros(meta["shape"], np.uint32)
        values[epochs] = self.read(table, epochs, damaged=lost)
        columns = np.ascontiguousarray(values.T)
        return dict(zip(meta["attributes"]["names"], columns, strict=True))

    def _check_slots(self, progress: Progress, slots: dict[int, str], lost: dict[int, str]) -> None:
        """Drop epochs whose outputs cannot be found, since the slot that held them is not told or told wrong."""
        taken = progress.snapshot
        taken[(taken < -1) | (taken >= len(progress.done))] = -1
        by_slot = [i for i, item in enumerate(progress.items) if self.arrays.get(item, {}).get("dimension_names", [""])[0] == "snapshot"]
        for epoch in np.flatnonzero(progress.done & (progress.written[:, by_slot] > 0).any(1)).tolist():
            if np.count_nonzero(taken == epoch) != 1:
                lost.setdefault(epoch, next(iter(slots.values()), "the place of its outputs (its entry in snapshot) was altered"))

    def _check_chunks(self, progress: Progress, whole: bool) -> None:
        slots = {int(epoch): slot for slot, epoch in enumerate(progress.snapshot) if epoch >= 0}
        for column, name in enumerate(progress.items):
            meta = self.arrays.get(name)
            if meta is None:
                for epoch in np.flatnonzero(progress.done & (progress.written[:, column] > 0)).tolist():
                    progress.dropped.setdefault(epoch, f"zarr.json does not list {name}")
                continue
            if schema.chunk_shape(meta)[0] != 1:
                continue
            told = progress.written[:, column]
            committed = np.flatnonzero(progress.done & (told > 0))
            sizes, rest = self.place.sizes(name, whole), ".0" * (len(meta["shape"]) - 1)
            numbers = committed.tolist()
            if meta["dimension_names"][0] == "snapshot":
                numbers = [slots.get(epoch, -1) for epoch in numbers]
            chunks = [f"c.{number}{rest}" for number in numbers]
            if not whole and sizes.keys() >= {*chunks}:
                continue
            for epoch, chunk, expected in zip(committed.tolist(), chunks, told[committed].tolist(), strict=True):
                found = sizes.get(chunk)
                if found != expected and (whole or found is None):
                    state = "missing" if found is None else f"{found} bytes long instead of {expected}"
                    progress.dropped.setdefault(epoch, f"{name}/{chunk} is {state}")
        for epoch in progress.dropped:
            progress.done[epoch] = False


def _may_be_missing(name: str, meta: dict) -> bool:
    """In format 1, a table that nothing was written to had no file; since then an epoch that is done has a row in every table."""
    return schema.kind_of(name).role == "table" and not schema.in_rows(meta)


# -- the bytes of a chunk ---------------------------------------------------------------------------------------------------


def _plain_bytes(meta: dict) -> int:
    return np.dtype(meta["data_type"]).itemsize * math.prod(schema.chunk_shape(meta))


def _most_bytes(meta: dict) -> int:
    """Most bytes that a chunk may have on disk."""
    plain = _plain_bytes(meta)
    if schema.in_rows(meta):
        return plain + 20 * schema.chunk_shape(meta)[0] + 4
    return plain + 4 + (plain // 128 + 1024 if "zstd" in schema.codecs(meta) else 0)


def _checksum(data: bytes, meta: dict) -> int:
    return int.from_bytes(data[-4:], "little") if "crc32c" in schema.codecs(meta) else zlib.crc32(data)


def decode(data: bytes, meta: dict, rows: np.ndarray, told: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Values of a chunk, and which of `rows` are not what their checksums tell (in a table, where every row has one).

    `told` holds the checksums that were recorded for the rows, 0 where they are not known.

    Raises
    ------
    ValueError
        The bytes are not a whole chunk.
    """
    shape, codecs = schema.chunk_shape(meta), schema.codecs(meta)
    if schema.in_rows(meta):
        return _decode_rows(data, meta, rows, told)
    if "crc32c" in codecs:
        data, found = data[:-4], data[-4:]
        if google_crc32c.value(data).to_bytes(4, "little") != found:
            raise ValueError("was altered: its checksum is another one")
    if meta["data_type"] == "string":
        return np.array(_texts(data), dtype=object), rows[:0]
    dtype, size = np.dtype(meta["data_type"]).newbyteorder("<"), _plain_bytes(meta)
    if "zstd" in codecs:
        from numcodecs.zstd import Zstd

        # What the frame says of its content is compared before any memory is taken: a few bytes can unpack to terabytes.
        unpacked = content_size(data)
        if unpacked != size:
            raise ValueError(f"unpacks to {unpacked} bytes where {size} belong")
        try:
            data = Zstd().decode(data)
        except RuntimeError as error:
            raise ValueError(f"holds damaged zstd data ({error})") from error
    if len(data) != size:
        raise ValueError(f"holds {len(data)} bytes where {size} belong")
    if dtype.kind == "b" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise ValueError("holds something else than true and false")
    return np.frombuffer(data, dtype).reshape(shape), rows[:0]


def _decode_rows(data: bytes, meta: dict, rows: np.ndarray, told: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a shard: each with its CRC-32C behind it, one after the other, then the index of their places, which is always the same."""
    shape, dtype = schema.chunk_shape(meta), np.dtype(meta["data_type"]).newbyteorder("<")
    width = dtype.itemsize * math.prod(shape[1:])
    if len(data) != _most_bytes(meta):
        raise ValueError(f"holds {len(data)} bytes where {_most_bytes(meta)} belong")
    table = np.frombuffer(data, np.uint8, shape[0] * (width + 4)).reshape(shape[0], width + 4)
    sums = np.ascontiguousarray(table[:, width:]).view("<u4")[:, 0]
    starts = (rows * (width + 4)).tolist()
    wrong = np.array([google_crc32c.value(data[at : at + width]) for at in starts], np.uint32) != sums[rows]
    if told is not None:
        wrong |= (told != 0) & (told != sums[rows])
    if dtype.kind == "b":
        wrong |= table[rows, :width].max(1, initial=0) > 1
    return np.ascontiguousarray(table[:, :width]).view(dtype).reshape(shape), rows[wrong]


def _texts(data: bytes) -> list[str]:
    texts: list[str] = []
    try:
        (n,), at = struct.unpack_from("<I", data), 4
        for _ in range(n):
            (size,) = struct.unpack_from("<I", data, at)
            texts.append(data[at + 4 : at + 4 + size].decode())
            at += 4 + size
    except struct.error as error:
        raise ValueError(f"holds texts that are cut off ({error})") from error
    return texts


def content_size(data: bytes) -> int:
    """Bytes that a zstd frame says it unpacks to (RFC 8878, section 3.1.1.1).

    Raises
    ------
    ValueError
        This is no zstd frame, or it does not say.
    """
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 6:
        raise ValueError("holds no zstd data")
    flags = data[4]
    single, kind = flags >> 5 & 1, flags >> 6
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    width = (single, 2, 4, 8)[kind]
    if not width or len(data) < start + width:
        raise ValueError("holds zstd data of unknown size")
    return int.from_bytes(data[start : start + width], "little") + (256 if width == 2 else 0)
