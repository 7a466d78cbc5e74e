"""Logs of other programs as runs: arrays, CSV, ConfusionFlow."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from pldebias.interop.columns import classes, column, name_of, read_table, row_of, truths, whole
from pldebias.paths import local
from pldebias.runs.named import in_rows, labelled, listed, mapping, names_of
from pldebias.runs.run import Run, open_run
from pldebias.runs.schema import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["from_confusionflow", "from_csv", "from_numpy"]


def from_numpy(
    path,
    label,
    *,
    true_labels,
    labelled_counts,
    class_names: Sequence[str],
    accepted=None,
    test=None,
    test_labels=None,
    scalars: Mapping[str, Sequence[float]] | None = None,
    iterations: Sequence[int] | None = None,
    epochs: Sequence[int] | None = None,
    attrs: dict | None = None,
) -> Run:
    """Write labels that were kept elsewhere as a run.

    Parameters
    ----------
    path : str or Path
        Directory of the new run.
    label : array_like of int or str, shape ``[E, N]``
        Pseudo-label of every unlabelled sample at every epoch, as class numbers of any type or as class names; they become the ``sweep``.
        -1, NaN, a missing or a masked value is no label. Numbers are refused where a name is the number of another class (names 2, 1, 0).
    true_labels : array_like of int or str, shape ``[N]``, or None
        Likewise; without a label, the class is unknown. None if all are.
    labelled_counts : array_like of int, shape ``[K]``
        Or a dict or Series by class.
    class_names : sequence of str
    accepted : array_like of bool, shape ``[E, N]``, optional
        Whether the loss used the label; all by default.
    test : array_like, shape ``[E, K, K]`` or ``[E, T]``, optional
        Test matrices (rows true class; tables of pandas by their class names), or predictions for `test_labels`.
    test_labels : array_like of int or str, shape ``[T]``, optional
    scalars : mapping from str to sequence of E numbers, or DataFrame, optional
    iterations : sequence of int, shape ``[E]``, optional
        Optimiser steps done at the end of each epoch; they ascend.
    epochs : sequence of int, shape ``[E]``, optional
        Numbers of the epochs, ascending; default: those that index the rows of `label` if it is a DataFrame, else 0..E-1.
    attrs : dict, optional
        ``method``, ``data``, ``seed``, ``config`` ...

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        Shapes that do not fit each other, or a value that is no class, no truth value or no whole number; the message names epoch and
        sample. Nothing is left of the new run.
    """
    names, attrs = names_of(class_names), mapping("attrs", attrs, "of what else to keep")
    label = labelled(label)
    if hasattr(label, "iloc") and label.ndim == 2:
        for part, labels in (("rows", "index"), ("columns", "columns")):
            other = getattr(accepted, labels, None)
            if hasattr(accepted, "iloc") and len(other) == len(getattr(label, labels)) and not other.equals(getattr(label, labels)):
                raise ValueError(f"accepted and label are tables whose {part} have other names; give both alike, or as to_numpy() does")
        epochs = _epochs_of(label) if epochs is None else epochs
    label = column("label", label)
    shape = label.codes.shape
    if len(shape) != 2:
        raise ValueError(f"label has shape [E, N], one row per epoch; got {list(shape)}")
    e, n = shape
    if not e or (not n and test is None):
        raise ValueError(f"label holds no {'sample' if e else 'epoch'}; its shape [E, N] is {list(shape)}")
    epochs = np.arange(e) if epochs is None else _ascending("epochs", _per_epoch("epochs", epochs, np.arange(e)))

    def where(i: int) -> str:
        return f"epoch {epochs[i // n]}, sample {i % n}"

    label = classes("label", label, names, where)
    accepted = np.ones(shape, bool) if accepted is None else truths("accepted", accepted, where)
    if accepted.shape != shape:
        raise ValueError(f"accepted must have the shape of label, {list(shape)}; got {list(accepted.shape)}")
    _check_given(label, accepted, where)
    if true_labels is not None:
        true_labels = classes("true label", in_rows("true_labels", true_labels), names, "sample {}".format)
        if true_labels.shape != (n,):
            raise ValueError(f"true_labels needs one class for each of the {n} samples of label; got shape {list(true_labels.shape)}")
    if test_labels is not None:
        test_labels = classes("test label", in_rows("test_labels", test_labels), names, "sample {}".format)
    if test is not None:
        test = _per_epoch("test", test, epochs)
        if _ndim(test[0]) == 1:
            test = classes("test prediction", test, names, "entry {}".format)
    steps = None if iterations is None else _ascending("iterations", _per_epoch("iterations", iterations, epochs), epochs)
    columns = {
        name: _per_epoch(f"scalar {name!r}", values, epochs) for name, values in mapping("scalars", scalars, "from names to lists").items()
    }
    contents = (
        {
            "iteration": None if steps is None else int(steps[i]),
            "scalars": {name: values[i] for name, values in columns.items()},
            "sweep": (label[i], accepted[i]),
            "test": None if test is None else test[i],
        }
        for i in range(e)
    )
    options = {"num_unlabelled": n, "attrs": attrs, "test_labels": test_labels}
    return _write(path, epochs, contents, true_labels, labelled_counts, names, **options)


def _write(path, epochs: np.ndarray, contents: Iterable[dict], true_labels, labelled_counts, names, **options) -> Run:
    """A run whose epochs have these numbers and contents; nothing is left of it if the import fails."""
    from pldebias.runs.recorder import Recorder

    folder = local(path).absolute()
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    recorder = Recorder(path, true_labels, labelled_counts, names, num_epochs=int(epochs[-1]) + 1, **options)
    try:
        with recorder:
            for epoch, content in zip(epochs.tolist(), contents, strict=True):
                if epoch != recorder.epoch:
                    recorder.rewind(epoch)
                recorder.end_epoch(**content)
    except BaseException:
        shutil.rmtree(recorder.path)
        for parent in missing[1:]:
            with suppress(OSError):  # something else was put there meanwhile
                parent.rmdir()
        if not missing:
            folder.mkdir()
        raise
    return open_run(path)


def _epochs_of(label) -> np.ndarray | None:
    """Numbers of the epochs by which a table of labels is indexed; None if it is by none."""
    in_rows("columns of label", label.T)
    numbers = label.index
    if numbers.dtype.kind not in "iuf" or not ((numbers >= 0) & (numbers % 1 == 0)).all():
        return None
    return numbers.to_numpy()


def _ndim(values) -> int:
    if isinstance(values, list | tuple):
        return 1 + (_ndim(values[0]) if values else 0)
    return getattr(values, "ndim", 0)


def _per_epoch(what: str, values, epochs: np.ndarray):
    """Values with one entry per epoch; those of a table or Series that is indexed by these epochs, in their order."""
    values = labelled(values)
    if hasattr(values, "iloc"):
        if {*values.index} == {*epochs.tolist()} and values.index.is_unique:
            values = values.loc[epochs.tolist()]
        values = values.to_numpy()
    if getattr(values, "ndim", 1) <= 1:
        values = listed(what, values, f"one entry for each of the {len(epochs)} epochs")
    if len(values) != len(epochs):
        raise ValueError(f"{what} needs one entry for each of the {len(epochs)} epochs of label; got {len(values)}")
    return values


def _check_given(label: np.ndarray, accepted: np.ndarray, where: Callable[[int], str]) -> None:
    if len(bad := np.flatnonzero((label < 0) & accepted)):
        raise ValueError(f"{where(int(bad[0]))} has no label, but counts as accepted; give it one, or say in accepted that it is not")


def _ascending(what: str, given, epochs: np.ndarray | None = None) -> np.ndarray:
    """Numbers of epochs, or optimiser steps at their ends."""
    steps = whole(what, given, 0, "entry {}".format if epochs is None else lambda i: f"epoch {epochs[i]}")
    if steps.ndim != 1:
        raise ValueError(f"{what} needs one number for each epoch; got shape {list(steps.shape)}")
    if len(back := np.flatnonzero(np.diff(steps) <= 0)):
        now, before = (f"entry {i} is" if epochs is None else f"epoch {epochs[i]} ends at" for i in (int(back[0]) + 1, int(back[0])))
        raise ValueError(f"{what} must ascend: {now} {steps[back[0] + 1]}, {before} {steps[back[0]]} before it; sort the epochs")
    if epochs is None and steps.size and steps[-1] >= EPOCHS:
        raise ValueError(f"{what} must be a number below {EPOCHS}; got {steps[-1]}. If it counts steps, number the epochs instead")
    return steps


def from_csv(path, source, *, labelled_counts, class_names: Sequence[str], attrs: dict | None = None) -> Run:
    """Read a text table of pseudo-labels, one row per sample and epoch.

    Parameters
    ----------
    path : str or Path
        Directory of the new run.
    source : path, URL or file
        With the columns ``epoch``, ``index`` (position in the unlabelled set, from 0), ``label`` and, if known, ``true`` and ``accepted``,
        separated by comma, semicolon, tab or bar. A field that is a class name is that class, in either encoding of its letters; only
        where none is, and the class names are no numbers themselves, fields are class numbers. An empty ``true`` is unknown. ``accepted``
        holds yes and no, true and false, 1 and 0, or accepted and rejected.
    labelled_counts, class_names, attrs
        As in `from_numpy`.

    Returns
    -------
    Run
        Its epochs have the numbers of the file; those that the file lacks are missing.

    Warns
    -----
    UserWarning
        There are columns that are not read.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no such table, a sample is missing or twice in an epoch, or its true class changes. The message names file and row;
        nothing is left of the new run.
    """
    name, names, attrs = name_of(source), names_of(class_names), mapping("attrs", attrs, "of what else to keep")
    table = read_table(source, ("epoch", "index", "label"), ("true", "accepted"))
    epoch, index = (whole(f"{name}: {heading}", table[heading], 0) for heading in ("epoch", "index"))
    epochs, samples = _ascending(f"{name}: epoch", np.unique(epoch)), np.unique(index)
    if not np.array_equal(samples, np.arange(len(samples))):
        found = f"{samples[0]}..{samples[-1]} with {len(samples)} values{', and it counts from 0' if samples[0] == 1 else ''}"
        raise ValueError(f"{name}: index must run from 0 to N - 1 without gaps; got {found}")
    order, shape = np.lexsort((index, epoch)), (len(epochs), len(samples))
    epoch, index = epoch[order], index[order]

    def where(i: int) -> str:
        return f"{name}: {row_of(int(order[i]))}"

    twice = np.flatnonzero((np.diff(epoch) == 0) & (np.diff(index) == 0))
    short = epochs[np.bincount(np.searchsorted(epochs, epoch)) != len(samples)]
    if len(twice) or len(short):
        e = epoch[twice[0]] if len(twice) else short[0]
        again = f", sample {index[twice[0]]} again in {row_of(int(order[twice[0] + 1]))}" if len(twice) else ""
        raise ValueError(
            f"{name}: epoch {e} has {(epoch == e).sum()} rows for {len(np.unique(index[epoch == e]))} samples{again}; each of the "
            f"{len(samples)} samples needs one row in every epoch. Rows of single steps belong into Recorder.update"
        )
    label = classes(f"{name}: label", table["label"], names)[order]
    accepted = truths(f"{name}: accepted", table["accepted"])[order] if "accepted" in table else np.ones(len(label), bool)
    _check_given(label, accepted, where)
    truth = None
    if "true" in table:
        every = classes(f"{name}: true class", table["true"], names)[order].reshape(shape)
        if changed := np.flatnonzero((every != every[0]).any(0)).tolist():
            raise ValueError(f"{name}: the true class of sample {changed[0]} changes between epochs; a sample has one true class")
        truth = every[0]
    label, accepted = label.reshape(shape), accepted.reshape(shape)
    contents = ({"sweep": sweep} for sweep in zip(label, accepted, strict=True))
    return _write(path, epochs, contents, truth, labelled_counts, names, num_unlabelled=len(samples), attrs=attrs)


def from_confusionflow(path, logdir, run: str, fold: str, *, labelled_counts=None, attrs: dict | None = None) -> Run:
    """Read what ConfusionFlow's logger wrote about one fold of one run.

    ConfusionFlow keeps matrices and no samples, so the new run has ``test`` matrices alone; one fold makes one run.

    Parameters
    ----------
    path : str or Path
        Directory of the new run.
    logdir : str or Path
        ConfusionFlow's log directory, with ``runs/``, ``foldlogdata/`` and ``datasets/``.
    run, fold : str
        Identifiers as in ConfusionFlow.
    labelled_counts : array_like of int, shape ``[K]``, optional
        Default: the class counts of the run's training fold.
    attrs : dict, optional

    Returns
    -------
    Run
        Its epochs, and their iterations, are ConfusionFlow's epoch identifiers. ConfusionFlow evaluates at the *beginning* of an epoch.

    Raises
    ------
    ValueError
        No such run or fold (the message lists what is there), or labelled counts that the log does not hold.
    """
    logdir = local(logdir)
    file = logdir / "foldlogdata" / f"{run}_{fold}_data.json"
    if not file.is_file():
        there = sorted(p.name.removesuffix("_data.json") for p in (logdir / "foldlogdata").glob("*_data.json"))
        raise ValueError(f"no {file}; {logdir} has logs of {', '.join(there) or 'nothing'} (named run_fold)")
    logged = _entries(_json(file), "epochdata", file, "epochId", "confmat")
    if not logged:
        raise ValueError(f"{file} holds no epoch")
    steps = whole(f"{file}: epochId", [entry["epochId"] for entry in logged], 0, "entry {}".format)
    logged = [logged[i] for i in np.argsort(steps, kind="stable")]
    steps = _ascending(f"{file}: epochId", np.sort(steps))
    matrices = [
        whole(f"{file}: confmat", entry["confmat"], 0, f"epoch {step}, cell {{}}".format) for entry, step in zip(logged, steps, strict=True)
    ]
    k = math.isqrt(matrices[0].size)
    if wrong := [i for i, matrix in enumerate(matrices) if matrix.size != k * k or not k]:
        raise ValueError(
            f"{file}: the matrix of epoch {steps[wrong[0]]} has {matrices[wrong[0]].size} cells; it must be square, as large as the first"
        )
    folds, names = {}, [str(i) for i in range(k)]
    for other in sorted((logdir / "datasets").glob("*.json")):
        described = _json(other)
        for dataset in described if isinstance(described, list) else [described]:
            for entry in _entries(dataset, "folds", other, "foldId"):
                folds[entry["foldId"]] = entry
                if entry["foldId"] == fold:
                    names = dataset.get("classes", names)
    if labelled_counts is None:
        kept = logdir / "runs" / f"{run}.json"
        trained = _json(kept).get("trainfoldId") if kept.is_file() else None
        if trained not in folds:
            raise ValueError(
                f"the log does not hold the class counts of the training fold ({trained}); give labelled_counts, one per class"
            )
        labelled_counts = [entry["instancecount"] for entry in _entries(folds[trained], "classcounts", logdir, "instancecount")]
    told = {"method": run, "data": fold, "imported_from": "ConfusionFlow"} | mapping("attrs", attrs, "of what else to keep")
    contents = ({"iteration": step, "test": matrix.reshape(k, k)} for step, matrix in zip(steps.tolist(), matrices, strict=True))
    return _write(path, steps, contents, np.zeros(0, np.int64), labelled_counts, names_of(names), attrs=told)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON ({error})") from error


def _entries(described, key: str, file: Path, *fields: str) -> list[dict]:
    """The entries of a list in ConfusionFlow's JSON, each of which must have these fields."""
    listed = described.get(key) if isinstance(described, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) and {*fields} <= {*entry} for entry in listed):
        raise ValueError(f"{file} is no log of ConfusionFlow: it needs a list {key}, whose entries have {', '.join(fields)}")
    return listed
