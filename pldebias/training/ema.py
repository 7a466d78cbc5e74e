"""Exponential moving average of a network: the teacher that is evaluated."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pldebias.nets import Network


class EMA:
    """Keep a teacher that trails a student.

    Parameters and floating-point buffers (batch-norm statistics) are averaged with decay ``min(1 - 1/(n + 1), decay)`` for the n-th
    update, n from 0, so that the teacher equals the student after the first one. The weight of an update lives on the device, so that a
    captured step finds it there.

    Parameters
    ----------
    student : nn.Module
    decay : float, default 0.999
    mode : {"train", "eval"}, default "train"
        Mode of the teacher between evaluations. ``train`` is what the DASO code does: a teacher that is run during training then
        normalises by, and collects, the statistics of the batch it sees.

    References
    ----------
    lib/models/ema_model.py of the DASO code.
    """

    def __init__(self, student: Network, decay: float = 0.999, mode: str = "train"):
        if not 0 <= decay < 1:
            raise ValueError(f"ema={decay} must be in [0, 1): 0 copies the student, 0.999 averages over about 1,000 steps")
        if mode not in ("train", "eval"):
            raise ValueError(f"ema_mode={mode!r} is not known; choose 'train' or 'eval'")
        self.decay, self.mode, self.updates = decay, mode, 0
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        self.ours, self.theirs = _averaged(self.teacher), _averaged(student)
        self.weight = {t.dtype: torch.ones((), dtype=t.dtype, device=t.device) for t in self.ours}
        self.resume_mode()

    def resume_mode(self) -> None:
        """Put the teacher back in its training-time mode, after an evaluation."""
        self.teacher.train(self.mode == "train")

    def begin(self) -> None:
        """The host's part of an update: count it, and set its weight on the device."""
        for weight in self.weight.values():
            weight.fill_(1 - min(1 - 1 / (self.updates + 1), self.decay))
        self.updates += 1

    @torch.no_grad()
    def move(self) -> None:
        """The device's part of an update: move the teacher towards the student by the weight that `begin` has set."""
        torch._foreach_lerp_(self.ours, self.theirs, [self.weight[t.dtype] for t in self.ours])  # pyright: ignore[reportPrivateImportUsage]

    def update(self) -> None:
        """Move the teacher towards the student; call after the optimiser's step."""
        self.begin()
        self.move()


def _averaged(network: nn.Module) -> list[Tensor]:
    """Parameters and floating-point buffers."""
    return [t.detach() for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]
