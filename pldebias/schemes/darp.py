"""DARP: refine the pseudo-labels of the whole unlabelled set so that their class totals match a target.

References
----------
Kim et al., Distribution Aligning Refinery of Pseudo-label for Imbalanced Semi-supervised Learning, NeurIPS 2020; estimate of the official
code (train_base_estim.py), life cycle as in the DASO code (lib/algorithm/darp_reproduce.py).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pldebias.schemes.base import EpochEnd, Problem, Scheme, Step
from pldebias.schemes.formulas.refinery import refine, scaled, select
from pldebias.schemes.options import Count, Positive, Start
from pldebias.schemes.part import Button, Seen

__all__ = ["DARP", "estimate_counts", "refine", "select"]


def estimate_counts(holdout_logits: Tensor, holdout_labels: Tensor, logits: Tensor, max_condition: float = 100.0) -> Tensor | None:
    """Class counts of an unlabelled set, by inverting the soft confusion matrix of a hold-out.

    Parameters
    ----------
    holdout_logits, holdout_labels : Tensor
        Shapes ``[H, K]`` and ``[H]``; every class must occur.
    logits : Tensor
        Logits of the unlabelled set, shape ``[N, K]``.
    max_condition : float, default 100.0
        Largest condition number of the confusion matrix.

    Returns
    -------
    Tensor or None
        Counts ``[K]`` summing to about N, float64; None where the estimate cannot be trusted: a negative count, a singular matrix.
    """
    classes = logits.shape[1]
    member = torch.nn.functional.one_hot(holdout_labels, classes).double()
    if not bool(member.sum(0).all()):
        missing = (member.sum(0) == 0).nonzero().flatten().tolist()
        raise ValueError(f"the hold-out has no sample of class {missing}; the estimate needs the predictions of every class")
    confusion = holdout_logits.double().softmax(1).T @ member
    confusion = confusion / confusion.sum(0)
    if not float(torch.linalg.cond(confusion)) < max_condition:
        return None
    counts = torch.linalg.solve(confusion, logits.double().softmax(1).sum(0))
    return counts if bool((counts >= 0).all()) else None


class DARP(Scheme):
    """Refinement of all pseudo-labels every few steps.

    Parameters
    ----------
    target : {"labelled", "oracle", "estimate"} or tuple of K numbers, default "labelled"
        Class distribution of the unlabelled set: the labelled one (official default), the true one (DASO's tables where both
        imbalances agree), an estimate, or given frequencies, which sum to one. ``estimate`` keeps labelled images aside and averages
        the estimates that the evaluated network gives before `start`; if none could be trusted, the labelled frequencies serve.
    alpha : float, default 2.0
        Samples kept per class, as a multiple of the target.
    rounds : int, default 10
        Alternations of the refinement (official STL-10 and CIFAR-100: 20).
    start : float, default 0.4
        Part of the training before the first refinement; until then pseudo-labels stay as they are.
    period : int, default 10
        Steps between two refinements; between them the last refined labels serve.
    holdout : int, default 10
        Labelled images per class that ``target="estimate"`` keeps aside.
    compat : {"exact", "official"}, default "exact"
        ``exact`` refines between steps, first at `start`. ``official`` refines within every step whose number is a multiple of
        `period`, by the secant search, and gives uniform labels until the first one; the device waits in those steps.
    """

    name = "darp"
    estimated = ("counts",)
    buttons = (Button("DARP", "darp"),)
    whole_set = True
    prior_buffer = "counts"
    given_series = ("target",)
    starts = "first"
    follows: ClassVar = {"counts": ("target",)}

    def __init__(
        self,
        target: str | tuple[float, ...] = "labelled",
        alpha: Positive = 2.0,
        rounds: Count = 10,
        start: Start = 0.4,
        period: Count = 10,
        holdout: Count = 10,
        compat: Literal["exact", "official"] = "exact",
    ):
        super().__init__()
        frequencies = target if isinstance(target, tuple | list) and all(isinstance(value, int | float) for value in target) else None
        if frequencies is None and target not in ("labelled", "oracle", "estimate"):
            raise ValueError(f"darp(target={target!r}) is not known; choose 'labelled', 'oracle', 'estimate' or a tuple of frequencies")
        if frequencies is not None and not abs(sum(frequencies) - 1) <= 1e-3:
            raise ValueError(f"darp(target=...) has class frequencies that sum to {sum(frequencies):.4g}; divide them by their sum")
        self.given_series = () if target == "estimate" else ("target",)
        self.goal, self.alpha, self.rounds, self.part = target, alpha, rounds, start
        self.period, self.holdout, self.compat = period, holdout, compat
        self.solver = "newton" if compat == "exact" else "secant"
        self.uncapturable = "compat='official' refines within the step, on the host" if compat == "official" else ""

    @property
    def needs(self) -> dict[str, Any]:
        return {"holdout": self.holdout} if self.goal == "estimate" else {}

    def setup(self, problem: Problem) -> None:
        rows, classes = problem.num_unlabelled, problem.num_classes
        self.first = round(self.part * problem.total_steps)
        if self.goal == "oracle" and problem.unlabelled_counts is None:
            raise ValueError("darp(target=oracle) needs the true labels of the unlabelled set; choose 'labelled', 'estimate' or a tuple")
        given = {"oracle": problem.unlabelled_counts}.get(self.goal, problem.labelled_counts) if isinstance(self.goal, str) else self.goal
        self.register_buffer("counts", scaled(torch.as_tensor(given), rows, classes).float())
        self.register_buffer("estimates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("table", torch.full((rows, classes), 1 / classes))  # latest prediction of every sample
        self.register_buffer("refined", torch.full((rows, classes), 1 / classes))
        self.register_buffer("ready", torch.tensor(self.compat == "official"))  # whether there is something refined to return

    def restart(self, problem: Problem, done: int) -> None:
        """The target, which is of the unlabelled set, stays; the old networks' predictions go."""
        for table in (self.table, self.refined):
            table.fill_(1 / table.shape[1])
        self.ready.fill_(self.compat == "official")

    def _refine(self) -> None:
        self.refined.copy_(refine(self.table, self.counts, self.alpha, self.rounds, self.solver))
        self.ready.fill_(True)

    def blend(self, probs: Tensor, step: Step) -> Tensor:
        begun = step.t >= self.first
        if not step.training and len(probs) == len(self.table):  # the whole set is at hand
            return torch.where(begun, refine(probs, self.counts, self.alpha, self.rounds, self.solver), probs)
        if step.training:
            self.table.index_copy_(0, step.index, probs.to(self.table.dtype))
            if self.compat == "official" and int(step.t) >= self.first and (int(step.t) + 1) % self.period == 0:
                self._refine()
        return torch.where(self.ready & begun, self.refined[step.index].to(probs.dtype), probs)

    def expected(self, prior: Tensor) -> Tensor:
        return self.counts / self.counts.sum()

    def after_step(self, done: int) -> bool:
        if due := self.compat == "exact" and done >= self.first and (done - self.first) % self.period == 0:
            self._refine()
        return due

    def end_epoch(self, end: EpochEnd) -> None:
        if self.goal != "estimate" or end.step > self.first:
            return
        logits, _, labels = end.score("holdout")
        found = estimate_counts(logits, labels, end.score("unlabelled")[0])
        if found is not None:
            mean = self.counts.double() if int(self.estimates) else torch.zeros_like(found)
            self.estimates += 1
            self.counts.copy_(mean + (found * len(self.table) / found.sum() - mean) / int(self.estimates))

    def take_prior(self, prior: Tensor) -> set[str]:
        self.counts.copy_(prior * len(self.table))
        return {"counts"}

    def estimate_state(self, seen: Seen) -> str | None:
        if self.goal == "estimate":
            raise ValueError(
                f"darp(target=estimate) estimates class counts on a hold-out, which {seen.name} has not; use darp(target=labelled), "
                "darp(target=oracle) or prior="
            )
        return f"target: {self.goal} class distribution" if isinstance(self.goal, str) else "target: the given frequencies"

    def series(self) -> dict[str, Tensor]:
        return {"target": self.counts, "total": self.refined.sum(0)}
