"""Device, precision of products, threads and memory of a training."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from pldebias.presets import ConfigError
from pldebias.training import memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pldebias.presets import Config


def pick_device(name: str, precision: str) -> tuple[torch.device, str]:
    """The device to train on, and the precision it can do; a missing one is refused, a missing bfloat16 is said and replaced."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device={name!r} is not known; choose auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        why = "; Apple's GPUs have no float64, which augmentation and schemes count in" if device.type == "mps" else ""
        raise ConfigError(f"device={name!r}: trainings run on the CPU and on CUDA devices{why}; choose auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name!r} was asked for but torch finds no CUDA device; use device='cpu', or see `pldebias doctor`")
    if device.type == "cuda":
        there = torch.cuda.device_count()
        if device.index is not None and device.index >= there:
            raise ConfigError(f"device={name!r} was asked for, but torch finds cuda:0..cuda:{there - 1} here; choose one of these")
        name = torch.cuda.get_device_name(device)
        generation = torch.cuda.get_device_capability(device)[0]
        if precision == "bf16" and generation < 8:
            warnings.warn(f"{name} has no bfloat16; training in fp32", RuntimeWarning, stacklevel=3)
            precision = "fp32"
        elif precision == "tf32" and generation < 8:
            warnings.warn(f"{name} has no TF32; training in fp32", RuntimeWarning, stacklevel=3)
            precision = "fp32"
    return device, precision


@contextmanager
def float32_products(mode: str) -> Iterator[None]:
    """Set how CUDA multiplies float32 in matrices and convolutions, ``"ieee"`` or ``"tf32"``; the former setting comes back afterwards."""
    matrices: Any = torch.backends.cuda.matmul
    convolutions: Any = torch.backends.cudnn
    parts: tuple[Any, ...] = (torch.backends, matrices, convolutions.conv, convolutions.rnn) if hasattr(matrices, "fp32_precision") else ()
    before = [part.fp32_precision for part in parts]
    try:
        flags = matrices.allow_tf32, convolutions.allow_tf32
    except RuntimeError:  # somebody chose by `fp32_precision`, in ways that the older flags cannot tell
        flags = None
    try:
        matrices.allow_tf32 = convolutions.allow_tf32 = mode == "tf32"  # which other parts of torch go on asking
        for part in parts:
            part.fp32_precision = mode
        yield
    finally:
        if flags is not None:
            matrices.allow_tf32, convolutions.allow_tf32 = flags
        for part, value in zip(parts, before, strict=True):
            part.fp32_precision = value


@contextmanager
def machine(config: Config, device: torch.device) -> Iterator[None]:
    """Threads, matrix precision and a CPU's freed memory for one training; restored afterwards."""
    threads = torch.get_num_threads()
    if config.threads and device.type == "cpu":
        torch.set_num_threads(config.threads)
    tuned = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"  # shapes are the same every step
    try:
        if device.type == "cuda":
            with torch.cuda.device(device), float32_products("tf32" if config.precision == "tf32" else "ieee"):
                yield
        else:
            with memory.kept():
                yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = tuned
