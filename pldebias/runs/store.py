"""Writes a run: creates the directory, adds epochs, keeps what is finished.

An epoch is written in three steps: its own chunks (matrices, history, snapshot), then its row in the small tables (scalars,
scheme state, bytes written), then its byte in ``done``. Files are written beside their place and moved there; rows are set in
place, which touches no other epoch. So a process that dies at any moment leaves every finished epoch as it was, and an epoch
counts only once ``done`` says so.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np

from pldebias._files import ENDING, put
from pldebias.paths import replace
from pldebias.runs import checks, layout
from pldebias.runs.archive import Archive
from pldebias.runs.disk import explained, force, no_link
from pldebias.runs.layout import RunError

UNFORCED = 4096
"""Files that may wait, at most, to be forced to the disk."""
DIMS = {"test": ("true", "pred"), "history": ("sample",), "history_accepted": ("sample",)} | {
    name: ("sample", "feature" if name == "features" else "klass") for name in layout.SNAPSHOTS
}


def dims_of(name: str) -> tuple[str, ...]:
    """Dimensions of an array that has one chunk per epoch or snapshot, without the first."""
    if name.endswith("_unknown"):
        return ("pseudo",)
    return DIMS.get(name, ("true", "pseudo"))


class Store:
    """The writing side of one run's directory. Not thread-safe: one thread writes.

    Parameters
    ----------
    path : Path
        An existing run; see `Store.create` for a new one.
    """

    def __init__(self, path: Path):
        self.path = path
        archive = Archive(path)
        self.attrs, self.arrays, self.others = archive.attrs, archive.arrays, archive.others
        self.progress = archive.progress()
        self.archive = archive
        self._changed: set[str] = set()
        self._unforced: set[str] = set()
        with explained("tidy up", path):
            self._tidy()

    @classmethod
    def create(cls, path: Path, attrs: dict, true_labels: np.ndarray, test_labels: np.ndarray | None, epochs: int, snapshots: int) -> Store:
        """Make a new run. It is built as ``<path>.init`` and then renamed, so that half a creation is never opened."""
        names, init = attrs["class_names"], path.with_name(path.name + ".init")
        epochs, snapshots = max(1, epochs), max(1, snapshots)
        block = min(epochs, layout.BLOCK)
        arrays = {
            "done": layout.describe((epochs,), (block,), "bool", ("epoch",)),
            "iteration": layout.describe((epochs,), (block,), "int64", ("epoch",), fill=-1),
            "snapshot": layout.describe((snapshots,), (layout.BLOCK,), "int64", ("snapshot",), fill=-1),
            "scalar": layout.describe((0,), (layout.COLUMNS,), "string", ("scalar",)),
            "scalars": cls._table(block, epochs, "float64", "scalar"),
            "written": cls._table(block, epochs, "int64", "item"),
            "crc32": cls._table(block, epochs, "uint32", "entry"),
        }
        fixed = {"true_labels": (true_labels.astype(np.int16), ("sample",))}
        if test_labels is not None:
            fixed["test_labels"] = (test_labels.astype(np.int16), ("test_sample",))
        for name, (values, dims) in fixed.items():
            arrays[name] = layout.describe(values.shape, values.shape, "int16", dims, compress=True)
        for name in ("true", "pseudo", "pred", "klass"):
            fixed[name] = (names, (name,))
            arrays[name] = layout.describe((len(names),), (len(names),), "string", (name,))
        with explained("create a run at", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if init.exists():
                shutil.rmtree(init)
            init.mkdir()
            for name, meta in arrays.items():
                (init / name).mkdir()
                if name in fixed and len(fixed[name][0]):
                    data = layout.encode(fixed[name][0], meta)
                    meta["attributes"]["crc32"] = zlib.crc32(data)
                    put(f"{init}/{name}/c.0", data)
                put(f"{init}/{name}/zarr.json", json.dumps(meta).encode())
            put(f"{init}/zarr.json", cls._root(attrs, arrays, {}))
            replace(init, path)
        store = cls(path)
        store._unforced.update(str(file) for file in path.rglob("*") if file.is_file())
        return store

    @staticmethod
    def _root(attrs: dict, arrays: dict[str, dict], others: dict[str, dict]) -> bytes:
        """Content of the run's ``zarr.json``."""
        return json.dumps(layout.group_of(attrs | {"checksum": checks.seal(attrs, arrays)}, others | arrays)).encode()

    def _tidy(self) -> None:
        """Remove what a killed writer left, repair tables whose files were cut off, and refuse links, through which one would write."""
        for folder, inner, files in os.walk(self.path):
            for name in (*inner, *files):
                if os.path.islink(f"{folder}/{name}"):
                    raise RunError(f"{folder}/{name} is a link; nothing is written through links inside a run, so put the files there")
                if name.endswith(ENDING) and name in files:
                    os.unlink(f"{folder}/{name}")
        for name in self.arrays:
            if not os.path.exists(f"{self.path}/{name}/zarr.json"):
                os.makedirs(f"{self.path}/{name}", exist_ok=True)
                self._changed.add(name)
        for name in filter(checks.is_table, self.arrays):
            meta = self.arrays[name]
            size = layout.most_bytes(meta)
            for chunk, found in self.archive.place.sizes(name).items():
                if chunk.startswith("c.") and found != size:
                    values = np.full(layout.chunk_shape(meta), layout.fill_value(meta), np.dtype(meta["data_type"]).newbyteorder("<"))
                    if name == "done":
                        part = self.progress.done[int(chunk.split(".")[1]) * len(values) :][: len(values)]
                        values[: len(part)] = part
                    self._put(f"{name}/{chunk}", values.tobytes())

    def read_labels(self, name: str) -> np.ndarray:
        """True classes of the unlabelled or the test set."""
        return self.archive.read(name, fill=not self.arrays[name]["shape"][0])  # an empty array has no chunk

    def force(self) -> None:
        """Wait until what was written is safe from a power cut."""
        paths, self._unforced = self._unforced, set()
        with explained("force to the disk", self.path):
            force(paths)

    @staticmethod
    def _table(block: int, epochs: int, dtype: str, columns: str) -> dict:
        chunks = (block, layout.COLUMNS)
        return layout.describe((epochs, 0), chunks, dtype, ("epoch", columns), attributes={"names": []})

    def probe(self) -> None:
        """Find out before training whether a whole epoch fits on the disk."""
        n, k = self.arrays["true_labels"]["shape"][0], len(self.attrs["class_names"])
        with explained("write to", self.path):
            put(f"{self.path}/probe", bytes(3 * n + 20 * k * k + 65536))
            os.unlink(f"{self.path}/probe")

    # -- writing ------------------------------------------------------------------------------------------------------

    def _ensure(self, name: str, shape, dtype: str, dims, *, block: int = 1, compress: bool = False) -> None:
        """Make an array on first use; later, refuse values of another shape."""
        first = dims[0]
        length = self.arrays["done" if first == "epoch" else "snapshot"]["shape"][0]
        if name not in self.arrays:
            self.arrays[name] = layout.describe((length, *shape), (block, *shape), dtype, dims, compress=compress)
            parts = name.split("/")[:-1]
            os.makedirs(f"{self.path}/{name}", exist_ok=True)
            for depth in range(len(parts)):
                self._put(f"{'/'.join(parts[: depth + 1])}/zarr.json", json.dumps(layout.group_of({})).encode())
            self._changed.add(name)
        elif self.arrays[name]["shape"][1:] != list(shape):
            there = self.arrays[name]["shape"][1:]
            raise RunError(f"{name} has shape {list(shape)}, but {there} in the run {self.path}; keep one shape for the whole run")

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
                for start in range(0, len(known), layout.COLUMNS):
                    part = known[start : start + layout.COLUMNS]
                    part = part + [""] * (layout.COLUMNS - len(part))
                    self._put(f"scalar/{layout.chunk_name((start // layout.COLUMNS,))}", layout.encode(part, self.arrays["scalar"]))
        return known

    def _put(self, name: str, data: bytes) -> None:
        path = f"{self.path}/{name}"
        put(path, data)
        self._unforced.add(path)

    def _chunk(self, name: str, i: int, values: np.ndarray) -> tuple[int, int]:
        """Write the one chunk of epoch or slot `i`; returns its size on disk and its checksum."""
        data = layout.encode(values, self.arrays[name])
        self._put(f"{name}/{layout.chunk_name((i, *(0,) * values.ndim))}", data)
        return len(data), zlib.crc32(data)

    def _row(self, name: str, i: int, values) -> int:
        """Set row `i` of a table, in place; returns its checksum.

        Moving a new file over an old one, as for chunks, would make file systems such as ext4 write it out at once: ten times dearer.
        """
        meta = self.arrays[name]
        chunks, dtype = layout.chunk_shape(meta), np.dtype(meta["data_type"]).newbyteorder("<")
        values = np.atleast_1d(np.asarray(values, dtype))
        width = chunks[1] if len(chunks) > 1 else 1
        for column in range(-(-len(values) // width)):
            path = f"{self.path}/{name}/{layout.chunk_name((i // chunks[0], column)[: len(chunks)])}"
            if not os.path.exists(path):
                put(path, np.full(chunks, layout.fill_value(meta), dtype).tobytes())
            with open(path, "r+b", buffering=0, opener=no_link) as file:
                file.seek((i % chunks[0]) * width * dtype.itemsize)
                file.write(values[column * width : (column + 1) * width].tobytes())
            self._unforced.add(path)
        return int(layout.row_checksums(values[None], meta)[0])

    def _grow(self, dim: str, length: int) -> None:
        if length > self.arrays["done" if dim == "epoch" else dim]["shape"][0]:
            self._resize(dim, length)

    def _resize(self, dim: str, length: int) -> None:
        for name, meta in self.arrays.items():
            if meta["dimension_names"][0] == dim:
                meta["shape"][0] = length
                self._changed.add(name)

    def _save_metadata(self) -> None:
        """Write the metadata of changed arrays, then the group's copy of all, which is the one that readers use."""
        for name in sorted(self._changed):
            self._put(f"{name}/zarr.json", json.dumps(self.arrays[name]).encode())
        self._put("zarr.json", self._root(self.attrs, self.arrays, self.others))
        self._changed.clear()

    def _slot(self, epoch: int) -> int:
        taken = self.progress.snapshot
        same = np.flatnonzero(taken == epoch)
        slot = int(same[0]) if len(same) else int((taken >= 0).sum())
        if slot >= len(taken):
            self._grow("snapshot", max(slot + 1, 2 * len(taken)))
            self.progress.snapshot = np.concatenate([taken, np.full(self.arrays["snapshot"]["shape"][0] - len(taken), -1)])
        self.progress.snapshot[slot] = epoch
        return slot

    def write_epoch(self, epoch: int, *, chunks: dict, snapshot: dict, series: dict, scalars: dict, iteration: int | None) -> None:
        """Write one epoch and then mark it done.

        `chunks`, `snapshot` and `series` map array names to values; the names of scheme state in `snapshot` start with
        ``snapshot_state/``, those in `series` with ``scheme/``.
        """
        with explained(f"write epoch {epoch} of", self.path):
            if epoch >= self.arrays["done"]["shape"][0]:
                self._grow("epoch", checks.grown(epoch, self.arrays["done"]["shape"][0]))
            sizes, sums = {}, {}
            for name, values in chunks.items():
                self._ensure(name, values.shape, values.dtype.name, ("epoch", *dims_of(name)), compress=values.nbytes >= 1024)
                sizes[name], sums[name] = self._chunk(name, epoch, values)
            if snapshot:
                slot = self._slot(epoch)
                for name, values in snapshot.items():
                    dims = dims_of(name) if "/" not in name else self._state_dims(name, values.shape)
                    self._ensure(name, values.shape, values.dtype.name, ("snapshot", *dims))
                    sizes[name], sums[name] = self._chunk(name, slot, values)
                self._row("snapshot", slot, epoch)
                sums["snapshot"] = layout.slot_checksum(slot)
            for name, values in series.items():
                self._ensure(name, values.shape, values.dtype.name, ("epoch", "klass"), block=layout.chunk_shape(self.arrays["done"])[0])
                sums[name] = self._row(name, epoch, values)
            for table, row, empty in (("scalars", scalars, np.nan), ("written", sizes, 0)):
                sums[table] = self._row(table, epoch, [row.get(name, empty) for name in self._columns(table, row)])
            sums["iteration"] = self._row("iteration", epoch, -1 if iteration is None else iteration)
            if "crc32" in self.arrays:
                self._row("crc32", epoch, [sums.get(name, 0) for name in self._columns("crc32", sums)])
            if self._changed:
                self._save_metadata()
            self._row("done", epoch, True)
            if len(self._unforced) > UNFORCED:
                self.force()

    def _state_dims(self, name: str, shape) -> tuple[str, ...]:
        k, own = len(self.attrs["class_names"]), name.partition("/")[2].replace("/", ".")  # each array's dimensions are its own
        return tuple("klass" if i == 0 and n == k else f"{own}_{i}" for i, n in enumerate(shape))

    def rewind(self, epoch: int) -> None:
        """Forget the epochs from `epoch` on."""
        with explained(f"rewind to epoch {epoch}", self.path):
            for e in np.flatnonzero(self.archive.read("done", fill=True)).tolist():
                if e >= epoch:
                    self._row("done", e, False)
                    if "crc32" in self.arrays:
                        self._row("crc32", e, np.zeros(self.arrays["crc32"]["shape"][1]))
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
            used = int((self.progress.snapshot >= 0).sum())
            self._resize("snapshot", max(1, used))
            self.attrs["finished"] = bool(finished)
            self._save_metadata()
        self.force()
