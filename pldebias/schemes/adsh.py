"""Adsh: class thresholds that accept the same share of every class as a fixed threshold accepts of the most frequent one.

References
----------
Guo & Li, Class-Imbalanced Semi-Supervised Learning with Adaptive Thresholding, ICML 2022; evaluation schedule of the SEVAL code
(lib/algorithm/adsh.py).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pldebias.schemes.base import EpochEnd, Problem, Scheme, Step
from pldebias.schemes.options import Threshold
from pldebias.schemes.part import Seen


def adaptive_thresholds(
    confidence: Tensor, label: Tensor, reference: int, threshold: float, previous: Tensor, *, official: bool = False
) -> Tensor:
    """Thresholds by class (alg. 1): class k keeps its ``floor(n_k * rho)`` most confident samples.

    Here rho is the share of the pseudo-labels of `reference` that are at least `threshold` confident.

    Parameters
    ----------
    confidence, label : Tensor
        Confidence and class of every pseudo-label, shape ``[N]``.
    reference : int
        The class with a fixed threshold, the most frequent one.
    threshold : float
        That threshold, in (0, 1].
    previous : Tensor
        Present thresholds, shape ``[K]``, kept by a class that has no pseudo-label, and by all where no sample of `reference` passes.
    official : bool, default False
        As the public code counts: rho misses one sample, is 1 where none passes, and a share that rounds to nothing takes the whole class.

    Returns
    -------
    Tensor
        Shape ``[K]``, in (0, 1]. A class with a pseudo-label accepts at least one.
    """
    classes = len(previous)
    order = confidence.argsort(descending=True, stable=True)
    confidence, label = confidence[order], label[order]
    grouped = confidence[label.argsort(stable=True)]  # class by class, most confident first
    counts = torch.bincount(label, minlength=classes)
    starts = counts.cumsum(0) - counts
    passing = int(((label == reference) & (confidence >= threshold)).sum())
    if official:
        rho = (passing - 1) / int(counts[reference]) if passing else 1.0
        kept = (counts.double() * rho).long()
        kept = torch.where(kept > 0, kept, counts)
    elif passing:
        kept = (counts * passing // counts[reference]).clamp(min=1)
    else:
        return previous
    last = (starts + kept - 1).clamp(0, len(grouped) - 1)
    return torch.where(counts > 0, grouped[last], previous)


class Adsh(Scheme):
    """Adaptive thresholding by class.

    Parameters
    ----------
    threshold : float, default 0.95
        Threshold of the most frequent labelled class, and of all classes before the first estimate; in (0, 1].
    compat : {"paper", "official"}, default "paper"
        ``official`` counts as the public code does (`adaptive_thresholds`) and starts from ``exp(-threshold)``, 0.387 in place of 0.95.
    """

    name = "adsh"
    estimated = ("thresholds",)
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}}
    acts_on = frozenset({"acceptance"})
    follows: ClassVar = {"thresholds": ("threshold", "compat")}

    def __init__(self, threshold: Threshold = 0.95, compat: Literal["paper", "official"] = "paper"):
        super().__init__()
        self.fixed, self.official = threshold, compat == "official"

    def setup(self, problem: Problem) -> None:
        self.reference = int(problem.labelled_counts.argmax())
        start = torch.full((problem.num_classes,), self.fixed)
        self.register_buffer("thresholds", (-start).exp() if self.official else start)

    def threshold(self, threshold: Tensor, step: Step) -> Tensor:
        return self.thresholds[step.label]

    def end_epoch(self, end: EpochEnd) -> None:
        self.update(end.score("unlabelled")[0].softmax(1))

    def update(self, probs: Tensor) -> None:
        """New thresholds, from predictions ``[N, K]`` of the unlabelled set."""
        confidence, label = probs.max(1)
        self.thresholds.copy_(adaptive_thresholds(confidence, label, self.reference, self.fixed, self.thresholds, official=self.official))

    def estimate_state(self, seen: Seen) -> str | None:
        before = self.thresholds.clone()
        self.update(seen.probs)
        if torch.equal(self.thresholds, before):
            return f"no prediction of the commonest class reaches {self.fixed:g}: thresholds are those of the start of a training"
        return "thresholds: from this epoch's outputs"

    def series(self) -> dict[str, Tensor]:
        return {"threshold": self.thresholds}
