"""DebiasPL: counterfactual debiasing of pseudo-labels and an adaptive margin, both by a running mean of the predictions.

References
----------
Wang, Wu, Lian & Yu, Debiased Learning from Naturally Imbalanced Pseudo-Labels, CVPR 2022; order of operations of the official code
(main_DebiasPL.py): labels with the prior before this step's update, margin with the one after it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.schemes.base import Problem, Scheme, Step
from pldebias.schemes.formulas.adjustment import adjust, posthoc
from pldebias.schemes.formulas.priors import update_prior
from pldebias.schemes.options import Momentum
from pldebias.schemes.part import Button, Seen, Slider, Switch

debias, margin = posthoc, adjust
"""The paper's names: counterfactually debiased logits, and those of the adaptive-margin loss."""


def group_discrimination(strong: Tensor, weak: Tensor, group: Tensor, temperature: float = 0.07) -> Tensor:
    """Cross-level instance-group discrimination (CLD): a strong view's prediction lies nearest to its group's mean weak prediction.

    Parameters
    ----------
    strong, weak : Tensor
        Predictions of the two views, shape ``[N, K]``; no gradient flows through `weak`.
    group : Tensor
        Group of each sample, shape ``[N]``, in 0..K-1.
    temperature : float, default 0.07
        Of the softmax over groups. A group without a member has a zero mean and stays among the alternatives.
    """
    member = F.one_hot(group, weak.shape[1]).to(weak.dtype)
    centroids = (member.T @ weak.detach()) / member.sum(0).clamp(min=1)[:, None]
    return F.cross_entropy(strong @ centroids.T / temperature, group)


class DebiasPL(Scheme):
    """Debias pseudo-labels by the running mean prediction and widen the margin of rare classes.

    The released ImageNet recipe is ``fixmatch(teacher=ema, views=2, threshold=0.8, lambda_u=10)+debiaspl(cld=0.3)``.

    Parameters
    ----------
    tau : float, default 0.4
        Strength of debiasing and of the margin (0.4 in the released scripts).
    momentum : float, default 0.999
        Momentum of the running prior.
    margin : bool, default True
        Whether the strong-view loss has the adaptive margin.
    cld : float, default 0.0
        Weight of the instance-group discrimination loss (ImageNet: 0.3 with 1% of labels, 0.1 with 0.2%).
    compat : {"paper", "official"}, default "paper"
        What the discrimination loss groups by: the likeliest class, or the unlikeliest one as the released code does, which moreover
        gives it logits with the margin where there is one strong view.
    """

    name = "debiaspl"
    estimated = ("prior",)
    presets: ClassVar = {"glyphs-lt": {"tau": 1.0, "momentum": 0.99}}
    buttons = (Button("DebiasPL", "debiaspl(tau=0.4)"),)
    controls = (Slider("tau", 0.0, 2.0, 0.05), Switch("margin"))
    prior_buffer = "prior"

    def __init__(
        self,
        tau: float = 0.4,
        momentum: Momentum = 0.999,
        margin: bool = True,
        cld: float = 0.0,
        compat: Literal["paper", "official"] = "paper",
    ):
        super().__init__()
        self.tau, self.momentum, self.use_margin, self.cld, self.official = tau, momentum, margin, cld, compat == "official"

    def setup(self, problem: Problem) -> None:
        self.register_buffer("prior", torch.full((problem.num_classes,), 1 / problem.num_classes))

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return debias(logits, self.prior, self.tau)

    def observe(self, step: Step) -> None:
        self.prior.copy_(update_prior(self.prior, step.logits.softmax(1), self.momentum))

    def margin(self, logits: Tensor, step: Step) -> Tensor:
        return margin(logits, self.prior, self.tau) if self.use_margin else logits

    def losses(self, step: Step) -> dict[str, Tensor]:
        outputs = step.outputs.get("strong")
        if not self.cld or outputs is None:  # or a learner without strong views
            return {}
        weak = step.logits.softmax(1)
        views = outputs.logits.unflatten(0, (-1, len(weak)))
        strong = self.margin(views[0], step) if self.official and len(views) == 1 else views.mean(0)
        group = weak.argmin(1) if self.official else weak.argmax(1)
        return {"cld": self.cld * group_discrimination(strong.softmax(1), weak, group)}

    def estimate_state(self, seen: Seen) -> str | None:
        self.prior.copy_(update_prior(self.prior, seen.probs, 0.0))
        return "prior: mean prediction over this epoch's outputs"

    def series(self) -> dict[str, Tensor]:
        return {"prior": self.prior}
