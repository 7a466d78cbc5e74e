"""ReMixMatch: distribution alignment, augmentation anchoring and a rotation task on top of MixMatch.

References
----------
Berthelot et al., ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring, ICLR 2020; weights, ramp and
order (align, then sharpen, then schemes) of the DASO code (lib/algorithm/remixmatch.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.learners.mixup import Mixing, sharpen
from pldebias.schemes.formulas.alignment import DistributionAlignment
from pldebias.schemes.formulas.rotation import quarter_turns, rotate

if TYPE_CHECKING:
    from pldebias.schemes import Problem, Step
    from pldebias.schemes.part import Seen


class ReMixMatch(Mixing):
    """Soft pseudo-labels of the weak view train mixtures of it, of two strong views and of the labelled images.

    Parameters
    ----------
    lambda_u : float, default 1.5
        Weight of the loss on mixed unlabelled images.
    ramp : float, default 0.016
        Part of the training over which that weight and `anchor` grow linearly from zero.
    T : float, default 0.5
        Temperature of sharpening.
    alpha : float, default 0.75
        Of the Beta distribution of the mixing factor.
    anchor : float, default 0.5
        Weight of the loss on the first strong view as it is, before mixing.
    rotation : float, default 0.5
        Weight of telling by how many quarters the first strong view was turned; 0 leaves the task out.
    align : bool, default True
        Whether predictions are aligned to the labelled class distribution, or to the one that a scheme gives the unlabelled set (DARP's
        target, as in its code). The published runs do so on CIFAR and not on STL-10.
    """

    name = "remixmatch"
    estimated = ("alignment.sums", "alignment.rows")
    prior_buffer = "alignment.target"
    estimate_order = 2
    follows: ClassVar = {"alignment": ("align",)}
    unlabelled_views = ("weak", "strong", "strong2")
    offers = frozenset({"labelled", "pseudo_label", "views", "prediction"})
    heads: ClassVar = {"rotation": 4}

    def __init__(
        self,
        lambda_u: float = 1.5,
        ramp: float = 0.016,
        T: float = 0.5,
        alpha: float = 0.75,
        anchor: float = 0.5,
        rotation: float = 0.5,
        align: bool = True,
    ):
        super().__init__(lambda_u, ramp, T, alpha)
        self.anchor, self.rotation, self.align = anchor, rotation, align
        self.prior_buffer = "alignment.target" if align else None

    def setup(self, problem: Problem) -> None:
        self.alignment = DistributionAlignment(problem.prior)

    def restart(self, problem: Problem, done: int) -> None:
        """Nothing: the target stays the original labelled distribution and the running mean goes on, as in the DASO code (rm_crest.py)."""

    @torch.no_grad()
    def pseudo_label(self, step: Step) -> None:
        chain = step.chain
        probs = self.refined(step)
        if self.align:
            if step.training:  # in training the mean includes this batch
                self.alignment.push(probs)
            probs = self.alignment(probs, target=chain.expected(self.alignment.target))
        step.probs = chain.blend(sharpen(probs, self.T), step)
        step.confidence, step.label = step.probs.max(1)
        self.accept(step)

    def refined(self, step: Step) -> Tensor:
        """Predictions ``[M, K]`` of the weak view that are aligned."""
        return step.chain.refine(step.logits, step).softmax(1)

    def estimate_state(self, seen: Seen) -> str | None:
        return self.alignment.estimate_state(self.refined(seen.step())) if self.align else None

    def losses(self, step: Step) -> dict[str, Tensor]:
        chain, student = step.chain, step.models.student
        weak, *strong = self.draws(step, "weak") + self.draws(step, "strong")
        with torch.no_grad():
            output = student(weak)
        self.label(step, output)
        mixed = self.forward_mixed(step, [weak, *strong])
        ramp = self.ramp_up(step)
        losses = {
            "labelled": self.labelled_loss(step, mixed.labelled_logits, mixed.labelled_targets),
            "unlabelled": self.lambda_u * ramp * F.cross_entropy(chain.margin(mixed.logits, step), mixed.targets),
        }
        # Schemes with losses of their own get the labelled images and both strong views, in one more pass; others the first one alone.
        if any("views" in scheme.acts_on for scheme in chain):
            self.forward(step, ("strong",))
        else:
            step.outputs["strong"] = student(strong[0])
        losses["anchor"] = self.anchor * ramp * F.cross_entropy(step.outputs["strong"].logits[: len(step.index)], step.probs)
        if self.rotation:
            turns = quarter_turns(len(weak), weak.device, step.generator)
            turned = student.heads["rotation"](student(rotate(strong[0], turns)).features)
            losses["rotation"] = self.rotation * F.cross_entropy(turned, turns)
        return {**losses, **chain.losses(step)}

    def series(self) -> dict[str, Tensor]:
        return {"running": self.alignment.running()} if self.align else {}
