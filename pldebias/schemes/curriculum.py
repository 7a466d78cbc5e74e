"""What SEVAL learns for one classifier, epoch by epoch, and the file that keeps it for a later run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pldebias.paths import local, output
from pldebias.schemes.offsets import learn_offsets, refine
from pldebias.schemes.thresholds import learn_thresholds, rare_classes


def save_curve(path, offsets: Any, thresholds: Any) -> None:
    """Keep a learned curriculum, offsets and thresholds ``[E, K]`` of every evaluation, as an ``.npz`` for ``seval(mode=load)``."""
    np.savez(output(path), offsets=np.asarray(offsets, np.float32), thresholds=np.asarray(thresholds, np.float32))


def load_curve(path) -> tuple[Tensor, Tensor]:
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
