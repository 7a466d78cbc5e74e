"""A training on tensors of a CUDA device that need not exist: they have a place, a shape and a type, and no values."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from pldebias.data import ops, randaugment


class Leaves(RuntimeError):
    """Something was copied between the host and the device, or the host waits for a value."""


class _Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name
        if name == "aten::_to_copy":
            target = kwargs.get("device")
            if target is not None and torch.device(target).type != args[0].device.type:
                raise Leaves(f"copy from {args[0].device} to {target}")
        if name == "aten::copy_" and args[0].device.type != args[1].device.type:
            raise Leaves(f"copy from {args[1].device} to {args[0].device}")
        if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal", "aten::bincount"):
            raise Leaves(f"the host waits for {name}")
        return function(*args, **kwargs)


def _draw(function):
    """`function` for a generator that is none: one of CUDA needs a GPU."""
    return lambda *args, generator=None, **kwargs: function(*args, **kwargs)


def _fake(value: Any, memo: dict[int, Tensor]) -> Any:
    """`value` with its tensors, in containers too, replaced by ones of a GPU; the same tensor by the same."""
    if isinstance(value, Tensor):
        if id(value) not in memo:
            fake = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
            memo[id(value)] = nn.Parameter(fake, value.requires_grad) if isinstance(value, nn.Parameter) else fake
        return memo[id(value)]
    if isinstance(value, dict):
        return {_fake(k, memo) if isinstance(k, Tensor) else k: _fake(v, memo) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_fake(v, memo) for v in value)
    return value


def _elsewhere(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(map(_elsewhere, key))
    return torch.device("cuda", 0) if isinstance(key, torch.device) else key


def _probe() -> None:
    """Skip the test if this torch needs a real GPU to index a tensor of one that is not there, as old ones do."""
    with FakeTensorMode():
        try:
            torch.empty(2, device="cuda")[torch.zeros(1, dtype=torch.int64, device="cuda")]
        except RuntimeError as error:
            pytest.skip(f"torch {torch.__version__} indexes no tensor of a GPU that is not there ({str(error).splitlines()[0]})")


@contextmanager
def watched(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """`tensors` on a GPU that is not there, where what copies them to the host or waits for their values fails."""
    _probe()
    with FakeTensorMode(), patch.object(torch.cuda, "is_current_stream_capturing", lambda: False):
        fakes = tuple(_fake(tensor, {}) for tensor in tensors)
        with _Watch():
            yield fakes


@contextmanager
def on_fake_cuda(program) -> Iterator[None]:
    """Move a `StepProgram` that has done some steps on a CPU to a GPU that is not there; it is of no use afterwards."""
    _probe()
    state, memo = program.state, {}
    with FakeTensorMode():
        for root in (state.student, state.ema.teacher, state.method):
            for module in root.modules():
                for table in (module._parameters, module._buffers):
                    table.update({name: _fake(value, memo) for name, value in table.items()})
        for thing in (state.loader, state.ema, program):
            for name, value in vars(thing).items():
                if name not in ("dataset", "augment", "state"):
                    setattr(thing, name, _fake(value, memo))
        state.t, state.lr = (_fake(value, memo) for value in (state.t, state.lr))
        optimizer = state.optimizer
        for group in optimizer.param_groups:
            group["params"], group["lr"] = _fake(group["params"], memo), state.lr
        kept = {_fake(p, memo): _fake(dict(values), memo) for p, values in optimizer.state.items()}
        optimizer.state.clear()
        optimizer.state.update(kept)
        for value in vars(state.loader.augment).values():  # constants, by device
            if isinstance(value, dict):
                moved = {_elsewhere(key): _fake(inner, memo) for key, inner in value.items()}
                value.clear()
                value.update(moved)
        state.generator = state.loader.generator = SimpleNamespace(device=torch.device("cuda", 0))
        caches = (randaugment._neutral, ops._weights)
        with ExitStack() as stack:
            for cache in caches:
                cache.cache_clear()
                stack.callback(cache.cache_clear)  # nobody else is to find tensors without values
            for name in ("rand", "randn", "randint", "randperm"):
                stack.enter_context(patch.object(torch, name, _draw(getattr(torch, name))))
            # Autograd's engine wants the device's context; what a backward pass waits for, a CPU shows as well.
            stack.enter_context(patch.object(Tensor, "backward", lambda loss: None))
            program._run()  # as before a capture: constants are made
            with _Watch():
                yield
