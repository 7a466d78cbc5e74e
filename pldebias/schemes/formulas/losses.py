"""Losses and schedules that several papers share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor


def masked_cross_entropy(logits: Float[Tensor, "N K"], target: Shaped[Tensor, "M ..."], weight: Float[Tensor, " M"]) -> Tensor:
    """``mean_i(weight_i * CE(logits_i, target_i))`` over the whole batch, accepted or not.

    The divisor is the batch size and not the sum of weights, as in all public code of the field; a batch without an accepted sample
    has loss zero.

    Parameters
    ----------
    logits : Tensor
        Shape ``[N, K]``; with V strong views stacked, N = V * M.
    target : Tensor
        Class ids ``[M]`` or probabilities ``[M, K]``, which all views share; no gradient flows through it.
    weight : Tensor
        Shape ``[M]``, 0 for a rejected row.
    """
    views = len(logits) // len(weight)
    target = target.detach().repeat(views, *[1] * (target.dim() - 1))
    return (F.cross_entropy(logits, target, reduction="none") * weight.repeat(views)).mean()


def ramp_up(t: Tensor, steps: float, shape: str = "linear") -> Tensor:
    """Factor of a consistency loss at step `t`, from 0 to 1 over the first `steps` steps.

    Parameters
    ----------
    t : Tensor
        0-based step.
    steps : float
        Length of the ramp; 0 is no ramp.
    shape : {"linear", "exp"}, default "linear"
        ``min(t / steps, 1)``, or ``exp(-5 (1 - min(t / steps, 1))^2)``.
    """
    done = (t / steps).clamp(max=1) if steps else torch.ones_like(t, dtype=torch.float32)
    return done if shape == "linear" else (-5 * (1 - done) ** 2).exp()
