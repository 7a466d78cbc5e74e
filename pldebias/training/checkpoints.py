"""Checkpoints: two are kept, written whole or not at all, and loaded without running anybody's code."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

_NAMES = ("last.pt", "previous.pt")


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, containers of them) as the last checkpoint; the one before it is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    last, previous = (folder / name for name in _NAMES)
    part = folder / "writing.part"
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    if last.exists():
        os.replace(last, previous)
    os.replace(part, last)


def load(folder: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint on the CPU, or None; a damaged one is said and passed over."""
    for path in (folder / name for name in _NAMES):
        if not path.exists():
            continue
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            warnings.warn(f"checkpoint {path} cannot be read ({error}); trying the one before it", RuntimeWarning, stacklevel=2)
    return None
