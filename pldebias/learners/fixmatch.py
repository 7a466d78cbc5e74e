"""FixMatch: confident pseudo-labels of the weak view supervise the strong view.

References
----------
Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pldebias.learners.base import Learner
from pldebias.learners.losses import masked_cross_entropy

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
    unlabelled_views = ("weak", "strong")

    def __init__(
        self,
        threshold: float = 0.95,
        lambda_u: float = 1.0,
        teacher: str = "student",
        views: int = 1,
        weak_stats: str = "shared",
        passes: str = "joint",
    ):
        super().__init__(threshold)
        if weak_stats not in ("shared", "detached"):
            raise ValueError(f"fixmatch(weak_stats={weak_stats!r}) is not known; choose 'shared' or 'detached'")
        if weak_stats == "detached" and teacher == "ema":
            raise ValueError("fixmatch(weak_stats=detached) goes with teacher=student: what the EMA teacher labels shares no statistics")
        if teacher not in ("student", "ema"):
            raise ValueError(f"fixmatch(teacher={teacher!r}) is not known; choose 'student' or 'ema'")
        if passes not in ("joint", "views"):
            raise ValueError(f"fixmatch(passes={passes!r}) is not known; choose 'joint' or 'views'")
        if passes == "views" and weak_stats == "detached":
            raise ValueError("fixmatch(weak_stats=detached) goes with passes=joint: views that pass by themselves share no statistics")
        if views not in (1, 2):
            raise ValueError(f"fixmatch(views={views}) must be 1 or 2: weak and strong views of each unlabelled image")
        self.lambda_u, self.teacher, self.views, self.weak_stats, self.passes = lambda_u, teacher, views, weak_stats, passes
        if views == 2:
            self.unlabelled_views = ("weak", "weak2", "strong", "strong2")

    def losses(self, step: Step) -> dict[str, Tensor]:
        chain = step.chain
        views = self._forward(step)
        self.prepare(step)
        chain.prepare(step)
        steps = [*(replace(step, weak_features=f, weak_logits=z, memo=dict(step.memo)) for f, z in views), step]
        for labelling in steps:  # `step` itself comes last: schemes that keep what they saw keep the mean view's
            self.pseudo_label(labelling)
        self.observe(step)
        chain.observe(step)
        strong = chain.margin(step.strong_logits, step)
        terms = [masked_cross_entropy(strong, self.target(s), s.mask * s.weight) for s in steps]
        unlabelled = sum(terms) / len(terms)
        return {"labelled": self.labelled_loss(step), "unlabelled": self.lambda_u * unlabelled, **chain.losses(step)}

    def _forward(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """Run the networks and leave the mean weak view in `step`; returns features and logits of each weak view if there are two."""
        weak = ("weak", "weak2")[: self.views]
        strong = tuple(view for view in self.unlabelled_views if view.startswith("strong"))
        rows = len(step.index)
        if self.passes == "views":
            features, logits = self._pass_by_view(step, weak, strong)
        elif self.teacher == "ema":
            self.forward_views(step, strong=strong)
            features, logits = self._teach(step, torch.cat([step.batch.unlabelled[view] for view in weak]))
        elif self.weak_stats == "detached":
            self.forward_views(step, strong=strong + weak, constants=len(weak) * rows)
            cut = len(strong) * rows
            step.strong_features, features = step.strong_features[:cut], step.strong_features[cut:]
            step.strong_logits, logits = step.strong_logits[:cut], step.strong_logits[cut:]
        else:
            self.forward_views(step, strong=weak + strong)
            cut = len(weak) * rows
            features, step.strong_features = step.strong_features[:cut], step.strong_features[cut:]
            logits, step.strong_logits = step.strong_logits[:cut], step.strong_logits[cut:]
        features, logits = (x.detach().unflatten(0, (-1, rows)) for x in (features, logits))
        if self.views == 1:
            step.weak_features, step.weak_logits = features[0], logits[0]
            return []
        step.weak_features, step.weak_logits = features.mean(0), logits.mean(0)
        return list(zip(features, logits, strict=True))

    def _pass_by_view(self, step: Step, weak: tuple[str, ...], strong: tuple[str, ...]) -> tuple[Tensor, ...]:
        """One pass a view: leave labelled and strong outputs in `step`, and return features and logits of the weak views."""
        student, images = step.models.student, step.batch.unlabelled
        if self.teacher == "ema":
            labelling = self._teach(step, torch.cat([images[view] for view in weak]))
        else:
            with torch.no_grad():
                labelling = _joined(student(images[view]) for view in weak)
        step.x_features, step.x_logits = _joined(student(x) for x in step.batch.labelled.values())
        step.strong_features, step.strong_logits = _joined(student(images[view]) for view in strong)
        return labelling

    @torch.no_grad()
    def _teach(self, step: Step, images: Tensor) -> tuple[Tensor, Tensor]:
        teacher = step.models.teacher
        mode = teacher.training
        teacher.eval()
        outputs = teacher(images)
        teacher.train(mode)
        return outputs


def _joined(outputs: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
    """Features and logits of several passes, one after the other."""
    return tuple(torch.cat(parts) for parts in zip(*outputs, strict=True))
