"""FreeMatch: thresholds that follow the running confidence, and a fairness loss on the strong view.

References
----------
Wang et al., FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning, ICLR 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.learners.fixmatch import FixMatch
from pldebias.schemes.options import Momentum, Share
from pldebias.settings import Range

if TYPE_CHECKING:
    from pldebias.schemes import Problem, Step
    from pldebias.schemes.part import Seen


def adaptive_threshold(confidence: Tensor, class_mean: Tensor) -> Tensor:
    """Self-adaptive thresholds ``confidence * class_mean / max(class_mean)``; scalar and ``[K]`` to ``[K]``."""
    return confidence * class_mean / class_mean.max()


def _balance(probs: Tensor, histogram: Tensor) -> Tensor:
    ratio = probs * torch.where(histogram > 0, 1 / histogram, 0.0)
    return ratio / ratio.sum()


def fairness(strong: Tensor, mask: Tensor, class_mean: Tensor, histogram: Tensor) -> Tensor:
    """Self-adaptive fairness loss ``sum_k a_k log b_k``.

    a is the running mean prediction over its running histogram, b the same of the accepted strong views of this batch, both normalised.

    Parameters
    ----------
    strong : Tensor
        Strong-view probabilities, shape ``[M, K]``; the gradient flows through their mean alone.
    mask : Tensor
        Accepted rows, shape ``[M]``; with none the loss is zero.
    class_mean, histogram : Tensor
        Running mean prediction and running histogram of hard predictions, shape ``[K]``.
    """
    accepted = mask.sum()
    some = accepted > 0
    mean = (mask[:, None] * strong).sum(0) / accepted.clamp(min=1)
    hard = (mask[:, None] * F.one_hot(strong.argmax(1), strong.shape[1])).sum(0) / accepted.clamp(min=1)
    # Without an accepted row both are zero; the uniform distribution keeps the gradient finite, and the factor removes it.
    uniform = torch.full_like(mean, 1 / len(mean))
    b = _balance(torch.where(some, mean, uniform), torch.where(some, hard, uniform))
    return torch.where(some, (_balance(class_mean, histogram) * (b + 1e-12).log()).sum(), 0.0)


class FreeMatch(FixMatch):
    """FixMatch with self-adaptive thresholds and fairness.

    Parameters
    ----------
    momentum : float, default 0.999
        Momentum of all running means, in [0, 1).
    lambda_u : float, default 1.0
        Weight of the unlabelled loss.
    fairness : float, default 0.001
        Weight of the fairness loss.
    quantile : float, optional
        Follow this quantile of the batch's confidences instead of their mean.
    ceiling : float, default 1.0
        Largest confidence that the global threshold may reach, in (0, 1].
    """

    name = "freematch"
    estimated = ("global_threshold", "class_mean")
    presets: ClassVar = {"glyphs-lt": {"momentum": 0.99}}
    follows: ClassVar = dict.fromkeys(("global_threshold", "class_mean", "histogram"), ("quantile",))

    def __init__(
        self,
        momentum: Momentum = 0.999,
        lambda_u: float = 1.0,
        fairness: float = 0.001,
        quantile: Share | None = None,
        ceiling: Annotated[float, Range("(0, 1]", "the largest confidence that may be asked for")] = 1.0,
    ):
        super().__init__(ceiling, lambda_u)
        self.momentum, self.fairness, self.quantile = momentum, fairness, quantile

    def setup(self, problem: Problem) -> None:
        even = torch.full((problem.num_classes,), 1 / problem.num_classes)
        self.register_buffer("global_threshold", even[0].clone())
        self.register_buffer("class_mean", even.clone())
        self.register_buffer("histogram", even.clone())

    @torch.no_grad()
    def prepare(self, step: Step) -> None:
        self._update(step.logits.softmax(1), self.momentum)

    def _update(self, probs: Tensor, momentum: float) -> None:
        confidence, label = probs.max(1)
        level = confidence.mean() if self.quantile is None else confidence.quantile(self.quantile)
        hard = F.one_hot(label, probs.shape[1]).to(probs.dtype).mean(0)
        for running, now in ((self.global_threshold, level), (self.class_mean, probs.mean(0)), (self.histogram, hard)):
            running.mul_(momentum).add_((1 - momentum) * now)
        self.global_threshold.clamp_(max=self.confidence_threshold)

    def threshold(self, step: Step) -> Tensor:
        return adaptive_threshold(self.global_threshold, self.class_mean)[step.label]

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        strong = step.outputs["strong"].logits.softmax(1)
        mask = step.mask.repeat(len(strong) // len(step.mask))
        return {**losses, "fairness": self.fairness * fairness(strong, mask, self.class_mean, self.histogram)}

    def estimate_state(self, seen: Seen) -> str | None:
        self._update(seen.probs, 0.0)
        return "running confidence and class means: over this epoch's outputs"

    def series(self) -> dict[str, Tensor]:
        return {
            "threshold": adaptive_threshold(self.global_threshold, self.class_mean),
            "class_mean": self.class_mean,
            "histogram": self.histogram,
        }
