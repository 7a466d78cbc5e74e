"""The clocks of the benchmarks: contenders in turns, and what a step asks of its device."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS = frozenset(
    {
        *("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "_is_all_true", "_is_any_true"),
        *("nonzero", "nonzero_numpy", "argwhere", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"),
        *("bincount", "histc"),
    }
)
"""ATen operations whose result, or its shape, the host has to wait for (`bincount` and `histc` on CUDA alone)."""

COPIES = frozenset({"tolist", "numpy", "cpu", "__array__", "tensor", "as_tensor", "from_numpy"})
"""Functions and methods of torch that copy from the device, or Python values and arrays to it, and wait until that is done."""


class HostSync(RuntimeError):
    """Something asked for a tensor's value where nothing may wait for the device."""


def waits(function: torch._ops.OpOverload, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> str | None:
    """Name of the operation if the host waits for the device in it, else None.

    Selecting by a mask of booleans waits too, because the number of selected rows is a value; writing one value through a mask does
    not, because torch turns it into a masked fill.
    """
    name = function._schema.name.removeprefix("aten::")
    if name in WAITS:
        return name
    if name == "repeat_interleave" and isinstance(args[0], torch.Tensor) and (kwargs or {}).get("output_size") is None:
        return "repeat_interleave by a tensor"
    if name.startswith("index") and len(args) > 1 and isinstance(args[1], list | tuple):
        masked = any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        fills = name.startswith(("index_put", "_index_put")) and args[2].numel() == 1
        return f"{name} by a mask" if masked and not fills else None
    if name in ("_to_copy", "copy_") and _leaves_device(name, args, kwargs or {}):
        return f"{name} to the host"
    return None


def _leaves_device(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Return True if values go from an accelerator to the host, and the host waits for them."""
    source = args[0] if name == "_to_copy" else args[1]
    target = kwargs.get("device", source.device) if name == "_to_copy" else args[0].device
    return source.device.type != "cpu" and torch.device(target).type == "cpu" and not kwargs.get("non_blocking", False)


class _Calls(TorchFunctionMode):
    """Watch for what dispatched operations alone do not tell: copies between host and device, which a CPU has no need of, and `one_hot`.

    `one_hot` with a given number of classes reads the largest label on a CPU, and there alone, to check it.
    """

    def __init__(self, counts: Counts | None):
        self.counts, self.inside = counts, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if name in COPIES and not (name == "as_tensor" and isinstance(args[0], torch.Tensor)):
            self.notice(f"{name}()")
        checks = name == "one_hot" and (len(args) > 1 or kwargs.get("num_classes", -1) >= 0)
        self.inside += checks
        try:
            return function(*args, **kwargs)
        finally:
            self.inside -= checks

    def notice(self, waiting: str) -> None:
        if self.counts is None:
            raise HostSync(f"the host waits for the device here: {waiting}")
        self.counts.syncs[waiting] += 1


class _Watch(TorchDispatchMode):
    def __init__(self, calls: _Calls):
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if self.calls.counts is not None:
            self.calls.counts.add(function)
        waiting = None if self.calls.inside else waits(function, args, kwargs)
        if waiting:
            self.calls.notice(waiting)
        return function(*args, **(kwargs or {}))


class Counts:
    """Counts of what a block of code dispatched: operations, mere views apart, and by name the waits of the host for its device."""

    def __init__(self):
        self.operations, self.views, self.syncs = Counter(), Counter(), Counter()

    def add(self, function: torch._ops.OpOverload) -> None:
        if function.namespace != "profiler":  # the optimiser's marks for profilers
            (self.views if function.is_view else self.operations)[str(function)] += 1

    def __repr__(self) -> str:
        return f"Counts({self.operations.total()} operations, {self.views.total()} views, {self.syncs.total()} syncs)"


@contextmanager
def counting() -> Iterator[Counts]:
    """Count what the block dispatches, backward passes included."""
    counts = Counts()
    with _Calls(counts) as calls, _Watch(calls):
        yield counts


@contextmanager
def no_host_sync() -> Iterator[None]:
    """Raise `HostSync` at the first thing in the block that would make the host wait for its device; works on a CPU too."""
    with _Calls(None) as calls, _Watch(calls):
        yield


def synchronise(device: torch.device | str) -> None:
    """Wait until a CUDA device has done what it was given; nothing on a CPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def alternate(
    contenders: dict[str, Callable[[], Any]],
    rounds: int,
    device: torch.device | str = "cpu",
    clock: str = "wall",
    warmup: int = 1,
    before: dict[str, Callable[[], Any]] | None = None,
    after: dict[str, Callable[[], Any]] | None = None,
) -> dict[str, list[float]]:
    """Seconds of every contender, one value a round; they take turns, so that a busy machine slows all of them.

    Parameters
    ----------
    contenders : dict
        Name to function.
    rounds : int
        Rounds that count.
    device : device, default "cpu"
        Waited for before and after each turn.
    clock : {"wall", "cpu", "children"}, default "wall"
        ``cpu`` counts processor time of this process, in all its threads, and ``children`` that of processes which it started and
        which have ended: the steadier clocks of a machine that others use too, and of use for work on the CPU alone.
    warmup : int, default 1
        Rounds before those that count.
    before, after : dict, optional
        What to prepare for a contender's turn, and to put away behind it, while the clock stands.
    """
    if clock not in CLOCKS:
        raise ValueError(f"clock={clock!r} is not known; choose one of {', '.join(CLOCKS)}")
    read = CLOCKS[clock]
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(warmup + rounds):
        for name, run in contenders.items():
            if before and name in before:
                before[name]()
            synchronise(device)
            start = read()
            run()
            synchronise(device)
            times[name].append(read() - start)
            if after and name in after:
                after[name]()
    return {name: values[warmup:] for name, values in times.items()}


def _children_time() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time, "children": _children_time}
