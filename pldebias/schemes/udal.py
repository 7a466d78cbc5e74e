"""UDAL: both losses aligned to a smoothed prior that is fixed beforehand, the forerunner of ADELLO.

References
----------
Lazarow et al., Unifying Distribution Alignment as a Loss for Imbalanced Semi-supervised Learning, WACV 2023; as implemented in the
ADELLO code (imb_algorithms/udal).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from pldebias.schemes.base import Step
from pldebias.schemes.flexda import FlexDA
from pldebias.schemes.formulas.priors import smooth
from pldebias.schemes.options import Momentum, Positive, Share


class UDAL(FlexDA):
    """Unified distribution alignment: the labelled loss always smooths the labelled prior.

    Parameters
    ----------
    target : {"labelled", "running", "oracle"}, default "labelled"
        The prior that the unlabelled loss smooths: of the labels, of the running predictions, or the true one.
    alpha_min, d : float, default 0.1 and 2.0
        Schedule of the smoothing exponent.
    momentum : float, default 0.999
        Momentum of the running prior.
    alpha_by : {"epoch", "step"}, default "epoch"
        Unit of the schedule.
    """

    name = "udal"
    presets: ClassVar = {"glyphs-lt": {"momentum": 0.99}}

    def __init__(
        self,
        target: Literal["labelled", "running", "oracle"] = "labelled",
        alpha_min: Share = 0.1,
        d: Positive = 2.0,
        momentum: Momentum = 0.999,
        alpha_by: Literal["epoch", "step"] = "epoch",
    ):
        super().__init__(target, alpha_min, d, momentum, alpha_by)

    def smoothed(self, step: Step) -> tuple[Tensor, Tensor]:
        return smooth(self.labelled_prior, self.exponent(step)), super().smoothed(step)[1]
