"""DARP's refinement: pseudo-labels of a whole set, changed as little as possible, whose class totals are a target.

References
----------
Kim et al., Distribution Aligning Refinery of Pseudo-label for Imbalanced Semi-supervised Learning, NeurIPS 2020; refinement
of the official code (common.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from pldebias.schemes.formulas import refinery_cpu
from pldebias.schemes.formulas.refinery_cpu import ENOUGH, EPS


def scaled(target: Tensor, rows: int, classes: int) -> Tensor:
    """A target distribution ``[K]`` scaled to sum to `rows`, float64."""
    if target.shape != (classes,) or not bool((target >= 0).all()) or not float(target.sum()) > 0:
        raise ValueError(f"a target distribution has {classes} entries >= 0 with a positive sum; got {target.tolist()}")
    return rows * target.double() / target.double().sum()


def select(probs: Float[Tensor, "N K"], target: Float[Tensor, " K"], alpha: float = 2.0) -> Float[Tensor, "N K"]:
    """First two steps: keep each class's ``int(alpha * target)`` likeliest samples, and scale them towards its target.

    Shapes ``[N, K]``, ``[K]`` (counts) to ``[N, K]``, rows summing to one.
    """
    order = probs.argsort(dim=0, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(probs), device=probs.device)[:, None].expand_as(order))
    kept = probs * (rank < (alpha * target + 1e-3).floor())  # a count that was scaled and back stays whole
    scaled = kept * (target + EPS) / (kept.sum(0) + EPS) + EPS
    return scaled / scaled.sum(1, keepdim=True)


def refine(
    probs: Float[Tensor, "N K"], target: Float[Tensor, " K"], alpha: float = 2.0, rounds: int = 10, solver: str = "newton"
) -> Float[Tensor, "N K"]:
    """Pseudo-labels nearest to the given ones, confident ones least changed, whose class totals are the target.

    Parameters
    ----------
    probs : Tensor
        Predictions of the whole set, shape ``[N, K]``, rows summing to one.
    target : Tensor
        Class counts or frequencies that the result should have, shape ``[K]``; scaled to sum to N.
    alpha : float, default 2.0
        Samples kept per class, as a multiple of its target.
    rounds : int, default 10
        Alternations between row and column constraints.
    solver : {"newton", "secant"}, default "newton"
        How the column constraints are solved: exactly for all classes at once, or by the official secant search with tolerance 0.1.

    Returns
    -------
    Tensor
        Shape ``[N, K]``, rows summing to one, in the dtype of `probs`.

    Raises
    ------
    ValueError
        The secant search does not settle, such as for a class whose target is zero.
    """
    if solver not in ("newton", "secant"):
        raise ValueError(f"solver={solver!r} is not known; choose 'newton' or 'secant'")
    target = scaled(target.to(probs.device), len(probs), probs.shape[1])
    if not bool(probs.isfinite().all()):  # nothing can be solved; the training stops where it finds the loss not finite
        return torch.full_like(probs, float("nan"))
    if solver == "newton" and probs.device.type == "cpu" and probs.dtype in (torch.float32, torch.float64):
        refined = refinery_cpu.refine(probs.detach().numpy(), target.numpy(), alpha, rounds)
        if refined is not None:
            return torch.from_numpy(refined)
    return _dense(probs, target, alpha, rounds, _newton if solver == "newton" else _secant)


def _dense(probs: Tensor, target: Tensor, alpha: float, rounds: int, solve: Callable[..., Tensor]) -> Tensor:
    """`refine` by passes over all N K entries."""
    prior = select(probs.double(), target, alpha)
    entropy = -(prior * (prior + EPS).log()).sum(1, keepdim=True)
    prior = prior.log() - 1
    nu = torch.zeros_like(target)
    rows = -(prior - entropy).logsumexp(1, keepdim=True)  # the first row constraint takes multipliers of one, as the official code does
    for _ in range(rounds):
        nu = solve(prior + rows, entropy, target, nu)
        rows = -(prior - nu * entropy).logsumexp(1, keepdim=True)
    return (prior + rows - nu * entropy).exp().to(probs.dtype)


def _newton(logs: Tensor, entropy: Tensor, target: Tensor, nu: Tensor) -> Tensor:
    """Solve ``sum_i exp(logs_ik - nu_k h_i) = target_k`` for all k; the log of the left side is convex and nearly linear in nu."""
    goal = target.clamp(min=EPS).log()
    for _ in range(50):
        terms = torch.addmm(logs, entropy, nu[None], alpha=-1)
        top = terms.amax(0)
        terms.sub_(top).exp_()
        total = terms.sum(0)
        step = (total.log() + top - goal) * total / (entropy.T @ terms)[0]
        nu = nu + step
        if float(step.abs().max()) < ENOUGH:
            break
    return nu


def _secant(logs: Tensor, entropy: Tensor, target: Tensor, nu: Tensor) -> Tensor:
    import numpy as np
    from scipy import optimize

    terms, weights = logs.exp().cpu().numpy(), entropy[:, 0].cpu().numpy()

    def gap(x: float, k: int) -> float:
        return float((terms[:, k] * np.exp(-x * weights)).sum() - float(target[k]))

    found = []
    for k, start in enumerate(nu):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found.append(optimize.newton(gap, float(start), args=(k,), maxiter=30, tol=0.1))
        except RuntimeError as error:
            raise ValueError(
                f"darp(compat=official): the official search finds no labels with {float(target[k]):.4g} of {len(terms):,} samples in "
                f"class {k}; use darp(compat=exact), or another target"
            ) from error
    return torch.tensor(found, dtype=nu.dtype, device=nu.device)
