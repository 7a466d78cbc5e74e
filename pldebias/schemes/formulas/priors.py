"""Running class priors, and priors that are smoothed as training goes on.

References
----------
Wang, Wu, Lian & Yu, Debiased Learning from Naturally Imbalanced Pseudo-Labels, CVPR 2022 (running mean); Sanchez Aimar et al., Flexible
Distribution Alignment: Towards Long-tailed Semi-supervised Learning with Proper Calibration, ECCV 2024 (smoothing).
"""

from __future__ import annotations

from typing import TypeVar, cast

from jaxtyping import Float
from torch import Tensor

from pldebias.schemes.formulas.alignment import temper

smooth = temper
"""ADELLO's name for a prior to the power of alpha: the prior itself at 1, uniform at 0."""
Number = TypeVar("Number", Tensor, float)

_EPS = 1e-9  # on both sides of a ratio of priors


def update_prior(prior: Float[Tensor, " K"], probs: Float[Tensor, "N K"], momentum: float) -> Float[Tensor, " K"]:
    """Running mean of the predictions, ``momentum * prior + (1 - momentum) * mean(probs)``.

    Parameters
    ----------
    prior : Tensor
        Shape ``[K]``.
    probs : Tensor
        Undebiased predictions of all weak views, shape ``[N, K]``, whatever their confidence.
    momentum : float
        In [0, 1).
    """
    return momentum * prior + (1 - momentum) * probs.mean(0)


def alpha(step: Number, total: float, alpha_min: float = 0.1, d: float = 2.0) -> Number:
    """Exponent of the smoothed prior, ``1 - (1 - alpha_min) * (step / total)^d``: 1 at the start, `alpha_min` at the end and after it."""
    done = step / total
    done = done.clamp(max=1) if isinstance(done, Tensor) else min(done, 1.0)
    return cast("Number", 1 - (1 - alpha_min) * done**d)


def log_ratio(current: Float[Tensor, " K"], target: Float[Tensor, " K"]) -> Float[Tensor, " K"]:
    """Adjustment ``log((current + 1e-9) / (target + 1e-9))`` that turns logits of `target` into logits of `current`; shapes ``[K]``."""
    return ((current + _EPS) / (target + _EPS)).log()
