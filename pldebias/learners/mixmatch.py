"""MixMatch: sharpened mean predictions of two weak views, mixed up with the labelled images.

References
----------
Berthelot et al., MixMatch: A Holistic Approach to Semi-Supervised Learning, NeurIPS 2019; weights and ramp of the DASO code
(lib/algorithm/mixmatch.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pldebias.learners.mixup import Mixing, sharpen

if TYPE_CHECKING:
    from pldebias.schemes import Step

_SECOND = "mixmatch/second_view"


class MixMatch(Mixing):
    """Soft pseudo-labels of two weak views train mixtures of them and of the labelled images.

    Parameters
    ----------
    lambda_u : float, default 100.0
        Weight of the unlabelled loss.
    ramp : float, default 0.016
        Part of the training over which that weight grows linearly from zero.
    T : float, default 0.5
        Temperature of sharpening.
    alpha : float, default 0.5
        Of the Beta distribution of the mixing factor.
    """

    name = "mixmatch"
    unlabelled_views = ("weak", "weak2")

    def __init__(self, lambda_u: float = 100.0, ramp: float = 0.016, T: float = 0.5, alpha: float = 0.5):
        super().__init__(lambda_u, ramp, T, alpha)

    @torch.no_grad()
    def pseudo_label(self, step: Step) -> None:
        chain = step.chain
        probs = chain.refine(step.logits, step).softmax(1)
        if _SECOND in step.memo:  # in training; a cached output is one view
            probs = (probs + chain.refine(step.memo[_SECOND], step).softmax(1)) / 2
        step.probs = chain.blend(sharpen(probs, self.T), step)
        step.confidence, step.label = step.probs.max(1)
        self.accept(step)

    def losses(self, step: Step) -> dict[str, Tensor]:
        chain, views = step.chain, self.draws(step, "weak")
        with torch.no_grad():
            first, second = map(step.models.student, views)
        step.memo[_SECOND] = second.logits
        self.label(step, first)
        mixed = self.forward_mixed(step, views)
        distance = (chain.margin(mixed.logits, step).softmax(1) - mixed.targets).square().mean()
        return {
            "labelled": self.labelled_loss(step, mixed.labelled_logits, mixed.labelled_targets),
            "unlabelled": self.lambda_u * self.ramp_up(step) * distance,
            **chain.losses(step),
        }
