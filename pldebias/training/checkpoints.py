"""Checkpoints: two are kept, written whole or not at all, and loaded without running anybody's code."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pldebias._background import Handover
from pldebias._files import ENDING, whole
from pldebias.paths import replace
from pldebias.runs.disk import explained

if TYPE_CHECKING:
    from pldebias.runs import Recorder

NAMES = ("last.pt", "previous.pt")


def folder_of(run: Path) -> Path:
    """Where the checkpoints of a run lie: beside it, as its directory is a Zarr group; in it, if 0.1 began the run."""
    inside = run / "checkpoints"
    return inside if inside.is_dir() else run.with_name(f"{run.name}.checkpoints")


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, containers of them) as the last checkpoint; the one before it is kept.

    Raises
    ------
    RunError
        The disk is full or refuses; both older checkpoints are as they were.
    """
    with explained("write a checkpoint in", folder):
        folder.mkdir(parents=True, exist_ok=True)
        last, previous = (folder / name for name in NAMES)
        for left in folder.glob(f"*{ENDING}"):  # by a training that was killed; half a checkpoint only fills the disk
            left.unlink(missing_ok=True)
        with whole(last) as partial:
            with partial.open("wb") as file:
                try:
                    torch.save(state, file)
                except RuntimeError as error:  # what torch makes of a write that failed
                    raise OSError(str(error)) from error
                file.flush()
                os.fsync(file.fileno())
            if last.exists():
                replace(last, previous)


def save_behind(recorder: Recorder, folder: Path, state: dict[str, Any]) -> None:
    """Save what `state` holds now, in the recorder's thread and behind all that was recorded, which a checkpoint must never be ahead of."""
    hand = Handover()
    kept = hand.keep_all(state)
    hand.seal()

    def work() -> None:
        hand.wait()
        save(folder, kept)

    recorder.then(work)


def readable(folder: Path) -> Iterator[dict[str, Any]]:
    """The readable checkpoints on the CPU, newest first; a damaged one is said and passed over."""
    for path in (folder / name for name in NAMES):
        if not path.is_file():
            continue
        try:
            state = _read(path)
        except Exception as error:  # torch raises many kinds for a damaged file
            what = str(error).partition("\n")[0][:200]
            warnings.warn(f"checkpoint {path} cannot be read ({what}); trying the one before it", RuntimeWarning, stacklevel=2)
        else:
            yield state


def load(folder: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint on the CPU, or None."""
    return next(readable(folder), None)


def steps(folder: Path) -> int | None:
    """Optimiser steps of the newest checkpoint; None if there is none or it cannot be read."""
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    try:
        return None if path is None else _read(path)["done"]
    except Exception:  # as in `readable`, which says it
        return None


def _read(path: Path) -> dict[str, Any]:
    _check(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not isinstance(state.get("done"), int):
        raise ValueError("it holds no training")
    return state


def _check(path: Path) -> None:
    """Refuse what torch never writes: an archive that unpacks to more than its own size."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(e.file_size for e in entries) > path.stat().st_size:
        raise ValueError("it is packed in a way that torch.save does not use")
