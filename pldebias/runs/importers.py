"""Logs of other programs as runs: arrays, CSV, ConfusionFlow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pldebias.paths import is_address, local
from pldebias.runs.run import Run, open_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    attrs: dict | None = None,
) -> Run:
    """Write labels that were kept elsewhere as a run.

    Parameters
    ----------
    path : str or Path
        Directory of the new run.
    label : array_like of int, shape ``[E, N]``
        Pseudo-label of every unlabelled sample at every epoch; they become the ``sweep``.
    true_labels : array_like of int, shape ``[N]``, or None
        -1 where unknown; None if all are.
    labelled_counts : array_like of int, shape ``[K]``
    class_names : sequence of str
    accepted : array_like of bool, shape ``[E, N]``, optional
        Whether the loss used the label; all by default.
    test : array_like, shape ``[E, K, K]`` or ``[E, T]``, optional
        Test matrices (rows true class), or predictions for `test_labels`.
    test_labels : array_like of int, shape ``[T]``, optional
    scalars : mapping from str to sequence of E numbers, optional
    iterations : sequence of int, shape ``[E]``, optional
        Optimiser steps done at the end of each epoch.
    attrs : dict, optional
        ``method``, ``data``, ``seed``, ``config`` ...

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        Shapes that do not fit each other.
    """
    from pldebias.runs.recorder import Recorder

    label = np.asarray(label)
    if label.ndim != 2:
        raise ValueError(f"label has shape [E, N], one row per epoch; got {list(label.shape)}")
    epochs, n = label.shape
    accepted = np.ones(label.shape, bool) if accepted is None else np.asarray(accepted)
    if accepted.shape != label.shape:
        raise ValueError(f"accepted must have the shape of label, {list(label.shape)}; got {list(accepted.shape)}")
    rows = {"test": test, "iterations": iterations, **{f"scalar {name!r}": values for name, values in (scalars or {}).items()}}
    for name, values in rows.items():
        if values is not None and len(values) != epochs:
            raise ValueError(f"{name} needs one entry for each of the {epochs} epochs of label; got {len(values)}")
    options = {"num_epochs": epochs, "attrs": attrs, "test_labels": test_labels}
    with Recorder(path, true_labels, labelled_counts, class_names, num_unlabelled=n, **options) as recorder:
        for e in range(epochs):
            recorder.end_epoch(
                iteration=None if iterations is None else int(iterations[e]),
                scalars={name: values[e] for name, values in (scalars or {}).items()},
                sweep=(label[e], accepted[e]),
                test=None if test is None else np.asarray(test[e]),
            )
    return open_run(path)


def _classes(column, class_names: Sequence[str], what: str) -> np.ndarray:
    """Class numbers from numbers or names; an empty field is unknown, -1."""
    if column.dtype.kind in "iu":
        return column.to_numpy(np.int64)
    if column.dtype.kind == "f":
        return column.fillna(-1).to_numpy(np.int64)
    numbers = {str(name): i for i, name in enumerate(class_names)}
    found = column.map(numbers)
    if (strange := column[found.isna() & column.notna()]).size:
        raise ValueError(f"{what} {strange.iloc[0]!r} is no class; class_names has {', '.join(map(str, class_names[:10]))}")
    return found.fillna(-1).to_numpy(np.int64)


def from_csv(path, source, *, labelled_counts, class_names: Sequence[str], attrs: dict | None = None) -> Run:
    """Read a CSV file of pseudo-labels, one row per sample and epoch.

    Parameters
    ----------
    path : str or Path
        Directory of the new run.
    source : path, URL or file
        With the columns ``epoch``, ``index`` (position in the unlabelled set), ``label`` and, if known, ``true`` and ``accepted``. Classes
        are numbers or names; an empty ``true`` is unknown.
    labelled_counts, class_names, attrs
        As in `from_numpy`.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        A column is missing, a sample is missing or twice in an epoch, or its true class changes.
    """
    import pandas

    table = pandas.read_csv(source if hasattr(source, "read") or is_address(source) else local(source))
    if absent := {"epoch", "index", "label"} - set(table.columns):
        raise ValueError(f"{source} has no column {', '.join(sorted(absent))}; it has {', '.join(map(str, table.columns))}")
    epochs, samples = np.unique(table["epoch"]), np.unique(table["index"])
    if not np.array_equal(samples, np.arange(len(samples))):
        raise ValueError(f"index must run from 0 to N - 1 without gaps; got {samples.min()}..{samples.max()} with {len(samples)} values")
    counted = table.groupby(["epoch", "index"]).size()
    if len(counted) != len(epochs) * len(samples) or counted.max() > 1:
        per_epoch = table.groupby("epoch")["index"].agg(["size", "nunique"])
        bad = per_epoch[(per_epoch["size"] != len(samples)) | (per_epoch["nunique"] != len(samples))]
        raise ValueError(
            f"epoch {bad.index[0]} has {bad['size'].iloc[0]} rows for {bad['nunique'].iloc[0]} samples; each of the {len(samples)} samples "
            "needs one row in every epoch. Rows of single steps belong into Recorder.update"
        )
    table = table.sort_values(["epoch", "index"])
    shape = len(epochs), len(samples)
    label = _classes(table["label"], class_names, "label").reshape(shape)
    truth = None
    if "true" in table:
        every = _classes(table["true"], class_names, "true class").reshape(shape)
        if changed := np.flatnonzero((every != every[0]).any(0)).tolist():
            raise ValueError(f"the true class of sample {changed[0]} changes between epochs; a sample has one true class")
        truth = every[0]
    accepted = table["accepted"].to_numpy().astype(bool).reshape(shape) if "accepted" in table else None
    given = {"epochs in the file": epochs.tolist()} if not np.array_equal(epochs, np.arange(len(epochs))) else {}
    return from_numpy(
        path,
        label,
        true_labels=truth,
        labelled_counts=labelled_counts,
        class_names=class_names,
        accepted=accepted,
        attrs=given | (attrs or {}),
    )


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
        Its iterations are ConfusionFlow's epoch identifiers. ConfusionFlow evaluates at the *beginning* of an epoch.

    Raises
    ------
    ValueError
        No such run or fold (the message lists what is there), or labelled counts that the log does not hold.
    """
    from pldebias.runs.recorder import Recorder

    logdir = local(logdir)
    file = logdir / "foldlogdata" / f"{run}_{fold}_data.json"
    if not file.is_file():
        there = sorted(p.name.removesuffix("_data.json") for p in (logdir / "foldlogdata").glob("*_data.json"))
        raise ValueError(f"no {file}; {logdir} has logs of {', '.join(there) or 'nothing'} (named run_fold)")
    logged = sorted(json.loads(file.read_text(encoding="utf-8"))["epochdata"], key=lambda entry: entry["epochId"])
    if not logged:
        raise ValueError(f"{file} holds no epoch")
    matrices = [np.asarray(entry["confmat"], np.int64) for entry in logged]
    k = round(matrices[0].size ** 0.5)
    folds, names = {}, [str(i) for i in range(k)]
    for other in sorted((logdir / "datasets").glob("*.json")):
        described = json.loads(other.read_text(encoding="utf-8"))
        for dataset in described if isinstance(described, list) else [described]:
            for entry in dataset["folds"]:
                folds[entry["foldId"]] = entry
                if entry["foldId"] == fold:
                    names = dataset["classes"]
    if labelled_counts is None:
        kept = logdir / "runs" / f"{run}.json"
        trained = json.loads(kept.read_text(encoding="utf-8")).get("trainfoldId") if kept.is_file() else None
        if trained not in folds:
            raise ValueError(
                f"the log does not hold the class counts of the training fold ({trained}); give labelled_counts, one per class"
            )
        labelled_counts = [entry["instancecount"] for entry in folds[trained]["classcounts"]]
    told = {"method": run, "data": fold, "imported_from": "ConfusionFlow"} | (attrs or {})
    with Recorder(path, np.zeros(0, np.int64), labelled_counts, names, num_epochs=len(logged), attrs=told) as recorder:
        for entry, matrix in zip(logged, matrices, strict=True):
            if matrix.size != k * k:
                raise ValueError(f"{file}: the matrix of epoch {entry['epochId']} has {matrix.size} cells, that of the first {k * k}")
            recorder.end_epoch(iteration=int(entry["epochId"]), test=matrix.reshape(k, k))
    return open_run(path)
