"""The thread that writes, and the handing over of values to it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pldebias.runs.given import array
from pldebias.runs.lock import WriterLock
from pldebias.runs.store import Store


class Writer:
    """One thread that takes jobs from a queue of two and runs them in order. Its first error stops all writing."""

    def __init__(self, store: Store):
        self.store = store
        self.error: BaseException | None = None
        self._queue: queue.Queue[Callable[[Store], None] | None] = queue.Queue(maxsize=2)
        self._thread = threading.Thread(target=self._work, name=f"writer of {store.path}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                if self.error is None:
                    job(self.store)
            except BaseException as error:  # raised again in the training's thread, at its next call
                self.error = error
            finally:
                self._queue.task_done()

    def put(self, job: Callable[[Store], None]) -> None:
        """Hand over a job; waits while two are waiting already."""
        self._queue.put(job)

    def check(self) -> None:
        """Raise what went wrong while writing."""
        if self.error is not None:
            raise self.error

    def join(self) -> None:
        """Wait until every job was run."""
        self._queue.join()

    def finish(self) -> None:
        """Run what is waiting and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()


def abandon(writer: Writer, lock: WriterLock) -> None:
    """What is left to do for a recorder that nobody closed: write what was handed over, let others write."""
    writer.finish()
    lock.release()


class Handover:
    """Copies of values in host memory, so that training may overwrite its own.

    From a CUDA device they leave on a stream of their own for pinned memory, beside the training, and are under way when made.
    """

    _sides: ClassVar[dict[torch.device, torch.cuda.Stream]] = {}

    def __init__(self):
        self._devices: set[torch.device] = set()
        self._events: list[torch.cuda.Event] = []

    def keep(self, values: Tensor) -> Tensor:
        """A copy of `values`."""
        values = values.detach()
        if values.is_cuda:
            return self._send(values.clone())
        return values.clone() if values.is_cpu else values.cpu()

    def bring(self, parts: dict[str, Tensor | np.ndarray]) -> dict[str, np.ndarray]:
        """Copies of all `parts` as arrays; waits for those that lie on a device."""
        copies = {name: np.array(part) if isinstance(part, np.ndarray) else self.keep(part) for name, part in parts.items()}
        self.seal()
        self.wait()
        return {name: array(name, copy) for name, copy in copies.items()}

    def keep_all(self, value: Any) -> Any:
        """`value` with a copy in place of every tensor in it, in dicts, lists and tuples too."""
        if isinstance(value, Tensor):
            return self.keep(value)
        if isinstance(value, dict):
            return {key: self.keep_all(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.keep_all(part) for part in value)
        return value

    def _send(self, copy: Tensor) -> Tensor:
        """Bring a copy, which nobody else writes, to pinned host memory."""
        self._devices.add(copy.device)
        side = self._side(copy.device)
        host = torch.empty(copy.shape, dtype=copy.dtype, pin_memory=True)
        side.wait_stream(torch.cuda.current_stream(copy.device))
        with torch.cuda.stream(side):
            host.copy_(copy, non_blocking=True)
        copy.record_stream(side)  # its memory is not given away before it has left
        return host

    def _side(self, device: torch.device) -> torch.cuda.Stream:
        if device not in self._sides:
            self._sides[device] = torch.cuda.Stream(device)
        return self._sides[device]

    def seal(self) -> None:
        """Call after the last `keep`, in the thread that made the copies."""
        self._events = [self._side(device).record_event() for device in self._devices]

    def wait(self) -> None:
        """Wait, in the writing thread, until the copies have arrived."""
        for event in self._events:
            event.synchronize()
