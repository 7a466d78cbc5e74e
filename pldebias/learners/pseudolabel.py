"""Pseudo-Label: confident predictions of a view are its own targets.

References
----------
Lee, Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks, ICML Workshops 2013; threshold and
ramp of the DASO code (lib/algorithm/pseudo_label.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from pldebias.learners.base import Learner
from pldebias.schemes.formulas.losses import masked_cross_entropy, ramp_up
from pldebias.schemes.options import Ramp

if TYPE_CHECKING:
    from pldebias.schemes import Step


class PseudoLabel(Learner):
    """Hard pseudo-labels of a weak view, above a confidence threshold, train the same view.

    Parameters
    ----------
    threshold : float, default 0.95
        Confidence a pseudo-label needs.
    lambda_u : float, default 1.0
        Weight of the unlabelled loss.
    ramp : float, default 0.4
        Part of the training over which that weight grows linearly from zero.
    """

    name = "pseudolabel"
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}}
    unlabelled_views = ("weak",)
    offers = frozenset({"labelled", "pseudo_label", "acceptance", "prediction"})

    def __init__(self, threshold: float = 0.95, lambda_u: float = 1.0, ramp: Ramp = 0.4):
        super().__init__(threshold)
        self.lambda_u, self.ramp = lambda_u, ramp

    def losses(self, step: Step) -> dict[str, Tensor]:
        chain, weak = step.chain, self.forward(step, ("weak",), draws=1)["weak"]
        self.label(step, weak)
        loss = masked_cross_entropy(chain.margin(weak.logits, step), self.target(step), step.mask * step.weight)
        factor = self.lambda_u * ramp_up(step.t, self.ramp * step.problem.total_steps)
        return {"labelled": self.labelled_loss(step), "unlabelled": factor * loss, **chain.losses(step)}
