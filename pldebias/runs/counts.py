"""Counts (true class, pseudo-label, accepted) on the device where labels are made."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ROWS = 65536
"""Rows that wait, at most, before they are counted on the CPU."""


class Counter:
    """Counters of shape ``[2 (accepted), K + 1 (true class, then unknown), K (label)]``, kept flat.

    On a CUDA device every step is counted there at once, by a few operations that do not wait. On the CPU its rows are put aside and
    counted together: even a tiny operation costs 50 microseconds when the step before it has filled the caches.

    Parameters
    ----------
    truth : ndarray of int64, shape ``[N]``
        True class of every unlabelled sample, -1 where unknown.
    num_classes : int
        K.
    """

    def __init__(self, truth: np.ndarray, num_classes: int):
        self.num_classes, self.used = num_classes, False
        self._captured = False  # a CUDA graph counts, and no call tells when
        self._row = np.where(truth < 0, num_classes, truth)
        self._here = np.zeros(self._size, np.int64)
        self._waiting: list[tuple[Tensor | np.ndarray, ...]] = []
        self._patience = 64  # steps, until it is known how many rows they have
        self._base: Tensor | None = None  # on the device, as the rest
        self._there: Tensor | None = None
        self._one: dict[torch.device, Tensor] = {}  # kept for good: a captured graph reads it

    @property
    def _size(self) -> int:
        return 2 * (self.num_classes + 1) * self.num_classes

    def to(self, device: torch.device) -> None:
        """Get ready to count on a device."""
        if device.type != "cpu" and (self._there is None or self._there.device != device):
            if self._there is not None:
                self._here += self._there.cpu().numpy()
            self._base = torch.as_tensor(self._row * self.num_classes, device=device)
            self._there = torch.zeros(self._size, dtype=torch.int64, device=device)

    def update(self, index, label, accepted) -> None:
        """Add one step; see `pldebias.Recorder.update`."""
        if isinstance(label, Tensor) and not label.is_cpu:
            self.to(label.device)
            index, accepted = torch.as_tensor(index, device=label.device), torch.as_tensor(accepted, device=label.device)
            _same_shape(index, label, accepted)
            if index.is_floating_point() or label.is_floating_point():
                raise ValueError(f"index and label must be whole numbers; got {index.dtype} and {label.dtype}")
            self._add(self._there, self._base[index], label, accepted)
            self._captured |= label.is_cuda and torch.cuda.is_current_stream_capturing()
        else:
            self._keep(index, label, accepted)
        self.used = True

    def _keep(self, index, label, accepted) -> None:
        """Put the rows of one step aside, and look at them later: after a step the caches hold none of this, and every question is dear."""
        if type(index) is type(label) is type(accepted) is Tensor:
            mask = accepted.detach() if accepted.requires_grad else accepted  # else the whole graph of the step would wait, too
            self._waiting.append((index.clone(), label.clone(), mask.clone()))
        else:
            rows = tuple(np.array(_array(part)) for part in (index, label, accepted))
            _same_shape(*rows)
            if rows[0].size:  # an empty list has the type of numbers with a point
                _whole(*rows)
                self._waiting.append(rows)
        if len(self._waiting) >= self._patience:
            self._count()

    def _count(self) -> None:
        """Count the rows that wait; what is wrong with some of them is said when the others are counted."""
        waiting, self._waiting, good, problems = self._waiting, [], [], []
        for number, rows in enumerate(waiting, 1):
            rows = tuple(map(_array, rows))
            try:
                _same_shape(*rows)
                if rows[0].size:
                    _whole(*rows)
                    good.append(rows)
            except ValueError as error:
                problems.append(f"{error} (step {number} of the last {len(waiting)})")
        if good:
            index, label, accepted = (np.concatenate(parts) for parts in zip(*good, strict=True))
            self._patience = max(1, ROWS * len(good) // len(index))
            inside = (index >= 0) & (index < len(self._row))
            if not inside.all():
                problems.append(f"index must lie in 0..{len(self._row) - 1}; got {index.min()}..{index.max()}")
            known = (label >= 0) & (label < self.num_classes)
            if not known.all():
                problems.append(self._outside(label))
            keep = inside & known
            self._here += self._tally(self._row[index[keep]], label[keep], accepted[keep])
        if problems:
            raise ValueError(problems[0])

    def _tally(self, true: np.ndarray, label: np.ndarray, accepted: np.ndarray) -> np.ndarray:
        k = self.num_classes
        if label.size and (label.min() < 0 or label.max() >= k):
            raise ValueError(self._outside(label))
        flat = ((accepted != 0) * (k + 1) + true) * k + label
        return np.bincount(flat.astype(np.int64), minlength=self._size)

    def _outside(self, label: np.ndarray) -> str:
        return f"labels must lie in 0..{self.num_classes - 1}; got {label.min()}..{label.max()}"

    def take(self, keep) -> Tensor:
        """The counters since the last `take`, by way of `keep` (which copies from the device); starts from zero.

        The device's memory is zeroed in place: a captured CUDA graph goes on adding to it.
        """
        self._count()
        here = torch.from_numpy(self._here)
        if self._there is not None:
            here = keep(self._there + here.to(self._there.device) if here.any() else self._there)
        self.reset()
        return here

    def reset(self) -> None:
        """Forget what was counted."""
        self._here = np.zeros(self._size, np.int64)
        self._waiting, self.used = [], self._captured
        if self._there is not None:
            self._there.zero_()

    def sweep(self, label: Tensor, accepted: Tensor) -> Tensor:
        """Counters of one pass over all N samples."""
        if label.device.type == "cpu":
            accepted = accepted.cpu()
            _same_shape(self._row, label, accepted)
            return torch.from_numpy(self._tally(self._row, label.numpy(), accepted.numpy()))
        if self._base is not None and self._base.device == label.device:
            base = self._base
        else:
            base = torch.as_tensor(self._row * self.num_classes, device=label.device)
        return self._on_device(base, label, accepted.to(label.device))

    def pairs(self, true: Tensor, label: Tensor) -> Tensor:
        """Matrix ``[K, K]`` of true class and label, without the rows of unknown truth."""
        k = self.num_classes
        true = true.to(label.device, torch.int64)
        _same_shape(true, label)
        true = torch.where(true < 0, k, true)
        if label.device.type == "cpu":
            counts = torch.from_numpy(self._tally(true.numpy(), label.numpy(), np.zeros(len(label), bool)))
        else:
            counts = self._on_device(true * k, label, torch.zeros_like(label))
        return counts[: k * k].view(k, k)

    def _on_device(self, base: Tensor, label: Tensor, accepted: Tensor) -> Tensor:
        """Counters of rows whose true class, times K, is `base`."""
        _same_shape(base, label, accepted)
        counts = torch.zeros(self._size, dtype=torch.int64, device=label.device)
        self._add(counts, base, label, accepted)
        return counts

    def _add(self, counts: Tensor, base: Tensor, label: Tensor, accepted: Tensor) -> None:
        k = self.num_classes
        if label.device not in self._one:
            self._one[label.device] = torch.ones((), dtype=torch.int64, device=label.device)
        flat = torch.add(base + label, accepted.bool(), alpha=(k + 1) * k)
        counts.index_add_(0, flat, self._one[label.device].expand_as(flat))


def _array(values) -> np.ndarray:
    """A tensor's own memory, or a copy of anything else."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    try:
        return np.array(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"index, label and accepted must be tensors or arrays of one dimension ({error})") from error


def _whole(index: np.ndarray, label: np.ndarray, accepted: np.ndarray) -> None:
    if index.dtype.kind not in "iu" or label.dtype.kind not in "iu" or accepted.dtype.kind not in "biuf":
        raise ValueError(
            f"index and label must be whole numbers and accepted a mask; got {index.dtype}, {label.dtype} and {accepted.dtype}"
        )


def _same_shape(*parts) -> None:
    if len({tuple(part.shape) for part in parts}) != 1 or parts[0].ndim != 1:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise ValueError(f"true class or index, label and accepted need one shape [M]; got {shapes}")


def matrices(kind: str, counts: np.ndarray, num_classes: int, unknown: bool) -> dict[str, np.ndarray]:
    """The arrays that are stored, from the counters of one epoch."""
    k = num_classes
    counts = counts.reshape(2, k + 1, k).astype(np.uint32)
    every, accepted = counts.sum(0, dtype=np.uint32), counts[1]
    arrays = {kind: every[:k], f"{kind}_accepted": accepted[:k]}
    if unknown:
        arrays |= {f"{kind}_unknown": every[k], f"{kind}_accepted_unknown": accepted[k]}
    return arrays
