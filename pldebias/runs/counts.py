"""Counts (true class, pseudo-label, accepted) on the device where labels are made."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pldebias.runs.given import array, classes, given, mask, whole

ROWS = 65536
"""Rows that wait, at most, before they are counted on the CPU."""
UNLABELLED = "; -1 marks a row without a label, which must not be accepted"


class Counts(NamedTuple):
    """Counters of an epoch: `here` of the CPU, shape ``[2 (accepted), K + 1 (true class, then unknown), K (label)]``, `there` of a device.

    Those of a device have places for what they cannot refuse at once, shape ``[3, K + 2, K + 3]``: rejected, between 0 and 1, accepted;
    true class, unknown, no sample; label below -1, -1, 0..K-1, beyond.
    """

    here: np.ndarray
    there: Tensor | np.ndarray | None

    def sum(self) -> tuple[np.ndarray, str | None]:
        """All sound rows, shape ``[2, K + 1, K]``, and what was wrong with others."""
        if self.there is None:
            return self.here, None
        k = self.here.shape[-1]
        cells = array("counts", self.there).reshape(3, k + 2, k + 3)
        faults = {
            "an index outside the unlabelled set": cells[:, k + 1].sum(),
            f"a label outside 0..{k - 1}": cells[:, : k + 1, [0, k + 2]].sum() + cells[2, : k + 1, 1].sum(),
            "an entry in the mask that is neither 0 nor 1": cells[1, : k + 1, 1:-1].sum(),
        }
        found = ", ".join(f"{n} rows with {fault}" for fault, n in faults.items() if n)
        return self.here + cells[::2, : k + 1, 2:-1], found or None


class Counter:
    """Counts what `pldebias.Recorder.update` is given.

    On the CPU a step is checked and put aside, and many are counted together: even a tiny operation costs 50 microseconds when the step
    before it has filled the caches. On a device every step is counted there at once, by a few operations that do not wait.

    Parameters
    ----------
    truth : ndarray of int64, shape ``[N]``
        True class of every unlabelled sample, -1 where unknown.
    num_classes : int
        K.
    class_names : sequence of str, optional
        What categories of pandas may be called.
    """

    def __init__(self, truth: np.ndarray, num_classes: int, class_names=()):
        self.num_classes, self.class_names, self.used = num_classes, class_names, False
        self._captured = False  # a CUDA graph counts, and no call tells when
        self._row = np.where(truth < 0, num_classes, truth)
        self._sizes = (len(truth), num_classes)
        self._here = np.zeros((2, num_classes + 1, num_classes), np.int64)
        self._waiting: list[np.ndarray] = []  # index and label as one number
        self._masks: list[bytes] = []
        self._rows = 0
        self._base: Tensor | None = None  # on the device, as the rest
        self._there: Tensor | None = None
        self._one: Tensor | None = None  # kept for good: a captured graph reads it

    @property
    def _strides(self) -> tuple[int, int]:
        """Of the device's counters, flat: from one slice to the next, from one row to the next."""
        return (self.num_classes + 2) * (self.num_classes + 3), self.num_classes + 3

    def to(self, device: torch.device) -> None:
        """Get ready to count on a device."""
        if device.type != "cpu" and (self._there is None or self._there.device != device):
            fault = None
            if self._there is not None:
                self._here, fault = self.peek().sum()
            slices, rows = self._strides
            self._base = torch.as_tensor(np.append(self._row, self.num_classes + 1) * rows + 2, device=device)
            self._there = torch.zeros(3 * slices, dtype=torch.int64, device=device)
            self._one = torch.ones((), dtype=torch.int64, device=device)
            if fault:
                raise ValueError(f"update was given {fault}")

    def update(self, index, label, accepted) -> None:
        """Add one step; see `pldebias.Recorder.update`."""
        try:
            at = index if type(index) is np.ndarray else index.numpy()
            named = label if type(label) is np.ndarray else label.numpy()
            used = accepted if type(accepted) is np.ndarray else accepted.numpy()
            if used.dtype.char != "?":
                used = _used(used)
            rows = np.ravel_multi_index((at, named), self._sizes)  # refuses what lies outside
            if not at.shape == named.shape == used.shape or rows.ndim != 1 or at.dtype.char == "?" or self._there is not None:
                raise TypeError("the rows must be looked at")
            used = used.tobytes()
        except (AttributeError, TypeError, ValueError, RuntimeError):
            if (looked := self._look(index, label, accepted)) is None:
                self.used = True
                return
            rows, used = looked
        self._waiting.append(rows)
        self._masks.append(used)
        self.used = True
        self._rows += len(used)
        if self._rows >= ROWS:
            self._count()

    def _look(self, index, label, accepted) -> tuple[np.ndarray, bytes] | None:
        """The rows of a step as numbers; None if they were counted on a device."""
        label = classes("labels", label, self.class_names)
        devices = [part.device for part in (label, index, accepted) if isinstance(part, Tensor) and not part.is_cpu]
        if devices:
            self._on_device(devices[0], index, label, accepted)
            return None
        index, accepted = array("index", index), array("accepted", accepted)
        same_shape(index, label, accepted)
        if index.dtype.kind == "b":
            raise ValueError("index must be positions in the unlabelled set; of a mask, give mask.nonzero()")
        index = whole("index", index, 0, self._sizes[0] - 1)
        accepted = mask("accepted", accepted)
        label = labels(label, accepted, self.num_classes)
        keep = label >= 0
        return index[keep] * self.num_classes + label[keep], accepted[keep].tobytes()

    def _on_device(self, device: torch.device, index, label, accepted) -> None:
        self.to(device)
        names = ("index", "labels", "accepted")
        parts = [given(name, part) for name, part in zip(names, (index, label, accepted), strict=True)]
        same_shape(*parts)
        index, label, accepted = (part if isinstance(part, Tensor) else torch.tensor(part, device=device) for part in parts)
        if index.dtype == torch.bool:
            raise ValueError("index must be positions in the unlabelled set; of a mask, give mask.nonzero()")
        slices, _ = self._strides
        index, label = (_integers(part) for part in (index, label))
        row = self._base[index.clamp(-1, self._sizes[0])]  # the last one takes what lies outside
        flat = row + label.clamp(-2, self.num_classes)
        if accepted.dtype == torch.bool:
            flat = torch.add(flat, accepted, alpha=2 * slices)
        else:
            flat = torch.add(torch.add(flat, accepted != 0, alpha=slices), accepted == 1, alpha=slices)
        self._there.index_add_(0, flat, self._one.expand_as(flat))
        self._captured |= flat.is_cuda and torch.cuda.is_current_stream_capturing()

    def _count(self) -> None:
        """Count the rows that wait."""
        if self._rows:
            index, label = np.unravel_index(np.concatenate(self._waiting), self._sizes)
            self._here += tally(self._row[index], label, np.frombuffer(b"".join(self._masks), bool), self.num_classes)
        self._waiting, self._masks, self._rows = [], [], 0

    def peek(self) -> Counts:
        """The counters since the last `take`."""
        self._count()
        return Counts(self._here, self._there)

    def put(self, counts: np.ndarray) -> None:
        """Go on from counters that were kept, shape ``[2, K + 1, K]``."""
        self.reset()
        self._here += counts
        self.used = True

    def reset(self) -> None:
        """Forget what was counted."""
        self._here = np.zeros_like(self._here)
        self._waiting, self._masks, self._rows, self.used = [], [], 0, self._captured
        if self._there is not None:
            self._there.zero_()

    def sweep(self, label: np.ndarray, accepted: np.ndarray) -> np.ndarray:
        """Counters of one pass over all N samples, of which those whose label is -1 have none."""
        keep = label >= 0
        return tally(self._row[keep], label[keep], accepted[keep], self.num_classes)


def _used(accepted: np.ndarray) -> np.ndarray:
    """A mask of numbers as bool."""
    used = accepted == 1
    if np.count_nonzero(accepted) != np.count_nonzero(used):
        raise TypeError("the mask must be looked at")
    return used


def tally(true: np.ndarray, label: np.ndarray, accepted: np.ndarray, k: int) -> np.ndarray:
    """Counters ``[2, K + 1, K]`` of rows whose true class is K where it is unknown."""
    flat = (accepted.astype(np.int64) * (k + 1) + true) * k + label
    return np.bincount(flat, minlength=2 * (k + 1) * k).reshape(2, k + 1, k)


def labels(label: np.ndarray, accepted: np.ndarray, k: int, what: str = "labels") -> np.ndarray:
    """Labels in 0..K-1, or -1 where a row has none and is not accepted."""
    none = label == -1
    found = whole(what, np.where(none & ~accepted, 0, label), 0, k - 1, UNLABELLED)
    return np.where(none, -1, found)


def _integers(part: Tensor) -> Tensor:
    """Whole numbers as int64; a fraction becomes what no index and no label is, since to look would be to wait."""
    if part.is_floating_point():
        return torch.where(part == part.trunc(), part, -(2.0**15)).to(torch.int64)
    return part.to(torch.int64)


def same_shape(*parts) -> None:
    """Refuse parts of a step of different lengths."""
    if len({tuple(part.shape) for part in parts}) != 1 or parts[0].ndim != 1:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise ValueError(f"index, label and accepted need one shape [M]; got {shapes}")


def matrices(kind: str, counts: np.ndarray, num_classes: int, unknown: bool) -> dict[str, np.ndarray]:
    """The arrays that are stored, from the counters of one epoch."""
    k = num_classes
    counts = counts.reshape(2, k + 1, k)
    if counts.size and counts.sum(0).max() >= 2**32:
        raise ValueError(f"{kind} of one epoch are kept as counts up to 2**32 - 1; got {counts.sum(0).max()}. End the epoch more often")
    every, accepted = (part.astype(np.uint32) for part in (counts.sum(0), counts[1]))
    arrays = {kind: every[:k], f"{kind}_accepted": accepted[:k]}
    if unknown:
        arrays |= {f"{kind}_unknown": every[k], f"{kind}_accepted_unknown": accepted[k]}
    return arrays
