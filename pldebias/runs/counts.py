"""Counts (true class, pseudo-label, accepted) on the device where labels are made."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Counter:
    """Counters of shape ``[2 (accepted), K + 1 (true class, then unknown), K (label)]``, kept flat.

    Parameters
    ----------
    truth : ndarray of int64, shape ``[N]``
        True class of every unlabelled sample, -1 where unknown.
    num_classes : int
        K.
    """

    def __init__(self, truth: np.ndarray, num_classes: int):
        self.num_classes = num_classes
        self.device: torch.device | None = None
        self.used = False
        self.counts = self._zeros(torch.device("cpu"))
        self._base = torch.as_tensor(np.where(truth < 0, num_classes, truth) * num_classes)
        self._ones = torch.ones(0, dtype=torch.int64)

    def _zeros(self, device: torch.device) -> Tensor:
        return torch.zeros(2 * (self.num_classes + 1) * self.num_classes, dtype=torch.int64, device=device)

    def to(self, device: torch.device) -> None:
        self.device, self._base, self.counts = device, self._base.to(device), self.counts.to(device)

    def update(self, index, label, accepted) -> None:
        """Add one step; see `pldebias.Recorder.update`."""
        label = torch.as_tensor(label)
        if label.device != self.device:
            self.to(label.device)
        index, accepted = torch.as_tensor(index, device=self.device), torch.as_tensor(accepted, device=self.device)
        self._add(self.counts, self._base[index], label, accepted)
        self.used = True

    def reset(self) -> None:
        """Start from zero, in place: a captured CUDA graph keeps adding to the same memory."""
        self.counts.zero_()
        self.used = False

    def sweep(self, label: Tensor, accepted: Tensor) -> Tensor:
        """Counters of one pass over all N samples."""
        counts = self._zeros(label.device)
        self._add(counts, self._base.to(label.device), label, accepted.to(label.device))
        return counts

    def pairs(self, true: Tensor, label: Tensor) -> Tensor:
        """Matrix ``[K, K]`` of true class and label, without the rows of unknown truth."""
        k, counts = self.num_classes, self._zeros(label.device)
        true = true.to(label.device, torch.int64)
        self._add(counts, torch.where(true < 0, k, true) * k, label, torch.zeros_like(label))
        return counts[: k * k].view(k, k)

    def _add(self, counts: Tensor, base: Tensor, label: Tensor, accepted: Tensor) -> None:
        k = self.num_classes
        if not base.shape == label.shape == accepted.shape:
            shapes = f"{list(base.shape)}, {list(label.shape)}, {list(accepted.shape)}"
            raise ValueError(f"true class or index, label and accepted need one shape [M]; got {shapes}")
        if label.device.type == "cpu" and label.numel():
            low, high = torch.aminmax(label)
            if low < 0 or high >= k:
                raise ValueError(f"labels must lie in 0..{k - 1}; got {int(low)}..{int(high)}")
        if len(self._ones) != label.numel() or self._ones.device != label.device:
            self._ones = torch.ones(label.numel(), dtype=torch.int64, device=label.device)
        flat = torch.add(base + label, accepted.to(torch.int64), alpha=(k + 1) * k)
        counts.index_add_(0, flat, self._ones)


def matrices(kind: str, counts: np.ndarray, num_classes: int, unknown: bool) -> dict[str, np.ndarray]:
    """The arrays that are stored, from the counters of one epoch."""
    k = num_classes
    counts = counts.reshape(2, k + 1, k).astype(np.uint32)
    every, accepted = counts.sum(0, dtype=np.uint32), counts[1]
    arrays = {kind: every[:k], f"{kind}_accepted": accepted[:k]}
    if unknown:
        arrays |= {f"{kind}_unknown": every[k], f"{kind}_accepted_unknown": accepted[k]}
    return arrays
