"""Endless batches of a data set: sampling and augmentation, each with its own generator, resumable to the bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pldebias.data.augment import VIEWS, Augment
from pldebias.data.errors import DataError
from pldebias.data.spec import Dataset, Images
from pldebias.records import Batch

STATE_BYTES = (5056, 16)
"""Size of the state of a CPU's generator and of a CUDA device's."""
SPLITS = ("labelled", "unlabelled", "test", "validation", "holdout")


def derive_seed(seed: int, purpose: str) -> int:
    """A seed of its own for every purpose, so that one stream's length never shifts another."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7], "big")


class IndexStream:
    """Endless positions in a set of `n`: random permutations end to end, or class-balanced draws with replacement.

    The draws happen on the CPU, so that one seed gives one stream on every device, and travel there a permutation at a time.

    Parameters
    ----------
    n : int
        Size of the set.
    seed : int
        Of the stream.
    device : device, default "cpu"
        Where positions are wanted.
    weights : Tensor or None, default None
        Draw with these weights, shape ``[n]``, instead of permuting.
    """

    def __init__(self, n: int, seed: int, device: torch.device | str = "cpu", weights: Tensor | None = None):
        if n < 1:
            raise DataError("cannot sample from an empty set")
        self.n, self.device, self.weights = n, torch.device(device), weights
        self.generator = torch.Generator().manual_seed(seed)
        self._refill()

    def _refill(self) -> None:
        self.start = self.generator.get_state()
        self.position = 0
        if self.weights is None:
            chunk = torch.randperm(self.n, generator=self.generator)
        else:
            chunk = torch.multinomial(self.weights, self.n, replacement=True, generator=self.generator)
        if self.device.type == "cuda":
            chunk = chunk.pin_memory()
        self.chunk = chunk.to(self.device, non_blocking=True)

    def take(self, count: int) -> Tensor:
        """The next `count` positions, int64 ``[count]``."""
        parts = [self.chunk[:0]] if count == 0 else []
        while count:
            if self.position == self.n:
                self._refill()
            part = self.chunk[self.position : self.position + count]
            self.position += len(part)
            count -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def state_dict(self) -> dict[str, Any]:
        """Generator state at the start of the current permutation, and the position in it."""
        return {"start": self.start.clone(), "position": self.position}

    def fork(self) -> IndexStream:
        """An independent stream that goes on from here."""
        twin = IndexStream(self.n, 0, self.device, self.weights)
        twin.load_state_dict(self.state_dict())
        return twin

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.generator.set_state(state["start"])
        self._refill()
        self.position = state["position"]


def balanced_weights(labels: Tensor, beta: float = 1.0) -> Tensor:
    """Sampling weight of each image by the size n of its class, float64 ``[N]``.

    Parameters
    ----------
    labels : Tensor
        Shape ``[N]``.
    beta : float, default 1.0
        1 gives ``1 / n``, under which every class is drawn equally often; below 1 it is ``(1 - beta) / (1 - beta^n)``, the effective
        number (Cui et al., CVPR 2019), which balances classes only as far as n is small against ``1 / (1 - beta)``.
    """
    if not 0 < beta <= 1:
        raise DataError(f"balanced={beta} must be in (0, 1]: 1 draws every class equally often, smaller values less so")
    counts = torch.bincount(labels).double()[labels]
    return 1 / counts if beta == 1 else (1 - beta) / (1 - beta**counts)


class ResidentLoader:
    """Batches cut from uint8 images that live on the device; nothing in `next` waits for the device.

    Parameters
    ----------
    dataset : Dataset
        From `build`.
    augment : Augment
        From `make_augment`.
    batch_size : int
        B, labelled images a batch.
    mu : float
        M = int(B * mu) unlabelled images a batch.
    labelled_views, unlabelled_views : sequence of str
        Names of views: "identity", "weak", "strong"; a number behind a name ("weak2") is a further independent draw of it.
    device : device, default "cpu"
        Where images live and views are cut.
    seed : int, default 0
        Of sampling and, separately, augmentation.
    balanced : bool or float, default False
        Draw labelled images class-balanced, with replacement; a number below 1 is the beta of `balanced_weights`.
    """

    def __init__(
        self,
        dataset: Dataset,
        augment: Augment,
        *,
        batch_size: int,
        mu: float,
        labelled_views: Sequence[str] = ("weak",),
        unlabelled_views: Sequence[str] = ("weak", "strong"),
        device: torch.device | str = "cpu",
        seed: int = 0,
        balanced: bool | float = False,
    ):
        self.dataset, self.augment, self.device = dataset, augment, torch.device(device)
        self.batch_size, self.unlabelled_batch_size = batch_size, int(batch_size * mu)
        if batch_size < 1 or mu < 0:
            raise DataError(f"batch_size={batch_size} must be at least 1 and mu={mu} at least 0")
        self.labelled_views, self.unlabelled_views = tuple(labelled_views), tuple(unlabelled_views)
        for view in (*self.labelled_views, *self.unlabelled_views):
            if base_view(view) not in VIEWS:
                raise DataError(f"view {view!r}; allowed: {', '.join(VIEWS)}, or one of them with a number for a further draw")
        weights = balanced_weights(dataset.labelled.labels, float(balanced)) if balanced else None
        self.labelled_stream = IndexStream(len(dataset.labelled), derive_seed(seed, "labelled"), self.index_device, weights)
        if self.unlabelled_batch_size and not len(dataset.unlabelled):
            raise DataError(f"the unlabelled set is empty, but mu={mu} asks for {self.unlabelled_batch_size} of its images: use mu=0")
        self.unlabelled_stream = IndexStream(max(len(dataset.unlabelled), 1), derive_seed(seed, "unlabelled"), self.index_device)
        self.generator = torch.Generator(self.device).manual_seed(derive_seed(seed, "augment"))
        self.labels = dataset.labelled.labels.to(self.device)
        self._prepare()

    @property
    def index_device(self) -> torch.device:
        """Device on which positions are needed."""
        return self.device

    def _prepare(self) -> None:
        if not all(isinstance(part.images, Tensor) for part in (self.dataset.labelled, self.dataset.unlabelled)):
            raise DataError("these images are too many for memory and stay on disk: use StreamLoader, which takes the same arguments")
        self.labelled = self.dataset.labelled.images.to(self.device)
        self.unlabelled = self.dataset.unlabelled.images.to(self.device)
        self._resident = {
            "labelled": (self.labelled, self.labels),
            "unlabelled": (self.unlabelled, self.dataset.unlabelled.labels.to(self.device)),
        }  # other sets join when they are first asked for

    def next(self) -> Batch:
        """The next batch; the stream never ends."""
        return self.make(*self.draw())

    def draw(self) -> tuple[Tensor, ...]:
        """Positions of the next batch in both sets, ``[B]`` and ``[M]``, on the device and of the same shapes every time."""
        return self.labelled_stream.take(self.batch_size), self.unlabelled_stream.take(self.unlabelled_batch_size)

    def ahead(self) -> None:
        """Get what `draw` will give next under way, while the device is busy; nothing to do for images that are there already."""

    def make(self, labelled_index: Tensor, index: Tensor) -> Batch:
        """The batch of what `draw` gave: work on the device alone, with no branch on a value, so that it can be captured."""
        images, others = self.labelled[labelled_index], self.unlabelled[index]
        return self._views(images, labelled_index, others, index)

    def _views(self, images: Tensor, labelled_index: Tensor, others: Tensor, index: Tensor) -> Batch:
        labelled, unlabelled = {}, {}
        for view in dict.fromkeys((*self.labelled_views, *self.unlabelled_views)):
            ours, theirs = view in self.labelled_views, view in self.unlabelled_views and len(index) > 0
            # A view wanted of both is cut in one go.
            stack = torch.cat([images, others]) if ours and theirs else images if ours else others
            out = self.augment(stack, base_view(view) if len(stack) else "identity", self.generator)
            if ours:
                labelled[view] = out[: len(images)]
            if view in self.unlabelled_views:
                unlabelled[view] = out[len(images) :] if ours else out
        return Batch(labelled, self.labels[labelled_index], labelled_index, unlabelled, index)

    def clean(self, split: str, batch: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image of a split once, in order, as the normalised identity view, with its labels.

        Parameters
        ----------
        split : {"test", "validation", "unlabelled", "labelled", "holdout"}
            Which set.
        batch : int, optional
            Images at a time; None is `clean_batch`.
        """
        batch = batch or self.clean_batch
        if split not in self._resident:
            part = self.part(split)
            self._resident[split] = part.images.to(self.device), part.labels.to(self.device)
        for images, labels in zip(*(t.split(batch) for t in self._resident[split]), strict=True):
            yield self.augment(images, "identity"), labels

    @property
    def clean_batch(self) -> int:
        """Images at a time in a clean pass: many on a GPU; on a CPU as many as keep the activations of a network near its caches."""
        size = self.augment.image_size
        if self.device.type != "cpu":
            return max(64, min(2048, 2048 * 32**2 // size**2))
        return 1024 if size <= 16 else 128

    def part(self, split: str) -> Images:
        """The images of a split, or a `DataError` that names the splits there are."""
        part = getattr(self.dataset, split) if split in SPLITS else None
        if part is None:
            there = [name for name in SPLITS if getattr(self.dataset, name) is not None]
            raise DataError(f"this data set has no split {split!r}; it has {', '.join(there)}")
        return part

    def state_dict(self) -> dict[str, Any]:
        """Everything that `next` depends on beside the data."""
        return {
            "labelled": self.labelled_stream.state_dict(),
            "unlabelled": self.unlabelled_stream.state_dict(),
            "augment": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the very batch that would have come next when `state_dict` was taken."""
        self.labelled_stream.load_state_dict(state["labelled"])
        self.unlabelled_stream.load_state_dict(state["unlabelled"])
        resume_generator(self.generator, state["augment"])


def resume_generator(generator: torch.Generator, state: Tensor) -> None:
    """Go on with the draws of a saved state; one of another kind of device seeds draws of its own, the same every time."""
    elsewhere = STATE_BYTES[generator.device.type == "cpu"]
    if state.numel() == elsewhere:
        generator.manual_seed(int.from_bytes(hashlib.sha256(state.numpy().tobytes()).digest()[:7], "big"))
    else:
        generator.set_state(state)  # which refuses what is no state of its kind


def base_view(view: str) -> str:
    """The view that "weak2" is a draw of: "weak"."""
    return view.rstrip("0123456789")
