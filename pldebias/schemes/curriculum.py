"""What SEVAL learns on a hold-out: one offset and one threshold per class.

References
----------
Li et al., SEVAL: Learning Label Refinement and Threshold Adjustment for Imbalanced Semi-Supervised Learning, 2024; objectives of the
official code (lib/models/losses/optimizepi.py, optimizeth.py), solved exactly by default.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_BOUNDS = (1e-3, 3.0)  # of an offset in the official code; its ratio bounds the exact solver too
_EPS = 1e-6  # added to the summed weight of a precision


def rank_groups(counts: Tensor, groups: int) -> Tensor:
    """Group id ``[K]`` of each class: classes of similar count share one, ``ceil(K / groups)`` by ``ceil(K / groups)``, largest first."""
    if not 1 <= groups <= len(counts):
        raise ValueError(f"groups={groups} must be between 1 and the number of classes, {len(counts)}")
    rank = torch.empty_like(counts, dtype=torch.int64)
    rank[counts.argsort(descending=True, stable=True)] = torch.arange(len(counts), device=counts.device)
    return rank // math.ceil(len(counts) / groups)


def _group_ids(groups: Tensor | int | None, classes: int) -> np.ndarray:
    if groups is None:
        return np.arange(classes)
    if isinstance(groups, int):
        return rank_groups(torch.zeros(classes), groups).numpy()
    return groups.cpu().numpy()


def _holdout(logits: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if len(logits) == 0 or len(logits) != len(labels):
        raise ValueError(f"a hold-out needs as many labels as rows of logits and at least one; got {len(labels)} and {len(logits)}")
    z, y = logits.detach().double().cpu().numpy(), labels.cpu().numpy()
    if y.min() < 0 or y.max() >= z.shape[1]:
        raise ValueError(f"hold-out labels must be in 0..{z.shape[1] - 1}; got {y.min()}..{y.max()}: its truth must be known")
    return z, y


def balanced_nll(logits: Tensor, labels: Tensor, offsets: Tensor) -> float:
    """Objective of the offsets: class-balanced mean of ``-log softmax(logits - log offsets)[label] / K``; an absent class adds 2.

    Parameters
    ----------
    logits : Tensor
        Shape ``[N, K]``.
    labels : Tensor
        Shape ``[N]``.
    offsets : Tensor
        pi, shape ``[K]``, positive; a common factor changes nothing.
    """
    z, y = _holdout(logits, labels)
    return _balanced_nll(z - np.log(offsets.double().cpu().numpy()), y)


def _balanced_nll(z: np.ndarray, y: np.ndarray) -> float:
    losses = _logsumexp(z) - z[np.arange(len(y)), y]
    counts = np.bincount(y, minlength=z.shape[1])
    sums = np.bincount(y, losses, z.shape[1])
    return float(np.where(counts > 0, sums / np.maximum(counts, 1) / z.shape[1], 2.0).mean())


def _logsumexp(z: np.ndarray) -> np.ndarray:
    top = z.max(1)
    return np.log(np.exp(z - top[:, None]).sum(1)) + top


def learn_offsets(logits: Tensor, labels: Tensor, groups: Tensor | int | None = None, solver: str = "lbfgs") -> Tensor:
    """Offsets pi that minimise the class-balanced negative log-likelihood of ``logits - log pi`` on a hold-out.

    Parameters
    ----------
    logits : Tensor
        Hold-out logits, shape ``[N, K]``.
    labels : Tensor
        Their true classes, shape ``[N]``.
    groups : Tensor or int, optional
        Group id of each class ``[K]``, or a number of consecutive groups; classes of a group share one offset. None: one each.
    solver : {"lbfgs", "nelder-mead"}, default "lbfgs"
        The objective is convex in log pi: L-BFGS finds its minimum, with the geometric mean of pi fixed at 1 and pi within a factor
        of 3000, the ratio of the official bounds. ``nelder-mead`` repeats the official search (start 1, bounds 0.001 and 3), whose
        common factor is arbitrary.

    Returns
    -------
    Tensor
        pi, shape ``[K]``, float32, on the device of `logits`. A class without a hold-out sample says nothing: its offset is 1.
    """
    from scipy import optimize

    z, y = _holdout(logits, labels)
    ids = _group_ids(groups, z.shape[1])
    number = int(ids.max()) + 1
    if solver == "nelder-mead":
        limits = [(1.0, 1.0)] * number + [_BOUNDS] * number  # the official search carries a frozen scale for every offset

        def objective(x: np.ndarray) -> float:
            return _balanced_nll(z - np.log(x[number:])[ids], y)

        found = optimize.minimize(objective, np.ones(2 * number), method="Nelder-Mead", bounds=limits, tol=1e-7).x[number:]
        return torch.from_numpy(found[ids]).to(logits.device, torch.float32)
    if solver != "lbfgs":
        raise ValueError(f"solver={solver!r} is not known; choose 'lbfgs' or 'nelder-mead'")
    counts = np.bincount(y, minlength=z.shape[1])
    row_weight = 1 / counts[y] / (counts > 0).sum()
    member = np.eye(number)[ids]  # [K, G]
    seen = (counts @ member) > 0

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        shifted = z - x[ids]
        logs = _logsumexp(shifted)
        slope = row_weight @ np.exp(shifted - logs[:, None])
        slope -= np.bincount(y, row_weight, z.shape[1])
        return float(row_weight @ (logs - shifted[np.arange(len(y)), y])), -(slope @ member)

    reach = math.log(_BOUNDS[1] / _BOUNDS[0]) / 2
    limits = [(-reach, reach) if known else (0.0, 0.0) for known in seen]
    found = optimize.minimize(loss, np.zeros(number), jac=True, method="L-BFGS-B", bounds=limits, options={"ftol": 1e-12, "gtol": 1e-9}).x
    found[seen] -= found[seen].mean()
    return torch.from_numpy(np.exp(found)[ids]).to(logits.device, torch.float32)


def _weights(y: np.ndarray, prior: Tensor | None, classes: int) -> np.ndarray:
    if prior is None:
        return np.ones(len(y))
    prior = prior.double().cpu().numpy()
    if len(prior) != classes or (prior[np.unique(y)] <= 0).any():
        raise ValueError(f"prior must have {classes} entries, positive for every class of the hold-out; got {prior.round(4).tolist()}")
    return prior.max() / prior[y]


def rare_classes(logits: Tensor, labels: Tensor, groups: Tensor | int, prior: Tensor | None = None, least: int = 10) -> Tensor:
    """Classes whose group has too few hold-out data to learn a threshold from, bool ``[K]``.

    That is, fewer than `least` samples of the group's classes, or predictions of it that weigh no more than a tenth of an even share.
    Arguments as in `learn_thresholds`.
    """
    z, y = _holdout(logits, labels)
    ids = _group_ids(groups, z.shape[1])
    number, weight = int(ids.max()) + 1, _weights(y, prior, z.shape[1])
    predicted = np.bincount(ids[z.argmax(1)], weight, number) + _EPS
    rare = (np.bincount(ids[y], minlength=number) < least) | (predicted <= weight.sum() / number / 10)
    return torch.from_numpy(rare[ids]).to(logits.device)


def _scan(confidence: np.ndarray, gaps: np.ndarray) -> float:
    """The threshold of smallest gap; of several, the one that accepts most.

    `confidence` is sorted, falling; ``gaps[n]`` is the gap when the first n are accepted.
    """
    last = np.append(confidence[:-1] > confidence[1:], True)  # equal confidences are accepted together
    cut = np.flatnonzero(last)
    gaps = gaps[cut + 1]
    best = cut[np.flatnonzero(gaps <= gaps.min() + 1e-12)[-1]]
    return 0.0 if best == len(confidence) - 1 else float(confidence[best] + confidence[best + 1]) / 2


def learn_thresholds(
    logits: Tensor,
    labels: Tensor,
    target: float,
    groups: Tensor | int,
    prior: Tensor | None = None,
    least: int = 10,
    solver: str = "scan",
) -> Tensor:
    """Thresholds at which the predictions of a group of classes have precision `target` on a hold-out.

    Parameters
    ----------
    logits : Tensor
        Refined hold-out logits, shape ``[N, K]``.
    labels : Tensor
        Shape ``[N]``.
    target : float
        Precision t in (0, 1) that accepted pseudo-labels should have.
    groups : Tensor or int
        Group id of each class ``[K]`` (see `rank_groups`), or a number of consecutive groups. Classes of a group share a threshold.
    prior : Tensor, optional
        Class frequencies ``[K]`` of an imbalanced hold-out: samples weigh the inverse of their class's. None: all weigh the same.
    least : int, default 10
        Hold-out samples that a group needs; see `rare_classes`.
    solver : {"scan", "nelder-mead"}, default "scan"
        ``scan`` tries every threshold that matters. ``nelder-mead`` repeats the official search from 0.95, which often stays there.

    Returns
    -------
    Tensor
        Shape ``[K]``, float32, in [0, 1]. 0 (accept all) where the whole group reaches the target already, or is rare.
    """
    if not 0 < target < 1:
        raise ValueError(f"target={target} must be in (0, 1): the precision that accepted pseudo-labels should have")
    if solver not in ("scan", "nelder-mead"):
        raise ValueError(f"solver={solver!r} is not known; choose 'scan' or 'nelder-mead'")
    z, y = _holdout(logits, labels)
    ids = _group_ids(groups, z.shape[1])
    weight, predicted = _weights(y, prior, z.shape[1]), z.argmax(1)
    rare = rare_classes(logits, labels, groups, prior, least).cpu().numpy()
    confidence = logits.detach().float().softmax(1).amax(1).cpu().numpy().astype(np.float64)
    thresholds = np.zeros(z.shape[1])
    for group in np.unique(ids[~rare]):
        rows = np.flatnonzero(ids[predicted] == group)
        rows = rows[np.argsort(-confidence[rows], kind="stable")]
        right = np.append(0.0, np.cumsum(weight[rows] * (predicted[rows] == y[rows])))
        total = np.append(0.0, np.cumsum(weight[rows])) + _EPS
        gaps = np.abs(right / total - target)
        if right[-1] / total[-1] >= target:
            continue
        thresholds[ids == group] = (_scan if solver == "scan" else _search)(confidence[rows], gaps)
    return torch.from_numpy(thresholds).to(logits.device, torch.float32)


def _search(confidence: np.ndarray, gaps: np.ndarray) -> float:
    """The official one-dimensional Nelder-Mead search for the threshold that `_scan` finds."""
    from scipy import optimize

    def gap(x: np.ndarray) -> float:
        return float(gaps[np.searchsorted(-confidence, -float(x[0]), side="left")])

    return float(optimize.minimize(gap, np.array([0.95]), bounds=[(0.0, 1.0)], method="Nelder-Mead", tol=1e-7).x[0])
