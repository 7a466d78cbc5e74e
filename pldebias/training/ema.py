"""Exponential moving average of a network: the teacher that is evaluated."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

ALIGNMENT = 64
"""Elements to whose multiple each tensor's place in a flat buffer is rounded: fused kernels read 16 bytes at a time."""


def flatten(network: nn.Module) -> dict[torch.dtype, Tensor]:
    """Move the parameters and floating-point buffers of a network into one buffer for each type, of which they become views.

    Values, shapes and strides stay, and so do the Parameter objects: optimisers made before or after see the same weights.

    Returns
    -------
    dict of dtype to Tensor
        One-dimensional buffers; networks of one architecture have them in one order.
    """
    tensors: dict[torch.dtype, list[tuple[Tensor, tuple[nn.Module, str] | None]]] = {}
    for p in network.parameters():
        tensors.setdefault(p.dtype, []).append((p, None))
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                tensors.setdefault(buffer.dtype, []).append((buffer, (module, name)))
    flats = {}
    for dtype, members in tensors.items():
        sizes = [-(-t.numel() // ALIGNMENT) * ALIGNMENT for t, _ in members]
        flats[dtype] = torch.zeros(sum(sizes), dtype=dtype, device=members[0][0].device)
        offset = 0
        for (tensor, place), size in zip(members, sizes, strict=True):
            values = tensor.detach()
            dense = values.is_contiguous() or (values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last))
            view = flats[dtype].as_strided(values.shape, values.stride() if dense else values.contiguous().stride(), offset)
            view.copy_(values)
            if place is None:
                tensor.data = view
            else:
                place[0]._buffers[place[1]] = view
            offset += size
    return flats


class EMA:
    """Keep a teacher that trails a student.

    Parameters and floating-point buffers (batch-norm statistics) are averaged with decay ``min(1 - 1/(n + 1), decay)`` for the n-th
    update, n from 0, so that the teacher equals the student after the first one. Both networks' tensors are moved into flat buffers
    (`flatten`), so that an update is one operation, whose weight lives on the device.

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

    def __init__(self, student: nn.Module, decay: float = 0.999, mode: str = "train"):
        if not 0 <= decay < 1:
            raise ValueError(f"ema={decay} must be in [0, 1): 0 copies the student, 0.999 averages over about 1,000 steps")
        if mode not in ("train", "eval"):
            raise ValueError(f"ema_mode={mode!r} is not known; choose 'train' or 'eval'")
        self.decay, self.mode, self.updates = decay, mode, 0
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        ours, theirs = flatten(self.teacher), flatten(student)
        self.pairs = [(ours[dtype], theirs[dtype], torch.ones((), dtype=dtype, device=ours[dtype].device)) for dtype in ours]
        self.resume_mode()

    def resume_mode(self) -> None:
        """Put the teacher back in its training-time mode, after an evaluation."""
        self.teacher.train(self.mode == "train")

    def begin(self) -> None:
        """The host's part of an update: count it, and set its weight on the device."""
        decay = min(1 - 1 / (self.updates + 1), self.decay)
        for *_, weight in self.pairs:
            weight.fill_(1 - decay)
        self.updates += 1

    @torch.no_grad()
    def move(self) -> None:
        """The device's part of an update: move the teacher towards the student by the weight that `begin` has set."""
        for teacher, student, weight in self.pairs:
            teacher.lerp_(student, weight)

    def update(self) -> None:
        """Move the teacher towards the student; call after the optimiser's step."""
        self.begin()
        self.move()
