"""Self-supervised pre-training on all images, labels unused: rotation prediction and momentum contrast.

A later run takes the backbone by ``init=<folder of this run>``; whatever it trains, Yang & Xu find the long tail gains from it.

References
----------
Gidaris, Singh & Komodakis, Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018; He et al., Momentum Contrast for
Unsupervised Visual Representation Learning, CVPR 2020; Chen et al., Improved Baselines with Momentum Contrastive Learning, 2020; as steps
of Yang & Xu, Rethinking the Value of Labels for Improving Class-Imbalanced Learning, NeurIPS 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.learners.base import Learner
from pldebias.schemes.formulas.rotation import balanced_turns, rotate
from pldebias.schemes.options import Count, Positive

if TYPE_CHECKING:
    from pldebias.schemes import Problem, Step

EMBEDDING = 128  # width of MoCo's embeddings


def contrastive_loss(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries against their own key and a queue of others (He et al.).

    Parameters
    ----------
    query, key : Tensor
        Normalised embeddings of two views of the same images, shape ``[N, D]``; no gradient flows into `key`.
    queue : Tensor
        Normalised embeddings of earlier images, shape ``[L, D]``; a zero row counts as similarity 0.
    temperature : float
        0.2 in MoCo v2.
    """
    positive = (query * key.detach()).sum(1, keepdim=True)
    logits = torch.cat([positive, query @ queue.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64, device=query.device))


class Rotation(Learner):
    """Predict by which quarter turn every image, labelled or not, was rotated."""

    name = "rotation"
    unlabelled_views = ("weak",)
    offers = frozenset()
    heads: ClassVar[dict[str, int | None]] = {"rotation": 4}

    def __init__(self):
        super().__init__()

    def losses(self, step: Step) -> dict[str, Tensor]:
        images = torch.cat([*step.batch.labelled.values(), *step.batch.unlabelled.values()])
        turns = balanced_turns(len(images), step.generator, images.device)
        features = step.models.student(rotate(images, turns)).features
        return {"rotation": F.cross_entropy(step.models.student.heads["rotation"](features), turns)}


class MoCo(Learner):
    """Tell each image's second view from earlier images, with keys from the EMA teacher.

    Departs from the MoCo code in two ways: the embedding is linear where version 2 has two layers, and on the one device of a run the
    batch statistics of keys are not shuffled.

    Parameters
    ----------
    queue : int, default 4096
        Embeddings of earlier images kept (65,536 for ImageNet).
    temperature : float, default 0.2
    """

    name = "moco"
    presets: ClassVar = {"glyphs-lt": {"queue": 1024}}
    labelled_views = ("strong", "strong2")
    unlabelled_views = ("strong", "strong2")
    offers = frozenset()
    heads: ClassVar[dict[str, int | None]] = {"moco": EMBEDDING}

    def __init__(self, queue: Count = 4096, temperature: Positive = 0.2):
        super().__init__()
        self.length, self.temperature = queue, temperature

    def setup(self, problem: Problem) -> None:
        self.register_buffer("queue", torch.zeros(self.length, EMBEDDING))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def losses(self, step: Step) -> dict[str, Tensor]:
        first, second = (torch.cat([step.batch.labelled[view], step.batch.unlabelled[view]]) for view in ("strong", "strong2"))
        student, teacher = step.models.student, step.models.teacher
        query = F.normalize(student.heads["moco"](student(first).features), dim=1)
        with torch.no_grad():
            key = F.normalize(teacher.heads["moco"](teacher(second).features), dim=1)
        loss = contrastive_loss(query, key, self.queue.clone(), self.temperature)
        key = key[: self.length]
        slots = (self.position + torch.arange(len(key), device=key.device)) % self.length
        self.queue.index_copy_(0, slots, key)
        self.position.copy_((self.position + len(key)) % self.length)
        return {"contrast": loss}
