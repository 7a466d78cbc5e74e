"""DebiasPL: counterfactual debiasing of pseudo-labels and an adaptive margin, both by a running mean of the predictions.

References
----------
Wang, Wu, Lian & Yu, Debiased Learning from Naturally Imbalanced Pseudo-Labels, CVPR 2022; order of operations of the official code
(main_DebiasPL.py): labels with the prior before this step's update, margin with the one after it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pldebias.schemes.base import Problem, Scheme, Step
from pldebias.schemes.la import adjust, posthoc


def update_prior(prior: Tensor, probs: Tensor, momentum: float) -> Tensor:
    """Running mean of the predictions, ``momentum * prior + (1 - momentum) * mean(probs)`` (eq. 4).

    Parameters
    ----------
    prior : Tensor
        Shape ``[K]``.
    probs : Tensor
        Undebiased predictions of all weak views, shape ``[N, K]``, whatever their confidence.
    momentum : float
        In [0, 1).
    """
    return momentum * prior + (1 - momentum) * probs.mean(0)


def debias(logits: Tensor, prior: Tensor, tau: float) -> Tensor:
    """Counterfactually debiased logits, ``logits - tau * log(prior)`` (eq. 3); ``[N, K]``, ``[K]`` to ``[N, K]``."""
    return posthoc(logits, prior, tau)


def margin(logits: Tensor, prior: Tensor, tau: float) -> Tensor:
    """Logits of the adaptive-margin loss, ``logits + tau * log(prior)`` (eq. 5); ``[N, K]``, ``[K]`` to ``[N, K]``."""
    return adjust(logits, prior, tau)


class DebiasPL(Scheme):
    """Debias pseudo-labels by the running mean prediction and widen the margin of rare classes.

    Parameters
    ----------
    tau : float, default 0.4
        Strength of debiasing and of the margin (0.4 in the released scripts).
    momentum : float, default 0.999
        Momentum of the running prior.
    margin : bool, default True
        Whether the strong-view loss has the adaptive margin.
    """

    name = "debiaspl"

    def __init__(self, tau: float = 0.4, momentum: float = 0.999, margin: bool = True):
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"debiaspl(momentum={momentum}) must be in [0, 1): 0.999 averages over about 1,000 steps")
        self.tau, self.momentum, self.use_margin = tau, momentum, margin

    def setup(self, problem: Problem) -> None:
        self.register_buffer("prior", torch.full((problem.num_classes,), 1 / problem.num_classes))

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return debias(logits, self.prior, self.tau)

    def observe(self, step: Step) -> None:
        self.prior.copy_(update_prior(self.prior, step.weak_logits.softmax(1), self.momentum))

    def margin(self, logits: Tensor, step: Step) -> Tensor:
        return margin(logits, self.prior, self.tau) if self.use_margin else logits

    def series(self) -> dict[str, Tensor]:
        return {"prior": self.prior}
