"""Writes a run: creates the directory, adds epochs, keeps what is finished.

zarr-python makes the arrays and encodes their chunks (zstd and CRC-32C). An epoch is written in three steps: its own chunks (matrices,
history, snapshot), then its row in the small tables (scalars, scheme state, bytes written), then its row in ``done``. Files are written
beside their place and moved there. The tables are Zarr shards, whose rows are chunks with a checksum each. A row is set in place, which
touches no other epoch and takes 20 microseconds; zarr would write the whole shard anew. So a process that dies at any
moment leaves every finished epoch as it was, and an epoch counts only once ``done`` says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr.api.asynchronous
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore, StorePath

from pldebias._files import ENDING, put
from pldebias.paths import replace
from pldebias.runs import schema
from pldebias.runs.disk import explained, force, no_link
from pldebias.runs.reader import Reader
from pldebias.runs.schema import RunError

UNFORCED = 4096
"""Files that may wait, at most, to be forced to the disk."""
_KEYS: Any = {"name": "default", "configuration": {"separator": "."}}
_ALL: Any = {"write_empty_chunks": True}  # a chunk of zeros is a file too: one that is missing was lost


class _Files(LocalStore):
    """The files of a run for zarr: put whole, in the thread that asks, and not in a place that is gone."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.written: dict[str, tuple[int, int]] = {}  # bytes and CRC-32C, the last of them
        self.unforced: set[str] = set()

    def put(self, key: str, data) -> None:
        path = f"{self.root}/{key}"
        try:
            put(path, data)
        except FileNotFoundError:
            if not self.root.is_dir():  # the disk is gone: nothing is put in its place
                raise
            os.makedirs(os.path.dirname(path), exist_ok=True)
            put(path, data)
        self.written[key] = len(data), int.from_bytes(data[-4:], "little")
        self.unforced.add(path)

    async def set(self, key: str, value) -> None:
        self.put(key, value.as_buffer_like())

    async def set_if_not_exists(self, key: str, value) -> None:
        if not os.path.exists(f"{self.root}/{key}"):
            self.put(key, value.as_buffer_like())


class _Here(ThreadPoolExecutor):
    """Does the work of other threads at once: when the interpreter exits there are none, and an abandoned recorder still writes."""

    def submit(self, function, /, *args, **kwargs):
        done: Future = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def _run(work: Coroutine) -> None:
    """Have zarr do its work in this thread, in a loop of its own."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_Here(1))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop.run_until_complete(work)
    else:  # as in a notebook
        with ThreadPoolExecutor(1) as thread:
            thread.submit(loop.run_until_complete, work).result()
    finally:
        loop.close()


def _shard(meta: dict, lost=()) -> bytes:
    """A table's file, as zarr would write it, full of the fill value; rows in `lost` do not have the checksum of what they hold."""
    rows, *columns = schema.chunk_shape(meta)
    row = _sealed(np.full(columns, schema.fill_value(meta), np.dtype(meta["data_type"]).newbyteorder("<")))
    held = np.tile(np.frombuffer(row, np.uint8), (rows, 1))
    held[list(lost), -1] ^= 255
    return held.tobytes() + _sealed(np.array([[i * len(row), len(row)] for i in range(rows)], "<u8"))


def _sealed(values: np.ndarray) -> bytes:
    """Bytes, and their CRC-32C behind them."""
    data = values.tobytes()
    return data + google_crc32c.value(data).to_bytes(4, "little")


class Store:
    """The writing side of one run's directory. Not thread-safe: one thread writes.

    Parameters
    ----------
    path : Path
        An existing run; see `Store.create` for a new one.
    """

    before_done: Callable[[], None] = staticmethod(lambda: None)
    """What is called before an epoch counts; the recorder asks its lock here."""

    def __init__(self, path: Path):
        self._take(path)
        with explained("tidy up", path):
            self._tidy()

    def _take(self, path: Path) -> None:
        self.path, self.files, self.reader = path, _Files(path), Reader(path)
        self.attrs, self.arrays, self.others = self.reader.attrs, self.reader.arrays, self.reader.others
        self.progress = self.reader.progress()
        self._changed: set[str] = set()
        if self.attrs["pldebias_format"] < schema.FORMAT:  # what is new in it has its own checksums
            self.attrs["pldebias_format"] = schema.FORMAT
            self.arrays.pop("crc32", None)
            self._changed.add("done")

    @classmethod
    def create(cls, path: Path, attrs: dict, true_labels: np.ndarray, test_labels: np.ndarray | None, epochs: int, snapshots: int) -> Store:
        """Make a new run. It is built as ``<path>.init`` and then renamed, so that half a creation is never opened."""
        init = path.with_name(path.name + ".init")
        store = cls.__new__(cls)
        store.attrs, store.arrays, store.others, store.files, store._changed = attrs, {}, {}, _Files(init), set()
        with explained("create a run at", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if init.exists():
                shutil.rmtree(init)
            init.mkdir()
            _run(store._create(true_labels, test_labels, max(1, epochs), max(1, snapshots)))
            store._save_metadata()
            replace(init, path)
        unforced = {f"{path}{file.removeprefix(str(init))}" for file in store.files.unforced}
        store._take(path)
        store.files.unforced = unforced
        return store

    async def _create(self, true_labels: np.ndarray, test_labels: np.ndarray | None, epochs: int, snapshots: int) -> None:
        for name, length in (("done", epochs), ("iteration", epochs), ("snapshot", snapshots)):
            await self._add(name, (length,))
        for name in ("scalars", "written", "crc32c"):
            await self._add(name, (epochs, 0))
        await self._add("scalar", (0,))
        for name in ("true", "pseudo", "pred", "klass"):
            await self._fill(name, np.array(self.attrs["class_names"], object))
        await self._fill("true_labels", true_labels.astype(np.int16))
        if test_labels is not None:
            await self._fill("test_labels", test_labels.astype(np.int16))
        self._cover()

    async def _fill(self, name: str, values: np.ndarray) -> None:
        await self._add(name, values.shape)
        if values.size:
            await self._array(name).setitem(slice(None), values)
            if schema.kind_of(name).role == "whole":  # two of them could be taken for each other
                self.arrays[name]["attributes"]["crc32"] = self.files.written[f"{name}/c.0"][1]

    async def _add(self, name: str, shape: tuple[int, ...], dtype: str | None = None, dims: tuple[str, ...] | None = None) -> None:
        """Make an array as the table of the schema tells."""
        kind = schema.kind_of(name)
        dtype, whole = dtype or kind.dtypes[0], tuple(max(1, n) for n in shape)
        shards: tuple[int, ...] | None = None
        codecs: list[Any] = [Crc32cCodec()]
        if kind.role == "table":
            columns = (schema.COLUMNS,) if len(shape) > 1 and kind.dims[1] != "klass" else whole[1:]
            chunks, shards = (1, *columns), (min(whole[0], schema.ROWS), *columns)
        else:
            chunks = (1, *whole[1:]) if kind.role == "chunk" else (schema.COLUMNS,) if name == "scalar" else whole
            if kind.dims[0] != "snapshot" and dtype != "string" and np.dtype(dtype).itemsize * np.prod(chunks) >= 1024:
                codecs.insert(0, ZstdCodec(level=1))
        fill = kind.fill if kind.fill is not None else {"f": np.nan, "b": False, "s": ""}.get(dtype[0], 0)
        array = await zarr.api.asynchronous.create_array(
            self.files, name=name, shape=shape, chunks=chunks, shards=shards, dtype=dtype, compressors=codecs, fill_value=fill,
            dimension_names=dims or kind.dims, chunk_key_encoding=_KEYS, overwrite=True, zarr_format=3, config=_ALL,
            attributes={"names": []} if kind.dims[1:] in (("scalar",), ("item",), ("entry",)) else None,
        )  # fmt: skip
        self.arrays[name] = json.loads(json.dumps(array.metadata.to_dict()))
        self._changed.add(name)

    def _array(self, name: str) -> zarr.AsyncArray:
        metadata: Any = self.arrays[name]
        return zarr.AsyncArray(metadata=metadata, store_path=StorePath(self.files, name), config=_ALL)

    def _tidy(self) -> None:
        """Remove what a killed writer left, repair tables whose files were cut off, and refuse links, through which one would write."""
        for folder, inner, files in os.walk(self.path):
            for name in (*inner, *files):
                if os.path.islink(f"{folder}/{name}"):
                    raise RunError(f"{folder}/{name} is a link; nothing is written through links inside a run, so put the files there")
                if name.endswith(ENDING) and name in files:
                    os.unlink(f"{folder}/{name}")
        self._changed |= {name for name in self.arrays if not os.path.exists(f"{self.path}/{name}/zarr.json")}
        for name in [name for name in self.arrays if schema.kind_of(name).role == "table"]:
            self._repair(name, {"done": self.progress.done, "snapshot": self.progress.snapshot}.get(name))

    def _repair(self, name: str, known: np.ndarray | None) -> None:
        """Make a table whole again. Rows that are `known` otherwise are set, what finished epochs held elsewhere is lost, and stays so."""
        meta, sizes, damaged = self.arrays[name], self.reader.place.sizes(name), {}
        rows, size = schema.chunk_shape(meta)[0], len(self._empty(meta))
        if not schema.in_rows(meta):
            if wrong := [chunk for chunk, found in sizes.items() if chunk.startswith("c.") and found != size]:
                raise RunError(f"{self.path} cannot go on: {name}/{wrong[0]} is damaged. It can be read; record into another directory")
            return
        if known is not None:
            self.reader.read(name, damaged=damaged)
        whole = np.flatnonzero(self.progress.done)
        for block in range(-(-meta["shape"][0] // rows)):
            lost = whole[whole // rows == block] % rows if known is None else ()
            for chunk in self._chunks_of(name, block):
                if (found := sizes.get(chunk)) != size and (found is not None or known is not None or len(lost)):
                    self.files.put(f"{name}/{chunk}", _shard(meta, lost))
        for row in damaged:
            self._row(name, row, known[row])

    def _empty(self, meta: dict) -> bytes:
        if schema.in_rows(meta):
            return _shard(meta)
        return np.full(schema.chunk_shape(meta), schema.fill_value(meta), np.dtype(meta["data_type"]).newbyteorder("<")).tobytes()

    def _chunks_of(self, name: str, block: int) -> list[str]:
        """Names of the files of a table that hold a block of epochs."""
        meta = self.arrays[name]
        parts = [range(-(-n // c)) for n, c in zip(meta["shape"][1:], schema.chunk_shape(meta)[1:], strict=True)]
        return [schema.chunk_name((block, *index)) for index in np.ndindex(*map(len, parts))]

    def _cover(self) -> None:
        """Give every row of `done` and `snapshot` a file, so that one which is missing was lost."""
        for name in ("done", "snapshot"):
            meta = self.arrays[name]
            for block in range(-(-meta["shape"][0] // schema.chunk_shape(meta)[0])) if schema.in_rows(meta) else ():
                if not os.path.exists(f"{self.files.root}/{name}/c.{block}"):
                    self.files.put(f"{name}/c.{block}", _shard(meta))

    def read_labels(self, name: str) -> np.ndarray:
        """True classes of the unlabelled or the test set."""
        return self.reader.read(name)

    def force(self) -> None:
        """Wait until what was written is safe from a power cut."""
        paths, self.files.unforced = self.files.unforced, set()
        with explained("force to the disk", self.path):
            force(paths)

    def probe(self) -> None:
        """Find out before training whether a whole epoch fits on the disk."""
        n, k = self.arrays["true_labels"]["shape"][0], len(self.attrs["class_names"])
        with explained("write to", self.path):
            put(f"{self.path}/probe", bytes(3 * n + 20 * k * k + 65536))
            os.unlink(f"{self.path}/probe")

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _chunks(self, chunks: dict[str, np.ndarray], index: int, first: str) -> None:
        """Write the chunk of epoch or slot `index` of every array; one that is new is made, values of another shape are refused."""
        length = self.arrays["done" if first == "epoch" else "snapshot"]["shape"][0]
        for name, values in chunks.items():
            if name not in self.arrays:
                await self._add(name, (length, *values.shape), values.dtype.name, self._dims(name, values.shape))
            elif (there := self.arrays[name]["shape"][1:]) != list(values.shape):
                shape = list(values.shape)
                raise RunError(f"{name} has shape {shape}, but {there} in the run {self.path}; keep one shape for the whole run")
            await self._array(name).setitem(index, values)

    def _dims(self, name: str, shape) -> tuple[str, ...] | None:
        if not name.startswith("snapshot_state/"):
            return None
        k, own = len(self.attrs["class_names"]), name.partition("/")[2].replace("/", ".")  # each array's dimensions are its own
        return ("snapshot", *("klass" if i == 0 and n == k else f"{own}_{i}" for i, n in enumerate(shape)))

    def _told(self, name: str, index: int) -> tuple[int, int]:
        """Bytes and checksum of the chunk of an epoch or slot that was written; 0 for one without, of format 1."""
        size, crc = self.files.written.pop(f"{name}/{schema.chunk_name((index, *(0,) * (len(self.arrays[name]['shape']) - 1)))}")
        return size, crc if "crc32c" in schema.codecs(self.arrays[name]) else 0

    def _columns(self, table: str, names) -> list[str]:
        """Columns of a table, with `names` added where they are new."""
        meta = self.arrays[table]
        known = meta["attributes"]["names"]
        new = [name for name in names if name not in known]
        if new:
            known.extend(new)
            meta["shape"][1] = len(known)
            self._changed.add(table)
            if table == "scalars":
                self.arrays["scalar"]["shape"] = [len(known)]
                self._changed.add("scalar")
                _run(self._array("scalar").setitem(slice(None), np.array(known, object)))
        return known

    def _row(self, name: str, i: int, values) -> dict[str, int]:
        """Set row `i` of a table, in place; returns the checksums of its parts.

        Moving a new file over an old one, as for chunks, would make file systems such as ext4 write it out at once: ten times dearer.
        """
        meta = self.arrays[name]
        (rows, *columns), dtype = schema.chunk_shape(meta), np.dtype(meta["data_type"]).newbyteorder("<")
        chunks = self._chunks_of(name, i // rows)
        held = np.full((len(chunks), *columns), schema.fill_value(meta), dtype)
        values = np.atleast_1d(np.asarray(values, dtype))
        held.reshape(-1)[: len(values)] = values
        sums = {}
        for column, (chunk, part) in enumerate(zip(chunks, held, strict=True)):
            path, data = f"{self.path}/{name}/{chunk}", _sealed(part) if schema.in_rows(meta) else part.tobytes()
            if not os.path.exists(path):
                for block in range(i // rows + 1):  # a column that is new gets a file for the epochs before it, too
                    if not os.path.exists(f"{self.path}/{name}/{(earlier := chunk.replace(f'c.{i // rows}', f'c.{block}', 1))}"):
                        self.files.put(f"{name}/{earlier}", self._empty(meta))
            with open(path, "r+b", buffering=0, opener=no_link) as file:
                file.seek((i % rows) * len(data))
                file.write(data)
            self.files.unforced.add(path)
            if schema.in_rows(meta):
                sums[schema.entry(name, (column,)[: len(columns)])] = int.from_bytes(data[-4:], "little")
        return sums

    def _resize(self, dim: str, length: int) -> None:
        for name, meta in self.arrays.items():
            if meta["dimension_names"][0] == dim:
                meta["shape"][0] = length
                self._changed.add(name)
        self._cover()

    def _save_metadata(self) -> None:
        """Write the metadata of changed arrays, then the group's copy of all, which is the one that readers use."""
        for name in sorted(self._changed):
            self.files.put(f"{name}/zarr.json", json.dumps(self.arrays[name]).encode())
        tree: dict[str, dict] = self.others | self.arrays
        for name in list(tree):
            parts = name.split("/")[:-1]
            for depth in range(len(parts)):
                tree.setdefault("/".join(parts[: depth + 1]), {"zarr_format": 3, "node_type": "group", "attributes": {}})
        root = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": self.attrs | {"checksum": schema.seal(self.attrs, self.arrays)},
            "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": dict(sorted(tree.items()))},
        }
        self.files.put("zarr.json", json.dumps(root).encode())
        self._changed.clear()

    def _slot(self, epoch: int) -> int:
        taken = self.progress.snapshot
        same = np.flatnonzero(taken == epoch)
        slot = int(same[0]) if len(same) else int((taken >= 0).sum())
        if slot >= len(taken):
            self._resize("snapshot", max(slot + 1, 2 * len(taken)))
            self.progress.snapshot = np.concatenate([taken, np.full(self.arrays["snapshot"]["shape"][0] - len(taken), -1)])
        self.progress.snapshot[slot] = epoch
        return slot

    def write_epoch(self, epoch: int, *, chunks: dict, snapshot: dict, series: dict, scalars: dict, iteration: int | None) -> None:
        """Write one epoch and then mark it done.

        `chunks`, `snapshot` and `series` map array names to values; the names of scheme state in `snapshot` start with
        ``snapshot_state/``, those in `series` with ``scheme/``.
        """
        with explained(f"write epoch {epoch} of", self.path):
            if epoch >= (length := self.arrays["done"]["shape"][0]):
                self._resize("epoch", schema.grown(epoch, length))
            _run(self._chunks(chunks, epoch, "epoch"))
            told = {name: self._told(name, epoch) for name in chunks}
            if snapshot:
                slot = self._slot(epoch)
                _run(self._chunks(snapshot, slot, "snapshot"))
                told |= {name: self._told(name, slot) for name in snapshot}
                self._row("snapshot", slot, epoch)
            sums = {name: crc for name, (_, crc) in told.items()}
            for name, values in series.items():
                if name not in self.arrays:
                    _run(self._add(name, (self.arrays["done"]["shape"][0], *values.shape), values.dtype.name))
            for name in filter(lambda name: name.startswith("scheme/"), self.arrays):
                sums |= self._row(name, epoch, series.get(name, np.full(len(self.attrs["class_names"]), np.nan)))
            sums |= self._row("iteration", epoch, -1 if iteration is None else iteration)
            sizes = {name: size for name, (size, _) in told.items()}
            for table, row, empty in (("scalars", scalars, np.nan), ("written", sizes, 0), ("crc32c", sums, 0)):
                if table in self.arrays:
                    sums |= self._row(table, epoch, [row.get(name, empty) for name in self._columns(table, row)])
            if self._changed:
                self._save_metadata()
            self.before_done()
            self._row("done", epoch, True)
            self.files.written.clear()
            if len(self.files.unforced) > UNFORCED:
                self.force()

    def rewind(self, epoch: int) -> None:
        """Forget the epochs from `epoch` on."""
        with explained(f"rewind to epoch {epoch}", self.path):
            for name in ("done", "written"):
                rows = self.reader.read(name, damaged={})
                for e in np.flatnonzero(rows.any(axis=tuple(range(1, rows.ndim)))).tolist():
                    if e >= epoch:
                        self._row(name, e, np.zeros(rows.shape[1:]))
            for slot in np.flatnonzero(self.progress.snapshot >= epoch).tolist():
                self.progress.snapshot[slot] = -1
                self._row("snapshot", slot, -1)
            if self.attrs["finished"]:
                self.attrs["finished"] = False
                self._save_metadata()

    def close(self, finished: bool, length: int) -> None:
        """Record whether the run is complete and trim arrays that were made longer than it became."""
        with explained("close", self.path):
            if self.attrs["num_epochs"] is None:
                self._resize("epoch", max(1, length))
            self._resize("snapshot", max(1, int((self.progress.snapshot >= 0).sum())))
            self.attrs["finished"] = bool(finished)
            self._save_metadata()
        self.force()
