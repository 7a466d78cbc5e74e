"""LDAM: a labelled loss whose margin is larger the rarer the class, on cosine logits; with ``drw`` it is LDAM-DRW.

References
----------
Cao, Wei, Gaidon, Arechiga & Ma, Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pldebias.schemes.base import Problem, Scheme, Step
from pldebias.schemes.options import Positive, Start


def margins(counts: Tensor, max_margin: float = 0.5) -> Tensor:
    """Margin of each class, proportional to ``count^(-1/4)`` with the rarest class at `max_margin` (eq. 13); shape ``[K]``.

    A class without a labelled image counts as one image.
    """
    inverse = counts.double().clamp(min=1) ** -0.25
    return (max_margin * inverse / inverse.max()).float()


def enforce(logits: Tensor, labels: Tensor, margins: Tensor, scale: float = 30.0) -> Tensor:
    """Logits of the loss, ``scale * (logits - margin)`` with the margin taken from the true class only (eq. 12).

    Shapes ``[N, K]``, ``[N]``, ``[K]`` to ``[N, K]``.
    """
    return scale * (logits - torch.zeros_like(logits).scatter(1, labels[:, None], margins[labels][:, None].to(logits.dtype)))


class LDAM(Scheme):
    """Label-distribution-aware margins.

    Parameters
    ----------
    max_margin : float, default 0.5
        Margin of the rarest class.
    scale : float, default 30.0
        Factor of the logits in the loss (SEVAL's code: 1).
    cosine : bool, default True
        Whether the network's classifier is a cosine one, as in the paper; DASO's code keeps the linear one.
    start : float, default 0.0
        Part of the training before the margins apply, with plain cross-entropy until then (DASO's code: 0.8).
    """

    name = "ldam"
    estimated = ()
    acts_on = frozenset({"labelled"})

    def __init__(self, max_margin: Positive = 0.5, scale: Positive = 30.0, cosine: bool = True, start: Start = 0.0):
        super().__init__()
        self.max_margin, self.scale, self.part = max_margin, scale, start
        self.cosine = scale if cosine else None

    def setup(self, problem: Problem) -> None:
        self.first = round(self.part * problem.total_steps)
        self.register_buffer("margins", margins(problem.labelled_counts, self.max_margin))

    def labelled(self, logits: Tensor, step: Step) -> Tensor:
        plain = logits if self.cosine is None else logits / self.scale  # a cosine classifier's logits carry the scale already
        return torch.where(step.t >= self.first, enforce(plain, step.labels, self.margins, self.scale), logits)

    def series(self) -> dict[str, Tensor]:
        return {"margin": self.margins}
