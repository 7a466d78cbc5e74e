"""A thread that works beside a training, and copies of values for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor


class Worker:
    """A thread that takes jobs from a queue of two and runs them in order; after the first error it runs no more.

    Parameters
    ----------
    name : str
        Of the thread.
    """

    def __init__(self, name: str):
        self.error: BaseException | None = None
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=2)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                if self.error is None:
                    job()
            except BaseException as error:  # `check` raises it again in the training's thread
                self.error = error
            finally:
                self._queue.task_done()

    def put(self, job: Callable[[], None]) -> None:
        """Hand over a job; waits while two are waiting already."""
        self._queue.put(job)

    def check(self) -> None:
        """Raise what went wrong in a job."""
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


class Handover:
    """Copies of values in host memory, so that training may overwrite its own.

    From a CUDA device they leave on a stream of their own for pinned memory, beside the training, and are under way when made.
    """

    _sides: ClassVar[dict[torch.device, torch.cuda.Stream]] = {}

    def __init__(self):
        self._devices: set[torch.device] = set()
        self._events: list[torch.Event] = []

    def keep(self, values: Tensor) -> Tensor:
        """A copy of `values`."""
        values = values.detach()
        if values.is_cuda:
            return self._send(values.clone())
        return values.clone() if values.is_cpu else values.cpu()

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
        """Wait, in the thread that uses the copies, until they have arrived."""
        for event in self._events:
            event.synchronize()
