"""Metrics of confusion matrices of pseudo-labels, with a rule for every undefined case.

All functions take counts of shape ``[..., K, K]`` (rows: true class, columns: pseudo-label or prediction), work on the last axes
and keep the leading ones (epochs, runs). A ratio whose denominator is zero is NaN, never 0 or -1, and a mean over classes is
taken over the classes for which the value is defined. Only numpy is needed.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from pldebias.settings import plain

__all__ = [
    "Bias",
    "GroupScores",
    "Groups",
    "acceptance",
    "accuracy",
    "balanced_accuracy",
    "bias_indices",
    "confusion_matrix",
    "correctness",
    "ece",
    "f1",
    "g_mean",
    "gain",
    "group",
    "groups",
    "imbalance_ratio",
    "last_and_median",
    "macro",
    "mce",
    "precision",
    "recall",
    "support",
    "utilisation",
    "wilson",
]


def _counts(confusion) -> np.ndarray:
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2]:
        raise ValueError(f"a confusion matrix has shape [..., K, K]; got {list(counts.shape)}")
    return counts


def _pair(confusion, accepted) -> tuple[np.ndarray, np.ndarray]:
    every, some = _counts(confusion), _counts(accepted)
    if every.shape != some.shape:
        raise ValueError(f"both matrices must have one shape; got {list(every.shape)} (all) and {list(some.shape)} (accepted)")
    if (some > every).any():
        raise ValueError("more samples accepted than there are; the first matrix counts all samples, the second the accepted ones")
    return every, some


def _ratio(numerator, denominator) -> np.ndarray:
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def _diagonal(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def confusion_matrix(true, label, num_classes: int, where=None) -> np.ndarray:
    """Count pairs of true class and label.

    Parameters
    ----------
    true, label : array_like of int, shape ``[N]``
        Rows with an unknown truth (-1) are left out.
    num_classes : int
        K.
    where : array_like of bool, shape ``[N]``, optional
        Count these rows only, for example the accepted ones.

    Returns
    -------
    ndarray, shape ``[K, K]``, int64
        Rows true class, columns label.

    Raises
    ------
    ValueError
        A label outside 0..K-1, or a truth outside -1..K-1.
    """
    true, label = np.asarray(true, np.int64).ravel(), np.asarray(label, np.int64).ravel()
    if true.shape != label.shape:
        raise ValueError(f"one label per sample: got {true.size} true classes and {label.size} labels")
    keep = np.ones(true.size, bool) if where is None else np.asarray(where).astype(bool).ravel()
    keep = keep & (true != -1)
    true, label = true[keep], label[keep]
    for name, values in (("true", true), ("label", label)):
        if values.size and (values.min() < 0 or values.max() >= num_classes):
            raise ValueError(f"{name} must lie in 0..{num_classes - 1}; got {values.min()}..{values.max()}")
    return np.bincount(true * num_classes + label, minlength=num_classes**2).reshape(num_classes, num_classes)


def support(confusion) -> np.ndarray:
    """Samples of each true class (row sums), shape ``[..., K]``."""
    return _counts(confusion).sum(-1)


def recall(confusion) -> np.ndarray:
    """Share of each true class that got its own label: ``C[k, k] / sum_j C[k, j]``, shape ``[..., K]``.

    NaN for a class without samples. scikit-learn's ``recall_score(average=None, zero_division=nan)``.
    """
    counts = _counts(confusion)
    return _ratio(_diagonal(counts), counts.sum(-1))


def precision(confusion) -> np.ndarray:
    """Share of each label that is right: ``C[k, k] / sum_i C[i, k]``, shape ``[..., K]``.

    NaN for a class that was never given as a label (DASO's released logger writes -1 there and averages it).
    """
    counts = _counts(confusion)
    return _ratio(_diagonal(counts), counts.sum(-2))


def f1(confusion) -> np.ndarray:
    """Harmonic mean of precision and recall: ``2 C[k, k] / (row + column)``, shape ``[..., K]``.

    0 for a class that has samples or labels but no hit; NaN for a class with neither.
    """
    counts = _counts(confusion)
    return _ratio(2 * _diagonal(counts), counts.sum(-1) + counts.sum(-2))


def gain(confusion) -> np.ndarray:
    """Labels given per sample of the class: ``column sum / row sum``, shape ``[..., K]``; 1 is unbiased.

    NaN for a class without samples. DASO, released logger (``dist_logger.py``).
    """
    counts = _counts(confusion)
    return _ratio(counts.sum(-2), counts.sum(-1))


def macro(values, axis: int = -1) -> np.ndarray:
    """Mean over the classes where `values` is defined; NaN where none is."""
    values = np.asarray(values, np.float64)
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis), defined.sum(axis))


def accuracy(confusion) -> np.ndarray:
    """Share of all samples on the diagonal, shape ``[...]``; NaN without samples."""
    counts = _counts(confusion)
    return _ratio(_diagonal(counts).sum(-1), counts.sum((-2, -1)))


def balanced_accuracy(confusion) -> np.ndarray:
    """Mean recall over the classes that have samples, shape ``[...]``; NaN without samples.

    scikit-learn's ``balanced_accuracy_score``. With every class present this is macro recall.
    """
    return macro(recall(confusion))


def g_mean(confusion, floor: float | None = None) -> np.ndarray:
    """Geometric mean of the recalls of the classes that have samples, shape ``[...]``.

    Parameters
    ----------
    confusion : array_like, shape ``[..., K, K]``
    floor : float, optional
        Smallest recall that enters the mean. None: one class without a hit makes the result 0. DARP's code uses ``1 / (100 K)``.

    Returns
    -------
    ndarray, shape ``[...]``
        NaN without samples; classes without samples are left out.
    """
    values = recall(confusion)
    with np.errstate(divide="ignore"):
        return np.exp(macro(np.log(values if floor is None else np.maximum(values, floor))))


def wilson(successes, n, z: float = 1.959963984540054) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a proportion, 95 % by default.

    Parameters
    ----------
    successes, n : array_like
        Hits and trials, broadcast together.
    z : float
        Normal quantile; 1.96 gives 95 %.

    Returns
    -------
    lower, upper : ndarray
        In [0, 1]; NaN where ``n`` is 0.

    References
    ----------
    Wilson, E. B. (1927), J. Am. Stat. Assoc. 22.
    """
    p = _ratio(successes, n)
    trials = np.where(np.isnan(p), 1.0, np.asarray(n, np.float64))
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    # At 0 and n hits the bound is exact; rounding would leave 1e-17.
    lower = np.where(p == 0, 0.0, np.clip(centre - half, 0, 1))
    upper = np.where(p == 1, 1.0, np.clip(centre + half, 0, 1))
    return lower, upper


class Groups(NamedTuple):
    """Head, medium and tail classes (index arrays, head first within each) and the rule that made them."""

    head: np.ndarray
    medium: np.ndarray
    tail: np.ndarray
    rule: str

    @property
    def order(self) -> np.ndarray:
        """All classes from head to tail, shape ``[K]``."""
        return np.concatenate([self.head, self.medium, self.tail])

    @property
    def of(self) -> np.ndarray:
        """Group of every class, shape ``[K]``: 0 head, 1 medium, 2 tail."""
        result = np.empty(len(self.order), np.int64)
        for number, members in enumerate(self[:3]):
            result[members] = number
        return result


def groups(labelled_counts, rule: str | tuple[int, int] = "tertiles") -> Groups:
    """Split the classes into head, medium and tail by labelled count.

    Parameters
    ----------
    labelled_counts : array_like of int, shape ``[K]``
    rule : "tertiles" or (int, int)
        ``"tertiles"`` ranks the classes by count, descending, ties by class index; the first and the last ``K // 3`` (at least one
        when K > 1) are head and tail: 3/4/3 at K = 10, 33/34/33 at K = 100. A pair ``(high, low)`` such as ``(100, 20)`` makes
        head the classes with more than `high` labelled samples, tail those with fewer than `low`.

    Returns
    -------
    Groups
        A group may be empty under cut-offs; its scores are then NaN.
    """
    counts = np.asarray(labelled_counts)
    if counts.ndim != 1 or not counts.size:
        raise ValueError(f"labelled_counts has shape [K]; got {list(counts.shape)}")
    order = np.argsort(-counts.astype(np.float64), kind="stable")
    if isinstance(rule, str):
        if rule != "tertiles":
            raise ValueError(f"rule must be 'tertiles' or a pair of cut-offs such as (100, 20); got {rule!r}")
        k = counts.size
        third = max(1, k // 3) if k > 1 else 0
        head, medium, tail = order[:third], order[third : k - third], order[k - third :]
        text = f"tertiles of classes by labelled count ({len(head)}/{len(medium)}/{len(tail)}), ties by class index"
    else:
        pair = plain(rule)
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(n, int | float) and n == n for n in pair):
            raise ValueError(f"rule must be 'tertiles' or a pair of cut-offs such as (100, 20); got {rule!r}")
        high, low = pair
        if low > high:
            raise ValueError(f"cut-offs are (high, low) with high >= low; got ({high}, {low})")
        ranked = counts[order]
        head, tail = order[ranked > high], order[ranked < low]
        medium = order[(ranked <= high) & (ranked >= low)]
        text = f"head: more than {high} labelled samples, medium: {low} to {high}, tail: fewer than {low}"
    return Groups(head, medium, tail, text)


class GroupScores(NamedTuple):
    """Scores of head, medium and tail in this order, each of shape ``[..., 3]``."""

    recall: np.ndarray
    precision: np.ndarray
    recall_classes: np.ndarray  # classes whose recall is defined
    precision_classes: np.ndarray  # classes whose precision is defined
    support: np.ndarray  # samples whose true class is in the group


def group(confusion, groups: Groups) -> GroupScores:
    """Macro recall and precision of head, medium and tail, over the classes where they are defined.

    Parameters
    ----------
    confusion : array_like, shape ``[..., K, K]``
    groups : Groups
        From `groups`.

    Returns
    -------
    GroupScores
        NaN for a group without a defined class; the counts of defined classes say how much a mean rests on.
    """
    r, p, n = recall(confusion), precision(confusion), support(confusion)
    if len(groups.order) != n.shape[-1]:
        raise ValueError(f"groups cover {len(groups.order)} classes, the matrix has {n.shape[-1]}")
    parts = groups[:3]
    return GroupScores(
        recall=np.stack([macro(r[..., g]) for g in parts], -1),
        precision=np.stack([macro(p[..., g]) for g in parts], -1),
        recall_classes=np.stack([(~np.isnan(r[..., g])).sum(-1) for g in parts], -1),
        precision_classes=np.stack([(~np.isnan(p[..., g])).sum(-1) for g in parts], -1),
        support=np.stack([n[..., g].sum(-1) for g in parts], -1),
    )


def imbalance_ratio(counts, zeros: str = "inf") -> np.ndarray:
    """Largest over smallest class count, shape ``[...]`` from ``[..., K]``.

    Parameters
    ----------
    counts : array_like, shape ``[..., K]``
    zeros : "inf" or "skip"
        A class with count 0 makes the ratio infinite, or is left out as DASO's logger does.

    Returns
    -------
    ndarray, shape ``[...]``
        NaN when every count is 0.
    """
    if zeros not in ("inf", "skip"):
        raise ValueError(f"zeros must be 'inf' or 'skip'; got {zeros!r}")
    counts = np.asarray(counts, np.float64)
    largest = counts.max(-1)
    smallest = np.where(counts > 0, counts, np.inf).min(-1) if zeros == "skip" else counts.min(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(largest > 0, largest / smallest, np.nan)


class Bias(NamedTuple):
    """Bias of pseudo-labels towards the head, each of shape ``[...]``."""

    kl: np.ndarray
    tv: np.ndarray
    imbalance_ratio: np.ndarray
    tail_to_head: np.ndarray
    head_to_tail: np.ndarray


def bias_indices(confusion, groups: Groups, zeros: str = "inf") -> Bias:
    """Bias of the pseudo-label marginal ``q`` (columns) against the true marginal ``p`` (rows) of the same samples.

    Parameters
    ----------
    confusion : array_like, shape ``[..., K, K]``
    groups : Groups
        From `groups`.
    zeros : "inf" or "skip"
        As in `imbalance_ratio`.

    Returns
    -------
    Bias
        ``kl``: ``sum q log(q / p)`` in nats, with ``0 log 0 = 0``, infinite where a class is predicted that no sample has;
        ``tv``: ``0.5 sum |q - p|``; ``imbalance_ratio``: of the pseudo-labels; ``tail_to_head``: share of the samples of tail
        classes that got a head label; ``head_to_tail``: the reverse. NaN without samples (for the leaks: of that group).
    """
    counts = _counts(confusion)
    total = counts.sum((-2, -1))[..., None]
    p, q = _ratio(counts.sum(-1), total), _ratio(counts.sum(-2), total)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(q > 0, q * np.log(q / p), np.where(np.isnan(q), np.nan, 0.0))
    head, tail = groups.head, groups.tail

    def leak(source, target):
        rows = counts[..., source, :]
        return _ratio(rows[..., target].sum((-2, -1)), rows.sum((-2, -1)))

    return Bias(
        # Rounding may leave -1e-17 where the marginals agree; a divergence is not negative.
        kl=np.maximum(terms.sum(-1), 0.0),
        tv=0.5 * np.abs(q - p).sum(-1),
        imbalance_ratio=imbalance_ratio(counts.sum(-2), zeros),
        tail_to_head=leak(tail, head),
        head_to_tail=leak(head, tail),
    )


def acceptance(confusion, accepted) -> np.ndarray:
    """Share of the samples *labelled* k that were accepted (passed the threshold), shape ``[..., K]``.

    `confusion` counts all samples, `accepted` the accepted ones. NaN for a class never given as a label.
    """
    every, some = _pair(confusion, accepted)
    return _ratio(some.sum(-2), every.sum(-2))


def utilisation(confusion, accepted) -> np.ndarray:
    """Share of the samples that *are* of class k that were accepted, right or wrong, shape ``[..., K]``.

    `confusion` counts all samples, `accepted` the accepted ones. NaN for a class without samples.
    """
    every, some = _pair(confusion, accepted)
    return _ratio(some.sum(-1), every.sum(-1))


def correctness(confusion, accepted, class_prior) -> np.ndarray:
    """SEVAL's correctness: weighted precision times weighted recall of the accepted samples, shape ``[...]``.

    ``C**2 / (sum_i w_i) / (sum_accepted w_i)`` with ``w = 1 / class_prior[true class]`` and ``C`` the weight of accepted, right
    samples. The released code weighs by labelled frequencies, the paper by unlabelled ones; give what you mean.

    Parameters
    ----------
    confusion, accepted : array_like, shape ``[..., K, K]``
        All samples and the accepted ones.
    class_prior : array_like, shape ``[K]``
        Positive class frequencies.

    Returns
    -------
    ndarray, shape ``[...]``
        NaN when nothing was accepted.
    """
    every, some = _pair(confusion, accepted)
    weight = 1 / np.asarray(class_prior, np.float64)
    right = (_diagonal(some) * weight).sum(-1)
    return _ratio(_ratio(right**2, (every.sum(-1) * weight).sum(-1)), (some.sum(-1) * weight).sum(-1))


def _calibration(confidence, correct, bins: int) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = np.asarray(confidence, np.float32).ravel(), np.asarray(correct, np.float64).ravel()
    if confidence.shape != correct.shape:
        raise ValueError(f"one confidence per sample: got {confidence.size} confidences and {correct.size} outcomes")
    if confidence.size and not (confidence.min() >= 0 and confidence.max() <= 1):
        raise ValueError("confidence must lie in [0, 1]; give probabilities, not logits")
    edges = np.linspace(0, 1, bins + 1, dtype=np.float32)
    slot = np.searchsorted(edges, confidence, side="right") - 1
    n = np.bincount(slot, minlength=bins + 1)
    gap = np.bincount(slot, correct - confidence, minlength=bins + 1)
    filled = n > 0
    return np.abs(gap[filled]) / n[filled], n[filled] / max(confidence.size, 1)


def ece(confidence, correct, bins: int = 15) -> float:
    """Expected calibration error: mean over bins of ``|accuracy - confidence|``, weighted by the samples in the bin.

    Parameters
    ----------
    confidence : array_like, shape ``[N]``
        Probability of the predicted class.
    correct : array_like of bool, shape ``[N]``
    bins : int
        Equal bins of [0, 1], closed on the left, open on the right; confidence 1 has a slot of its own, as in torchmetrics 1.x
        (which USB's evaluation calls).

    Returns
    -------
    float
        NaN without samples.
    """
    gap, share = _calibration(confidence, correct, bins)
    return float((gap * share).sum()) if gap.size else float("nan")


def mce(confidence, correct, bins: int = 15) -> float:
    """Maximum calibration error: the largest ``|accuracy - confidence|`` of a bin of `ece`; NaN without samples."""
    gap, _ = _calibration(confidence, correct, bins)
    return float(gap.max()) if gap.size else float("nan")


def last_and_median(series, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Last value and median of the last `n` evaluations, along the last axis.

    The median is what DASO, SEVAL and the work after them report for test accuracy.

    Parameters
    ----------
    series : array_like, shape ``[..., E]``
        Undefined (NaN) evaluations are left out.
    n : int
        Window; a shorter series is used whole.

    Returns
    -------
    last, median : ndarray, shape ``[...]``
        NaN when no evaluation is defined.
    """
    series = np.asarray(series, np.float64)
    if series.ndim == 0:
        raise ValueError("series has shape [..., E]; got a single number")
    if not series.shape[-1]:
        return np.full(series.shape[:-1], np.nan), np.full(series.shape[:-1], np.nan)
    undefined = np.isnan(series)
    if not undefined.any():
        return series[..., -1], np.median(series[..., -n:], -1)
    # What is undefined goes to the front; the order of the others stays.
    series = np.take_along_axis(series, np.argsort(~undefined, -1, kind="stable"), -1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return series[..., -1], np.nanmedian(series[..., -n:], -1)
