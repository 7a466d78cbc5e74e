"""Outputs that a run kept of one snapshot epoch, as tensors, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from pldebias.interop.thin import EXACT, exact_name
from pldebias.methods import LEARNERS, MethodError, parse
from pldebias.runs import NotLogged, Run
from pldebias.schemes import Problem
from pldebias.settings import typed

_KEPT: WeakKeyDictionary[Run, dict[int, Outputs]] = WeakKeyDictionary()
_MOST = 3  # snapshot epochs of a run that stay in memory


@dataclass
class Outputs:
    """Outputs for the unlabelled set at one snapshot epoch.

    Attributes
    ----------
    run : Run
    epoch : int
    logits : Tensor
        Shape ``[N, K]``, float32.
    features : Tensor or None
        Shape ``[N, D]``, float32; None if the run kept none. Of a thinned copy, in the space of the class prototypes.
    label, accepted : ndarray or None
        What the sweep logged at this epoch, ``[N]`` int64 and bool; None if the run logged no sweep then.
    prototypes : Tensor or None
        Clean labelled class means ``[K, D]``.
    """

    run: Run
    epoch: int
    logits: Tensor
    features: Tensor | None
    label: np.ndarray | None
    accepted: np.ndarray | None
    prototypes: Tensor | None
    as_trained: Any = field(default=None, repr=False)
    """Labels of the run's own chain, once `what_if` has made them."""

    @cached_property
    def probs(self) -> Tensor:
        """Softmax of the logits, ``[N, K]``."""
        return self.logits.softmax(1)

    @cached_property
    def row(self) -> int:
        """Place of the epoch among the recorded ones."""
        return int(np.searchsorted(self.run.epochs, self.epoch))

    @cached_property
    def problem(self) -> Problem:
        """The task as schemes know it."""
        run = self.run
        iterations = run.iterations
        timed = len(iterations) and iterations[-1] > 0
        average = round(iterations[-1] / (run.epochs[-1] + 1)) if timed else 1
        per_epoch = max(int(_number(run, "steps_per_epoch") or average), 1)
        total = max(int(_number(run, "steps") or run.total_epochs * per_epoch), 1)
        counts = run.unlabelled_counts
        return Problem(
            num_classes=run.num_classes,
            labelled_counts=torch.as_tensor(run.labelled_counts.copy()),
            num_unlabelled=run.num_unlabelled,
            total_steps=total,
            steps_per_epoch=per_epoch,
            feature_dim=1 if self.features is None else self.features.shape[1],
            unlabelled_counts=None if counts is None else torch.as_tensor(counts.copy()),
            fingerprint=run.fingerprint or "",
        )

    @property
    def mu(self) -> float:
        """Unlabelled images that training draws for each labelled one; the ratio of the sets where the run does not say."""
        run = self.run
        return _number(run, "mu") or run.num_unlabelled / max(int(run.labelled_counts.sum()), 1)

    @cached_property
    def step(self) -> int:
        """Optimiser steps done at this epoch's end."""
        done = int(self.run.iterations[self.row])
        return done if done >= 0 else (self.epoch + 1) * self.problem.steps_per_epoch

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """Logged state of the run's method at this epoch, by ``"part/name"``."""
        run, found = self.run, {}
        for name in run.series:
            values = run.state(name)[self.row]
            if not np.isnan(values).any():
                found[name] = torch.as_tensor(values)
        for name in run.snapshot_states:
            if not name.startswith(f"{EXACT}/") and (values := _state(run, name, self.epoch)) is not None:
                found[name] = values
        return found


def _number(run: Run, setting: str) -> float | None:
    """A positive number among the settings of a run; None if it does not have one there, as a foreign configuration may not."""
    value = run.config.get(setting)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf") else None


def check_truth(run: Run, what: str, instead: str = "") -> None:
    """Raise ValueError where `what` needs true labels of the unlabelled set and the run knows none; `instead` says what to do."""
    if not (run.true_labels >= 0).any():
        raise ValueError(f"{what} needs true labels of the unlabelled set, which {run.name} does not know{instead}")


@typed
def outputs(run: Run, epoch: int = -1) -> Outputs:
    """Outputs of `run` at a snapshot epoch (-1: the last one); the latest few are kept in memory.

    Raises
    ------
    NotLogged
        The run kept no logits, or not at this epoch; the message lists the epochs that have them.
    """
    have = run.logged("logits")
    if not len(run.epochs):
        raise NotLogged(f"{run.name} has no finished epoch yet; wait for its first, and open it again")
    if not len(have):
        todo = "train it with snapshots=8 (or pass logits= to Recorder.end_epoch) to relabel its outputs"
        if learner := _without_classifier(run):
            todo = f"{learner} learns no classifier and gives no pseudo-labels; take a run that goes on from it (init=)"
        raise NotLogged(f"{run.name} kept no logits; {todo}")
    epoch = int(have[-1]) if epoch == -1 else epoch
    if epoch not in have:
        raise NotLogged(f"{run.name} has logits at the epochs {', '.join(map(str, have.tolist()))}; not at {epoch}")
    kept = _KEPT.setdefault(run, {})
    if epoch not in kept:
        while len(kept) >= _MOST:
            kept.pop(next(iter(kept)))
        kept[epoch] = _read(run, epoch)
    return kept[epoch]


def _without_classifier(run: Run) -> str:
    """Name of the run's learner if it learns none; empty for others, and for a method that is none of this package."""
    try:
        learner = LEARNERS[parse(run.method or "")[0].name]
    except (MethodError, KeyError):
        return ""
    return "" if "prediction" in learner.offers else learner.name


def _state(run: Run, name: str, epoch: int) -> Tensor | None:
    """Larger state at a snapshot epoch, of a thinned copy as relabelling needs it; None if it was not kept."""
    kept = next((n for n in (exact_name(name), name) if epoch in run.logged(f"snapshot_state/{n}")), None)
    return None if kept is None else torch.as_tensor(run.snapshot_state(kept, epoch)).float()


def _read(run: Run, epoch: int) -> Outputs:
    label = accepted = None
    if epoch in run.logged("history"):
        label, accepted = (values.astype(kind) for values, kind in zip(run.history(epoch), (np.int64, bool), strict=True))
    features = _state(run, "features", epoch)
    if features is None and epoch in run.logged("features"):
        features = torch.as_tensor(run.features(epoch))
    return Outputs(
        run=run,
        epoch=epoch,
        logits=torch.as_tensor(run.logits(epoch)),
        features=features,
        label=label,
        accepted=accepted,
        prototypes=_state(run, "labelled/prototypes", epoch),
    )
