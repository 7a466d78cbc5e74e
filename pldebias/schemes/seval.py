"""SEVAL: refine pseudo-labels by per-class offsets and accept them by per-class thresholds, both learned on a hold-out.

References
----------
Li et al., SEVAL: Learning Label Refinement and Threshold Adjustment for Imbalanced Semi-Supervised Learning, 2024; order of operations
of the official code (lib/algorithm/seval.py): offsets first, thresholds on the logits that the averaged offsets refine.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pldebias.schemes.base import EpochEnd, Problem, Scheme, Step
from pldebias.schemes.curriculum import Curriculum, load_curve, save_curve
from pldebias.schemes.offsets import learn_offsets, rank_groups, refine
from pldebias.schemes.part import Seen
from pldebias.schemes.thresholds import learn_thresholds

__all__ = ["SEVAL", "learn_offsets", "learn_thresholds", "load_curve", "refine", "save_curve"]


class SEVAL(Scheme):
    """Learned offsets and thresholds (`Curriculum`).

    The published combination with DASO uses its alignment loss alone: ``fixmatch+seval+daso(weight=0)``; that with ABC learns for both
    classifiers: ``fixmatch+abc(views=1)+seval(head=abc)``.

    Parameters
    ----------
    mode : {"estimate", "load", "direct"}, default "estimate"
        ``estimate`` keeps half of the labelled images as a hold-out and learns on it after every epoch; ``load`` trains on all of
        them and replays the `curve` of an earlier ``estimate`` run, which is the paper's protocol; ``direct`` learns on the
        validation images, which are additional labels (train with ``validation=5000`` or as many as there may be).
    curve : str, optional
        File or run directory with the curriculum to load, one row per epoch.
    target : float, default 0.75
        Precision that accepted pseudo-labels should have (paper, CIFAR-100: 0.65; STL-10: 0.6).
    decay, threshold_decay : float, default 0.999
        Averaging of offsets and thresholds over epochs (CIFAR-100: 0.9).
    groups : int, optional
        Number of groups of classes of similar labelled count that share a threshold; None: one per 10 classes, at least 5.
    offset_groups : int, optional
        The same for offsets; None: one offset per class.
    posthoc : bool, default True
        Whether the newest offsets refine the test-time logits too ("SEVAL"; False is the paper's "SEVAL-PL").
    start : float, default 0.95
        Threshold of every class before the first epoch ends.
    least : int, default 10
        Hold-out samples that a group needs; others accept everything and take the smallest offset.
    head : str, optional
        Extra head that makes pseudo-labels and predicts, such as ``abc``, which gets offsets and thresholds of its own.
    compat : {"exact", "official"}, default "exact"
        ``official`` searches by Nelder-Mead as the released code does.
    """

    name = "seval"
    learns_truth = True
    follows: ClassVar = {"learned": ("mode", "curve", "target", "groups", "offset_groups", "least", "compat")}

    def __init__(
        self,
        mode: str = "estimate",
        curve: str | None = None,
        target: float = 0.75,
        decay: float = 0.999,
        threshold_decay: float = 0.999,
        groups: int | None = None,
        offset_groups: int | None = None,
        posthoc: bool = True,
        start: float = 0.95,
        least: int = 10,
        head: str | None = None,
        compat: str = "exact",
    ):
        super().__init__()
        if mode not in ("estimate", "load", "direct"):
            raise ValueError(f"seval(mode={mode!r}) is not known; choose 'estimate', 'load' or 'direct'")
        if (mode == "load") != (curve is not None):
            raise ValueError("seval(mode=load) needs curve='FILE' of an estimate run, and the other modes take none")
        if compat not in ("exact", "official"):
            raise ValueError(f"seval(compat={compat!r}) is not known; choose 'exact' or 'official'")
        if not 0 < target < 1:
            raise ValueError(f"seval(target={target}) must be in (0, 1): the precision that accepted pseudo-labels should have")
        if not 0 < start <= 1:
            raise ValueError(f"seval(start={start}) must be in (0, 1]: the confidence a pseudo-label needs at first")
        for option, value in {"decay": decay, "threshold_decay": threshold_decay}.items():
            if not 0 <= value < 1:
                raise ValueError(f"seval({option}={value}) must be in [0, 1): 0 keeps the newest estimate alone")
        if head is not None and mode == "load":
            raise ValueError("seval(mode=load) replays one classifier's curriculum; leave out head, or estimate")
        self.mode, self.curve, self.head, self.posthoc = mode, curve, head, posthoc
        self.reads_heads = () if head is None else (head,)
        self.group_count, self.offset_group_count = groups, offset_groups
        solvers = ("lbfgs", "scan") if compat == "exact" else ("nelder-mead", "nelder-mead")
        self.knobs = dict(start=start, target=target, decay=decay, threshold_decay=threshold_decay, least=least, solvers=solvers)
        self.acts_on = frozenset({"pseudo_label"} | ({"prediction"} if posthoc else set()))

    @property
    def needs(self) -> dict[str, Any]:
        return {"holdout": 0.5} if self.mode == "estimate" else {}

    def setup(self, problem: Problem) -> None:
        classes, counts = problem.num_classes, problem.labelled_counts
        if self.mode == "direct" and problem.held_out is not None and "validation" not in problem.held_out:
            raise ValueError("seval(mode=direct) learns on validation images, and there are none; train with validation=N")
        groups = rank_groups(counts, self.group_count or min(classes, max(5, classes // 10)))
        offset_groups = rank_groups(counts, self.offset_group_count or classes)
        prior = problem.prior if self.mode == "estimate" else None  # the hold-out is as imbalanced as the labelled half
        knobs = dict(self.knobs, groups=groups, offset_groups=offset_groups, prior=prior)
        self.learned = Curriculum(classes, **knobs)
        self.learned_head = None if self.head is None else Curriculum(classes, **knobs)
        if self.curve is not None:
            self.rows = load_curve(self.curve)
            epochs = problem.generations * problem.total_steps // problem.steps_per_epoch
            has = tuple(self.rows[0].shape)
            if has[0] < epochs or has[1] != classes:
                raise ValueError(
                    f"{self.curve} has {has[0]} evaluations of {has[1]} classes, this training {epochs} epochs of {classes}; "
                    "estimate and load with the same data, steps and steps_per_epoch"
                )

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return refine(logits, self.learned.offsets)

    def refine_head(self, logits: Tensor, head: str, step: Step) -> Tensor:
        return refine(logits, self.learned_head.offsets) if head == self.head else logits

    def threshold(self, threshold: Tensor, step: Step) -> Tensor:
        return self.learned.thresholds[step.label]

    def threshold_head(self, threshold: Tensor, label: Tensor, head: str, step: Step) -> Tensor:
        return self.learned_head.thresholds[label] if head == self.head else threshold

    def predict(self, logits: Tensor, features: Tensor, network: nn.Module) -> Tensor:
        predicting = self.learned_head or self.learned
        return refine(logits, predicting.newest) if self.posthoc else logits

    def end_epoch(self, end: EpochEnd) -> None:
        if self.mode == "load":
            self.learned.replay(*(rows[end.epoch].to(self.learned.offsets.device) for rows in self.rows))
            return
        logits, features, labels = end.score("holdout" if self.mode == "estimate" else "validation")
        self.learned.learn(logits, labels)
        if self.head is not None:
            with torch.no_grad():
                self.learned_head.learn(end.network.heads[self.head](features), labels)

    def restart(self, problem: Problem, done: int) -> None:
        """As in the official code, nothing but the curriculum is forgotten: the hold-out is the one it was."""
        self.learned.restart()
        if self.learned_head is not None:
            self.learned_head.restart()

    def estimate_state(self, seen: Seen) -> str | None:
        if not {"learned.offsets", "learned.thresholds"} & seen.missing:
            return None
        if seen.oracle:
            truth, learned = seen.truth, self.learned
            learned.decay = learned.threshold_decay = 0.0  # nothing to average with
            learned.prior = torch.bincount(truth, minlength=len(learned.offsets)) / len(truth)
            learned.learn(seen.logits, truth)
            return "offsets and thresholds: learned on the TRUE labels of the unlabelled set, an upper bound"
        if self.mode == "load":
            epoch = min(seen.epoch, len(self.rows[0]) - 1)
            self.learned.replay(*(rows[epoch] for rows in self.rows))
            return f"offsets and thresholds: of the curve {self.curve} at epoch {epoch}"
        raise ValueError(
            f"seval learns offsets and thresholds on a hold-out, of which {seen.name} kept no outputs. Pass state=run of such a seval "
            "training, or prior='oracle' to learn them on the true labels of the unlabelled set (an upper bound)"
        )

    def series(self) -> dict[str, Tensor]:
        series = {"offsets": self.learned.offsets, "thresholds": self.learned.thresholds}
        if self.learned_head is not None:
            series |= {"head_offsets": self.learned_head.offsets, "head_thresholds": self.learned_head.thresholds}
        return series
