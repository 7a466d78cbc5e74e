"""SAW: loss weights by the effective number of pseudo-labels.

References
----------
Lai, Wang, Gunawan, Cheung & Chuah, Smoothed Adaptive Weighting for Imbalanced Semi-Supervised Learning, ICML 2022; class weights of Cui et
al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pldebias.schemes.base import EpochEnd, Problem, Scheme, Step
from pldebias.schemes.formulas.effective_number import effective_weights
from pldebias.schemes.formulas.priors import update_prior
from pldebias.schemes.options import Momentum, Share
from pldebias.schemes.part import Seen


class SAW(Scheme):
    """Smoothed adaptive weighting of the labelled and the unlabelled loss.

    Parameters
    ----------
    estimate : {"epoch", "running"}, default "epoch"
        How pseudo-labels are counted: those that the EMA teacher gives to the clean unlabelled set at the end of every epoch, or (the SEVAL
        code) a running mean of the predictions.
    momentum : float, default 0.999
        Momentum of that running mean, in [0, 1).
    beta : float, optional
        Of the labelled weights, in [0, 1]; ``(N - 1) / N`` when None. The SEVAL code has 0.999.
    """

    name = "saw"
    estimated = ("weight",)
    presets: ClassVar = {"glyphs-lt": {"momentum": 0.99}}
    acts_on = frozenset({"labelled", "acceptance"})
    prior_buffer = "class_dist"
    follows: ClassVar = {"class_dist": ("estimate",), "weight": ("estimate",), "labelled_weight": ("estimate", "beta")}

    def __init__(self, estimate: Literal["epoch", "running"] = "epoch", momentum: Momentum = 0.999, beta: Share | None = None):
        super().__init__()
        self.estimate, self.momentum, self.beta = estimate, momentum, beta

    def setup(self, problem: Problem) -> None:
        self.size = problem.num_unlabelled
        self.register_buffer("labelled_weight", effective_weights(problem.labelled_counts, self.beta))
        self.register_buffer("class_dist", torch.full((problem.num_classes,), 1 / problem.num_classes))
        self.register_buffer("weight", torch.ones(problem.num_classes))

    def weigh_labelled(self, losses: Tensor, step: Step) -> Tensor:
        return losses * self.labelled_weight[step.labels]

    @torch.no_grad()
    def prepare(self, step: Step) -> None:
        if self.estimate == "running":
            self.take_prior(update_prior(self.class_dist, step.logits.softmax(1), self.momentum))

    def weigh(self, weight: Tensor, step: Step) -> Tensor:
        return weight * self.weight[step.label]

    def end_epoch(self, end: EpochEnd) -> None:
        if self.estimate == "epoch":
            self.count(end.score("unlabelled")[0].argmax(1))

    def count(self, label: Tensor) -> None:
        """Weights from the pseudo-labels ``[N]`` of the unlabelled set."""
        counts = torch.bincount(label, minlength=len(self.weight))
        self.class_dist.copy_(counts / counts.sum())
        self.weight.copy_(effective_weights(counts))

    def take_prior(self, prior: Tensor) -> set[str]:
        self.class_dist.copy_(prior)
        self.weight.copy_(effective_weights(self.class_dist * self.size))
        return {"class_dist", "weight"}

    def estimate_state(self, seen: Seen) -> str | None:
        if self.estimate == "running":
            self.take_prior(update_prior(self.class_dist, seen.probs, 0.0))
            return "weights: by the mean prediction over this epoch's outputs"
        self.count(seen.logits.argmax(1))
        return "weights: by the predictions of this epoch's outputs"

    def series(self) -> dict[str, Tensor]:
        return {"class_dist": self.class_dist, "weight": self.weight, "labelled_weight": self.labelled_weight}
