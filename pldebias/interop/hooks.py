"""What the callbacks for other people's training loops share."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from pldebias.runs.recorder import Recorder
from pldebias.runs.schema import is_scalar

_MORE = tuple(inspect.signature(Recorder.end_epoch).parameters)[1:]


def numbers(values: dict) -> dict[str, float]:
    """Those entries that are single numbers; names of columns that every record has are put under ``logged/``."""
    found = {}
    for name, value in values.items():
        if getattr(value, "ndim", 0) == 0 and not isinstance(value, str | bool):
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            found[name if is_scalar(name) else f"logged/{name}"] = number
    return found


def begin(recorder: Recorder, epoch: int) -> None:
    """Have the record go on at the epoch at which the training goes on."""
    if epoch < recorder.end:
        warn(
            f"the training goes on at epoch {epoch}, so the recorded epochs {epoch}..{recorder.end - 1} are replaced; "
            "to go on behind them, start it from their checkpoint"
        )
    if epoch > recorder.end:
        warn(f"the training goes on at epoch {epoch}, so the epochs {recorder.end}..{epoch - 1} are missing from the record")
    if epoch != recorder.epoch:
        recorder.rewind(epoch)


def end(recorder: Recorder, iteration: int, logged: dict, more: dict | None, counted: int, steps: int) -> None:
    """Close an epoch, of which `counted` of `steps` steps were recorded."""
    wrong = [name for name in more if name not in _MORE] if isinstance(more, Mapping) else more and [type(more)]
    if wrong:
        raise ValueError(f"epoch_end must return a dict of arguments of Recorder.end_epoch ({', '.join(_MORE)}); got {wrong[0]!r}")
    more = {"iteration": iteration, **(more or {})}
    scalars = {**numbers(logged), **more.pop("scalars", {})}
    if counted < steps:
        warn(f"epoch {recorder.epoch}: {counted} of {steps} steps were recorded, so its visits are those of a part of it")
        scalars["recorded_steps"] = counted
    recorder.end_epoch(scalars=scalars, **more)


def check(recorder, epoch_end) -> None:
    """Refuse what is no open recorder or no function."""
    if not isinstance(recorder, Recorder):
        raise ValueError(f"recorder must be a pldebias.Recorder; got {type(recorder).__name__}")
    if recorder.closed:
        raise ValueError(f"the recorder of {recorder.path} is closed; open another with resume=True")
    if epoch_end is not None and not callable(epoch_end):
        raise ValueError(f"epoch_end must be a function; got {type(epoch_end).__name__}")


def warn(message: str) -> None:
    """Warn at the line that called the caller."""
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def tap(hook, method: str, told: Callable[[Any], None]) -> None:
    """Have `told` hear what a method of a hook returns."""
    original = getattr(hook, method)

    @functools.wraps(original)
    def tapped(*args, **kwargs):
        result = original(*args, **kwargs)
        told(result)
        return result

    setattr(hook, method, tapped)
