"""DASO: blend linear and semantic pseudo-labels by the current pseudo-label distribution, and align the views semantically.

References
----------
Oh, Kim & Kweon, DASO: Distribution-Aware Semantics-Oriented Pseudo-label for Imbalanced Semi-Supervised Learning, CVPR 2022; order of
operations of the official code (lib/models/daso_model.py).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.schemes.base import Problem, Scheme, Step
from pldebias.schemes.formulas.queue import FeatureQueue, cosine
from pldebias.schemes.options import Count, Positive, Share
from pldebias.schemes.part import Button, Seen, Slider


def semantic_probs(features: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Semantic pseudo-label, ``softmax(cos(features, prototypes) / temperature)``.

    Parameters
    ----------
    features : Tensor
        Shape ``[N, D]``.
    prototypes : Tensor
        Shape ``[K, D]``; a zero row (class never seen) has cosine 0.
    temperature : float
        T_proto, 0.05 in the paper.

    Returns
    -------
    Tensor
        Shape ``[N, K]``, rows summing to one.
    """
    return (cosine(features, prototypes) / temperature).softmax(1)


def blend_weights(class_dist: Tensor, T: float) -> Tensor:
    """Weight of the semantic pseudo-label for each linearly predicted class: ``m^(1/T)``, scaled to a maximum of 1.

    Parameters
    ----------
    class_dist : Tensor
        Current pseudo-label counts or frequencies, shape ``[K]``.
    T : float
        T_dist > 0. Below 1 it sharpens the weights towards the most predicted classes.

    Returns
    -------
    Tensor
        v, shape ``[K]``; all zero when nothing was counted yet.
    """
    weights = class_dist ** (1 / T)
    return weights / weights.max().clamp(min=torch.finfo(weights.dtype).tiny)


def blend(probs: Tensor, semantic: Tensor, class_dist: Tensor, T: float) -> Tensor:
    """Blended pseudo-label ``(1 - v_k) p + v_k q`` with ``k = argmax p``; shapes ``[N, K]``, ``[N, K]``, ``[K]``."""
    weight = blend_weights(class_dist, T)[probs.argmax(1)][:, None]
    return (1 - weight) * probs + weight * semantic


class DASO(Scheme):
    """Distribution-aware semantic pseudo-labels.

    Parameters
    ----------
    T : float, default 1.5
        T_dist of the blending weights (paper: 1.5 for CIFAR-10 with matching imbalance, otherwise 0.3; Semi-Aves 0.5).
    T_proto : float, default 0.05
        Temperature of the semantic softmax.
    queue : int, default 256
        Labelled EMA features kept per class.
    start : int, default 5000
        First step with blended labels; before it the learner runs as it is.
    align : float, default 1.0
        Weight of the semantic alignment loss.
    align_start : int, optional
        First step of the alignment loss; `start` when None, as in the paper.
    window : int, default 100
        Steps over which pseudo-labels are counted for the class distribution.
    weight : float, optional
        A constant blending weight instead of the distribution-aware one (the paper's ablation); 0 is the learner itself.
    """

    name = "daso"
    presets: ClassVar = {
        "cifar100-lt": {"T": 0.3},
        "stl10-lt": {"T": 0.3},
        # Young features are alike after pooling: the paper's temperature 0.05 makes blends too soft to be accepted.
        "glyphs-lt": {"T_proto": 0.02, "queue": 64, "start": 100, "align_start": 300, "window": 20},
        "digits-lt": {"queue": 64, "start": 100, "align": 0.2, "window": 20},
        "cifar10-lt-cpu": {"start": 500, "T_proto": 0.02},
    }
    buttons = (
        Button("DASO", "daso"),
        Button("constant blend", "daso(weight=0.5)"),
        Button("DebiasPL + DASO", "debiaspl(tau=0.4)+daso"),
    )
    blend_option = "weight"
    prior_buffer = "class_dist"
    controls = (Slider("T", 0.1, 3.0, 0.1), Slider("weight", 0.0, 1.0, 0.05))
    reads_features = True
    starts = "start"
    estimate_order = 2

    def __init__(
        self,
        T: Positive = 1.5,
        T_proto: Positive = 0.05,
        queue: Count = 256,
        start: int = 5000,
        align: float = 1.0,
        align_start: int | None = None,
        window: Count = 100,
        weight: Share | None = None,
    ):
        super().__init__()
        self.T, self.T_proto, self.capacity, self.window, self.weight = T, T_proto, queue, window, weight
        self.prior_buffer = "class_dist" if weight is None else None
        self.start, self.align, self.align_start = start, align, start if align_start is None else align_start

    def setup(self, problem: Problem) -> None:
        classes = problem.num_classes
        self.queue = FeatureQueue(torch.full((classes,), self.capacity), problem.feature_dim)
        self.register_buffer("prototypes", torch.zeros(classes, problem.feature_dim))
        self.register_buffer("class_dist", torch.zeros(classes))  # counts of the last complete window
        self.register_buffer("counting", torch.zeros(classes))  # counts of the window under way

    @torch.no_grad()
    def prepare(self, step: Step) -> None:
        images = next(iter(step.batch.labelled.values()))
        self.queue.push(step.models.teacher(images).features.float(), step.batch.y)
        self.prototypes.copy_(self.queue.prototypes())

    def blend(self, probs: Tensor, step: Step) -> Tensor:
        semantic = semantic_probs(step.features, self.prototypes, self.T_proto)
        step.memo["semantic"] = semantic
        if self.weight is None:
            blended = blend(probs, semantic, self.class_dist, self.T)
        else:
            blended = (1 - self.weight) * probs + self.weight * semantic
        return torch.where(step.t >= self.start, blended, probs)

    @torch.no_grad()
    def observe(self, step: Step) -> None:
        self.counting.index_add_(0, step.label, torch.ones_like(step.confidence))
        full = (step.t + 1) % self.window == 0
        self.class_dist.copy_(torch.where(full, self.counting, self.class_dist))
        self.counting.copy_(torch.where(full, torch.zeros_like(self.counting), self.counting))

    def losses(self, step: Step) -> dict[str, Tensor]:
        strong = step.outputs.get("strong")
        if strong is None:  # a learner without strong views (Mean Teacher, MixMatch): blending alone, as published
            return {}
        similarity = cosine(strong.features, self.prototypes) / self.T_proto
        views = len(similarity) // len(step.memo["semantic"])
        loss = F.cross_entropy(similarity, step.memo["semantic"].repeat(views, 1))
        return {"align": self.align * torch.where(step.t >= self.align_start, loss, 0.0)}

    def estimate_state(self, seen: Seen) -> str | None:
        notes = []
        if "prototypes" in seen.missing:
            prototypes, note = seen.prototypes()
            self.prototypes.copy_(prototypes)
            notes.append(note)
        if "class_dist" in seen.missing and self.weight is None:
            label = seen.step(before=self).probs.argmax(1)
            self.class_dist.copy_(torch.bincount(label, minlength=len(self.class_dist)))
            notes.append("class distribution: pseudo-labels of this epoch before blending")
        return "; ".join(notes) or None

    def series(self) -> dict[str, Tensor]:
        return {"class_dist": self.class_dist, "blend_weight": blend_weights(self.class_dist, self.T)}

    def snapshot(self) -> dict[str, Tensor]:
        return {"prototypes": self.prototypes}
