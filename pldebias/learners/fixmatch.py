"""FixMatch: confident pseudo-labels of the weak view supervise the strong view.

References
----------
Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from pldebias.learners.base import Learner
from pldebias.learners.losses import masked_cross_entropy

if TYPE_CHECKING:
    from pldebias.schemes import Step


class FixMatch(Learner):
    """Hard pseudo-labels of the student's weak view, above a confidence threshold, train the strong view.

    Where a scheme asks for a second strong view, the unlabelled loss is the mean over both.

    Parameters
    ----------
    threshold : float, default 0.95
        Confidence a pseudo-label needs.
    lambda_u : float, default 1.0
        Weight of the unlabelled loss.
    """

    name = "fixmatch"
    unlabelled_views = ("weak", "strong")

    def __init__(self, threshold: float = 0.95, lambda_u: float = 1.0):
        super().__init__(threshold)
        self.lambda_u = lambda_u

    def losses(self, step: Step) -> dict[str, Tensor]:
        chain = step.chain
        self.forward_views(step, "weak", tuple(view for view in self.unlabelled_views if view.startswith("strong")))
        self.prepare(step)
        chain.prepare(step)
        self.pseudo_label(step)
        self.observe(step)
        chain.observe(step)
        target = chain.target(step.label, step)
        unlabelled = masked_cross_entropy(chain.margin(step.strong_logits, step), target, step.mask * step.weight)
        return {"labelled": self.labelled_loss(step), "unlabelled": self.lambda_u * unlabelled, **chain.losses(step)}
