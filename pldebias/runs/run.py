"""A recorded run, read lazily."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from pldebias.runs import schema
from pldebias.runs.display import describe, describe_html
from pldebias.runs.reader import Reader
from pldebias.runs.schema import NotLogged, RunError
from pldebias.settings import argument

if TYPE_CHECKING:
    from pathlib import Path

    import pandas
    import xarray

SPLITS = ("all", "accepted", "rejected")


class Run:
    """One training as it was recorded. Make it with `open_run`.

    A matrix says which kind it is: ``visits`` counts what the loss saw during the epoch (samples repeat), ``sweep`` one clean pass
    over the unlabelled set at its end, ``test`` the test set. Kinds are never mixed in a comparison. Epochs are numbered from 0;
    -1 is the last one recorded.

    Attributes
    ----------
    path : str
    attrs : dict
        Everything that was kept beside the arrays.
    dropped : dict of int to str
        Epochs that were recorded but are damaged on disk, with the reason; they are left out everywhere.
    """

    def __init__(self, address, check: str = "sizes"):
        self._reader, self._check = Reader(address), check
        self.path: str = self._reader.address.rstrip("/")
        self._load()

    def _load(self) -> None:
        self.attrs: dict = self._reader.attrs
        self._progress = self._reader.progress(self._check)
        self.dropped = self._progress.dropped
        self._cubes: dict[str, np.ndarray] = {}

    def refresh(self) -> Run:
        """See epochs that were recorded since; returns the run itself."""
        self._reader.reload()
        self.__dict__.pop("scalars", None)
        self._load()
        return self

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def method(self) -> str | None:
        """Such as ``fixmatch+daso``; None if the recorder was not told."""
        return self.attrs.get("method")

    @property
    def data(self) -> str | None:
        return self.attrs.get("data")

    @property
    def seed(self) -> int | None:
        return self.attrs.get("seed")

    @property
    def config(self) -> dict:
        """The settings of the training; empty if the recorder was not told."""
        return self.attrs.get("config") or {}

    @property
    def fingerprint(self) -> str | None:
        """Identity of data and split."""
        return self.attrs.get("fingerprint")

    @property
    def name(self) -> str:
        """``fixmatch+daso/s0``, or the directory's name; of a path in the method, such as the base of a self-training, the end."""
        if self.method is None:
            return PurePosixPath(self.path.replace("\\", "/")).name
        method = re.sub(r"(?<=')[^']*/(?=[^'/]+/[^'/]+')", "…/", self.method)
        return method if self.seed is None else f"{method}/s{self.seed}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.attrs["class_names"])

    @property
    def num_classes(self) -> int:
        return len(self.attrs["class_names"])

    @property
    def labelled_counts(self) -> np.ndarray:
        """Labelled samples per class, shape ``[K]``."""
        return np.asarray(self.attrs["labelled_counts"], np.int64)

    @property
    def unlabelled_counts(self) -> np.ndarray | None:
        """True classes of the unlabelled set, shape ``[K]``; None unless all are known."""
        counts = self.attrs["unlabelled_counts"]
        return None if counts is None else np.asarray(counts, np.int64)

    @property
    def num_unlabelled(self) -> int:
        """N."""
        return self._reader.arrays["true_labels"]["shape"][0]

    @cached_property
    def true_labels(self) -> np.ndarray:
        """True class of every unlabelled sample, shape ``[N]``; -1 where unknown."""
        return self._labels("true_labels")

    @property
    def test_labels(self) -> np.ndarray:
        """True classes of the test set, shape ``[T]``."""
        if "test_labels" not in self._reader.arrays:
            raise NotLogged(f"{self.name}: the recorder was given no test_labels")
        return self._labels("test_labels")

    def _labels(self, name: str) -> np.ndarray:
        return self._within(name, self._reader.read(name), -1).astype(np.int64)

    def _within(self, name: str, labels: np.ndarray, least: int) -> np.ndarray:
        """Refuse labels that are no classes: they would be counted as others."""
        if labels.size and (labels.min() < least or labels.max() >= self.num_classes):
            found = f"{labels.min()}..{labels.max()}"
            raise RunError(f"{self.path} is damaged: {name} holds {found}, but classes are 0..{self.num_classes - 1}")
        return labels

    # -- how far it is ------------------------------------------------------------------------------------------------

    @property
    def epochs(self) -> np.ndarray:
        """Epochs that can be read, ascending, shape ``[E]``."""
        return np.flatnonzero(self._progress.done)

    @property
    def iterations(self) -> np.ndarray:
        """Optimiser steps done at the end of each of `epochs`, shape ``[E]``; -1 where the recorder was not told."""
        return self._progress.iteration[self.epochs]

    @property
    def total_epochs(self) -> int:
        """Planned length of the training; that recorded so far if no length was planned."""
        planned, so_far = self.attrs["num_epochs"], int(self.epochs.max(initial=-1)) + 1
        return so_far if planned is None else max(planned, so_far)

    @property
    def finished(self) -> bool:
        """Whether all epochs are there."""
        complete = self.attrs["num_epochs"] is not None and len(self.epochs) >= self.attrs["num_epochs"]
        return complete or (bool(self.attrs["finished"]) and not self.dropped)

    def logged(self, name: str) -> np.ndarray:
        """Epochs that hold the array `name` (``sweep``, ``history``, ``logits`` ...), ascending."""
        items = self._progress.items
        if name not in items:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self._progress.done & (self._progress.written[:, items.index(name)] > 0))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of matrices that it holds, of ``visits``, ``sweep`` and ``test``."""
        return tuple(kind for kind in schema.MATRICES if len(self.logged(kind)))

    @property
    def snapshots(self) -> np.ndarray:
        """Epochs with outputs (logits, features, semantic logits or larger state), ascending."""
        taken = self._progress.snapshot
        return np.intersect1d(taken[taken >= 0], self.epochs)

    # -- matrices -----------------------------------------------------------------------------------------------------

    def _rows(self, name: str, epoch) -> np.ndarray:
        """Rows of a per-epoch array; `epoch` None, an epoch or a list of them."""
        have = self.logged(name)
        if not len(have):
            held = [item for item in self._progress.items if len(self.logged(item))]
            raise NotLogged(f"{self.name} has no {name!r}; it has {', '.join(held) or 'no finished epoch yet'}")
        if epoch is None:
            if len(have) < len(self.epochs):
                raise NotLogged(
                    f"{self.name} has {name!r} at {len(have)} of {len(self.epochs)} epochs; pass epoch=run.logged({name!r}) for those"
                )
            if name not in self._cubes:
                self._cubes[name] = self._reader.read(name, have)
                self._cubes[name].flags.writeable = False
            return self._cubes[name]
        epoch = argument("epoch", epoch, int | tuple[int, ...])
        wanted = np.atleast_1d(np.asarray(epoch, np.int64))
        wanted = np.where(wanted == -1, have[-1], wanted)
        if len(absent := np.setdiff1d(wanted, have)):
            raise NotLogged(self._absent(name, int(absent[0]), have))
        cube = self._cubes.get(name)
        rows = self._reader.read(name, wanted) if cube is None else cube[np.searchsorted(have, wanted)]
        return rows if np.ndim(epoch) else rows[0]

    def _absent(self, name: str, epoch: int, have: np.ndarray) -> str:
        if epoch in self.dropped:
            return f"epoch {epoch} of {self.name} is damaged: {self.dropped[epoch]}"
        steps = set(np.diff(have).tolist())
        listed = f"{have[0]}..{have[-1]}" if steps <= {1} else ", ".join(map(str, have.tolist()))
        return f"{self.name} has no {name!r} at epoch {epoch}; it has {listed}"

    def confusion(self, kind: str = "sweep", split: str = "all", epoch=None) -> np.ndarray:
        """Confusion matrices of pseudo-labels or test predictions.

        Parameters
        ----------
        kind : "sweep", "visits" or "test"
            See `kinds` for what the run holds.
        split : "all", "accepted" or "rejected"
            By the threshold of the method. A test matrix has no split.
        epoch : int or sequence of int, optional
            -1 is the last. None: every epoch of `epochs`.

        Returns
        -------
        ndarray, int64, shape ``[K, K]`` or ``[E, K, K]``
            Rows true class, columns pseudo-label. Samples with unknown truth are not in it; see `unknown`.

        Raises
        ------
        NotLogged
            (a KeyError) The run has no such kind, or not at this epoch.
        ValueError
            Unknown kind or split.
        """
        return self._split(kind, split, epoch, "")

    def unknown(self, kind: str = "sweep", split: str = "all", epoch=None) -> np.ndarray:
        """Pseudo-labels of the samples whose truth is unknown, shape ``[K]`` or ``[E, K]``; zeros where all are known.

        Arguments as in `confusion`.
        """
        if len(self.logged(kind)) and not len(self.logged(f"{kind}_unknown")):
            return np.zeros_like(self.confusion(kind, split, epoch)[..., 0, :])
        return self._split(kind, split, epoch, "_unknown")

    def pseudo_counts(self, kind: str = "sweep", split: str = "all", epoch=None) -> np.ndarray:
        """How often each class was given as a label, whether the truth is known or not, shape ``[K]`` or ``[E, K]``."""
        return self.confusion(kind, split, epoch).sum(-2) + self.unknown(kind, split, epoch)

    def _split(self, kind: str, split: str, epoch, suffix: str) -> np.ndarray:
        if kind not in schema.MATRICES:
            raise ValueError(f"kind must be one of {', '.join(schema.MATRICES)}; got {kind!r}")
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        if kind == "test" and split != "all":
            raise ValueError(f"test predictions are not accepted or rejected; use split='all', not {split!r}")
        if kind not in self.kinds:
            raise NotLogged(f"{self.name} has no {kind!r} matrices; it has {', '.join(self.kinds) or 'none yet'}")
        if split == "all":
            return self._rows(kind + suffix, epoch).astype(np.int64)
        every, accepted = (self._rows(f"{kind}{part}{suffix}", epoch).astype(np.int64) for part in ("", "_accepted"))
        if (accepted > every).any():
            raise RunError(f"{self.path} is damaged: more samples accepted than there are in {kind}{suffix}")
        return accepted if split == "accepted" else every - accepted

    # -- samples ------------------------------------------------------------------------------------------------------

    def history(self, epoch=None) -> tuple[np.ndarray, np.ndarray]:
        """Pseudo-label of every unlabelled sample in the sweep, and whether it was accepted.

        Parameters
        ----------
        epoch : int or sequence of int, optional
            -1 is the last. None: every epoch.

        Returns
        -------
        label : ndarray, int16, shape ``[N]`` or ``[E, N]``
            -1 where a sample got none; no matrix counts it.
        accepted : ndarray, bool, same shape
        """
        return self._within("history", self._rows("history", epoch), -1), self._rows("history_accepted", epoch)

    def _snapshot(self, name: str, epoch: int) -> np.ndarray:
        have = self.logged(name)
        if not len(have):
            held = [item for item in (*schema.SNAPSHOTS, *self.snapshot_states) if len(self.logged(item))]
            raise NotLogged(f"{self.name} has no {name}; its snapshots hold {', '.join(held) or 'nothing'}")
        epoch = argument("epoch", epoch)
        epoch = int(have[-1]) if epoch == -1 else epoch
        if epoch not in have:
            if epoch in self.dropped:
                raise NotLogged(f"epoch {epoch} of {self.name} is damaged: {self.dropped[epoch]}")
            raise NotLogged(f"{self.name} has {name} at the epochs {', '.join(map(str, have.tolist()))}; not at {epoch}")
        slot = int(np.flatnonzero(self._progress.snapshot == epoch)[0])
        return self._reader.read(name, [slot])[0]

    def logits(self, epoch: int = -1) -> np.ndarray:
        """Logits of the unlabelled set at a snapshot epoch, shape ``[N, K]``, float32 (kept as float16)."""
        return self._snapshot("logits", epoch).astype(np.float32)

    def semantic(self, epoch: int = -1) -> np.ndarray:
        """Logits of the semantic (similarity) classifier at a snapshot epoch, shape ``[N, K]``, float32 (kept as float16)."""
        return self._snapshot("semantic", epoch).astype(np.float32)

    def features(self, epoch: int = -1) -> np.ndarray:
        """Features of the unlabelled set at a snapshot epoch, shape ``[N, D]``, float32 (kept as float16)."""
        return self._snapshot("features", epoch).astype(np.float32)

    # -- state and scalars --------------------------------------------------------------------------------------------

    def _named(self, root: str) -> tuple[str, ...]:
        return tuple(sorted(name.removeprefix(root) for name in self._reader.arrays if name.startswith(root)))

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the scheme state that was logged every epoch, for `state`."""
        return self._named("scheme/")

    @property
    def snapshot_states(self) -> tuple[str, ...]:
        """Names of the larger state that was logged at snapshot epochs, for `snapshot_state`."""
        return self._named("snapshot_state/")

    def state(self, name: str) -> np.ndarray:
        """State of a scheme at every epoch of `epochs`, shape ``[E, K]``; NaN where it was not given."""
        if name not in self.series:
            raise NotLogged(f"{self.name} has no state {name!r}; it has {', '.join(self.series) or 'none'}")
        return self._reader.read(f"scheme/{name}", self.epochs)

    def snapshot_state(self, name: str, epoch: int = -1) -> np.ndarray:
        """Larger state of a scheme at a snapshot epoch, shape ``[K, ...]``."""
        return self._snapshot(f"snapshot_state/{name}", epoch)

    @cached_property
    def scalars(self) -> pandas.DataFrame:
        """Losses, accuracies ... one column each, one row per epoch of `epochs`; NaN where not given."""
        import pandas

        names = self._reader.arrays["scalars"]["attributes"]["names"]
        index = pandas.Index(self.epochs, name="epoch")
        return pandas.DataFrame(self._reader.read("scalars", self.epochs), columns=names, index=index)

    def to_xarray(self) -> xarray.Dataset:
        """All arrays as a lazy Dataset; scheme state under its full name, such as ``scheme/daso/class_dist``.

        The coordinate ``epoch`` numbers the epochs. Those that are missing, unfinished or damaged are left out; the Zarr group itself, as
        xarray opens it, holds them with zeros, and ``done`` tells which they are.
        """
        import xarray

        store = self._reader.place.store()
        ds = xarray.open_zarr(store, chunks=None)
        for root in sorted({name.rpartition("/")[0] for name in self._reader.arrays if "/" in name}):
            group = xarray.open_zarr(store, group=root, chunks=None)
            # Runs of older versions name the dimensions of a/x and b/x alike, whatever their lengths.
            group = group.rename({dim: f"{root}/{dim}" for dim, n in group.sizes.items() if ds.sizes.get(dim, n) != n})
            ds = ds.assign({f"{root}/{name}": variable for name, variable in group.variables.items()})
        return ds.isel(epoch=self.epochs).assign_coords(epoch=self.epochs).assign(done=("epoch", np.ones(len(self.epochs), bool)))

    def to_dataframe(self, what: str = "classes") -> pandas.DataFrame:
        """Long form, one row per epoch and class, cell, sample or nothing: ``"classes"``, ``"confusion"``, ``"history"``, ``"scalars"``.

        See `pldebias.interop.frames.to_dataframe`.
        """
        from pldebias.interop.frames import to_dataframe

        return to_dataframe(self, what)

    def to_netcdf(self, path) -> Path:
        """Write all arrays into one netCDF file; see `pldebias.interop.frames.to_netcdf`."""
        from pldebias.interop.frames import to_netcdf

        return to_netcdf(self, path)

    def __repr__(self) -> str:
        return describe(self)

    def _repr_html_(self) -> str:
        return describe_html(self)


def as_run(run: Run | str | os.PathLike) -> Run:
    """A run, opened if it is given by its path."""
    if isinstance(run, (str, os.PathLike)):
        return open_run(run)
    if not isinstance(run, Run):
        raise ValueError(f"{run!r} is no run; give what pldebias.open_run returns, or the path of a run")
    return run


def open_run(path) -> Run:
    """Open a recorded run; nothing but its records is read until asked for.

    Parameters
    ----------
    path : str or Path
        A run's directory, a zip file of one, or any fsspec address (``https://...``, ``s3://...``, ``memory://...``). A run that is
        still being written can be opened; `Run.refresh` sees its new epochs.

    Returns
    -------
    Run

    Raises
    ------
    RunError
        No run there, or one that a newer pldebias wrote.
    """
    return path if isinstance(path, Run) else Run(path)


__all__ = ["NotLogged", "Run", "RunError", "open_run"]
