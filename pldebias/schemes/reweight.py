"""Long-tailed weights of the labelled loss: class-balanced, deferred, focal.

References
----------
Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019 (weights); Cao et al., Learning Imbalanced Datasets with
Label-Distribution-Aware Margin Loss, NeurIPS 2019 (deferred); Lin et al., Focal Loss for Dense Object Detection, ICCV 2017. Normalised as
in the code of Yang & Xu, Rethinking the Value of Labels for Improving Class-Imbalanced Learning, NeurIPS 2020.
"""

from __future__ import annotations

from torch import Tensor

from pldebias.schemes.base import Problem, Scheme, Step
from pldebias.schemes.formulas.effective_number import effective_weights
from pldebias.schemes.options import NotNegative, Share, Start


def focal(losses: Tensor, gamma: float = 1.0) -> Tensor:
    """Focal loss from cross-entropies, ``(1 - exp(-loss))^gamma * loss``; any shape. 0 changes nothing."""
    return (1 - (-losses).exp()) ** gamma * losses


class ClassBalanced(Scheme):
    """Weigh labelled samples by the inverse effective number of their class.

    Parameters
    ----------
    beta : float, default 0.9999
        In [0, 1]: 1 gives inverse frequencies, 0 weighs all the same (DASO's code: 0.999).
    start : float, default 0.0
        Part of the training before the weights apply.
    normalise : bool, default True
        Divide by the weights' sum in the batch, as torch's weighted mean does; False divides by the batch size, as DASO's code does. A
        focal loss that follows (``cb+focal``) takes weights without the division.
    """

    name = "cb"
    estimated = ()
    acts_on = frozenset({"labelled"})

    def __init__(self, beta: Share = 0.9999, start: Start = 0.0, normalise: bool = True):
        super().__init__()
        self.beta, self.part, self.normalise = beta, start, normalise

    def setup(self, problem: Problem) -> None:
        self.first = round(self.part * problem.total_steps)
        self.register_buffer("weights", effective_weights(problem.labelled_counts, self.beta))

    def weigh_labelled(self, losses: Tensor, step: Step) -> Tensor:
        weight = self.weights[step.labels]
        if self.normalise:
            weight = weight / weight.mean()
        return losses * weight.where(step.t >= self.first, 1.0)

    def series(self) -> dict[str, Tensor]:
        return {"weight": self.weights}


class DRW(ClassBalanced):
    """Deferred re-weighting: class-balanced weights for the last part of the training (from epoch 160 of 200 in the paper).

    Parameters
    ----------
    beta : float, default 0.9999
        In [0, 1]; see `ClassBalanced`.
    start : float, default 0.8
        Part of the training before the weights apply.
    normalise : bool, default True
        Divide by the weights' sum in the batch.
    """

    name = "drw"

    def __init__(self, beta: Share = 0.9999, start: Start = 0.8, normalise: bool = True):
        super().__init__(beta, start, normalise)


class Focal(Scheme):
    """Focal labelled loss: samples that are learned already count less.

    Parameters
    ----------
    gamma : float, default 1.0
        Exponent >= 0; 0 is cross-entropy.
    """

    name = "focal"
    acts_on = frozenset({"labelled"})

    def __init__(self, gamma: NotNegative = 1.0):
        super().__init__()
        self.gamma = gamma

    def weigh_labelled(self, losses: Tensor, step: Step) -> Tensor:
        return focal(losses, self.gamma)
