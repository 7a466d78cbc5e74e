"""FlexMatch: the threshold of a class grows with how many samples of it were ever confident.

References
----------
Zhang et al., FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling, NeurIPS 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from pldebias.learners.fixmatch import FixMatch

if TYPE_CHECKING:
    from pldebias.schemes import Problem, Step
    from pldebias.schemes.part import Seen


def learning_status(counts: Tensor, unset: Tensor | float) -> Tensor:
    """Learning status beta of each class: its count over the largest one, that of the unset samples included.

    Parameters
    ----------
    counts : Tensor
        Samples whose last confident pseudo-label is the class, shape ``[K]``.
    unset : Tensor or float
        Samples that never were confident; 0 leaves the warm-up out.
    """
    return counts / counts.max().clamp(min=unset).clamp(min=1)


def flexible_threshold(threshold: float, beta: Tensor) -> Tensor:
    """Thresholds ``threshold * beta / (2 - beta)`` (convex mapping), shape as `beta`."""
    return threshold * beta / (2 - beta)


class FlexMatch(FixMatch):
    """FixMatch with curriculum thresholds per class.

    Parameters
    ----------
    threshold : float, default 0.95
        Threshold of the best-learned class, and the confidence at which a sample counts as learned.
    lambda_u : float, default 1.0
        Weight of the unlabelled loss.
    warmup : bool, default True
        Whether samples that never were confident hold all thresholds down in the beginning.
    slots : int, optional
        Samples that may be learned; the size of the unlabelled set when None. The SEVAL code gives its number of batches, 250,000, with
        which every threshold stays near zero.
    """

    name = "flexmatch"
    estimated = ("beta",)
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}}
    estimate_order = 3
    follows: ClassVar = {"beta": ("threshold", "warmup", "slots")}

    def __init__(self, threshold: float = 0.95, lambda_u: float = 1.0, warmup: bool = True, slots: int | None = None):
        super().__init__(threshold, lambda_u)
        self.warmup, self.slots = warmup, slots

    def setup(self, problem: Problem) -> None:
        samples, classes = problem.num_unlabelled, problem.num_classes
        if self.slots is not None and self.slots < samples:
            raise ValueError(f"flexmatch(slots={self.slots}) must be at least the size of the unlabelled set, {samples}; leave it out")
        # Class K stands for "never confident"; the slot behind the last takes what a batch does not write.
        self.register_buffer("last", torch.full((samples + 1,), classes))
        self.register_buffer("beta", torch.zeros(classes))

    def threshold(self, step: Step) -> Tensor:
        return flexible_threshold(self.confidence_threshold, self.beta)[step.label]

    @torch.no_grad()
    def observe(self, step: Step) -> None:
        confident = step.confidence >= self.confidence_threshold
        self.last.index_put_((torch.where(confident, step.index, len(self.last) - 1),), step.label)
        last = self.last[:-1]
        counts = torch.zeros(len(self.beta) + 1, device=last.device).index_add_(0, last, torch.ones_like(last, dtype=torch.float32))
        unset = counts[-1] + (self.slots or len(last)) - len(last)
        beta = learning_status(counts[:-1], unset if self.warmup else 0.0)
        self.beta.copy_(torch.where(counts[:-1].sum() > 0, beta, self.beta))

    def estimate_state(self, seen: Seen) -> str | None:
        step = seen.step()
        confident = step.confidence >= self.confidence_threshold
        counts = torch.bincount(step.label[confident], minlength=len(self.beta)).float()
        unset = (self.slots or len(confident)) - counts.sum()
        self.beta.copy_(learning_status(counts, unset if self.warmup else 0.0))
        return "learning status: confident labels of this epoch"

    def series(self) -> dict[str, Tensor]:
        return {"beta": self.beta, "threshold": flexible_threshold(self.confidence_threshold, self.beta)}
