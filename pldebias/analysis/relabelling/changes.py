"""Changes of pseudo-labels between two epochs, and the epoch from which each class is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.analysis.relabelling.outputs import check_truth
from pldebias.runs.run import as_run
from pldebias.settings import typed

if TYPE_CHECKING:
    from pathlib import Path

    from pldebias.runs import Run

__all__ = ["Flows", "LearningOrder", "flows", "learning_order"]


@dataclass(frozen=True)
class Flows:
    """Pseudo-labels of the same samples at two epochs.

    Attributes
    ----------
    run : Run
    start, end : int
        Epochs.
    counts : ndarray, shape ``[K, K]``
        Samples by label at `start` (rows) and at `end` (columns).
    right : ndarray, shape ``[2, 2]``
        Samples of known truth by whether the label was right at `start` (rows: wrong, right) and at `end` (columns).
    n : int
        Samples.
    of : str
        Which samples.
    groups : Groups
    """

    run: Run
    start: int
    end: int
    counts: np.ndarray
    right: np.ndarray
    n: int
    of: str
    groups: metrics.Groups

    @property
    def changed(self) -> int:
        """Samples whose label is another one."""
        return int(self.counts.sum() - np.trace(self.counts))


def _epoch(run: Run, epoch: int | None) -> int:
    have = run.logged("history")
    if epoch is None:
        return int(have[0]) if len(have) else 0
    return int(have[epoch]) if epoch < 0 and len(have) >= -epoch else int(epoch)


@typed
def flows(
    run: Run | str | Path,
    start: int | None = None,
    end: int = -1,
    *,
    of: str = "all",
    split: str = "all",
    groups: str | tuple[int, int] = "tertiles",
) -> Flows:
    """Count who changed to what between the sweeps of two epochs.

    Parameters
    ----------
    run : Run or path
    start, end : int, optional
        Recorded epochs; -1 is the last, None the first.
    of : {"all", "head", "medium", "tail"} or class name
        Samples whose *true* class is in that group, or is that class; "all" takes every sample.
    split : {"all", "accepted", "rejected"}
        By acceptance at `end`.
    groups : "tertiles" or (int, int)

    Returns
    -------
    Flows
    """
    run = as_run(run)
    parts = metrics.groups(run.labelled_counts, groups)
    start, end = _epoch(run, start), _epoch(run, end)
    (before, _), (after, accepted) = run.history(start), run.history(end)
    before, after, true = before.astype(np.int64), after.astype(np.int64), run.true_labels
    members = {"head": parts.head, "medium": parts.medium, "tail": parts.tail} | {n: [k] for k, n in enumerate(run.class_names)}
    if of != "all" and of not in members:
        raise ValueError(f"of={of!r} is not known; choose all, head, medium, tail or a class: {', '.join(run.class_names)}")
    if split not in ("all", "accepted", "rejected"):
        raise ValueError(f"split={split!r} is not known; choose all, accepted or rejected")
    keep = (before >= 0) & (after >= 0)  # a sample without a label is in no flow
    keep &= True if of == "all" else np.isin(true, members[of])
    if split != "all":
        keep &= accepted.astype(bool) == (split == "accepted")
    before, after, true = before[keep], after[keep], true[keep]
    k, known = run.num_classes, true >= 0
    was, became = (before == true)[known], (after == true)[known]
    return Flows(
        run=run,
        start=start,
        end=end,
        counts=np.bincount(before * k + after, minlength=k * k).reshape(k, k),
        right=np.bincount(2 * was + became, minlength=4).reshape(2, 2),
        n=len(before),
        of=of if split == "all" else f"{of}, {split}",
        groups=parts,
    )


@dataclass(frozen=True)
class LearningOrder:
    """Epochs from which classes were learned.

    Attributes
    ----------
    run : Run
    epoch : ndarray, shape ``[K]``
        First epoch from which the value stayed at `level` or above for `hold` recorded epochs; NaN for a class that never did so.
    level : float
    hold : int
    metric, kind : str
    values : ndarray, shape ``[E, K]``
        What was looked at.
    rank_correlation : float
        Spearman's between labelled count and epoch, classes that were never learned coming last; -1: the head first. NaN without
        variation.
    groups : Groups
    """

    run: Run
    epoch: np.ndarray
    level: float
    hold: int
    metric: str
    kind: str
    values: np.ndarray
    rank_correlation: float
    groups: metrics.Groups


@typed
def learning_order(
    run: Run | str | Path,
    *,
    level: float = 0.5,
    hold: int = 3,
    metric: str = "recall",
    kind: str = "sweep",
    groups: str | tuple[int, int] = "tertiles",
) -> LearningOrder:
    """Find the epoch from which each class was learned.

    Parameters
    ----------
    run : Run or path
    level : float, default 0.5
        Value at which a class counts as learned, in (0, 1].
    hold : int, default 3
        Recorded epochs in a row for which it must stay there, so that a lucky epoch does not count; fewer at the end of the training.
    metric : {"recall", "precision"}
    kind : {"sweep", "visits", "test"}
        Matrices to take it from.
    groups : "tertiles" or (int, int)

    Returns
    -------
    LearningOrder

    Raises
    ------
    ValueError
        A choice that does not exist, or no true labels where `kind` needs them.
    """
    run = as_run(run)
    formulas = {"recall": metrics.recall, "precision": metrics.precision}
    if metric not in formulas:
        raise ValueError(f"metric={metric!r} is not known; choose recall or precision")
    if not 0 < level <= 1 or hold < 1:
        raise ValueError(f"level={level} must be in (0, 1] and hold={hold} at least 1")
    if kind != "test":
        check_truth(run, "the order of learning", "; kind='test' counts test images")
    values = formulas[metric](run.confusion(kind))
    above = np.nan_to_num(values, nan=-1.0) >= level
    padded = np.concatenate([above, np.ones((hold - 1, above.shape[1]), bool)])
    held = above & np.stack([padded[i : i + len(above)] for i in range(hold)]).all(0)
    epoch = np.where(held.any(0), run.epochs[held.argmax(0)].astype(float), np.nan)
    return LearningOrder(
        run, epoch, level, hold, metric, kind, values, _spearman(run.labelled_counts, epoch), metrics.groups(run.labelled_counts, groups)
    )


def _spearman(counts: np.ndarray, epoch: np.ndarray) -> float:
    from scipy.stats import spearmanr

    last = np.nan_to_num(epoch, nan=np.inf)
    constant = np.ptp(counts) == 0 or (last == last[0]).all()
    return float("nan") if constant else float(np.asarray(spearmanr(counts, last))[0])
