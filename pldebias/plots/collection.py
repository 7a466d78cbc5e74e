"""Every figure that a selection of runs can fill, and why it cannot fill the others."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pldebias.analysis.comparing.selection import check_classes, epoch_at, select
from pldebias.analysis.relabelling.blending import blends
from pldebias.plots.blending import blending
from pldebias.plots.carpet import carpet
from pldebias.plots.confusion_difference import confusion_difference
from pldebias.plots.confusion_epochs import confusion_epochs
from pldebias.plots.estimated_prior import estimated_prior, estimates
from pldebias.plots.label_distribution import label_distribution
from pldebias.plots.learned_state import learned_state
from pldebias.plots.recall_precision import recall_precision
from pldebias.plots.training_curves import training_curves
from pldebias.progress import bar
from pldebias.runs import NotLogged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pldebias.plots.result import PaperFigure
    from pldebias.runs import Run

__all__ = ["Made", "collection"]


class Made(NamedTuple):
    """One figure of a collection, or the reason why there is none.

    Attributes
    ----------
    name : str
        Fit for a file.
    title : str
    figure : PaperFigure or None
    problem : str
        Empty if there is a figure.
    """

    name: str
    title: str
    figure: PaperFigure | None
    problem: str


def collection(runs, *, baseline: str | None = None, **style) -> Iterator[Made]:
    """Draw every figure that these runs can fill, one after the other.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    baseline : str, optional
        Label from which differences are drawn, of all others; the first one by default.
    **style
        ``groups``, ``width``, ``error``, ``font`` and ``backend`` as in `pldebias.plots.recall_precision`; those that a figure has.

    Yields
    ------
    Made

    Raises
    ------
    Incomparable
        The class lists differ.
    ValueError
        `baseline` is no label.
    """
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    check_classes(every, style.get("groups", "tertiles"))
    first = next(iter(chosen)) if baseline is None else baseline
    if first not in chosen:
        raise ValueError(f"baseline must be one of {', '.join(chosen)}; got {baseline!r}")
    plain = {key: value for key, value in style.items() if key != "error"}  # a matrix has no room for an interval
    wanted = _wanted(chosen, every, first, style, plain)
    for name, title, draw in bar(wanted, desc="figures", leave=False, unit=" figures", delay=2):
        try:
            yield Made(name, title, draw(), "")
        except (NotLogged, ValueError) as error:
            yield Made(name, title, None, error.args[0] if error.args else str(error))


def _wanted(chosen: dict[str, list[Run]], every: list[Run], first: str, style: dict, plain: dict) -> list[tuple[str, str, Callable]]:
    wanted = [
        ("recall_precision", "Recall and precision of pseudo-labels", lambda: recall_precision(chosen, **style)),
        ("training_curves", "Over the training", lambda: training_curves(chosen, ("balanced_accuracy", "pl_recall"), **style)),
        ("carpet", "Labels given, class by epoch", lambda: carpet(chosen, metric="ratio", **plain)),
        ("label_distribution", "Distribution of pseudo-labels", lambda: label_distribution(chosen, **style)),
        ("confusion_epochs", "Confusion of pseudo-labels", lambda: confusion_epochs(chosen, _epochs(every), **plain)),
    ]
    slugs = _slugs(chosen)
    for label in chosen:
        if label != first:
            pair = {first: chosen[first], label: chosen[label]}
            title = f"Confusion of pseudo-labels: {label} minus {first}"
            wanted.append((f"confusion_difference_{slugs[label]}", title, lambda pair=pair: confusion_difference(pair, **plain)))
    for label, found in chosen.items():
        one = {label: found}
        if blends(found[0]):
            wanted.append((f"blending_{slugs[label]}", f"Blending of {label}", lambda one=one: blending(one, **style)))
    for name, some in _by_state(chosen).items():
        wanted.append((f"learned_state_{name}", f"State of {name}", lambda some=some: learned_state(some, **style)))
    if estimating := {label: found for label, found in chosen.items() if estimates(found[0])}:
        # The other entries estimate none, which is no failure.
        wanted.append(("estimated_prior", "Estimated class distribution", lambda: estimated_prior(estimating, **style)))
    return wanted


def _by_state(chosen: dict[str, list[Run]]) -> dict[str, dict[str, list[Run]]]:
    """Entries that logged the same state stand in one figure, called by its schemes."""
    found: dict[tuple[str, ...], dict[str, list[Run]]] = {}
    for label, runs in chosen.items():
        if runs[0].series:
            found.setdefault(runs[0].series, {})[label] = runs
    schemes = ["+".join(dict.fromkeys(name.partition("/")[0] for name in series)) for series in found]
    numbered = [name if schemes.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(schemes)]
    return dict(zip(numbered, found.values(), strict=True))


def _epochs(every: list[Run]) -> list[int]:
    """The first, an early and the last epoch of the first run that all runs have, or recorded something near."""

    def shared(epoch: int) -> bool:
        with suppress(NotLogged):
            return all(epoch_at(run, epoch, every) is not None for run in every)
        return False

    common = [epoch for epoch in every[0].epochs.tolist() if shared(epoch)] or [-1]
    return sorted({common[0], common[len(common) // 4], common[-1]})


def _slugs(labels: Iterable[str]) -> dict[str, str]:
    """Each label as a part of a file's name; labels that come out the same are numbered, so that no file replaces another."""
    found: dict[str, str] = {}
    for label in labels:
        slug = re.sub(r"[^\w+=.-]+", "_", label).strip("_.")[:60] or "entry"
        found[label] = slug if slug not in found.values() else f"{slug}_{len(found)}"
    return found
