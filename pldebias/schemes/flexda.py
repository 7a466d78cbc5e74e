"""Flexible distribution alignment: both losses aligned to a class prior that is smoothed as training goes on.

References
----------
Sanchez Aimar et al., Flexible Distribution Alignment: Towards Long-tailed Semi-supervised Learning with Proper Calibration, ECCV 2024;
order of operations of the official code (imb_algorithms/adello): a step's losses see the prior before its update.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pldebias.schemes.base import Problem, Scheme, Step
from pldebias.schemes.formulas.priors import alpha, log_ratio, smooth, update_prior
from pldebias.schemes.part import Seen


class FlexDA(Scheme):
    """Flexible distribution alignment: what ADELLO and UDAL share.

    The labelled loss trains logits of the smoothed prior from labels of the labelled prior, the unlabelled loss from pseudo-labels of
    the running one.
    """

    acts_on = frozenset({"labelled", "pseudo_label"})
    estimated = ("prior",)
    prior_buffer = "prior"

    def __init__(self, target: str, alpha_min: float, d: float, momentum: float, alpha_by: str):
        super().__init__()
        self.goal, self.alpha_min, self.d, self.momentum, self.alpha_by = target, alpha_min, d, momentum, alpha_by

    def setup(self, problem: Problem) -> None:
        self.register_buffer("prior", torch.full((problem.num_classes,), 1 / problem.num_classes))
        self.register_buffer("labelled_prior", problem.prior)
        if self.goal == "oracle":
            if problem.unlabelled_counts is None:
                raise ValueError(f"{self.name}(target=oracle) needs the true labels of the unlabelled set; choose another target")
            counts = problem.unlabelled_counts.float()
            self.register_buffer("true_prior", counts / counts.sum())

    def exponent(self, step: Step) -> Tensor:
        """Exponent alpha of this step."""
        problem = step.problem
        if self.alpha_by == "step":
            return alpha(step.t, problem.total_steps, self.alpha_min, self.d)
        epochs = max(problem.total_steps // problem.steps_per_epoch, 1)
        return alpha(step.t // problem.steps_per_epoch, epochs, self.alpha_min, self.d)

    def smoothed(self, step: Step) -> tuple[Tensor, Tensor]:
        """Target priors ``[K]`` of the labelled and of the unlabelled loss."""
        source = {"running": self.prior, "labelled": self.labelled_prior}.get(self.goal)
        target = smooth(self.true_prior if source is None else source, self.exponent(step))
        return target, target

    def prepare(self, step: Step) -> None:
        labelled, unlabelled = self.smoothed(step)
        step.memo[f"{self.name}/labelled"] = log_ratio(self.labelled_prior, labelled)
        step.memo[f"{self.name}/unlabelled"] = log_ratio(self.prior, unlabelled)

    def labelled(self, logits: Tensor, step: Step) -> Tensor:
        return logits + step.memo[f"{self.name}/labelled"]

    def margin(self, logits: Tensor, step: Step) -> Tensor:
        shift = step.memo.get(f"{self.name}/unlabelled")  # None where cached outputs are relabelled, which nothing prepares
        return logits + (log_ratio(self.prior, self.smoothed(step)[1]) if shift is None else shift)

    def observe(self, step: Step) -> None:
        self.prior.copy_(update_prior(self.prior, step.logits.softmax(1), self.momentum))

    def estimate_state(self, seen: Seen) -> str | None:
        self.prior.copy_(update_prior(self.prior, self.counted(seen), 0.0))
        return "running prior: mean prediction over this epoch's outputs"

    def counted(self, seen: Seen) -> Tensor:
        """Recorded predictions ``[M, K]`` that the running prior averages."""
        return seen.probs

    def series(self) -> dict[str, Tensor]:
        return {"prior": self.prior}
