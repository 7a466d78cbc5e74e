"""Runs of several imbalance ratios: where each stands, and what it gains on a reference of the same ratio and seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pldebias.analysis.comparing.selection import Incomparable, flat_config, value_of
from pldebias.analysis.comparing.spread import Spread, over_seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pldebias.runs import Run

__all__ = ["gains", "ratio_in_words", "ratios"]


def ratios(runs: Iterable[Run], gamma: str = "gamma_u") -> tuple[list[float], dict[int, int]]:
    """The imbalance ratios that occur, ascending, and each run's place among them, by ``id(run)``.

    A reversed unlabelled set has a ratio below 1: its labelled head is the unlabelled tail.

    Raises
    ------
    Incomparable
        A run was not told its ratio, or ``"both"`` is asked for and the two differ.
    """
    if gamma not in ("gamma_u", "gamma_l", "both"):
        raise ValueError(f"gamma must be 'gamma_u', 'gamma_l' or 'both'; got {gamma!r}")
    found = {}
    for run in runs:
        ratio = float(value_of(run, "gamma_l" if gamma == "both" else gamma))
        if gamma == "both" and ratio != float(value_of(run, "gamma_u")):
            other = float(value_of(run, "gamma_u"))
            raise Incomparable(f"{run.name} ({run.path}) has gamma_l={ratio:g} and gamma_u={other:g}; gamma='both' needs equal ones")
        if gamma != "gamma_l" and flat_config(run).get("reverse_unlabelled"):
            ratio = 1 / ratio
        found[id(run)] = ratio
    points = sorted(set(found.values()))
    return points, {key: points.index(ratio) for key, ratio in found.items()}


def ratio_in_words(ratio: float) -> str:
    """``100``, or ``1/100`` for a reversed set."""
    return f"{ratio:g}" if ratio >= 1 else f"1/{1 / ratio:.4g}"


def gains(runs: list[Run], references: list[Run], places: dict[int, int], count: int, values: Callable[[Run], np.ndarray]) -> Spread:
    """Mean difference to references of the same place and seed.

    Parameters
    ----------
    runs, references : list of Run
    places : dict of int to int
        Place of every run, as from `ratios`.
    count : int
        Places there are.
    values : callable
        From a run to numbers of shape ``[M]``.

    Returns
    -------
    Spread
        Each of shape ``[count, M]``; NaN where there is no pair.
    """
    known = {(places[id(run)], run.seed): run for run in references}
    pairs: dict[int, list[np.ndarray]] = {}
    for run in runs:
        place = places[id(run)]
        if (place, run.seed) in known:
            pairs.setdefault(place, []).append(values(run) - values(known[place, run.seed]))
    if not pairs:
        raise Incomparable(
            f"{runs[0].name} and its reference {references[0].name} have no ratio and seed in common; train both with the same seeds"
        )
    width = len(next(iter(pairs.values()))[0])
    spreads = [over_seeds(pairs.get(place, [np.full(width, np.nan)])) for place in range(count)]
    return Spread(*(np.stack(column) for column in zip(*spreads, strict=True)))
