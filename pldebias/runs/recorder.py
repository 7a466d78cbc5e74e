"""Counts pseudo-labels during training and writes one epoch after the other, without holding the training up."""

from __future__ import annotations

import numbers
import warnings
import weakref
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from pldebias._background import Handover, Worker
from pldebias.paths import composed, is_address, is_portable, local
from pldebias.runs import schema
from pldebias.runs.counts import Counter, labels, matrices, tally
from pldebias.runs.disk import explained
from pldebias.runs.given import (
    array,
    brief,
    classes,
    given,
    halved,
    kept,
    mask,
    number,
    per_class,
    shaped,
    to_json,
    whole,
    whole_number,
)
from pldebias.runs.lock import WriterLock
from pldebias.runs.named import by_class, in_rows, mapping, names_of
from pldebias.runs.reader import Reader
from pldebias.runs.schema import RunError
from pldebias.runs.store import Store

RESERVED = ("pldebias_format", "class_names", "labelled_counts", "unlabelled_counts", "num_epochs", "finished", "checksum")
IDENTITY = ("method", "data", "seed", "fingerprint")
LABELS, MASK = "sweep labels", "the sweep's mask"
TRUE, PREDICTED = "true classes of the test set", "predicted classes of the test set"


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
        self.class_names = names_of(class_names)
        k = self.num_classes = len(self.class_names)
        if num_unlabelled is not None:
            num_unlabelled = whole_number("num_unlabelled", num_unlabelled, 0, 2**40)
        elif true_labels is None:
            raise ValueError("give true_labels, or num_unlabelled if the truth is unknown")
        truth = np.full(num_unlabelled, -1) if true_labels is None else self._classes("true_labels", true_labels)
        if num_unlabelled not in (None, len(truth)):
            raise ValueError(f"true_labels has {len(truth)} entries, but num_unlabelled is {num_unlabelled}; give one of them")
        counts = whole("labelled_counts", per_class("labelled_counts", labelled_counts, self.class_names), 0, 2**53)
        tests = None if test_labels is None else self._classes("test_labels", test_labels)
        known = truth[truth >= 0]
        self.num_unlabelled = len(truth)
        self.num_epochs = None if num_epochs is None else whole_number("num_epochs", num_epochs, 0, schema.EPOCHS)
        self.num_features = None if num_features is None else whole_number("num_features", num_features, 1, 2**40)
        if isinstance(snapshots, str) or not hasattr(snapshots, "__iter__"):
            raise ValueError(f"snapshots must be a list of epochs; got {snapshots!r}")
        self.snapshots = frozenset(whole_number("snapshots", epoch, 0, schema.EPOCHS) for epoch in snapshots)
        self._test_labels, self._has_unknown = tests, len(known) < len(truth)
        self._counter = Counter(truth, k, self.class_names)
        if device is not None:
            try:
                self._counter.to(torch.device(device))
            except (RuntimeError, AssertionError, TypeError) as error:
                raise ValueError(f"device={device!r} cannot be used here ({str(error).partition(chr(10))[0]})") from error

        kept_attrs = to_json({} if attrs is None else attrs)
        if clash := [name for name in kept_attrs if name in RESERVED]:
            raise ValueError(f"attrs must not set {', '.join(clash)}; the recorder does")
        kept_attrs |= {
            "pldebias_format": schema.FORMAT,
            "class_names": list(self.class_names),
            "labelled_counts": counts.tolist(),
            "unlabelled_counts": None if self._has_unknown else np.bincount(known, minlength=k).tolist(),
            "num_epochs": self.num_epochs,
            "finished": False,
        }
        if problem := schema.attributes(kept_attrs):
            raise ValueError(problem)
        with explained("write beside", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(self.path)
        try:
            store = self._open(kept_attrs, truth, tests, resume)
            store.probe()
            store.before_done = self._lock.check
        except BaseException:
            self._lock.release()
            raise
        self.epoch = store.progress.first_unfinished
        self._end = store.progress.end
        done = np.flatnonzero(store.progress.done)
        self._iterations = dict(zip(done.tolist(), store.progress.iteration[done].tolist(), strict=True))
        self._stored = {name: (tuple(meta["shape"][1:]), np.dtype(meta["data_type"])) for name, meta in store.arrays.items() if "/" in name}
        if "features" in store.arrays:
            self.num_features = store.arrays["features"]["shape"][2]
        if "test_labels" in store.arrays:
            self._test_labels = store.read_labels("test_labels").astype(np.int64)
        self._names = {*store.arrays["scalars"]["attributes"]["names"]}
        self._length, self._block = store.arrays["done"]["shape"][0], schema.chunk_shape(store.arrays["done"])[0]
        self._stale = True  # epochs from here on may lie on disk, half-trusted; they are forgotten before the first is written
        self._store, self._writer = store, Worker(f"writer of {self.path}")
        self._finalizer = weakref.finalize(self, _abandon, self._writer, self._lock)

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, attrs: dict, truth: np.ndarray, tests: np.ndarray | None, resume: bool) -> Store:
        path = self.path
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; a run needs a directory of its own")
        if not (path / "zarr.json").exists():
            if path.exists() and (held := sorted(p.name for p in path.iterdir())):
                raise RunError(f"{path} holds something else ({', '.join(held[:4])}); choose a directory that is empty or does not exist")
            length = self.num_epochs if self.num_epochs is not None else 64
            return Store.create(path, attrs, truth, tests, length, len(self.snapshots))
        if not resume:
            n = int(Reader(path).progress().done.sum())
            raise RunError(f"{path} already holds a run with {n} epochs; pass resume=True to continue it, or choose another directory")
        store = Store(path)
        if different := self._differences(store, attrs, truth, tests):
            raise RunError(f"{path} holds another run and cannot be resumed: {'; '.join(different)}. Choose another directory")
        if self.num_epochs != store.attrs["num_epochs"]:
            store.attrs["num_epochs"] = self.num_epochs
        return store

    def _differences(self, store: Store, attrs: dict, truth: np.ndarray, tests: np.ndarray | None) -> list[str]:
        old, found = store.attrs, []
        for key in ("class_names", "labelled_counts", *IDENTITY):
            if key == "class_names" and list(map(composed, attrs[key])) == list(map(composed, old[key])):
                continue
            if key in attrs and attrs[key] != old.get(key):
                found.append(f"{key} is {old.get(key)} there, {attrs[key]} here")
        for name, here, samples in (("true_labels", truth, "unlabelled samples"), ("test_labels", tests, "test samples")):
            if here is None:
                continue
            there = store.read_labels(name) if name in store.arrays else []
            if len(there) != len(here):
                found.append(f"{len(there)} {samples} there, {len(here)} here")
            elif n := int((there != here).sum()):
                found.append(f"{n} of {len(here)} {name.replace('_', ' ')} differ")
        width = store.arrays["features"]["shape"][2] if "features" in store.arrays else None
        if None not in (width, self.num_features) and width != self.num_features:
            found.append(f"features of width {width} there, {self.num_features} here")
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

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    def rewind(self, epoch: int) -> None:
        """Continue at `epoch` and forget what was recorded from there on (a checkpoint may be older than the record).

        A recording may also begin late: epochs between the last recorded one and `epoch` are then missing from the run.

        Parameters
        ----------
        epoch : int
            0 or more.
        """
        epoch = whole_number("epoch", epoch, 0, schema.EPOCHS - 1)
        self.flush()
        self._store.rewind(epoch)
        self.epoch, self._end = epoch, min(self._end, epoch)
        self._iterations = {e: step for e, step in self._iterations.items() if e < epoch}
        self._stale = False
        self._counter.reset()

    def state_dict(self) -> dict:
        """Number and counts of the epoch that is not closed yet, for a checkpoint in the middle of it; waits for the device.

        Returns
        -------
        dict
            ``epoch``, and ``visits``: a tensor ``[2, K + 1, K]``, or None before the first `update` of the epoch.
        """
        self._check()
        return {"epoch": self.epoch, "visits": torch.from_numpy(self._counter.peek().sum()[0]) if self._counter.used else None}

    def load_state_dict(self, state: dict) -> None:
        """Go on in the middle of an epoch: `rewind` to it, with the counts that `state_dict` gave."""
        if not isinstance(state, Mapping) or not {"epoch", "visits"} <= {*state}:
            raise ValueError("state must be what state_dict() gave, a dict with epoch and visits")
        shape = (2, self.num_classes + 1, self.num_classes)
        visits = None if state["visits"] is None else whole("visits", array("visits", state["visits"]), 0, 2**53)
        if visits is not None:
            shaped("visits", visits, shape)
        self.rewind(state["epoch"])
        if visits is not None:
            self._counter.put(visits)

    # -- recording ----------------------------------------------------------------------------------------------------

    def update(self, index, label, accepted) -> None:
        """Count the pseudo-labels of one step (adds to ``visits`` of this epoch).

        Parameters
        ----------
        index : array_like of whole numbers, shape ``[M]``
            Position of each row in the unlabelled set.
        label : array_like of whole numbers, shape ``[M]``
            Pseudo-labels in 0..K-1. A row without a label has -1; it is not counted, and must not be accepted.
        accepted : array_like, shape ``[M]``
            Whether the loss used the row: bool, or a mask of 0 and 1 in any type.

        Raises
        ------
        ValueError
            Something else was given; nothing of the step is counted.

        Notes
        -----
        Values on a CUDA device are not looked at, since that would wait for it: there `end_epoch` says how many rows were wrong, and
        counts the others. The few operations on the device can be captured in a CUDA graph after one call outside it.
        On the CPU the rows are checked and copied at once, and counted later.
        """
        if self._writer.error is not None or not self._finalizer.alive:
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
            Losses, accuracies ...; a name that is missing in an epoch reads as NaN there. ``epoch``, ``iteration`` and
            ``recall_<kind>/<head, medium or tail>`` are names of our own.
        sweep : (label [N], accepted [N]), optional
            Pseudo-labels of one clean pass over the whole unlabelled set, as in `update`. Compute them from the logits *rounded to
            float16* if `logits` are given too: the store keeps float16, and only then does relabelling the stored logits give exactly
            these labels.
        test : (true [T], predicted [T]), matrix [K, K] or predicted [T], optional
            The last form needs `test_labels`. Rows with true class -1 are left out. A list of two lists is a matrix if K is 2 and both
            have two entries, else a pair.
        logits, semantic : [N, K], optional
            Outputs for the unlabelled set at a snapshot epoch (kept in float16: at most 65504).
        features : [N, D], optional
            Features at a snapshot epoch (likewise).
        series : dict of "scheme/name" to [K], optional
            State of the schemes.
        snapshot : dict of "scheme/name" to [K, ...], optional
            Larger state that relabelling needs, at a snapshot epoch.

        Raises
        ------
        ValueError
            Something does not mean what its name says. Nothing of this call is recorded, and the counts of the epoch stay: call it again
            without what was wrong. Rows on a CUDA device that were wrong (see `update`) are left out then.
        RunError
            The writing thread could not write an earlier epoch.

        Warns
        -----
        RuntimeWarning
            NaN or infinity in `logits`, `semantic` or `features`; they are kept as given.

        Notes
        -----
        Values on a CUDA device are copied and waited for, once an epoch; the writing goes on beside the training.
        """
        self._check()
        k, n = self.num_classes, self.num_unlabelled
        parts: dict[str, Tensor | np.ndarray] = {}
        if sweep is not None:
            label, accepted = _pair("sweep", sweep, "(label [N], accepted [N])")
            parts |= {LABELS: classes(LABELS, in_rows(LABELS, label), self.class_names), MASK: given(MASK, in_rows(MASK, accepted))}
            shaped(LABELS, parts[LABELS], (n,))
            shaped(MASK, parts[MASK], (n,))
        if test is not None:
            parts |= self._test(test)
        outputs = {
            name: given(name, by_class(name, in_rows(name, values), self.class_names, axes))
            for name, values, axes in (("logits", logits, (1,)), ("semantic", semantic, (1,)), ("features", features, ()))
            if values is not None
        }
        for name, values in outputs.items():
            if name == "features" and 0 in tuple(values.shape)[1:]:
                raise ValueError(f"features must have shape [N, D], with D of 1 or more; got {list(values.shape)}")
            shaped(name, values, (n, k if name != "features" else self.num_features or (values.shape or (0,))[-1]))
            parts[name], parts[f"{name}, beyond"] = halved(values)
        states = {
            root: {name: given(f"{what} {name!r}", by_class(f"{what} {name!r}", values, self.class_names, axes, strict=root == "scheme"))
                   for name, values in _states(what, given_states).items()}
            for root, what, given_states, axes in (("scheme", "series", series, (0,)), ("snapshot_state", "snapshot", snapshot, (0, 1)))
        }  # fmt: skip
        for root, found in states.items():
            parts |= {f"{root}/{name}": values for name, values in found.items()}
        plain = _scalars(scalars)
        step = self._step(iteration)
        counts = self._counter.peek() if self._counter.used else None
        if counts is not None and counts.there is not None:
            parts["visits"] = counts.there

        parts = _brought(parts)
        kinds: dict[str, np.ndarray] = {}
        chunks: dict[str, np.ndarray] = {}
        if sweep is not None:
            accepted = mask(MASK, parts[MASK])
            label = labels(parts[LABELS], accepted, k, LABELS)
            kinds["sweep"] = self._counter.sweep(label, accepted)
            chunks["history"], chunks["history_accepted"] = label.astype(np.int16), accepted
        if test is not None:
            chunks["test"] = self._matrix(parts)
        for name in outputs:
            lost, odd = parts[f"{name}, beyond"].tolist()
            if lost:
                raise ValueError(
                    f"{name} is kept as float16, which holds -65504..65504; {lost} values lie beyond. Divide by a constant, or leave "
                    f"{name} out of this epoch"
                )
            if odd:
                warnings.warn(
                    f"epoch {self.epoch}: {name} of {odd} of {n} samples hold NaN or infinity; they are kept so, and no figure shows them",
                    RuntimeWarning,
                    stacklevel=2,
                )
        stored = dict(self._stored)
        series, snapshot = (
            {f"{root}/{name}": self._fit(root, name, parts[f"{root}/{name}"], stored) for name in found} for root, found in states.items()
        )
        snapshot |= {name: parts[name] for name in outputs}
        if counts is not None:
            kinds["visits"], fault = counts._replace(there=parts.get("visits")).sum()
            if fault:
                self._counter.put(kinds["visits"])
                raise ValueError(f"update was given {fault} in epoch {self.epoch}. Call end_epoch again to record the other rows")

        for kind, cells in kinds.items():
            chunks |= matrices(kind, cells, k, self._has_unknown)
        epoch, stale = self.epoch, self._stale
        names, length = self._names | {*plain}, schema.grown(epoch, self._length)
        tables = (("scalars", len(names), schema.COLUMNS), ("arrays", len(stored) + 32, schema.COLUMNS), ("classes", k if series else 0, k))
        for what, columns, together in tables:
            if schema.is_too_large((length, columns), (self._block, together)):
                raise ValueError(
                    f"epoch {epoch} of {columns} {what} makes a table of more than {schema.TABLE >> 20} MB, or of too many files, which is "
                    "not read again; record fewer names, or steps as iteration and not as epochs"
                )

        store = self._store  # a job that held the recorder would keep it from being forgotten

        def write() -> None:
            if stale:
                store.rewind(epoch)
            store.write_epoch(epoch, chunks=chunks, snapshot=snapshot, series=series, scalars=plain, iteration=step)

        self._writer.put(write)
        if features is not None:
            self.num_features = parts["features"].shape[1]
        self._stored, self._stale, self._names, self._length = stored, False, names, length
        self._iterations[epoch] = -1 if step is None else step
        self._counter.reset()
        self.epoch += 1
        self._end = self.epoch

    def _test(self, test) -> dict[str, Tensor | np.ndarray]:
        """A test matrix, or true and predicted classes."""
        k = self.num_classes
        parts = list(map(_depth, test)) if isinstance(test, tuple | list) else []
        if any(parts) and (isinstance(test, tuple) or (len(test) == 2 and not (k == 2 and parts == [2, 2]))):
            true, label = _pair("test", test, "(true [T], predicted [T])")
        else:
            if getattr(test, "ndim", 0) == 2:
                test = by_class("the test matrix", test, self.class_names, (0, 1))
            values = classes("test", test, self.class_names)
            if values.ndim == 2:
                shaped("the test matrix", values, (k, k))
                return {"test": values}
            if self._test_labels is None:
                raise ValueError("test=prediction needs test_labels in Recorder(...); or give test=(true, predicted)")
            true, label = self._test_labels, values
        parts = {TRUE: classes(TRUE, true, self.class_names), PREDICTED: classes(PREDICTED, label, self.class_names)}
        sizes = [list(part.shape) for part in parts.values()]
        if sizes[0] != sizes[1] or len(sizes[0]) != 1:
            raise ValueError(f"true and predicted classes of the test set need one shape [T]; got {sizes[0]} and {sizes[1]}")
        return parts

    def _matrix(self, parts: dict[str, np.ndarray]) -> np.ndarray:
        k = self.num_classes
        if "test" in parts:
            return whole("the test matrix", parts["test"], 0, 2**32 - 1, "; it holds counts of samples").astype(np.uint32)
        true = whole(TRUE, parts[TRUE], -1, k - 1, "; -1 alone means unknown")
        label = whole(PREDICTED, parts[PREDICTED], 0, k - 1)
        known = true >= 0
        return tally(true[known], label[known], np.zeros(known.sum(), bool), k)[0, :k].astype(np.uint32)

    def _fit(self, root: str, name: str, values: np.ndarray, stored: dict) -> np.ndarray:
        """State in the type in which its array keeps it; `stored` has the shapes and types of all arrays, and gets that of a new one."""
        what, full, shape = f"{'series' if root == 'scheme' else 'snapshot'} {name!r}", f"{root}/{name}", values.shape
        if root == "scheme":
            shaped(what, values, (self.num_classes,))
        if not values.size:
            raise ValueError(f"{what} is empty, of shape {list(shape)}; leave it out")
        if full not in stored:
            if problem := schema.clash(full, stored):
                raise ValueError(f"{what} {problem}")
            stored[full] = shape, values.dtype if root != "scheme" or values.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        there, dtype = stored[full]
        if there != shape:
            raise ValueError(f"{what} has shape {list(shape)}, but {list(there)} in the epochs before; keep one shape for the whole run")
        return kept(what, values, dtype)

    def _step(self, iteration) -> int | None:
        if iteration is None or (step := whole_number("iteration", iteration, -1, 2**62)) == -1:
            return None
        before = max((e for e, told in self._iterations.items() if e < self.epoch and told >= 0), default=None)
        if before is not None and step < self._iterations[before]:
            raise ValueError(
                f"iteration counts the optimiser steps so far, {self._iterations[before]} at epoch {before}; it cannot go back to {step}"
            )
        return step

    def _classes(self, name: str, values) -> np.ndarray:
        values = array(name, classes(name, in_rows(name, values), self.class_names))
        if values.ndim != 1:
            raise ValueError(f"{name} must be whole numbers of shape [N]; got shape {list(values.shape)}")
        return whole(name, values, -1, self.num_classes - 1, "; -1 alone means unknown")

    # -- ending -------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self._finalizer.alive:
            raise ValueError(f"the recorder of {self.path} is closed; open it again with resume=True")
        self._writer.check()

    def flush(self) -> None:
        """Wait until everything handed over is on disk, safe from a power cut. Call it before saving a checkpoint that relies on it."""
        self._check()
        self._writer.put(self._store.force)
        self._writer.join()
        self._writer.check()

    def then(self, work: Callable[[], None]) -> None:
        """Have the writing thread do `work` when everything handed over is on disk, safe from a power cut, such as saving a checkpoint.

        Training goes on meanwhile, and waits, as in `end_epoch`, when the writing thread falls behind. What `work` raises comes again in
        the next call of this recorder, and ends the writing.
        """
        self._check()
        store = self._store

        def write() -> None:
            store.force()
            work()

        self._writer.put(write)

    def close(self, complete: bool = True) -> None:
        """Write what is left and let others write.

        Parameters
        ----------
        complete : bool, default True
            Whether a run without `num_epochs` counts as finished; any other does once all its epochs are there.
        """
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
            self.close(complete=error is None)
        except Exception as failure:  # a lost GPU, too, ends both the training and the writing of what was on it
            if error is None:
                raise
            error.add_note(str(failure))

    def __repr__(self) -> str:
        return f"<Recorder {str(self.path)!r}: next epoch {self.epoch} of {self.num_epochs or 'unknown'}>"


def _abandon(writer: Worker, lock: WriterLock) -> None:
    """What is left to do for a recorder that nobody closed: write what was handed over, let others write."""
    writer.finish()
    lock.release()


def _brought(parts: dict) -> dict[str, np.ndarray]:
    """Copies of all `parts` as arrays; waits for those that lie on a device."""
    hand = Handover()
    copies = {name: np.array(part) if isinstance(part, np.ndarray) else hand.keep(part) for name, part in parts.items()}
    hand.seal()
    hand.wait()
    return {name: array(name, copy) for name, copy in copies.items()}


def _pair(what: str, pair, meant: str):
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        got = f"{len(pair)} parts" if isinstance(pair, tuple | list) else type(pair).__name__
        raise ValueError(f"{what} must be a pair {meant}; got {got}")
    return pair


def _depth(part) -> int:
    """0 for a number, 2 for a list of two, which may be a row of a matrix ``[2, 2]``, 1 for anything else."""
    if isinstance(part, list):
        return 1 + (len(part) == 2)
    return int(not isinstance(part, numbers.Number) and getattr(part, "ndim", 1) > 0)


def _states(what: str, states) -> dict:
    """State as given, by its names."""
    states = mapping(what, states, "from 'scheme/name' to values")
    for name in states:
        if not schema.is_state(name) or not all(map(is_portable, name.split("/"))):
            raise ValueError(
                "state is named 'scheme/name' as folders can be on any system, and the name is not epoch, snapshot or klass; "
                f"got {brief(name)}"
            )
    return states


def _scalars(scalars) -> dict[str, float]:
    plain: dict[str, float] = {}
    for name, value in mapping("scalars", scalars, "from names to numbers").items():
        if not schema.is_scalar(name):
            raise ValueError(
                f"a scalar is named by one line of text without control characters, and not {', '.join(schema.OURS)}, which "
                f"are columns of our own; got {brief(name)}"
            )
        plain[str.__str__(name)] = number(f"scalars[{name!r}]", value)
    return plain
