"""ACR: a logit-adjusted second classifier, and an adjustment of pseudo-labels that follows the estimated unlabelled distribution.

References
----------
Wei & Gan, Towards Realistic Long-Tailed Semi-Supervised Learning: Consistency Is All You Need, CVPR 2023; order of operations, start and
sum of the distances as in the official code (train.py) and its copies (SEVAL code, lib/algorithm/acr.py; ADELLO code, imb_algorithms/acr).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.schemes.base import Network, Problem, Scheme, Step
from pldebias.schemes.formulas.adjustment import adjust, posthoc
from pldebias.schemes.formulas.losses import masked_cross_entropy
from pldebias.schemes.options import Momentum, Threshold
from pldebias.schemes.part import Seen


def anchors(prior: Tensor) -> Tensor:
    """The three distributions the unlabelled set is compared with: the labelled one, uniform, and the labelled one reversed; ``[3, K]``.

    Reversed by rank: the most frequent class gets the frequency of the rarest, and so on, whatever the order of the classes.
    """
    order = prior.argsort(descending=True, stable=True)
    reverse = torch.empty_like(prior)
    reverse[order] = prior[order].flip(0)
    return torch.stack([prior, torch.full_like(prior, 1 / len(prior)), reverse])


def distances(estimate: Tensor, anchors: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence, the mean of both directions, of ``[K]`` to each of ``[3, K]``; shape ``[3]``; finite."""
    estimate, anchors = estimate.clamp(min=torch.finfo(torch.float32).tiny), anchors.clamp(min=1e-12)
    return 0.5 * ((anchors - estimate) * (anchors.log() - estimate.log())).sum(1)


def strength(distances: Tensor, tau: float) -> Tensor:
    """Strength of the pseudo-label adjustment, ``tau * softmax(distances)[0]``: it grows with the distance to the labelled distribution."""
    return tau * distances.softmax(0)[0]


def presence(label: Tensor, mask: Tensor, num_classes: int) -> Tensor:
    """Per class the mask of the last row with that label, 0 for none: what ``x[label] += mask`` does without accumulation; ``[K]``."""
    rows = torch.arange(len(label), device=label.device)
    last = torch.full((num_classes,), -1, device=label.device).scatter_reduce(0, label, rows, "amax")
    return torch.where(last >= 0, mask[last.clamp(min=0)], 0.0)


class ACR(Scheme):
    """Adaptive consistency regularizer.

    Parameters
    ----------
    tau : float, default 2.0
        Strength of all adjustments; that of the first classifier's pseudo-labels is scaled by the estimate.
    threshold : float, default 0.95
        Confidence at which either the adjusted or the raw prediction makes a pseudo-label usable, in (0, 1].
    momentum : float, default 0.9
        Momentum of the estimated unlabelled distribution, in [0, 1).
    start : int, optional
        The estimate begins with the epoch after the one that holds this step (official: after epoch 5 of 500); 1 % of the training when
        None. With ``window=step`` it begins with the next step.
    window : {"epoch", "step"}, default "epoch"
        Steps whose distances are summed. The sum is divided by the length of an epoch and has no term of steps without a confident sample,
        as in the official code. ``step`` is the SEVAL code, whose one distance over the length of an epoch leaves the strength at tau / 3.
    counts : bool, default True
        Whether the estimate counts confident predictions. The public codes note for each class whether its last row is confident.
    """

    name = "acr"
    estimated = ("tau_now",)
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}}
    acts_on = frozenset({"pseudo_label", "acceptance", "views", "prediction"})
    heads: ClassVar = {"acr": None}
    unlabelled_views = ("strong", "strong2")
    estimates: ClassVar[bool] = True
    prior_buffer = "estimate"
    starts = "first"
    follows: ClassVar = {"tau_now": ("tau", "window")}

    def __init__(
        self,
        tau: float = 2.0,
        threshold: Threshold = 0.95,
        momentum: Momentum = 0.9,
        start: int | None = None,
        window: Literal["epoch", "step"] = "epoch",
        counts: bool = True,
    ):
        super().__init__()
        self.tau, self.confidence_threshold, self.momentum = tau, threshold, momentum
        self.start, self.window, self.counts = start, window, counts

    def setup(self, problem: Problem) -> None:
        self.first = problem.total_steps // 100 if self.start is None else self.start
        self.epoch = problem.steps_per_epoch
        self.register_buffer("anchors", anchors(problem.prior))
        self.register_buffer("estimate", self.anchors[1].clone())
        self.register_buffer("summed", torch.zeros(3))  # distances of the window under way
        self.register_buffer("tau_now", torch.tensor(float(self.tau)))

    @property
    def prior(self) -> Tensor:
        return self.anchors[0]

    def begun(self, t: Tensor) -> Tensor:
        """Return a boolean scalar: True once the estimate is at work, in step `t`."""
        return t // self.epoch > self.first // self.epoch if self.window == "epoch" else t > self.first

    @torch.no_grad()
    def prepare(self, step: Step) -> None:
        due = self.begun(step.t) & ((step.t % self.epoch == 0) | (self.window == "step"))
        tau = strength(self.summed / self.epoch, self.tau)
        self.tau_now.copy_(torch.where(due & ~tau.isnan(), tau, self.tau_now))
        self.summed.copy_(torch.where(due, torch.zeros_like(self.summed), self.summed))

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return posthoc(logits, self.prior, self.tau_now)

    def accept(self, mask: Tensor, step: Step) -> Tensor:
        raw = step.logits.softmax(1).amax(1) >= self.confidence_threshold
        return torch.maximum(mask, raw.to(mask.dtype))

    @torch.no_grad()
    def observe(self, step: Step) -> None:
        balanced, label = step.models.student.heads["acr"](step.features).softmax(1).max(1)
        sure = (balanced >= self.confidence_threshold).to(balanced.dtype)
        adjusted, step.memo["acr/label"] = posthoc(step.logits, self.prior, self.tau).softmax(1).max(1)
        step.memo["acr/mask"] = torch.maximum(sure, (adjusted >= self.confidence_threshold).to(sure.dtype))
        if not self.estimates:
            return
        classes = len(self.estimate)
        seen = sure.new_zeros(classes).index_add_(0, label, sure) if self.counts else presence(label, sure, classes)
        active = self.begun(step.t) & (seen.sum() > 0)
        moved = self.momentum * self.estimate + (1 - self.momentum) * seen / seen.sum().clamp(min=1e-12)
        self.estimate.copy_(torch.where(active, moved, self.estimate))
        # A class unseen for so long that its share is zero is infinitely far from every anchor: the official strength then stays as it was.
        apart = torch.where(self.estimate.amin() > 0, distances(self.estimate, self.anchors), torch.nan)
        self.summed.add_(torch.where(active, apart, 0.0))

    def losses(self, step: Step) -> dict[str, Tensor]:
        labelled, strong = (step.models.student.heads["acr"](step.outputs[view].features) for view in ("labelled", "strong"))
        return {
            "labelled": F.cross_entropy(adjust(labelled, self.prior, self.tau), step.labels),
            "unlabelled": masked_cross_entropy(strong, step.memo["acr/label"], step.memo["acr/mask"]),
        }

    def predict(self, logits: Tensor, features: Tensor, network: Network) -> Tensor:
        return network.heads["acr"](features)

    def take_prior(self, prior: Tensor) -> set[str]:
        """Take `prior` for the estimated unlabelled distribution; the strength follows from it as in training."""
        self.estimate.copy_(prior)
        if float(prior.min()) > 0:  # otherwise training leaves the strength as it was
            apart = distances(self.estimate, self.anchors)
            self.tau_now.copy_(strength(apart if self.window == "epoch" else apart / self.epoch, self.tau))
        return {"estimate", "tau_now"}

    def estimate_state(self, seen: Seen) -> str | None:
        if not self.estimates:
            self.tau_now.copy_(strength(self.summed, self.tau))
            return f"strength {float(self.tau_now):.2f}, a third of tau, as in training after its start"
        if "estimate" in seen.missing:
            raise ValueError(
                f"{self.name} sets its strength by the confident predictions of a second classifier, which {seen.name} has not; pass "
                "state=run of an acr training, or prior= (labelled, running, oracle or weights) as the unlabelled distribution"
            )
        self.take_prior(self.estimate)
        return f"strength {float(self.tau_now):.2f}, by the estimated distribution that is known"

    def series(self) -> dict[str, Tensor]:
        return {"estimate": self.estimate, "offset": self.tau_now * self.prior.clamp(min=1e-12).log()}


class ABCLA(ACR):
    """ACR with one strong view and without the estimate: the adjustment of pseudo-labels falls to ``tau / 3`` after the start.

    The ablation of the SEVAL code (lib/algorithm/abcla.py); arguments as in `ACR`.
    """

    name = "abcla"
    unlabelled_views = ("strong",)
    estimates = False
    prior_buffer = None
