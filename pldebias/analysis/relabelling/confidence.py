"""Confidence of pseudo-labels: calibration by group, and acceptance and precision at every threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.analysis.relabelling.outputs import check_truth
from pldebias.analysis.relabelling.relabelled import GROUP_NAMES, checked
from pldebias.analysis.relabelling.whatif import WhatIf, what_if
from pldebias.runs.run import as_run
from pldebias.settings import typed

if TYPE_CHECKING:
    from pathlib import Path

    from pldebias.runs import Run

__all__ = ["Reliability", "ThresholdSweep", "reliability", "threshold_sweep"]


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy of pseudo-labels at one epoch, by group of the *pseudo-label* and for all.

    Attributes
    ----------
    result : WhatIf
        The labels.
    names : tuple of str
        ``head, medium, tail, all``.
    edges : ndarray, shape ``[B + 1]``
    n, confidence, accuracy, lower, upper : ndarray, shape ``[4, B]``
        Samples of known truth in a bin, their mean confidence, the share that is right, and its 95 % Wilson interval; NaN in empty bins.
    ece : ndarray, shape ``[4]``
        As `pldebias.metrics.ece`; NaN without samples.
    """

    result: WhatIf
    names: tuple[str, ...]
    edges: np.ndarray
    n: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    ece: np.ndarray


def _members(result: WhatIf) -> list[np.ndarray]:
    of = result.groups.of[result.label]
    return [*(of == number for number in range(3)), np.ones(len(of), bool)]


@typed
def reliability(run: Run | str | Path, scheme: str | None = None, *, epoch: int = -1, bins: int = 10, **options) -> Reliability:
    """Calibration of the pseudo-labels of a run, or of what a scheme would make of them.

    Parameters
    ----------
    run, scheme, epoch, **options
        As in `pldebias.what_if`.
    bins : int, default 10
        Equal bins of [0, 1]; confidence 1 belongs to the last.

    Raises
    ------
    ValueError
        No true label of the unlabelled set is known.
    MethodError
        As for `pldebias.what_if`, or relabelling as trained does not give the logged labels.
    """
    run = as_run(run)
    check_truth(run, "reliability", "; threshold_sweep shows what would be accepted")
    result = checked(what_if(run, scheme, epoch=epoch, **options))
    known = result.true >= 0
    right = result.label == result.true
    confidence = np.clip(result.confidence, 0, 1)
    edges = np.linspace(0, 1, bins + 1)
    slot = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    n, hits, sums = (np.zeros((4, bins)) for _ in range(3))
    ece = np.full(4, np.nan)
    for number, members in enumerate(_members(result)):
        rows = members & known
        n[number] = np.bincount(slot[rows], minlength=bins)
        hits[number] = np.bincount(slot[rows], right[rows], minlength=bins)
        sums[number] = np.bincount(slot[rows], confidence[rows], minlength=bins)
        ece[number] = metrics.ece(confidence[rows], right[rows], bins)
    lower, upper = metrics.wilson(hits, n)
    filled = np.where(n > 0, n, np.nan)
    return Reliability(result, (*GROUP_NAMES, "all"), edges, n.astype(int), sums / filled, hits / filled, lower, upper, ece)


@dataclass(frozen=True)
class ThresholdSweep:
    """Acceptance and precision at every confidence threshold, by group of the *pseudo-label* and for all.

    Attributes
    ----------
    result : WhatIf
        The labels.
    names : tuple of str
        ``head, medium, tail, all``.
    thresholds : ndarray, shape ``[T]``
    accepted : ndarray, shape ``[4, T]``
        Share of the group's pseudo-labels whose confidence reaches the threshold; NaN for a group without labels.
    precision, lower, upper : ndarray, shape ``[4, T]``
        Share of the accepted samples of known truth whose label is right, with its 95 % Wilson interval; NaN where none is accepted.
    n : ndarray, shape ``[4, T]``
        Accepted samples of known truth.
    now : ndarray, shape ``[4, 2]``
        Acceptance and precision by the method's own rule.
    """

    result: WhatIf
    names: tuple[str, ...]
    thresholds: np.ndarray
    accepted: np.ndarray
    precision: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    n: np.ndarray
    now: np.ndarray


@typed
def threshold_sweep(run: Run | str | Path, scheme: str | None = None, *, epoch: int = -1, thresholds=None, **options) -> ThresholdSweep:
    """Acceptance against precision for every threshold.

    Parameters
    ----------
    run, scheme, epoch, **options
        As in `pldebias.what_if`.
    thresholds : array_like, optional
        Ascending, in [0, 1]; 0 to 1 by hundredths when None.

    Raises
    ------
    MethodError
        As for `pldebias.what_if`, or relabelling as trained does not give the logged labels.
    """
    result = checked(what_if(run, scheme, epoch=epoch, **options))
    grid = np.linspace(0, 1, 101) if thresholds is None else np.asarray(thresholds, float)
    if grid.ndim != 1 or not len(grid) or (np.diff(grid) < 0).any() or grid[0] < 0 or grid[-1] > 1:
        raise ValueError("thresholds must ascend within [0, 1]")
    known, right = result.true >= 0, result.label == result.true
    accepted, n, hits = np.full((4, len(grid)), np.nan), np.zeros((4, len(grid))), np.zeros((4, len(grid)))
    now = np.full((4, 2), np.nan)
    for number, members in enumerate(_members(result)):
        if not members.any():
            continue
        accepted[number] = _at_least(result.confidence[members], grid) / members.sum()
        n[number] = _at_least(result.confidence[members & known], grid)
        hits[number] = _at_least(result.confidence[members & known & right], grid)
        taken = members & result.accepted
        now[number, 0] = taken.sum() / members.sum()
        if (taken & known).any():
            now[number, 1] = right[taken & known].mean()
    lower, upper = metrics.wilson(hits, n)
    precision = hits / np.where(n > 0, n, np.nan)
    return ThresholdSweep(result, (*GROUP_NAMES, "all"), grid, accepted, precision, lower, upper, n.astype(int), now)


def _at_least(confidence: np.ndarray, grid: np.ndarray) -> np.ndarray:
    return len(confidence) - np.searchsorted(np.sort(confidence.astype(np.float64)), grid, side="left")
