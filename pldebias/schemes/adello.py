"""ADELLO: flexible distribution alignment, and a consistency loss that learns from rejected samples.

References
----------
Sanchez Aimar et al., Flexible Distribution Alignment: Towards Long-tailed Semi-supervised Learning with Proper Calibration, ECCV 2024;
order of operations of the official code (imb_algorithms/adello, fixmatch_distill): a step's losses see the prior before its update.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pldebias.schemes.base import Problem, Step
from pldebias.schemes.flexda import FlexDA
from pldebias.schemes.formulas.losses import masked_cross_entropy
from pldebias.schemes.formulas.priors import alpha, log_ratio, smooth, update_prior
from pldebias.schemes.options import Momentum, Positive, Share
from pldebias.schemes.part import Seen

__all__ = ["ADELLO", "alpha", "imbalance_temperature", "log_ratio", "smooth"]


def imbalance_temperature(prior: Tensor) -> Tensor:
    """Temperature of the complementary consistency, ``exp(KL(uniform || prior))``: 1 when balanced, larger the longer the tail."""
    uniform = torch.full_like(prior, 1 / len(prior))
    return (uniform * (uniform.log() - prior.clamp(min=torch.finfo(prior.dtype).tiny).log())).sum().exp()


class ADELLO(FlexDA):
    """Flexible distribution alignment with complementary consistency regularisation.

    Parameters
    ----------
    alpha_min, d : float, default 0.1 and 2.0
        Schedule of the smoothing exponent.
    momentum : float, default 0.999
        Momentum of the running prior.
    ccr : {"complement", "all", "none"}, default "complement"
        Which samples the soft consistency loss uses: the rejected ones, all (the paper's KD), or none (FlexDA alone). A learner without
        strong views has no such loss.
    ccr_weight : float, default 1.0
        Its weight.
    start : int, default 50000
        First step of the consistency loss (STL-10: 0).
    temperature : "imbalance" or float, default "imbalance"
        Temperature of the consistency loss. ``imbalance`` is the paper's ``exp(KL(uniform || prior))``, measured at `start` and kept.
    expand : bool, default True
        Put the labelled images into the unlabelled set too.
    exclude_labelled : bool, default False
        Leave those images out of the running prior.
    target : {"running", "oracle"}, default "running"
        The prior that is smoothed; ``oracle`` takes the true one.
    alpha_by : {"step", "epoch"}, default "step"
        Unit of the schedule.
    compat : {"paper", "official"}, default "paper"
        ``official`` is the released configurations, none of which turns the temperature on: it is 1 unless a number is given.
    """

    name = "adello"
    presets: ClassVar = {"glyphs-lt": {"start": 300, "momentum": 0.99}, "cifar10-lt-cpu": {"start": 1200, "momentum": 0.99}}
    follows: ClassVar = {"prior": ("exclude_labelled",)}

    def __init__(
        self,
        alpha_min: Share = 0.1,
        d: Positive = 2.0,
        momentum: Momentum = 0.999,
        ccr: Literal["complement", "all", "none"] = "complement",
        ccr_weight: float = 1.0,
        start: int = 50_000,
        temperature: str | float = "imbalance",
        expand: bool = True,
        exclude_labelled: bool = False,
        target: Literal["running", "oracle"] = "running",
        alpha_by: Literal["step", "epoch"] = "step",
        compat: Literal["paper", "official"] = "paper",
    ):
        super().__init__(target, alpha_min, d, momentum, alpha_by)
        if compat == "official" and temperature == "imbalance":
            temperature = 1.0
        if temperature != "imbalance" and (isinstance(temperature, str) or not temperature > 0):
            raise ValueError(f"adello(temperature={temperature!r}) must be 'imbalance' or a positive number")
        if exclude_labelled and not expand:
            raise ValueError("adello(exclude_labelled=True) leaves out the labelled images of the unlabelled set; it needs expand=True")
        self.ccr, self.ccr_weight, self.ccr_start, self.fixed = ccr, ccr_weight, start, temperature
        self.expand, self.exclude_labelled = expand, exclude_labelled

    @property
    def needs(self) -> dict[str, Any]:
        return {"include_labelled": True} if self.expand else {}

    def setup(self, problem: Problem) -> None:
        super().setup(problem)
        self.num_labelled = int(problem.labelled_counts.sum())
        self.register_buffer("temperature", torch.tensor(float("nan") if self.fixed == "imbalance" else float(self.fixed)))

    def restart(self, problem: Problem, done: int) -> None:
        first = self.num_labelled
        super().restart(problem, done)
        self.num_labelled = first  # the unlabelled set stays as it is

    def counted(self, seen: Seen) -> Tensor:
        return seen.probs[self.num_labelled :] if self.exclude_labelled and seen.includes_labelled else seen.probs

    def observe(self, step: Step) -> None:
        probs = step.logits.softmax(1)
        if self.exclude_labelled:  # they come first in the unlabelled set
            keep = (step.index >= self.num_labelled).to(probs.dtype)[:, None]
            mean = (probs * keep).sum(0, keepdim=True) / keep.sum().clamp(min=1)
            self.prior.copy_(torch.where(keep.sum() > 0, update_prior(self.prior, mean, self.momentum), self.prior))
        else:
            super().observe(step)
        begins = self.temperature.isnan() & (step.t >= self.ccr_start)
        self.temperature.copy_(torch.where(begins, imbalance_temperature(self.prior), self.temperature))

    def losses(self, step: Step) -> dict[str, Tensor]:
        strong = step.outputs.get("strong")
        if self.ccr == "none" or strong is None:
            return {}
        sharpness = 1 / self.temperature.nan_to_num(1.0)
        target = (step.logits * sharpness).softmax(1)
        used = 1 - step.mask if self.ccr == "complement" else torch.ones_like(step.mask)
        loss = masked_cross_entropy(self.margin(strong.logits, step) * sharpness, target, used)
        return {"ccr": self.ccr_weight * torch.where(step.t >= self.ccr_start, loss, 0.0)}
