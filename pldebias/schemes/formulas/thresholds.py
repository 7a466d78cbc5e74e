"""SEVAL's thresholds: the confidence from which the pseudo-labels of a group of classes are as precise as wanted on a hold-out.

References
----------
Li et al., SEVAL: Learning Label Refinement and Threshold Adjustment for Imbalanced Semi-Supervised Learning, 2024, eq. 7; objective of the
official code (lib/models/losses/optimizeth.py), solved exactly by default.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pldebias.schemes.formulas.offsets import as_arrays, group_ids

_EPS = 1e-6  # added to the summed weight of a precision


def _weights(y: np.ndarray, prior: Tensor | None, classes: int) -> np.ndarray:
    if prior is None:
        return np.ones(len(y))
    shares = prior.double().cpu().numpy()
    if len(shares) != classes or (shares[np.unique(y)] <= 0).any():
        raise ValueError(f"prior must have {classes} entries, positive for every class of the hold-out; got {shares.round(4).tolist()}")
    return shares.max() / shares[y]


def rare_classes(
    logits: Float[Tensor, "N K"],
    labels: Int[Tensor, " N"],
    groups: Int[Tensor, " K"] | int,
    prior: Float[Tensor, " K"] | None = None,
    least: int = 10,
) -> Bool[Tensor, " K"]:
    """Classes whose group has too few hold-out data to learn a threshold from, bool ``[K]``.

    That is, fewer than `least` samples of the group's classes, or predictions of it that weigh no more than a tenth of an even share.
    Arguments as in `learn_thresholds`.
    """
    z, y = as_arrays(logits, labels)
    ids = group_ids(groups, z.shape[1])
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
    logits: Float[Tensor, "N K"],
    labels: Int[Tensor, " N"],
    target: float,
    groups: Int[Tensor, " K"] | int,
    prior: Float[Tensor, " K"] | None = None,
    least: int = 10,
    solver: str = "scan",
) -> Float[Tensor, " K"]:
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
    z, y = as_arrays(logits, labels)
    ids = group_ids(groups, z.shape[1])
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
