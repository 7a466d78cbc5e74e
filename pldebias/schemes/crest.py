"""CReST: self-training in generations that adds mostly rare-class pseudo-labels; CReST+ also aligns predictions, ever more balanced.

References
----------
Wei et al., CReST: A Class-Rebalancing Self-Training Framework for Imbalanced Semi-Supervised Learning, CVPR 2021; life cycle of the DASO
code (lib/algorithm/fm_crest.py).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from pldebias.schemes.base import EpochEnd, Problem, Scheme, Step
from pldebias.schemes.formulas.alignment import DistributionAlignment, align
from pldebias.schemes.options import Count, NotNegative, Share
from pldebias.schemes.part import Button, Seen
from pldebias.settings import Range

__all__ = ["CReST", "CReSTPlus", "align", "sampling_rates", "select", "temperature"]


Generations = Annotated[int, Range("[2, inf)", "one generation is the learner itself")]


def sampling_rates(counts: Tensor, alpha: float = 1 / 3) -> Tensor:
    """Share of its pseudo-labels that each class gives to the next labelled set (eq. 1): ``(N_mirror / N_max)^alpha``.

    The class of rank r by count takes the count of the class of rank K-1-r, so that the rarest class gives all and the commonest the
    least. Ranks go by count, whatever the order of class ids; equal counts keep the order of their ids.

    Parameters
    ----------
    counts : Tensor
        Labelled images per class, shape ``[K]``; the commonest class must have at least one.
    alpha : float, default 1/3
        Exponent; 0 gives all pseudo-labels of every class.

    Returns
    -------
    Tensor
        Shape ``[K]``, float64, in [0, 1].
    """
    if not int(counts.max()) > 0:
        raise ValueError(f"sampling rates need a class with a labelled image; got counts {counts.tolist()}")
    order = counts.argsort(descending=True, stable=True)
    rates = torch.empty(len(counts), dtype=torch.float64, device=counts.device)
    rates[order] = (counts[order.flip(0)].double() / counts.max()) ** alpha
    return rates


def select(probs: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """The ``int(rate * n)`` most confident of the n samples that each class is predicted for.

    Parameters
    ----------
    probs : Tensor
        Predictions of the unlabelled set, shape ``[N, K]``.
    rates : Tensor
        Share to keep per predicted class, shape ``[K]``.

    Returns
    -------
    index, labels : Tensor
        Rows kept and their pseudo-labels, both ``[S]``; by class, the most confident first.
    """
    confidence, label = probs.max(1)
    keep = (rates * label.bincount(minlength=len(rates)) + 1e-9).floor().long()
    order = confidence.argsort(descending=True, stable=True)
    order = order[label[order].argsort(stable=True)]  # by class, confident first
    sizes = label.bincount(minlength=len(rates))
    rank = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes)[label[order]]
    kept = order[rank < keep[label[order]]]
    return kept, label[kept]


def temperature(generation: Tensor | int, generations: int, t_min: float = 0.5) -> Tensor | float:
    """Temperature of CReST+'s alignment target in the 0-based `generation`: from 1 linearly to `t_min` in the last one."""
    return 1 - (1 - t_min) * generation / max(generations - 1, 1)


class CReST(Scheme):
    """Class-rebalancing self-training.

    After every generation but the last, the evaluated network labels the unlabelled set; each class keeps its most confident samples at
    its rate, they join the original labelled set, and training starts over with fresh networks. The unlabelled set stays whole.

    Parameters
    ----------
    generations : int, default 5
        Trainings, each an equal part of all steps, to the end of an epoch; a training of fewer epochs makes as many as it has epochs.
    alpha : float, default 1/3
        Exponent of the sampling rates.
    """

    name = "crest"
    estimated = ()
    presets: ClassVar = {"glyphs-lt": {"generations": 2}}
    follows: ClassVar = {"generation": ("generations",), "began": ("generations",)}

    def __init__(self, generations: Generations = 5, alpha: NotNegative = 1 / 3):
        super().__init__()
        self.generations, self.alpha = generations, alpha

    def setup(self, problem: Problem) -> None:
        self.length = problem.total_steps
        self.register_buffer("rates", sampling_rates(problem.labelled_counts, self.alpha))
        self.register_buffer("generation", torch.zeros((), dtype=torch.int64))
        self.register_buffer("began", torch.zeros((), dtype=torch.int64))

    def restart(self, problem: Problem, done: int) -> None:
        """The next generation; rates and the target of the alignment stay those of the original labelled set."""
        self.generation.add_(1)
        self.began.fill_(done)

    def end_epoch(self, end: EpochEnd) -> None:
        if int(self.generation) + 1 < self.generations and end.step >= self.length * (int(self.generation) + 1):
            logits, _, _ = end.score("unlabelled")
            end.new_generation(*select(logits.softmax(1), self.rates))

    def enter(self, generation: int) -> None:
        """Stand in this 0-based generation of a training that was recorded without generations."""
        self.generation.fill_(generation)
        self.began.fill_(generation * self.length)

    def series(self) -> dict[str, Tensor]:
        return {"rate": self.rates}


class CReSTPlus(CReST):
    """CReST with progressive distribution alignment.

    Parameters
    ----------
    generations : int, default 5
        As in `CReST`.
    alpha : float, default 1/3
        Exponent of the sampling rates.
    t_min : float, default 0.5
        Temperature of the alignment target in the last generation; it is 1 in the first.
    window : int, default 128
        Batches in the running mean of the predictions; it goes on over generations.
    """

    name = "crestplus"
    estimated = ("alignment.sums", "alignment.rows")
    buttons = (Button("distribution alignment", "crestplus(t_min=1)"),)
    prior_buffer = "alignment.target"
    estimate_order = 2

    def __init__(self, generations: Generations = 5, alpha: NotNegative = 1 / 3, t_min: Share = 0.5, window: Count = 128):
        super().__init__(generations, alpha)
        self.t_min, self.window = t_min, window

    def setup(self, problem: Problem) -> None:
        super().setup(problem)
        self.alignment = DistributionAlignment(problem.prior, self.window)

    def blend(self, probs: Tensor, step: Step) -> Tensor:
        if step.training:
            self.alignment.push(probs)
        return self.alignment(probs, temperature(self.generation, self.generations, self.t_min))

    def estimate_state(self, seen: Seen) -> str | None:
        return self.alignment.estimate_state(seen.step(before=self).probs)

    def series(self) -> dict[str, Tensor]:
        return {**super().series(), "running": self.alignment.running()}
