"""What a machine does to a training, in words: memory that ran out, a GPU that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pathlib import Path

    from pldebias.presets import Config

_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
_DEVICE = ("CUDA error", "CUDA driver", "cuDNN error", "CUBLAS_STATUS", "CUDNN_STATUS")


class TrainingError(RuntimeError):
    """A training that cannot go on; the message names the steps and the last good checkpoint."""


def kind(error: BaseException) -> str | None:
    """``"memory"``, ``"device"`` or None: what of the machine has failed."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in text for sign in _MEMORY):
        return "memory"
    accelerator = getattr(torch, "AcceleratorError", ())  # torch 2.8 and later
    if isinstance(error, accelerator) or (isinstance(error, RuntimeError) and any(sign in text for sign in _DEVICE)):
        return "device"
    return None


@contextmanager
def explained(config: Config, device: torch.device, folder: Path, done: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Say what to do about memory that ran out and a device that failed; other errors pass.

    Parameters
    ----------
    config : Config
    device : torch.device
    folder : Path
        Of the run.
    done : callable
        Optimiser steps done so far.

    Raises
    ------
    TrainingError
        With the settings to lower, or how to go on.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        what = kind(error)
        if what is None:
            raise
        first = str(error).partition("\n")[0]
        saved = done() - done() % config.steps_per_epoch
        kept = f"what was done up to step {saved} is kept in {folder}" if saved else f"nothing was finished yet in {folder}"
        if what == "device":
            raise TrainingError(
                f"{config.method}: the device {device} failed after step {done()} ({first}); {kept}. "
                "Run the same command again, in a new process, to go on from there"
            ) from error
        where = "GPU memory" if device.type == "cuda" else "memory"
        raise TrainingError(f"{config.method}: out of {where} after step {done()} ({first}); {kept}. {_advice(config, device)}") from error


def _advice(config: Config, device: torch.device) -> str:
    ways = [f"lower batch_size (now {config.batch_size}) or mu (now {config.mu:g})"]
    if config.precision != "bf16":
        ways.append(f"use precision='bf16' (now {config.precision!r}), which halves the activations")
    if not config.stream:
        ways.append("use stream=True, which leaves the images on disk or in host memory")
    if device.type == "cuda":
        ways.append("or end other programs on this GPU")
    return "To make it fit: " + "; ".join(ways)
