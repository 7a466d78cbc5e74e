"""Learners that pull predictions towards soft pseudo-labels: every label is used, and the pull grows from zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pldebias.learners.base import Learner
from pldebias.schemes.formulas.losses import ramp_up
from pldebias.schemes.options import Ramp

if TYPE_CHECKING:
    from pldebias.schemes import Step


class Consistency(Learner):
    """A learner without a confidence threshold.

    Schemes may change its pseudo-label; those that only choose among pseudo-labels have nothing to choose here.

    Parameters
    ----------
    lambda_u : float
        Weight of the unlabelled loss at the end of the ramp.
    ramp : float
        Part of the training over which the weight grows linearly from zero, in [0, 1].
    """

    offers = frozenset({"labelled", "pseudo_label", "prediction"})

    def __init__(self, lambda_u: float, ramp: Ramp):
        super().__init__()
        self.lambda_u, self.ramp = lambda_u, ramp

    @torch.no_grad()
    def accept(self, step: Step) -> None:
        step.mask = step.weight = torch.ones_like(step.confidence)

    def target(self, step: Step) -> Tensor:
        return step.probs

    def ramp_up(self, step: Step) -> Tensor:
        """Present factor of the consistency losses, in [0, 1]."""
        return ramp_up(step.t, self.ramp * step.problem.total_steps)
