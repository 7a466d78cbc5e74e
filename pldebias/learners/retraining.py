"""Second stages: a new classifier on a finished backbone, and training on another run's pseudo-labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.learners.base import Learner

if TYPE_CHECKING:
    from pldebias.schemes import Problem, Step


class CRT(Learner):
    """Classifier re-training: a fresh classifier, class-balanced, on the frozen backbone of the run named by ``init``.

    Batch-norm statistics go on moving, as in the official code, since the network stays in training mode.

    Parameters
    ----------
    threshold : float, default 0.95
        Confidence at which the pseudo-labels that the network *would* give count as accepted in the log.

    References
    ----------
    Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020.
    """

    name = "crt"
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}}
    offers = frozenset({"labelled", "prediction"})
    requires_init: ClassVar[bool] = True
    trains_backbone = False

    @property
    def needs(self) -> dict[str, Any]:
        return {"balanced": True}

    def losses(self, step: Step) -> dict[str, Tensor]:
        self.forward(step)
        return {"labelled": self.labelled_loss(step)}


class SelfTraining(Learner):
    """Train on labelled images and on the pseudo-labels that a finished run gives to the unlabelled ones.

    The labels are those of the base run's last sweep: hard, of all samples whatever their confidence, made once. The paper's loss weighs
    them by omega; the official code joins both sets in one stream of batches, which is omega = 1 for equal shares.

    Parameters
    ----------
    base : str
        Folder of the finished run whose pseudo-labels are learned, on the same data and split.
    weight : float, default 1.0
        Omega, the weight of the unlabelled loss.
    threshold : float, default 0.95
        Confidence at which the network's own pseudo-labels count as accepted in the log.

    References
    ----------
    Yang & Xu, Rethinking the Value of Labels for Improving Class-Imbalanced Learning, NeurIPS 2020.
    """

    name = "selftraining"
    labels_with = "trains on the labels of its base run"
    unlabelled_views = ("weak",)
    offers = frozenset({"labelled", "prediction"})

    def __init__(self, base: str = "", weight: float = 1.0, threshold: float = 0.95):
        super().__init__(threshold)
        self.base, self.weight = base, weight

    def setup(self, problem: Problem) -> None:
        self.register_buffer("labels", self._base_labels(problem))

    def _base_labels(self, problem: Problem) -> Tensor:
        from pldebias.runs import open_run

        if not self.base:
            raise ValueError("selftraining needs base: write selftraining(base='runs/.../s0') with the folder of a finished run")
        run = open_run(self.base)
        if not run.finished or "sweep" not in run.kinds:
            raise ValueError(f"selftraining(base={self.base!r}): that run is not finished or gave no pseudo-labels; finish it first")
        if len(run.true_labels) != problem.num_unlabelled or (problem.fingerprint and run.fingerprint != problem.fingerprint):
            raise ValueError(f"selftraining(base={self.base!r}): that run saw other data or another split; train it with the same settings")
        labels = torch.as_tensor(run.history(-1)[0]).long()
        if n := int((labels < 0).sum()):
            raise ValueError(f"selftraining(base={self.base!r}): {n} samples have no label at the last epoch of that run; label all")
        return labels

    def losses(self, step: Step) -> dict[str, Tensor]:
        logits = self.forward(step, ("weak",), draws=1)["weak"].logits
        step.label = self.labels[step.index]
        step.mask = step.weight = torch.ones_like(step.label, dtype=logits.dtype)
        unlabelled = F.cross_entropy(logits, step.label)
        return {"labelled": self.labelled_loss(step), "unlabelled": self.weight * unlabelled}
