"""Batches of images that stay on disk: worker processes read and decode uint8, augmentation stays on the device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pldebias.data.errors import DataError
from pldebias.data.loaders import SPLITS, Batch, IndexStream, ResidentLoader

Request = list[tuple[str, Tensor]]
"""Names of sets, and positions in them."""


class _Reader(TorchDataset):
    """One item is a whole batch: the uint8 images and the positions of every part of a request, in turn."""

    def __init__(self, dataset):
        self.images = {name: part.images for name in SPLITS if (part := getattr(dataset, name)) is not None}

    def __getitem__(self, request: Request) -> tuple[Tensor, ...]:
        return tuple(tensor for name, positions in request for tensor in (self.images[name][positions], positions))


class _Requests:
    """The endless sequence of positions, ahead of what has been consumed."""

    def __init__(self, labelled: IndexStream, unlabelled: IndexStream, sizes: tuple[int, int]):
        self.labelled, self.unlabelled, self.sizes = labelled, unlabelled, sizes

    def __iter__(self) -> Iterator[Request]:
        while True:
            yield [("labelled", self.labelled.take(self.sizes[0])), ("unlabelled", self.unlabelled.take(self.sizes[1]))]


def _cores() -> int:
    """Cores that this process may use, which a cluster's scheduler may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


class StreamLoader(ResidentLoader):
    """`ResidentLoader` for data sets that do not fit on the device; the same seed gives the same batches.

    Parameters
    ----------
    workers : int, optional
        Processes that read and decode; 0 does it in this one. None is one less than the number of cores, at most 8.
    prefetch : int, default 4
        Batches that every worker prepares ahead.

    Notes
    -----
    All other parameters are `ResidentLoader`'s. The workers start with the first `next`. `state_dict` describes the batches handed
    out, not those prepared ahead; a loaded state starts new workers. Call `close`, or drop the loader, to end them.
    """

    def __init__(self, dataset, augment, *, workers: int | None = None, prefetch: int = 4, **kwargs: Any):
        self.workers = min(max(_cores() - 1, 0), 8) if workers is None else workers
        if self.workers < 0 or prefetch < 1:
            raise DataError(f"workers={workers} must be at least 0 and prefetch={prefetch} at least 1")
        self.prefetch, self._batches = prefetch, None
        self._pass: DataLoader | None = None
        self._wanted: list[Request] = []  # by the pass under way
        self._uploaded: tuple[tuple[Tensor, ...], torch.cuda.Event | None] | None = None
        super().__init__(dataset, augment, **kwargs)
        self._side = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    @property
    def index_device(self) -> torch.device:
        return torch.device("cpu")

    def _prepare(self) -> None:
        """Leave the images where they are."""

    def _start(self) -> Iterator:
        sizes = (self.batch_size, self.unlabelled_batch_size)
        ahead = _Requests(self.labelled_stream.fork(), self.unlabelled_stream.fork(), sizes)
        return iter(self._loader(ahead))

    def _loader(self, sampler, again: bool = False) -> DataLoader:
        """Batches of what `sampler` asks for; with `again`, by workers that stay for the next time."""
        options = {"prefetch_factor": self.prefetch, "worker_init_fn": _one_thread, "persistent_workers": again} if self.workers else {}
        return DataLoader(
            _Reader(self.dataset), sampler=sampler, batch_size=None, num_workers=self.workers,
            pin_memory=self.device.type == "cuda", generator=torch.Generator(), **options,
        )  # fmt: skip

    def draw(self) -> tuple[Tensor, ...]:
        """The next images and positions, ``[B, C, H, W], [B], [M, C, H, W], [M]``; waits for a worker if none is ready."""
        batch, arrived = self._uploaded or self._upload()
        self._uploaded = None
        if arrived is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(arrived)
            for tensor in batch:
                tensor.record_stream(current)
        # The same positions again, so that the state tells what has been consumed.
        self.labelled_stream.take(self.batch_size)
        self.unlabelled_stream.take(self.unlabelled_batch_size)
        return batch

    def ahead(self) -> None:
        """Start copying the batch after this one from pinned memory on a stream of its own, while the device computes."""
        if self._side is not None and self._uploaded is None:
            self._uploaded = self._upload()

    def _upload(self) -> tuple[tuple[Tensor, ...], torch.cuda.Event | None]:
        """A batch that workers read, on the device or on its way there, and the event after which it is whole."""
        if self._batches is None:
            self._batches = self._start()
        batch = next(self._batches)
        if self._side is None:
            return tuple(t.to(self.device) for t in batch), None
        with torch.cuda.stream(self._side):
            moved = tuple(t.to(self.device, non_blocking=True) for t in batch)
            return moved, self._side.record_event()

    def make(self, images: Tensor, labelled_index: Tensor, others: Tensor, index: Tensor) -> Batch:
        """The batch of what `draw` gave."""
        return self._views(images, labelled_index, others, index)

    def clean(self, split: str, batch: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """As `ResidentLoader.clean`, read by workers of their own, which stay for the next pass."""
        part = self.part(split)
        chunks = torch.arange(len(part)).split(batch or self.clean_batch)
        if self._pass is None:
            self._pass = self._loader(self._wanted, again=True)
        self._wanted[:] = [[(split, positions)] for positions in chunks]
        for images, positions in self._pass:
            labels = part.labels[positions].to(self.device, non_blocking=True)
            yield self.augment(images.to(self.device, non_blocking=True), "identity"), labels

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the very batch that would have come next when `state_dict` was taken."""
        self.close()
        super().load_state_dict(state)

    def close(self) -> None:
        """End the workers; the next `next` starts new ones."""
        self._batches = self._uploaded = self._pass = None
