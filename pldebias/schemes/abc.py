"""ABC: a balanced classifier beside the ordinary one, trained on samples that are kept in inverse proportion to their class.

References
----------
Lee, Shin & Kim, ABC: Auxiliary Balanced Classifier for Class-imbalanced Semi-supervised Learning, NeurIPS 2021; soft targets and
order of operations of the official code (ABCfix.py). With one strong view it is the re-implementation of the DASO code
(lib/algorithm/fm_abc.py).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pldebias.schemes.base import Network, Problem, Scheme, Step
from pldebias.schemes.formulas.losses import masked_cross_entropy
from pldebias.schemes.options import Threshold


def keep_rates(counts: Tensor) -> Tensor:
    """Probability of keeping a sample of each class, smallest count over its own; shape ``[K]``.

    A class without a sample counts as the smallest one that has some.
    """
    counts = counts.double()
    least = counts[counts > 0].min()
    return (least / torch.maximum(counts, least)).float()


def gradual_rates(rates: Tensor, progress: Tensor | float) -> Tensor:
    """Keeping probability of unlabelled samples, from 1 at `progress` 0 to `rates` at 1; shape ``[K]``."""
    return 1 - progress * (1 - rates)


def bernoulli(rates: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Zeros and ones, drawn with the given probabilities on their device; shape as `rates`."""
    return (torch.rand(rates.shape, generator=generator, device=rates.device) < rates).to(rates.dtype)


class ABC(Scheme):
    """An auxiliary balanced classifier on the learner's features, with which the method predicts.

    Parameters
    ----------
    views : {2, 1}, default 2
        Strong views that the losses use; 2 is the paper, 1 the re-implementation behind the tables of DASO.
    threshold : float, default 0.95
        Confidence of the balanced classifier at which its pseudo-label is used, in (0, 1].
    blend : bool, default True
        Whether schemes that blend pseudo-labels, such as DASO, blend those of the balanced classifier too.
    """

    name = "abc"
    estimated = ()
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}}
    acts_on = frozenset({"views", "prediction"})
    heads: ClassVar = {"abc": None}

    def __init__(self, views: Literal[2, 1] = 2, threshold: Threshold = 0.95, blend: bool = True):
        super().__init__()
        self.unlabelled_views = ("strong", "strong2")[:views]
        self.confidence_threshold, self.with_blending = threshold, blend

    def setup(self, problem: Problem) -> None:
        self.epochs = problem.total_steps / problem.steps_per_epoch
        self.register_buffer("rates", keep_rates(problem.labelled_counts))
        self.register_buffer("present", torch.ones(problem.num_classes))  # gradual rates of the step under way

    @torch.no_grad()
    def observe(self, step: Step) -> None:
        logits = step.models.student.heads["abc"](step.features)
        probs = step.chain.refine_head(logits, self.name, step).softmax(1)
        step.memo["abc/probs"] = step.chain.blend(probs, step) if self.with_blending else probs
        epoch = step.t // step.problem.steps_per_epoch
        self.present.copy_(gradual_rates(self.rates, epoch / self.epochs))

    def losses(self, step: Step) -> dict[str, Tensor]:
        head, target = step.models.student.heads["abc"], step.memo["abc/probs"]
        kept = bernoulli(self.rates[step.labels], step.generator)
        labelled = masked_cross_entropy(head(step.outputs["labelled"].features), step.labels, kept)
        confidence, label = target.max(1)
        threshold = step.chain.threshold_head(torch.full_like(confidence, self.confidence_threshold), label, self.name, step)
        kept = (confidence >= threshold) * bernoulli(self.present[label], step.generator)
        strong = head(step.outputs["strong"].features)
        return {"labelled": labelled, "unlabelled": len(strong) // len(target) * masked_cross_entropy(strong, target, kept)}

    def predict(self, logits: Tensor, features: Tensor, network: Network) -> Tensor:
        return network.heads["abc"](features)

    def series(self) -> dict[str, Tensor]:
        return {"keep_labelled": self.rates, "keep_unlabelled": self.present}
