"""Selection of runs: labelled lists of runs that may be compared, from a run, runs of several seeds, or rows of a catalogue."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pldebias import metrics
from pldebias.paths import is_address, local
from pldebias.runs import NotLogged, Run, RunError, find_runs, open_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["DATA_SETTINGS", "USE_SETTINGS", "Incomparable", "along", "check_classes", "check_data", "check_seeds", "check_truth"]
__all__ += ["clock", "common_epochs", "epoch_at", "epoch_row", "flat_config", "lengths_in_words", "one_clock", "select", "untold"]
__all__ += ["value_of", "varying"]

DATA_SETTINGS = (
    *("data", "source", "n1", "m1", "gamma_l", "gamma_u", "reverse_unlabelled", "class_order", "protocol", "unknown_labels"),
    *("relevance", "distractors", "image_size"),
)
"""Settings that decide which images there are; runs that differ in one of them saw different data."""
USE_SETTINGS = ("include_labelled", "holdout", "validation")
"""Settings of how a method uses the same images: ADELLO puts the labelled ones in its unlabelled set too, SEVAL holds some out."""
_MACHINE = ("seed", "method", "root", "stream", "device", "threads", "precision", "snapshots")


class Incomparable(RunError, ValueError):
    """Runs that cannot be compared; the message says which differ, in what, and what to do."""


def flat_config(run: Run) -> dict[str, object]:
    """All settings of a run under dotted names, without those of seed and machine; ``data`` included."""
    flat = dict(_leaves(run.config))
    if run.data is not None:
        flat["data"] = run.data
    return {key: value for key, value in flat.items() if key not in _MACHINE}


def _leaves(level: Mapping, prefix: str = ""):
    for key, value in level.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tuple(value) if isinstance(value, list) else value


def value_of(run: Run, field: str) -> Any:
    """``method``, ``data``, ``seed`` or a setting of a run.

    Raises
    ------
    Incomparable
        The run was not told this setting.
    """
    if field in ("method", "data", "seed", "name", "path"):
        return getattr(run, field)
    flat = flat_config(run)
    if field not in flat:
        told = ", ".join(sorted(flat)) or "none (its recorder was given no config)"
        raise Incomparable(f"{run.name} has no setting {field!r}; it has {told}")
    return flat[field]


def epoch_row(run: Run, epoch: int) -> int:
    """Row of a recorded epoch in arrays over ``run.epochs``; -1 is the last.

    Raises
    ------
    NotLogged
        The epoch was not recorded.
    """
    rows = np.flatnonzero(run.epochs == (run.epochs[-1] if epoch == -1 else epoch))
    if not len(rows):
        near = run.epochs[(np.searchsorted(run.epochs, epoch) + np.array([-1, 0])).clip(0, len(run.epochs) - 1)]
        raise NotLogged(
            f"{run.name} has no epoch {epoch}; it has {run.epochs[0]}..{run.epochs[-1]} ({len(run.epochs)} epochs; the nearest: "
            f"{' and '.join(dict.fromkeys(map(str, near)))}), and -1 is the last"
        )
    return int(rows[0])


def one_clock(runs: Iterable[Run]) -> bool:
    """Return True if equal epoch numbers end at equal optimiser steps in all runs, as far as steps were recorded."""
    seen: dict[int, int] = {}
    told = (pair for run in runs for pair in zip(run.epochs.tolist(), run.iterations.tolist(), strict=True))
    return all(iteration < 0 or seen.setdefault(epoch, iteration) == iteration for epoch, iteration in told)


def untold(runs: Iterable[Run]) -> list[Run]:
    """Runs whose recorders were not told the optimiser step of every epoch."""
    return [run for run in runs if (run.iterations < 0).any()]


def clock(runs: Iterable[Run]) -> str:
    """``"iteration"``, where an epoch of one number ends at different steps and all runs say them; otherwise ``"epoch"``."""
    runs = list(runs)
    return "epoch" if one_clock(runs) or untold(runs) else "iteration"


def along(run: Run, unit: str) -> np.ndarray:
    """Return the recorded epochs of a run on an axis of `unit` (from `clock`), shape ``[E]``."""
    return run.iterations if unit == "iteration" else run.epochs


def epoch_at(run: Run, epoch: int, every: Sequence[Run]) -> int:
    """Recorded epoch of `run` at the optimiser step at which `epoch` of the first of `every` ended; that number if `clock` says "epoch".

    -1 stays -1, the last of each run. Steps may differ by half an epoch of `run`.

    Raises
    ------
    NotLogged
        The epoch was not recorded, or `run` recorded none near that step.
    """
    reference, row = every[0], epoch_row(every[0], epoch)
    if epoch == -1:
        return epoch
    if run is reference or clock(every) == "epoch":
        return int(run.epochs[epoch_row(run, epoch)])
    steps = int(reference.iterations[row])
    nearest = int(np.abs(run.iterations - steps).argmin())
    apart = np.median(np.diff(run.iterations, prepend=0)) / 2
    if abs(int(run.iterations[nearest]) - steps) > apart:
        raise NotLogged(
            f"{run.name} recorded nothing at iteration {steps:,}, where epoch {epoch} of {reference.name} ends; the nearest is "
            f"{run.iterations[nearest]:,} (its epoch {run.epochs[nearest]}), its last is {run.iterations[-1]:,}"
        )
    return int(run.epochs[nearest])


def lengths_in_words(chosen: Mapping[str, list[Run]]) -> str:
    """Return sentences on runs that end at different steps (or epochs), and on runs whose steps were not recorded.

    Empty if there is nothing to say.
    """
    silent = {label: None for label, found in chosen.items() if untold(found)}
    ends: dict[int, dict[str, None]] = {}
    for label, found in chosen.items():
        for run in found:
            ends.setdefault(int((run.epochs if silent else run.iterations)[-1]), {})[label] = None
    told = []
    if len(ends) > 1:
        unit = "epoch" if silent else "iteration"
        listed = [f"{_few(labels)} at {unit} {end:,}" for end, labels in sorted(ends.items())]
        told.append(f"The runs differ in length and end at different points: {'; '.join(listed)}.")
    if silent and len(chosen) > 1:
        told.append(f"Runs stand side by side by epoch, as the iterations of {_few(silent)} were not recorded.")
    return " ".join(told)


def _few(labels: Iterable[str], most: int = 3) -> str:
    labels = list(labels)
    return ", ".join(labels[:most]) + (" ..." if len(labels) > most else "")


def varying(runs: Iterable[Run]) -> dict[str, list[object]]:
    """Settings that differ between runs, with their values in the order of `runs`; None where a run was not told."""
    configs = [flat_config(run) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    columns = {name: [config.get(name) for config in configs] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def _open(item) -> list[Run]:
    if isinstance(item, Run):
        return [item]
    if isinstance(item, (str, os.PathLike)):
        if is_address(item) or not (folder := local(item)).is_dir() or (folder / "zarr.json").exists():
            return [open_run(item)]
        if not (found := find_runs(item)):
            raise RunError(f"no runs under {item}; give the folder of a run, or one that holds runs")
        return [open_run(path) for path in found]
    if hasattr(item, "columns") and hasattr(item, "iterrows"):
        if "path" not in item.columns:
            raise Incomparable("a selection of runs needs the column 'path'; take rows of pld.catalogue(...)")
        if "problem" in item.columns and len(bad := item[item["problem"].notna()]):
            raise Incomparable(
                f"{len(bad)} of the selected runs cannot be read whole: {bad['path'].iloc[0]} ({bad['problem'].iloc[0]}). "
                "Repair or leave them out knowingly: runs[runs.problem.isna()]"
            )
        return [open_run(path) for path in item["path"]]
    if isinstance(item, Mapping):
        raise Incomparable("a dict of runs has one level: {'FixMatch': [runs of several seeds], ...}")
    try:
        items = list(item)
    except TypeError:
        given = type(item).__name__
        raise Incomparable(f"runs are given as a Run, a path, a list, a dict of them or rows of pld.catalogue(...); got {given}") from None
    return [run for one in items for run in _open(one)]


def _name(run: Run, differing: list[str]) -> str:
    flat = flat_config(run)
    told = ", ".join(f"{name}={flat[name]:g}" if isinstance(flat.get(name), float) else f"{name}={flat.get(name)}" for name in differing)
    return f"{run.method or run.name} ({told})" if told else run.method or run.name


def select(runs, vary=()) -> dict[str, list[Run]]:
    """Labelled lists of runs, a list holding the seeds of one thing.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        A run; the address of one; a folder of runs; a list of these; rows of `pldebias.catalogue`; or a dict from labels to any of
        these. Without labels, runs of one method and equal settings are the seeds of one entry, called by the method's name and, where
        a method was run with several settings, by those that differ.
    vary : sequence of str
        Settings that may differ within an entry, because the figure shows what they do.

    Returns
    -------
    dict of str to list of Run

    Raises
    ------
    Incomparable
        Nothing was selected, a run has no finished epoch, or a list under one label mixes things that are not seeds of one another.
    """
    if isinstance(runs, Mapping):
        chosen = {str(label): _open(item) for label, item in runs.items()}
    else:
        chosen = {}
        methods: dict[object, list[Run]] = {}
        for run in _open(runs):
            methods.setdefault(run.method or run.name, []).append(run)
        for same in methods.values():
            differing = sorted(set(varying(same)) - set(vary))
            # `data` is a preset's name; where it differs, the settings behind it differ for that reason.
            differing = ["data"] if "data" in differing else differing
            for run in same:
                chosen.setdefault(_name(run, differing), []).append(run)
    if not chosen or not all(chosen.values()):
        empty = [label for label, found in chosen.items() if not found]
        raise Incomparable(f"no runs were selected{' for ' + ', '.join(map(repr, empty)) if empty else ''}; nothing to show")
    for label, found in chosen.items():
        if pending := [run.name for run in found if not len(run.epochs)]:
            raise Incomparable(f"{', '.join(pending)} ({label}) has no finished epoch yet; wait for its first, or leave it out")
        points: dict[tuple, list[Run]] = {}
        for run in found:
            points.setdefault(tuple(map(flat_config(run).get, vary)), []).append(run)
        for same in points.values():
            check_seeds(label, same)
    return chosen


def check_seeds(label: str, runs: list[Run]) -> None:
    """Refuse a list of runs that are not the seeds of one method on one data set.

    Raises
    ------
    Incomparable
        Two runs differ in a setting, or a seed occurs twice; the message names them.
    """
    if len(runs) == 1:
        return
    check_classes(runs)
    methods = {run.method for run in runs}
    if len(methods) > 1:
        raise Incomparable(f"{label!r} mixes methods ({', '.join(sorted(map(str, methods)))}); give each a label of its own")
    if differing := varying(runs):
        name, values = next(iter(differing.items()))
        other, value = next((run, value) for run, value in zip(runs, values, strict=True) if value != values[0])
        more = f" (and {len(differing) - 1} more settings)" if len(differing) > 1 else ""
        raise Incomparable(
            f"the runs of {label!r} are not seeds of one another: {name} is {values[0]!r} in {runs[0].path}, {value!r} in "
            f"{other.path}{more}; give each setting a label of its own"
        )
    seen: dict[object, Run] = {}
    for run in runs:
        key = run.path if run.seed is None else run.seed
        if key in seen:
            both = f"{seen[key].path} and {run.path}"
            raise Incomparable(f"{label!r} holds seed {key} twice ({both}), which is no second observation; leave one out")
        seen[key] = run


def check_classes(runs: Iterable[Run], groups="tertiles") -> metrics.Groups:
    """Head, medium and tail that all runs share.

    Raises
    ------
    Incomparable
        The class lists or the classes of head, medium and tail differ.
    """
    first, *others = runs
    parts = metrics.groups(first.labelled_counts, groups)
    for run in others:
        both = f"{first.name} ({first.path}) and {run.name} ({run.path}) cannot be compared"
        if run.class_names != first.class_names:
            only = sorted(set(first.class_names) ^ set(run.class_names))[:5]
            what = f"classes in one of them only: {', '.join(map(repr, only))}" if only else "the same classes have other numbers"
            raise Incomparable(f"{both}: their class lists differ ({len(first.class_names)} and {len(run.class_names)} classes; {what})")
        for name, mine, theirs in zip(("head", "medium", "tail"), parts, metrics.groups(run.labelled_counts, groups), strict=False):
            if {*mine} != {*theirs}:
                a, b = (", ".join(first.class_names[c] for c in members) or "empty" for members in (mine, theirs))
                raise Incomparable(f"{both}: {name} is {a} in the first, {b} in the second")
    return parts


def check_truth(runs: Iterable[Run], kind: str = "sweep") -> None:
    """Refuse runs whose pseudo-labels have no truth to be held against; test predictions always have one.

    Raises
    ------
    Incomparable
        A run without any known true class among its unlabelled samples.
    """
    for run in runs:
        if kind != "test" and run.unlabelled_counts is None and not (run.true_labels >= 0).any():
            raise Incomparable(
                f"{run.name} ({run.path}): the true classes of its unlabelled samples are not known, so nobody can say which of its "
                "pseudo-labels are right; take kind='test', run.pseudo_counts() for what was given, or pass true_labels= to the recorder"
            )


def common_epochs(label: str, runs: list[Run]) -> np.ndarray:
    """Epochs of the seeds under one label, ascending.

    Raises
    ------
    Incomparable
        They were recorded at different epochs, so that no mean over them can be taken.
    """
    epochs = runs[0].epochs
    for run in runs[1:]:
        if not np.array_equal(run.epochs, epochs):
            raise Incomparable(
                f"no mean over the seeds of {label!r}: {runs[0].path} has {len(epochs)} epochs up to {epochs[-1]}, {run.path} has "
                f"{len(run.epochs)} up to {run.epochs[-1]}; finish them, or give each a label of its own"
            )
    return epochs


def check_data(runs: Iterable[Run], *, vary: Iterable[str] = ()) -> None:
    """Refuse runs that saw different data.

    Parameters
    ----------
    runs : iterable of Run
    vary : iterable of str
        Settings that may differ, because the comparison is about them.

    Raises
    ------
    Incomparable
        Two runs differ; the message names them and the settings.
    """
    (first, *others), vary = runs, set(vary)
    mine = flat_config(first)
    for run in others:
        theirs = flat_config(run)
        told = [name for name in DATA_SETTINGS if name in mine and name in theirs and name not in vary]
        if vary & set(DATA_SETTINGS):  # a preset's name says nothing where its settings are varied on purpose
            told = [name for name in told if name != "data"]
        if different := [name for name in told if mine[name] != theirs[name]]:
            listed = "; ".join(f"{name} is {mine[name]!r} in the first, {theirs[name]!r} in the second" for name in different[:4])
            raise Incomparable(
                f"{first.name} ({first.path}) and {run.name} ({run.path}) saw different data: {listed}. "
                f"Select runs on the same data, or make the difference part of the comparison (in pld.table: cols={different[0]!r})"
            )
        if not told and not vary and not np.array_equal(first.labelled_counts, run.labelled_counts):
            raise Incomparable(
                f"{first.name} ({first.path}) and {run.name} ({run.path}) saw different data: labelled counts "
                f"{first.labelled_counts.tolist()[:5]}... and {run.labelled_counts.tolist()[:5]}..."
            )
