"""USADTM: semantic pseudo-labels from labelled prototypes, and mutual information between three views.

References
----------
Han, Deng, Huang, Wang & Liu, Unsupervised Semantic Aggregation and Deformable Template Matching for Semi-Supervised Learning, NeurIPS
2020, as re-implemented in the DASO code (lib/models/usadtm_model.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from pldebias.learners.base import Learner
from pldebias.schemes.formulas.losses import masked_cross_entropy
from pldebias.schemes.formulas.queue import FeatureQueue, cosine
from pldebias.schemes.options import Count

if TYPE_CHECKING:
    from pldebias.schemes import Problem, Step
    from pldebias.schemes.part import Seen

_EPS = torch.finfo(torch.float64).eps


def mutual_information_loss(a: Tensor, b: Tensor) -> Tensor:
    """Negative mutual information of two views' class assignments.

    The joint distribution is the batch mean of the outer products of the two softmaxes, made symmetric and normalised; entries below
    the float64 epsilon are raised to it.

    Parameters
    ----------
    a, b : Tensor
        Logits of the two views, shape ``[N, K]``.
    """
    joint = a.softmax(1).T @ b.softmax(1)
    joint = ((joint + joint.T) / 2 / joint.sum()).clamp(min=_EPS)
    marginal = joint.sum(1).log()
    return -(joint * (joint.log() - marginal[:, None] - marginal[None, :])).sum()


class USADTM(Learner):
    """A pseudo-label is the nearest prototype, if cosine and Euclidean distance agree on it and the cosine is high.

    Parameters
    ----------
    threshold : float, default 0.85
        Cosine similarity that a pseudo-label needs.
    start : int, default 500
        First step with pseudo-labels.
    mi_weight : float, default 0.1
        Weight of the mutual-information loss between the identity, weak and strong views, on from the first step.
    queue : int, default 5
        Labelled features kept, per labelled image of the class.
    """

    name = "usadtm"
    estimated = ("prototypes",)
    presets: ClassVar = {"glyphs-lt": {"start": 100}, "cifar10-lt-cpu": {"start": 400}}
    reads_features = True
    starts = "start"
    unlabelled_views = ("identity", "weak", "strong")
    offers = frozenset({"labelled", "prediction"})

    def __init__(self, threshold: float = 0.85, start: int = 500, mi_weight: float = 0.1, queue: Count = 5):
        super().__init__(threshold)
        self.start, self.mi_weight, self.per_image = start, mi_weight, queue

    def setup(self, problem: Problem) -> None:
        counts = problem.labelled_counts.clamp(min=1)  # a class without a labelled image keeps a zero prototype
        self.queue = FeatureQueue(self.per_image * counts, problem.feature_dim)
        self.register_buffer("prototypes", torch.zeros(problem.num_classes, problem.feature_dim))

    @torch.no_grad()
    def pseudo_label(self, step: Step) -> None:
        similarity = cosine(step.features, self.prototypes)
        step.confidence, step.label = similarity.max(1)
        self.accept(step)
        nearest = torch.cdist(step.features, self.prototypes).argmin(1)
        step.mask = step.mask * (nearest == step.label) * (step.t >= self.start)

    def losses(self, step: Step) -> dict[str, Tensor]:
        outputs = self.forward(step, ("identity", "weak", "strong"), draws=1)
        identity, weak, strong = (outputs[view].logits for view in ("identity", "weak", "strong"))
        labelled = outputs["labelled"].features.detach()
        self.queue.push(labelled, step.batch.y)
        self.prototypes.copy_(self.queue.prototypes())
        self.label(step, outputs["weak"])
        pairs = ((identity, weak), (weak, strong), (identity, strong))
        information = cast("Tensor", sum(mutual_information_loss(a, b) for a, b in pairs)) / len(pairs)
        return {
            "labelled": self.labelled_loss(step),
            "mutual_information": self.mi_weight * information,
            "unlabelled": masked_cross_entropy(strong, step.label, step.mask * step.weight),
        }

    def estimate_state(self, seen: Seen) -> str | None:
        prototypes, note = seen.prototypes()
        self.prototypes.copy_(prototypes)
        return note

    def snapshot(self) -> dict[str, Tensor]:
        return {"prototypes": self.prototypes}
