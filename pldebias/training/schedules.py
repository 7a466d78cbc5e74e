"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from pldebias.presets import SCHEDULES


def lr_factor(
    step: int, total: int, schedule: str = "constant", warmup: int = 0, milestones: Sequence[int] = (), decay: float = 0.01
) -> float:
    """Factor on the base learning rate of one step.

    Parameters
    ----------
    step : int
        0-based optimiser step.
    total : int
        Length of the training in steps (``cosine`` alone uses it, and keeps its last value in steps beyond).
    schedule : {"constant", "cosine", "steps"}
        ``cosine`` is FixMatch's ``cos(7 pi t / 16 T)``; ``steps`` multiplies by `decay` at each milestone.
    warmup : int, default 0
        Steps over which the rate rises linearly from zero; it multiplies the schedule.
    milestones : sequence of int
        Steps of ``steps``, ascending.
    decay : float, default 0.01

    Raises
    ------
    ValueError
        If the schedule is not known.
    """
    warm = min(step / warmup, 1.0) if warmup else 1.0
    if schedule == "constant":
        return warm
    if schedule == "cosine":
        return warm * math.cos(7 * math.pi * min(step, total) / (16 * max(total, 1)))  # a generation goes on to the end of its epoch
    if schedule == "steps":
        return warm * decay ** bisect_right(milestones, step)
    raise ValueError(f"schedule {schedule!r} is not known; choose one of {', '.join(SCHEDULES)}")
