"""Counts pseudo-labels during training and writes one epoch after the other, without holding the training up."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pldebias.paths import is_address, local
from pldebias.runs import checks, layout
from pldebias.runs.archive import Archive
from pldebias.runs.counts import Counter, matrices
from pldebias.runs.disk import explained
from pldebias.runs.layout import RunError
from pldebias.runs.lock import WriterLock
from pldebias.runs.store import Store, to_json
from pldebias.runs.writer import Handover, Writer, abandon

RESERVED = ("pldebias_format", "class_names", "labelled_counts", "unlabelled_counts", "num_epochs", "finished", "checksum")
IDENTITY = ("method", "data", "seed", "fingerprint")


class Recorder:
    """Records a training, epoch by epoch, in one directory that `open_run` and plain ``xarray.open_zarr`` read.

    Three lines in any loop::

        recorder = Recorder("runs/mine", true_labels, labelled_counts, class_names)
        recorder.update(index, label, accepted)            # every step; never waits for the device
        recorder.end_epoch(scalars={"test_accuracy": 0.71})  # every epoch; written by a thread of its own

    Parameters
    ----------
    path : str or Path
        A local directory that does not exist yet, is empty or (with `resume`) holds this very run.
    true_labels : array_like of int, shape ``[N]``, or None
        True classes of the unlabelled set, -1 where unknown. None with `num_unlabelled`: all unknown.
    labelled_counts : array_like of int, shape ``[K]``
        Labelled samples per class.
    class_names : sequence of str
        K names.
    num_epochs : int, optional
        Length of the training. None: the arrays grow, and `close` declares the run finished.
    attrs : dict, optional
        What else to keep: ``config``, ``method``, ``data``, ``seed``, ``fingerprint`` ... (as JSON can hold it).
    device : torch.device, optional
        Where labels will be made. Default: the device of the first labels.
    num_features : int, optional
        Width D of the features; default: that of the first features.
    snapshots : sequence of int
        Epochs at which outputs will be given (room is made for them; others may still be given). Kept as `snapshots`.
    test_labels : array_like of int, shape ``[T]``, optional
        True classes of the test set; `end_epoch` then takes ``test=prediction``.
    resume : bool
        Continue the run at `path` at its first unfinished epoch; start anew if there is none.
    num_unlabelled : int, optional
        N, if `true_labels` is None.

    Attributes
    ----------
    epoch : int
        The epoch that the next `end_epoch` records, from 0.

    Raises
    ------
    RunError
        The directory holds something else or another run, another process writes it, or it cannot be written.
    ValueError
        Arguments that do not fit each other.
    """

    def __init__(
        self,
        path,
        true_labels,
        labelled_counts,
        class_names,
        *,
        num_epochs: int | None = None,
        attrs: dict | None = None,
        device=None,
        num_features: int | None = None,
        snapshots=(),
        test_labels=None,
        resume: bool = False,
        num_unlabelled: int | None = None,
    ):
        if is_address(path):
            raise ValueError(f"record into a local directory and copy it when it is finished; got {path}")
        self.path = local(path).absolute()  # the working folder may change while it records
        self.class_names = tuple(str(name) for name in class_names)
        k = self.num_classes = len(self.class_names)
        if not 1 <= k <= 32767:
            raise ValueError(f"1 to 32767 classes can be recorded; got {k} class names")
        if true_labels is None:
            if num_unlabelled is None:
                raise ValueError("give true_labels, or num_unlabelled if the truth is unknown")
            true_labels = np.full(num_unlabelled, -1)
        truth = self._classes(true_labels, "true_labels")
        counts = _numpy(labelled_counts)
        if counts.shape != (k,):
            raise ValueError(f"labelled_counts needs one count per class, shape [{k}]; got {list(counts.shape)}")
        tests = None if test_labels is None else self._classes(test_labels, "test_labels")
        known = truth[truth >= 0]
        self.num_unlabelled, self.num_epochs, self.num_features = len(truth), num_epochs, num_features
        self.snapshots = frozenset(int(epoch) for epoch in snapshots)
        self._test_labels, self._has_unknown = tests, len(known) < len(truth)
        self._counter = Counter(truth, k)
        if device is not None:
            self._counter.to(torch.device(device))

        given = to_json(attrs or {})
        if clash := [name for name in given if name in RESERVED]:
            raise ValueError(f"attrs must not set {', '.join(clash)}; the recorder does")
        given |= {
            "pldebias_format": layout.FORMAT,
            "class_names": list(self.class_names),
            "labelled_counts": [int(n) for n in counts],
            "unlabelled_counts": None if self._has_unknown else np.bincount(known, minlength=k).tolist(),
            "num_epochs": num_epochs,
            "finished": False,
        }
        if problem := checks.attributes(given):
            raise ValueError(problem)
        with explained("write beside", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(self.path)
        try:
            store = self._open(given, truth, resume)
            store.probe()
        except BaseException:
            self._lock.release()
            raise
        self.epoch = store.progress.first_unfinished
        self._end = int(np.flatnonzero(store.progress.done).max(initial=-1)) + 1
        self._stale = True  # epochs from here on may lie on disk, half-trusted; they are forgotten before the first is written
        self._store, self._writer = store, Writer(store)
        self._finalizer = weakref.finalize(self, abandon, self._writer, self._lock)

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, attrs: dict, truth: np.ndarray, resume: bool) -> Store:
        path = self.path
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; a run needs a directory of its own")
        if not (path / "zarr.json").exists():
            if path.exists() and (held := sorted(p.name for p in path.iterdir())):
                raise RunError(f"{path} holds something else ({', '.join(held[:4])}); choose a directory that is empty or does not exist")
            length = self.num_epochs if self.num_epochs is not None else 64
            return Store.create(path, attrs, truth, self._test_labels, length, len(self.snapshots))
        if not resume:
            n = int(Archive(path).progress().done.sum())
            raise RunError(f"{path} already holds a run with {n} epochs; pass resume=True to continue it, or choose another directory")
        store = Store(path)
        if different := self._differences(store, attrs, truth):
            raise RunError(f"{path} holds another run and cannot be resumed: {'; '.join(different)}. Choose another directory")
        if self.num_epochs != store.attrs["num_epochs"]:
            store.attrs["num_epochs"] = self.num_epochs
        return store

    @staticmethod
    def _differences(store: Store, attrs: dict, truth: np.ndarray) -> list[str]:
        old, found = store.attrs, []
        for key in ("class_names", "labelled_counts", *IDENTITY):
            if key in attrs and attrs[key] != old.get(key):
                found.append(f"{key} is {old.get(key)} there, {attrs[key]} here")
        there = store.archive.read("true_labels")
        if len(there) != len(truth):
            found.append(f"{len(there)} unlabelled samples there, {len(truth)} here")
        elif n := int((there != truth).sum()):
            found.append(f"{n} of {len(truth)} true labels differ")
        mine, theirs = attrs.get("config") or {}, old.get("config") or {}
        if isinstance(mine, dict) and isinstance(theirs, dict) and mine:
            keys = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
            found += [f"config.{key} is {theirs.get(key)!r} there, {mine.get(key)!r} here" for key in keys[:5]]
            found += [f"and {len(keys) - 5} more settings"] if len(keys) > 5 else []
        return found

    @property
    def end(self) -> int:
        """One more than the last epoch that is recorded (an earlier one may be damaged: see `epoch`)."""
        return self._end

    def rewind(self, epoch: int) -> None:
        """Continue at `epoch` and forget what was recorded from there on (a checkpoint may be older than the record).

        Parameters
        ----------
        epoch : int
            At most one more than the last recorded epoch.
        """
        self.flush()
        if not 0 <= epoch <= self._end:
            raise ValueError(f"{self.path} is recorded up to epoch {self._end - 1}; cannot continue at {epoch}, only at 0..{self._end}")
        self._store.rewind(epoch)
        self.epoch = self._end = epoch
        self._stale = False
        self._counter.reset()

    # -- recording ----------------------------------------------------------------------------------------------------

    def update(self, index, label, accepted) -> None:
        """Count the pseudo-labels of one step (adds to ``visits`` of this epoch).

        Parameters
        ----------
        index : int tensor or array, shape ``[M]``
            Position of each row in the unlabelled set.
        label : int tensor or array, shape ``[M]``
            Pseudo-labels in 0..K-1. On the CPU they are checked when they are counted, at the latest in `end_epoch`, which then counts
            what is sound before it raises; on a CUDA device they are not, since that would wait for it.
        accepted : tensor or array, shape ``[M]``
            Whether the loss used the row: bool, or a mask of 0 and 1.

        Notes
        -----
        On a CUDA device: five small operations, none of which waits; they can be captured in a CUDA graph after one call outside it.
        On the CPU: a copy of the rows, counted later.
        """
        self._check()
        self._counter.update(index, label, accepted)

    def end_epoch(
        self,
        *,
        iteration: int | None = None,
        scalars: dict | None = None,
        sweep=None,
        test=None,
        logits=None,
        features=None,
        semantic=None,
        series: dict | None = None,
        snapshot: dict | None = None,
    ) -> None:
        """Close the epoch: hand its counts and these values to the writing thread, and start counting anew.

        Parameters
        ----------
        iteration : int, optional
            Optimiser steps done so far.
        scalars : dict of str to float, optional
            Losses, accuracies ...; a name that is missing in an epoch reads as NaN there.
        sweep : (label [N], accepted [N]), optional
            Pseudo-labels of one clean pass over the whole unlabelled set. Compute them from the logits *rounded to float16* if
            `logits` are given too: the store keeps float16, and only then does relabelling the stored logits give exactly
            these labels.
        test : (true [T], predicted [T]), matrix [K, K] or predicted [T], optional
            The last form needs `test_labels`. Rows with true class -1 are left out.
        logits, semantic : [N, K], optional
            Outputs for the unlabelled set at a snapshot epoch (kept in float16).
        features : [N, D], optional
            Features at a snapshot epoch (kept in float16).
        series : dict of "scheme/name" to [K], optional
            State of the schemes.
        snapshot : dict of "scheme/name" to [K, ...], optional
            Larger state that relabelling needs, at a snapshot epoch.

        Raises
        ------
        RunError
            The writing thread could not write an earlier epoch.
        """
        self._check()
        k, n, hand = self.num_classes, self.num_unlabelled, Handover()
        chunks: dict[str, Tensor] = {}
        states: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        if sweep is not None:
            if not isinstance(sweep, (tuple, list)) or len(sweep) != 2:
                raise ValueError(f"sweep must be (label [N], accepted [N]); got {type(sweep).__name__}")
            label, accepted = _tensor("sweep labels", sweep[0], whole=True), _tensor("the sweep's mask", sweep[1])
            self._shape("sweep labels", label, (n,))
            self._shape("the sweep's mask", accepted, (n,))
            chunks["sweep"] = hand.keep(self._counter.sweep(label, accepted))
            chunks["history"], chunks["history_accepted"] = hand.keep(label, torch.int16), hand.keep(accepted, torch.bool)
        if test is not None:
            chunks["test"] = hand.keep(self._test(test), torch.uint32)
        for name, values in (("logits", logits), ("semantic", semantic), ("features", features)):
            if values is not None:
                values = _tensor(name, values)
                if name == "features" and values.ndim:
                    self.num_features = self.num_features or values.shape[-1]
                self._shape(name, values, (n, self.num_features if name == "features" else k))
                outputs[name] = hand.keep(values, torch.float16)
        for name, values in (series or {}).items():
            values = _tensor(f"series {name!r}", values)
            self._shape(f"series {name!r}", values, (k,))
            states[_name("scheme", name)] = hand.keep(values, None if values.dtype in (torch.float32, torch.float64) else torch.float64)
        for name, values in (snapshot or {}).items():
            values = _tensor(f"snapshot {name!r}", values)
            outputs[_name("snapshot_state", name)] = hand.keep(values, torch.float32 if values.dtype == torch.bfloat16 else None)
        plain = {str(name): _number(f"scalars[{name!r}]", value) for name, value in (scalars or {}).items()}
        if wrong := [name for name in plain if not checks.is_plain(name)]:
            raise ValueError(f"a scalar is named by one line of text without control characters; got {wrong[0]!r}")
        if iteration is not None and not -1 <= _number("iteration", iteration) < 2**63:
            raise ValueError(f"iteration must lie in 0..{2**63 - 1}; got {iteration}")
        if self._counter.used:
            chunks["visits"] = self._counter.take(hand.keep)
        hand.seal()
        epoch, unknown, stale = self.epoch, self._has_unknown, self._stale

        def write(store: Store) -> None:
            hand.wait()
            if stale:
                store.rewind(epoch)
            arrays = {name: value.numpy() for name, value in chunks.items()}
            for kind in ("visits", "sweep"):
                if kind in arrays:
                    arrays |= matrices(kind, arrays.pop(kind), k, unknown)
            store.write_epoch(
                epoch,
                chunks=arrays,
                snapshot={name: value.numpy() for name, value in outputs.items()},
                series={name: value.numpy() for name, value in states.items()},
                scalars=plain,
                iteration=None if iteration is None else int(iteration),
            )

        self._writer.put(write)
        self._stale = False
        self.epoch += 1
        self._end = self.epoch

    def _test(self, test) -> Tensor:
        k = self.num_classes
        if isinstance(test, tuple):
            if len(test) != 2:
                raise ValueError(f"test must be (true [T], predicted [T]); got {len(test)} parts")
            true, label = test
        else:
            test = _tensor("test", test)
            if test.ndim == 2:
                self._shape("the test matrix", test, (k, k))
                if test.device.type == "cpu" and not ((test >= 0) & (test < 2**32) & (test == test.to(torch.int64))).all():
                    raise ValueError("the test matrix must hold counts: whole numbers, 0 or more")
                return test
            if self._test_labels is None:
                raise ValueError("test=prediction needs test_labels in Recorder(...); or give test=(true, predicted)")
            true, label = self._test_labels, test
        return self._counter.pairs(_tensor("test", true, whole=True), _tensor("test", label, whole=True))

    def _classes(self, values, name: str) -> np.ndarray:
        values = _numpy(values)
        if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
            raise ValueError(f"{name} must be whole numbers of shape [N]; got {values.dtype} of shape {list(values.shape)}")
        values = values.astype(np.int64)
        if values.size and (values.min() < -1 or values.max() >= self.num_classes):
            raise ValueError(f"{name} must lie in 0..{self.num_classes - 1}, or be -1 if unknown; got {values.min()}..{values.max()}")
        return values

    @staticmethod
    def _shape(what: str, values: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(values.shape) != shape:
            raise ValueError(f"{what} must have shape {list(shape)}; got {list(values.shape)}")

    # -- ending -------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self._finalizer.alive:
            raise ValueError(f"the recorder of {self.path} is closed; open it again with resume=True")
        self._writer.check()

    def flush(self) -> None:
        """Wait until everything handed over is on disk, safe from a power cut. Call it before saving a checkpoint that relies on it."""
        self._check()
        self._writer.put(Store.force)
        self._writer.join()
        self._writer.check()

    def then(self, work: Callable[[], None]) -> None:
        """Have the writing thread do `work` when everything handed over is on disk, safe from a power cut, such as saving a checkpoint.

        Training goes on meanwhile, and waits, as in `end_epoch`, when the writing thread falls behind. What `work` raises comes again in
        the next call of this recorder, and ends the writing.
        """
        self._check()

        def write(store: Store) -> None:
            store.force()
            work()

        self._writer.put(write)

    def close(self) -> None:
        """Write what is left and let others write. The run counts as finished if all its epochs are there."""
        self._close(complete=True)

    def _close(self, complete: bool) -> None:
        if not self._finalizer.alive:
            return
        self._writer.finish()  # interrupted here, it can be closed again, and lets others write when it is forgotten
        self._finalizer.detach()
        try:
            self._writer.check()
            self._store.close(complete and self._end > 0 if self.num_epochs is None else self._end >= self.num_epochs, self._end)
        finally:
            self._lock.release()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            self._close(complete=error is None)
        except Exception as failure:  # a lost GPU, too, ends both the training and the writing of what was on it
            if error is None:
                raise
            error.add_note(str(failure))

    def __repr__(self) -> str:
        return f"<Recorder {str(self.path)!r}: next epoch {self.epoch} of {self.num_epochs or 'unknown'}>"


def _numpy(values) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _tensor(what: str, values, whole: bool = False) -> Tensor:
    """A tensor of anything that numpy understands; a read-only array, such as JAX gives, is copied, since torch would warn of it."""
    try:
        array = values if isinstance(values, Tensor) else np.asarray(values)
        tensor = array if isinstance(array, Tensor) else torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{what} must be a tensor or an array of numbers ({error})") from error
    if whole and tensor.numel() and (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
        raise ValueError(f"{what} must be whole numbers; got {tensor.dtype}")
    return tensor.to(torch.int64) if whole and not tensor.numel() else tensor


def _number(what: str, value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{what} must be one number; got {str(value)[:80]!r}") from error


def _name(root: str, name: str) -> str:
    if not checks.is_name(name):
        raise ValueError(f"state is named 'scheme/name'; got {name!r}")
    return f"{root}/{name}"
