"""SEVAL's offsets: what is subtracted from the logits of each class so that a hold-out is predicted evenly well.

References
----------
Li et al., SEVAL: Learning Label Refinement and Threshold Adjustment for Imbalanced Semi-Supervised Learning, 2024, eq. 6; objective of the
official code (lib/models/losses/optimizepi.py), solved exactly by default.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

_BOUNDS = (1e-3, 3.0)  # of an offset in the official code; its ratio bounds the exact solver too


def refine(logits: Float[Tensor, "N K"], offsets: Float[Tensor, " K"]) -> Float[Tensor, "N K"]:
    """Refined logits ``logits - log(offsets)``; ``[N, K]``, ``[K]`` (positive) to ``[N, K]``."""
    return logits - offsets.log()


def rank_groups(counts: Shaped[Tensor, " K"], groups: int) -> Int[Tensor, " K"]:
    """Group id ``[K]`` of each class: classes of similar count share one, ``ceil(K / groups)`` by ``ceil(K / groups)``, largest first."""
    if not 1 <= groups <= len(counts):
        raise ValueError(f"groups={groups} must be between 1 and the number of classes, {len(counts)}")
    rank = torch.empty_like(counts, dtype=torch.int64)
    rank[counts.argsort(descending=True, stable=True)] = torch.arange(len(counts), device=counts.device)
    return rank // math.ceil(len(counts) / groups)


def group_ids(groups: Tensor | int | None, classes: int) -> np.ndarray:
    """Group id of each class as an array ``[K]``: given ones, a number of consecutive groups, or (None) one group a class."""
    if groups is None:
        return np.arange(classes)
    if isinstance(groups, int):
        return rank_groups(torch.zeros(classes), groups).numpy()
    return groups.cpu().numpy()


def as_arrays(logits: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Hold-out logits ``[N, K]``, float64, and labels ``[N]`` as arrays, checked."""
    if len(logits) == 0 or len(logits) != len(labels):
        raise ValueError(f"a hold-out needs as many labels as rows of logits and at least one; got {len(labels)} and {len(logits)}")
    z, y = logits.detach().double().cpu().numpy(), labels.cpu().numpy()
    if not np.isfinite(z).all():
        raise ValueError(f"{(~np.isfinite(z)).any(1).sum()} of {len(z)} hold-out samples have logits that are not finite")
    if y.min() < 0 or y.max() >= z.shape[1]:
        raise ValueError(f"hold-out labels must be in 0..{z.shape[1] - 1}; got {y.min()}..{y.max()}: its truth must be known")
    return z, y


def balanced_nll(logits: Float[Tensor, "N K"], labels: Int[Tensor, " N"], offsets: Float[Tensor, " K"]) -> float:
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
    z, y = as_arrays(logits, labels)
    return _balanced_nll(z - np.log(offsets.double().cpu().numpy()), y)


def _balanced_nll(z: np.ndarray, y: np.ndarray) -> float:
    losses = _logsumexp(z) - z[np.arange(len(y)), y]
    counts = np.bincount(y, minlength=z.shape[1])
    sums = np.bincount(y, losses, z.shape[1])
    return float(np.where(counts > 0, sums / np.maximum(counts, 1) / z.shape[1], 2.0).mean())


def _logsumexp(z: np.ndarray) -> np.ndarray:
    top = z.max(1)
    return np.log(np.exp(z - top[:, None]).sum(1)) + top


def learn_offsets(
    logits: Float[Tensor, "N K"], labels: Int[Tensor, " N"], groups: Int[Tensor, " K"] | int | None = None, solver: str = "lbfgs"
) -> Float[Tensor, " K"]:
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

    z, y = as_arrays(logits, labels)
    ids = group_ids(groups, z.shape[1])
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
