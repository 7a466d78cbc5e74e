"""SimPro: expectation maximisation with the unlabelled class distribution as a parameter of its own.

References
----------
Du, Han & Huang, SimPro: A Simple Probabilistic Framework Towards Realistic Long-Tailed Semi-Supervised Learning, ICML 2024; what the paper
leaves open (labelled strong view, two strong views, soft targets, momentum) as in its public code (SimPro/train.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pldebias.schemes.base import EpochEnd, Problem, Scheme, Step
from pldebias.schemes.formulas.adjustment import adjust
from pldebias.schemes.options import Momentum, Positive
from pldebias.schemes.part import Seen


def maximise(summed: Tensor, previous: Tensor, momentum: float) -> Tensor:
    """Class distribution after the M-step: the normalised sums, smoothed with the previous estimate.

    Parameters
    ----------
    summed : Tensor
        Summed (pseudo-)label probabilities of an epoch, shape ``[K]``; all zero leaves the estimate as it is.
    previous : Tensor
        Shape ``[K]``, summing to one.
    momentum : float
        In [0, 1).
    """
    total = summed.sum()
    moved = momentum * previous + (1 - momentum) * summed / total.clamp(min=1e-12)
    return torch.where(total > 0, moved, previous)


class SimPro(Scheme):
    """Bayes pseudo-labels under an estimated unlabelled distribution, and losses under that of all training data.

    Parameters
    ----------
    tau : float, default 2.0
        Exponent of both distributions. The published runs have 2 on CIFAR-10 and STL-10 and 1 on CIFAR-100 and ImageNet, with a confidence
        threshold of the learner of 0.95 and 0.2.
    momentum : float, default 0.9
        Momentum of both distributions from epoch to epoch, in [0, 1).
    alpha : float, optional
        Weight of the labelled loss, above 0. By default mu N / M (N labelled and M unlabelled images, mu unlabelled in a batch for each
        labelled one), as in the paper; that is 1 for N1 = 500, M1 = 4000 and mu = 8, and next to nothing with few labelled images.
    """

    name = "simpro"
    estimated = ("unlabelled_dist", "joint_dist")
    acts_on = frozenset({"labelled", "pseudo_label", "acceptance"})
    labelled_views = ("weak", "strong")
    unlabelled_views = ("strong", "strong2")
    prior_buffer = "unlabelled_dist"
    estimate_order = 1

    def __init__(self, tau: float = 2.0, momentum: Momentum = 0.9, alpha: Positive | None = None):
        super().__init__()
        self.tau, self.momentum, self.alpha = tau, momentum, alpha

    def setup(self, problem: Problem) -> None:
        classes = problem.num_classes
        self.scale = float(problem.labelled_counts.sum()) / max(problem.num_unlabelled, 1)
        self.register_buffer("unlabelled_dist", torch.full((classes,), 1 / classes))
        self.register_buffer("joint_dist", problem.prior)
        self.register_buffer("labelled_sum", torch.zeros(classes))
        self.register_buffer("unlabelled_sum", torch.zeros(classes))

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return adjust(logits, self.unlabelled_dist, self.tau)

    def target(self, target: Tensor, step: Step) -> Tensor:
        return step.probs

    def labelled(self, logits: Tensor, step: Step) -> Tensor:
        return adjust(logits, self.joint_dist, self.tau)

    def margin(self, logits: Tensor, step: Step) -> Tensor:
        return adjust(logits, self.joint_dist, self.tau)

    def weigh_labelled(self, losses: Tensor, step: Step) -> Tensor:
        # By default a labelled image weighs as much as an unlabelled one.
        return losses * (self.scale * len(step.index) / len(step.batch.y) if self.alpha is None else self.alpha)

    @torch.no_grad()
    def observe(self, step: Step) -> None:
        self.labelled_sum.index_add_(0, step.batch.y, torch.ones_like(step.batch.y, dtype=self.labelled_sum.dtype))
        self.unlabelled_sum.add_((step.mask[:, None] * step.probs).sum(0))

    def end_epoch(self, end: EpochEnd) -> None:
        self.unlabelled_dist.copy_(maximise(self.unlabelled_sum, self.unlabelled_dist, self.momentum))
        self.joint_dist.copy_(maximise(self.labelled_sum + self.unlabelled_sum, self.joint_dist, self.momentum))
        self.labelled_sum.zero_()
        self.unlabelled_sum.zero_()

    def estimate_state(self, seen: Seen) -> str | None:
        """One M-step without momentum on the recorded outputs, whose labels are made under the distribution that is known or uniform."""
        wanted = {"unlabelled_dist", "joint_dist"} & seen.missing
        step = seen.step()
        accepted = step.mask[:, None] * step.probs
        labelled = seen.problem.prior
        if "unlabelled_dist" in wanted:
            self.unlabelled_dist.copy_(maximise(accepted.sum(0), self.unlabelled_dist, 0.0))
        if "joint_dist" in wanted:
            self.joint_dist.copy_(maximise(labelled + seen.mu * accepted.mean(0), self.joint_dist, 0.0))
        under = "a uniform one" if "unlabelled_dist" in wanted else "the given one"
        if not bool(step.mask.any()):
            return f"no label of this epoch is accepted under {under}: the class distributions are those before the first M-step"
        which = " and ".join(name.removesuffix("_dist") for name in sorted(wanted, reverse=True))
        return f"{which} class distribution: one M-step on the labels of this epoch that are accepted under {under}"

    def series(self) -> dict[str, Tensor]:
        return {"unlabelled_dist": self.unlabelled_dist, "joint_dist": self.joint_dist}
