"""Logit adjustment: add or subtract the log of a class prior.

References
----------
Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

_TINY = 1e-12  # a class without a sample gets a large finite adjustment, not an infinite one


def adjust(logits: Float[Tensor, "N K"], prior: Float[Tensor, " K"], tau: float = 1.0) -> Float[Tensor, "N K"]:
    """Adjusted logits of the training loss, ``logits + tau * log(prior)`` (Menon et al., eq. 10).

    Parameters
    ----------
    logits : Tensor
        Shape ``[N, K]``.
    prior : Tensor
        Class frequencies, shape ``[K]``, summing to one; zeros count as 1e-12.
    tau : float, default 1.0
        Strength; 0 returns the logits unchanged.

    Returns
    -------
    Tensor
        Shape ``[N, K]``.
    """
    return logits + tau * prior.clamp(min=_TINY).log()


def posthoc(logits: Float[Tensor, "N K"], prior: Float[Tensor, " K"], tau: float = 1.0) -> Float[Tensor, "N K"]:
    """Post-hoc adjusted logits of inference, ``logits - tau * log(prior)`` (Menon et al., eq. 9); arguments as in `adjust`."""
    return logits - tau * prior.clamp(min=_TINY).log()
