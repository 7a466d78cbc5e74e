"""Reads the arrays of a run, from a directory or any fsspec address, and says which epochs can be trusted."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pldebias.runs import layout
from pldebias.runs.layout import RunError


@dataclass
class Progress:
    """Which epochs are on disk.

    `done` [E] marks epochs that were committed and are intact; `written` [E, items] holds the bytes of every chunk, 0 where an
    epoch has none; `snapshot` [S] the epoch of every snapshot slot, -1 where free; `dropped` the epochs that were committed but
    cannot be read, with the reason.
    """

    done: np.ndarray
    iteration: np.ndarray
    written: np.ndarray
    items: list[str]
    snapshot: np.ndarray
    dropped: dict[int, str] = field(default_factory=dict)

    @property
    def first_unfinished(self) -> int:
        missing = np.flatnonzero(~self.done)
        return int(missing[0]) if len(missing) else len(self.done)


class Archive:
    """Raw access to one run.

    Parameters
    ----------
    address : path or fsspec URL
        ``runs/x``, ``memory://x``, ``https://host/x``, ``s3://bucket/x`` ...

    Raises
    ------
    RunError
        Nothing there, not a run, or written by a newer version.
    """

    def __init__(self, address):
        self.address = os.fspath(address) if not isinstance(address, str) else address
        self.fs = None
        if "://" in self.address and not self.address.startswith("file://"):
            import fsspec

            self.fs, root = fsspec.core.url_to_fs(self.address)
            self.root = root.rstrip("/")
        else:
            self.root = str(Path(self.address.removeprefix("file://")).expanduser())
        self.reload()

    def reload(self) -> None:
        """Read the metadata again."""
        try:
            text = self._get(["zarr.json"])[0]
        except NotADirectoryError as error:
            raise RunError(f"{self.address} is no run: a file lies where its directory should be") from error
        except OSError as error:
            raise RunError(f"cannot open {self.address}: {error}") from error
        if text is None:
            raise RunError(self._nothing_here())
        try:
            root = json.loads(text)
            self.attrs: dict = root["attributes"]
            tree = root["consolidated_metadata"]["metadata"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.address} is no run: its zarr.json is damaged or was written by another program") from error
        version = self.attrs.get("pldebias_format")
        if version is None:
            raise RunError(f"{self.address} is a Zarr group, but no run of pldebias (no attribute pldebias_format)")
        if version > layout.FORMAT:
            raise RunError(
                f"{self.address} has store format {version}; this pldebias reads up to {layout.FORMAT}. Upgrade pldebias, "
                "or read the arrays with xarray.open_zarr"
            )
        self.arrays: dict[str, dict] = {name: meta for name, meta in tree.items() if meta["node_type"] == "array"}

    def _nothing_here(self) -> str:
        if self.fs is not None:
            return f"no run at {self.address} (no zarr.json there)"
        root = Path(self.root)
        if not root.is_dir():
            return f"no run at {root}: no such directory"
        inner = sorted(str(path.parent.relative_to(root)) for path in root.glob("*/*/zarr.json"))
        inner += sorted(str(path.parent.relative_to(root)) for path in root.glob("*/zarr.json"))
        hint = f"; there are runs inside it: {', '.join(inner[:5])}" if inner else ""
        return f"no run at {root}: the directory has no zarr.json{hint}"

    def _get(self, names: list[str]) -> list[bytes | None]:
        """Contents of files, None for those that do not exist."""
        if self.fs is None:
            result: list[bytes | None] = []
            for name in names:
                try:
                    with open(f"{self.root}/{name}", "rb", buffering=0) as file:
                        result.append(file.read())
                except FileNotFoundError:
                    result.append(None)
            return result
        paths = [f"{self.root}/{name}" for name in names]
        found = self.fs.cat(paths, on_error="return")
        if isinstance(found, bytes):
            found = {paths[0]: found}
        # File systems may return keys in their own spelling, but they keep the order.
        values = [found[path] for path in paths] if all(path in found for path in paths) else list(found.values())
        for value in values:
            if isinstance(value, Exception) and not isinstance(value, FileNotFoundError):
                raise RunError(f"cannot read {self.address}: {value}") from value
        return [None if isinstance(value, Exception) else bytes(value) for value in values]

    def read(self, name: str, where=None, fill: bool = False) -> np.ndarray:
        """An array, or some rows of it.

        Parameters
        ----------
        name : str
            Such as ``sweep`` or ``scheme/daso/class_dist``.
        where : sequence of int, optional
            Rows (positions on the first axis); None reads all.
        fill : bool
            A chunk that does not exist reads as the fill value instead of raising.

        Raises
        ------
        RunError
            A chunk is missing or damaged.
        """
        meta = self.arrays[name]
        shape, chunks = tuple(meta["shape"]), layout.chunk_shape(meta)
        dtype = object if meta["data_type"] == "string" else np.dtype(meta["data_type"])
        rows = np.arange(shape[0]) if where is None else np.asarray(where, np.int64)
        out = np.full((len(rows), *shape[1:]), layout.fill_value(meta), dtype)
        wanted = sorted(set((rows // chunks[0]).tolist()))
        grid = [(b, *rest) for b in wanted for rest in layout.blocks(shape[1:], chunks[1:])]
        files = self._get([f"{name}/{layout.chunk_name(index)}" for index in grid])
        for index, data in zip(grid, files, strict=True):
            if data is None:
                if fill:
                    continue
                raise RunError(f"{self.address} is damaged: {name}/{layout.chunk_name(index)} is missing")
            try:
                chunk = layout.decode(data, meta)
            except (ValueError, IndexError) as error:
                raise RunError(f"{self.address} is damaged: {name}/{layout.chunk_name(index)}: {error}") from error
            start = [i * c for i, c in zip(index, chunks, strict=True)]
            columns = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start[1:], chunks[1:], shape[1:], strict=True))
            inside = tuple(slice(0, s.stop - s.start) for s in columns)
            here = np.flatnonzero(rows // chunks[0] == index[0]) if len(wanted) > 1 else np.arange(len(rows))
            out[(here, *columns)] = chunk[(rows[here] - start[0], *inside)]
        return out

    def table(self, name: str) -> tuple[list[str], np.ndarray]:
        """Column names and values ``[E, columns]`` of ``scalars`` or ``written``."""
        return list(self.arrays[name]["attributes"]["names"]), self.read(name, fill=True)

    def progress(self, check: bool = True) -> Progress:
        """Which epochs are on disk; with `check`, whether every chunk of them has the size it was written with (local runs)."""
        dropped: dict[int, str] = {}
        try:
            done = self.read("done", fill=True).astype(bool)
            items, written = self.table("written")
            iteration = self.read("iteration", fill=True)
            snapshot = self.read("snapshot", fill=True)
        except RunError as error:
            # Without its records nothing tells a finished epoch from half of one.
            n = self.arrays["done"]["shape"][0]
            names = list(self.arrays["written"]["attributes"]["names"])
            empty = np.zeros((n, len(names)), np.int64)
            return Progress(np.zeros(n, bool), np.zeros(n, np.int64), empty, names, np.zeros(0, np.int64), {-1: f"all epochs: {error}"})
        progress = Progress(done, iteration, written, items, snapshot, dropped)
        if check and self.fs is None:
            self._check_sizes(progress)
        return progress

    def _check_sizes(self, progress: Progress) -> None:
        slots = {int(epoch): slot for slot, epoch in enumerate(progress.snapshot) if epoch >= 0}
        for column, name in enumerate(progress.items):
            meta = self.arrays.get(name)
            if meta is None or layout.chunk_shape(meta)[0] != 1:
                continue
            try:
                with os.scandir(f"{self.root}/{name}") as entries:
                    sizes = {entry.name: entry.stat().st_size for entry in entries}
            except OSError:
                sizes = {}
            rest = (0,) * (len(meta["shape"]) - 1)
            by_slot = meta["dimension_names"][0] == "snapshot"
            for epoch in np.flatnonzero(progress.done & (progress.written[:, column] > 0)).tolist():
                chunk = layout.chunk_name((slots.get(epoch, -1) if by_slot else epoch, *rest))
                expected, found = int(progress.written[epoch, column]), sizes.get(chunk)
                if found != expected and epoch not in progress.dropped:
                    state = "missing" if found is None else f"{found} bytes long instead of {expected}"
                    progress.dropped[epoch] = f"{name}/{chunk} is {state}"
        for epoch in progress.dropped:
            progress.done[epoch] = False
