"""FixMatch: confident pseudo-labels of the weak view supervise the strong view.

References
----------
Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch
from torch import Tensor

from pldebias.learners.base import Learner
from pldebias.records import Output
from pldebias.schemes.formulas.losses import masked_cross_entropy

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    teacher : {"student", "ema"}, default "student"
        Who labels the weak view: the student, in the same batch as all views, or the EMA teacher in evaluation mode (EMAN: Cai et al.,
        CVPR 2021), while the student sees labelled and strong views only.
    views : {1, 2}, default 1
        With 2, each of two weak views and the mean of their logits labels both strong views; the loss is the mean over all six pairs
        (DebiasPL's multi-view recipe). The mean's pseudo-label is the one that is logged.
    weak_stats : {"shared", "detached"}, default "shared"
        Whether a gradient flows into weak views by way of the batch statistics that they share with the others, as it does in public code.
        ``detached`` leaves it out, and with it a quarter of the work: another training, for looking around quickly.
    passes : {"joint", "views"}, default "joint"
        Whether all views go through the student in one pass and share batch statistics, or each view by itself, as in the public codes of
        ABC and CDMAD: weak views without gradient, then labelled ones, then strong ones. Running statistics then move once a view.
    """

    name = "fixmatch"
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}, "digits-lt": {"threshold": 0.8}, "cifar10-lt-cpu": {"threshold": 0.8}}
    unlabelled_views = ("weak", "strong")

    def __init__(
        self,
        threshold: float = 0.95,
        lambda_u: float = 1.0,
        teacher: Literal["student", "ema"] = "student",
        views: Literal[1, 2] = 1,
        weak_stats: Literal["shared", "detached"] = "shared",
        passes: Literal["joint", "views"] = "joint",
    ):
        super().__init__(threshold)
        if weak_stats == "detached" and teacher == "ema":
            raise ValueError("fixmatch(weak_stats=detached) goes with teacher=student: what the EMA teacher labels shares no statistics")
        if passes == "views" and weak_stats == "detached":
            raise ValueError("fixmatch(weak_stats=detached) goes with passes=joint: views that pass by themselves share no statistics")
        self.lambda_u, self.teacher, self.views, self.weak_stats, self.passes = lambda_u, teacher, views, weak_stats, passes
        if views == 2:
            self.unlabelled_views = ("weak", "weak2", "strong", "strong2")

    def losses(self, step: Step) -> dict[str, Tensor]:
        chain = step.chain
        labelled = self.label(step, self._forward(step))
        strong = chain.margin(step.outputs["strong"].logits, step)
        terms = [masked_cross_entropy(strong, self.target(one), one.mask * one.weight) for one in labelled]
        unlabelled = cast("Tensor", sum(terms)) / len(terms)
        return {"labelled": self.labelled_loss(step), "unlabelled": self.lambda_u * unlabelled, **chain.losses(step)}

    def draws(self, step: Step, view: str) -> list[Tensor]:
        return super().draws(step, view)[: self.views if view == "weak" else None]  # a scheme may have asked for more

    def _forward(self, step: Step) -> Output:
        """Run the networks; fills ``step.outputs`` and returns the outputs that are labelled, of all draws of the weak view."""
        student = step.models.student
        if self.teacher == "ema":
            weak = self._teach(step)
        elif self.passes == "views":
            with torch.no_grad():
                weak = _joined(student(images) for images in self.draws(step, "weak"))
        elif self.weak_stats == "detached":
            return self.forward(step, ("strong", "weak"), constant="weak")["weak"]
        else:
            return self.forward(step, ("weak", "strong"))["weak"]
        if self.passes == "joint":
            self.forward(step, ("strong",))
        else:
            step.outputs.update({view: _joined(map(student, self.draws(step, view))) for view in ("labelled", "strong")})
        return weak

    @torch.no_grad()
    def _teach(self, step: Step) -> Output:
        teacher = step.models.teacher
        mode = teacher.training
        teacher.eval()
        output = teacher(torch.cat(self.draws(step, "weak")))
        teacher.train(mode)
        return output


def _joined(outputs: Iterable[Output]) -> Output:
    """Outputs of several passes, one after the other."""
    return Output(*map(torch.cat, zip(*outputs, strict=True)))
