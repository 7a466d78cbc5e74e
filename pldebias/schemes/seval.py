"""SEVAL: refine pseudo-labels by per-class offsets and accept them by per-class thresholds, both learned on a hold-out.

References
----------
Li et al., SEVAL: Learning Label Refinement and Threshold Adjustment for Imbalanced Semi-Supervised Learning, 2024; order of operations
of the official code (lib/algorithm/seval.py): offsets first, thresholds on the logits that the averaged offsets refine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pldebias._files import whole
from pldebias.paths import local, output
from pldebias.schemes.base import EpochEnd, Network, Problem, Scheme, Step
from pldebias.schemes.formulas.offsets import learn_offsets, rank_groups, refine
from pldebias.schemes.formulas.thresholds import learn_thresholds, rare_classes
from pldebias.schemes.options import Momentum, Threshold
from pldebias.schemes.part import Button, Seen
from pldebias.settings import Range

__all__ = ["SEVAL", "learn_offsets", "learn_thresholds", "load_curve", "refine", "save_curve"]


def save_curve(path: str | Path, offsets: Any, thresholds: Any) -> None:
    """Keep a learned curriculum, offsets and thresholds ``[E, K]`` of every evaluation, as an ``.npz`` for ``seval(mode=load)``."""
    place = Path(output(path))
    place = place if place.suffix == ".npz" else place.with_name(f"{place.name}.npz")
    with whole(place) as partial, partial.open("wb") as file:
        np.savez(file, offsets=np.asarray(offsets, np.float32), thresholds=np.asarray(thresholds, np.float32))


def load_curve(path: str | Path) -> tuple[Tensor, Tensor]:
    """Offsets and thresholds ``[E, K]``, from a file of `save_curve` or straight from a run that learned them (its folder or zip file)."""
    try:
        path = local(path)
        if path.is_dir() or path.suffix == ".zip":
            from pldebias.runs import open_run

            run = open_run(path)
            if not run.finished:
                raise ValueError("the run is not finished")
            arrays = [run.state(f"seval/{name}") for name in ("offsets", "thresholds")]
        else:
            with np.load(path, allow_pickle=False) as store:
                arrays = [store["offsets"], store["thresholds"]]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no SEVAL curve; give a file of save_curve or the directory of a seval run ({error})") from error
    offsets, thresholds = (torch.from_numpy(np.array(a, np.float32)) for a in arrays)
    if offsets.ndim != 2 or offsets.shape != thresholds.shape:
        raise ValueError(f"{path}: offsets {tuple(offsets.shape)} and thresholds {tuple(thresholds.shape)} must both be [evaluations, K]")
    if not bool((offsets > 0).all()) or not bool(((thresholds >= 0) & (thresholds <= 1)).all()):
        raise ValueError(f"{path}: offsets must be positive and thresholds in [0, 1] at every evaluation (an unfinished run has gaps)")
    return offsets, thresholds


class Curriculum(nn.Module):
    """Averaged offsets and thresholds of one classifier, and the newest offsets.

    Parameters
    ----------
    classes : int
        K.
    start : float
        Every threshold before anything is learned.
    target : float
        Precision that accepted pseudo-labels should have.
    decay, threshold_decay : float
        Averaging of offsets and thresholds over epochs, in [0, 1).
    groups, offset_groups : Tensor
        Group id ``[K]`` of each class; classes of a group share a threshold, or an offset.
    prior : Tensor or None
        Class frequencies ``[K]`` of an imbalanced hold-out.
    least : int
        Hold-out samples that a group needs.
    solvers : tuple of str
        Of `learn_offsets` and of `learn_thresholds`.
    """

    offsets: Tensor  # [K]
    newest: Tensor  # [K]
    thresholds: Tensor  # [K]

    def __init__(
        self,
        classes: int,
        *,
        start: float,
        target: float,
        decay: float,
        threshold_decay: float,
        groups: Tensor,
        offset_groups: Tensor,
        prior: Tensor | None,
        least: int,
        solvers: tuple[str, str],
    ):
        super().__init__()
        self.start, self.target, self.decay, self.threshold_decay = start, target, decay, threshold_decay
        self.groups, self.offset_groups, self.prior, self.least, self.solvers = groups, offset_groups, prior, least, solvers
        self.register_buffer("offsets", torch.ones(classes))
        self.register_buffer("newest", torch.ones(classes))
        self.register_buffer("thresholds", torch.full((classes,), start))

    def restart(self) -> None:
        """Forget everything."""
        self.offsets.fill_(1)
        self.newest.fill_(1)
        self.thresholds.fill_(self.start)

    def learn(self, logits: Tensor, labels: Tensor) -> None:
        """One update from hold-out logits ``[N, K]`` and labels ``[N]``."""
        by_offsets, by_thresholds = self.solvers
        self.newest.copy_(learn_offsets(logits, labels, self.offset_groups, by_offsets))
        self.offsets.lerp_(self.newest, 1 - self.decay)
        refined = refine(logits, self.offsets)
        found = learn_thresholds(refined, labels, self.target, self.groups, self.prior, self.least, by_thresholds)
        self.thresholds.lerp_(found, 1 - self.threshold_decay)
        rare = rare_classes(refined, labels, self.groups, self.prior, self.least)
        for offsets in (self.offsets, self.newest):
            offsets.copy_(torch.where(rare, offsets.min(), offsets))

    def replay(self, offsets: Tensor, thresholds: Tensor) -> None:
        """Take over what an earlier run had at this epoch, each ``[K]``; the newest offsets follow by undoing the averaging."""
        self.newest.copy_(((offsets - self.decay * self.offsets) / (1 - self.decay)).clamp(min=1e-3))
        self.offsets.copy_(offsets)
        self.thresholds.copy_(thresholds)


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
    estimated = ("learned.offsets", "learned.thresholds")
    presets: ClassVar = {"glyphs-lt": {"decay": 0.9, "threshold_decay": 0.9, "least": 3}}
    buttons = (Button("SEVAL, by the truth", "seval", "oracle"),)  # it learns on labels that a run seldom keeps aside
    learns_truth = True
    follows: ClassVar = {"learned": ("mode", "curve", "target", "groups", "offset_groups", "least", "compat")}

    def __init__(
        self,
        mode: Literal["estimate", "load", "direct"] = "estimate",
        curve: str | None = None,
        target: Annotated[float, Range("(0, 1)", "the precision that accepted pseudo-labels should have")] = 0.75,
        decay: Momentum = 0.999,
        threshold_decay: Momentum = 0.999,
        groups: int | None = None,
        offset_groups: int | None = None,
        posthoc: bool = True,
        start: Threshold = 0.95,
        least: int = 10,
        head: str | None = None,
        compat: Literal["exact", "official"] = "exact",
    ):
        super().__init__()
        if (mode == "load") != (curve is not None):
            raise ValueError("seval(mode=load) needs curve='FILE' of an estimate run, and the other modes take none")
        if head is not None and mode == "load":
            raise ValueError("seval(mode=load) replays one classifier's curriculum; leave out head, or estimate")
        self.mode, self.curve, self.head, self.posthoc = mode, curve, head, posthoc
        self.reads_heads = () if head is None else (head,)
        self.group_count, self.offset_group_count = groups, offset_groups
        solvers = ("lbfgs", "scan") if compat == "exact" else ("nelder-mead", "nelder-mead")
        self.knobs: dict[str, Any] = dict(
            start=start, target=target, decay=decay, threshold_decay=threshold_decay, least=least, solvers=solvers
        )
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
        learned = self.learned_head
        return logits if learned is None or head != self.head else refine(logits, learned.offsets)

    def threshold(self, threshold: Tensor, step: Step) -> Tensor:
        return self.learned.thresholds[step.label]

    def threshold_head(self, threshold: Tensor, label: Tensor, head: str, step: Step) -> Tensor:
        learned = self.learned_head
        return threshold if learned is None or head != self.head else learned.thresholds[label]

    def predict(self, logits: Tensor, features: Tensor, network: Network) -> Tensor:
        predicting = self.learned_head or self.learned
        return refine(logits, predicting.newest) if self.posthoc else logits

    def end_epoch(self, end: EpochEnd) -> None:
        if self.mode == "load":
            self.learned.replay(*(rows[end.epoch].to(self.learned.offsets.device) for rows in self.rows))
            return
        logits, features, labels = end.score("holdout" if self.mode == "estimate" else "validation")
        self.learned.learn(logits, labels)
        if self.head is not None and self.learned_head is not None:
            with torch.no_grad():
                self.learned_head.learn(end.network.heads[self.head](features), labels)

    def restart(self, problem: Problem, done: int) -> None:
        """As in the official code, nothing but the curriculum is forgotten: the hold-out is the one it was."""
        self.learned.restart()
        if self.learned_head is not None:
            self.learned_head.restart()

    def estimate_state(self, seen: Seen) -> str | None:
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
