"""Losses that several learners share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def masked_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``mean_i(weight_i * CE(logits_i, target_i))`` over the whole batch, accepted or not.

    The divisor is the batch size and not the sum of weights, as in all public code of the field; a batch without an accepted sample
    has loss zero.

    Parameters
    ----------
    logits : Tensor
        Shape ``[N, K]``.
    target : Tensor
        Class ids ``[N]`` or probabilities ``[N, K]``; no gradient flows through it.
    weight : Tensor
        Shape ``[N]``, 0 for a rejected row.
    """
    return (F.cross_entropy(logits, target.detach(), reduction="none") * weight).mean()
