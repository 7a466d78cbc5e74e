"""The one training loop: every method, every data set, every device."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pldebias.schemes import EpochEnd
from pldebias.training import checkpoints
from pldebias.training.evaluate import NotFinite, evaluate, labelled_prototypes, score, sweep
from pldebias.training.failures import TrainingError, kind
from pldebias.training.program import compute, step_program

if TYPE_CHECKING:
    from pathlib import Path

    from tqdm import tqdm

    from pldebias.runs import Recorder
    from pldebias.schemes import Step
    from pldebias.training.program import StepProgram
    from pldebias.training.state import TrainingState


def snapshot_epochs(epochs: int, count: int) -> list[int]:
    """About `count` log-spaced epochs (0-based), first and last among them, at which outputs are kept."""
    if count <= 0:
        return []
    return sorted({round(e) - 1 for e in np.geomspace(1, epochs, min(count, epochs))} | {epochs - 1})


def train_step(state: TrainingState) -> tuple[dict[str, Tensor], Step]:
    """One optimiser step as it is written, without a CUDA graph; returns what `compute` returns."""
    state.begin_step()
    result = compute(state, state.loader.next())
    state.end_step()
    return result


def train_epoch(program: StepProgram, bar: tqdm) -> dict[str, float]:
    """`steps_per_epoch` steps; returns the means of the loss terms, the mask rate and the learning rate."""
    state = program.state
    steps = state.config.steps_per_epoch
    program.renew()
    for _ in range(steps):
        program.step()
        bar.update()
    return {**program.means(steps), "lr": state.rate}


def diverged(state: TrainingState, folder: Path, what: str, step: int) -> TrainingError:
    """The error of a training that diverged in `step` (from 1): what was seen, at which learning rate, and what helps."""
    config = state.config
    start = max(state.done - 1, 0) // config.steps_per_epoch * config.steps_per_epoch
    saved = f"the last good checkpoint, of step {start}, is in {folder}" if start else "there is no earlier checkpoint"
    ways = [f"Lower lr (now {config.lr:g})", f"raise warmup (now {config.warmup} steps)"]
    if config.precision != "fp32":
        ways.append(f"use precision='fp32' (now {config.precision!r})")
    return TrainingError(
        f"{state.method.spelling} diverged: {what} in step {step}, at a learning rate of {state.rate_of(step - 1):.3g}; {saved}. "
        f"{', or '.join(ways)}; another lr or warmup is another run, which needs another out= or overwrite=True"
    )


def check_finite(means: dict[str, float], sound: int, state: TrainingState, folder: Path) -> None:
    """Stop at the end of the first epoch whose losses are not finite, of which `sound` steps were; its weights are never saved.

    The update of its last step is seen in the weights: no loss was computed after it.
    """
    wrong = [name for name, value in means.items() if not math.isfinite(value)]
    if wrong:
        what = f"{', '.join(wrong)} became {means[wrong[0]]}"
        raise diverged(state, folder, what, state.done - state.config.steps_per_epoch + sound + 1)
    if not state.is_finite():
        raise diverged(state, folder, "weights became NaN or infinite", state.done)


@contextmanager
def divergence_told(state: TrainingState, folder: Path) -> Iterator[None]:
    """An error that comes of weights or outputs that are not finite, wherever it was raised, is told as divergence; others pass."""
    try:
        yield
    except NotFinite as error:
        raise diverged(state, folder, str(error), state.done) from error
    except (ValueError, RuntimeError, ArithmeticError) as error:  # numpy's LinAlgError is a ValueError
        if isinstance(error, TrainingError) or kind(error) or state.is_finite():
            raise
        raise diverged(state, folder, "weights became NaN or infinite", state.done) from error


def assess(
    state: TrainingState, epoch: int, means: dict[str, float], requests: list[tuple[Tensor, Tensor]], snapshot: bool
) -> tuple[dict[str, float], dict[str, Any]]:
    """The end of an epoch: the method estimates, the network is evaluated; returns scalars and what else the recorder takes.

    What a method asks to have joined to the labelled set is appended to `requests`.
    """
    network, loader, method = state.evaluated, state.loader, state.method
    end = EpochEnd(epoch, state.done, lambda split: score(network, loader, split), lambda *extra: requests.append(extra), network)
    try:
        method.end_epoch(end)
    except ValueError as error:  # outputs from which nothing can be estimated
        losses = ", ".join(f"{name} {value:.3g}" for name, value in means.items() if name.startswith("loss/"))
        raise TrainingError(
            f"{method.spelling}, after step {state.done}: {error}. If its losses grew ({losses} now), lower lr (now {state.config.lr:g})"
        ) from error
    scalars, record = dict(means), {"series": method.series()}
    if method.predicts:
        test, measured = evaluate(network, method, loader)
        swept = sweep(network, method, loader, state.t)
        scalars |= measured
        record |= {"test": test, "sweep": (swept["label"], swept["accepted"])}
        if snapshot:
            prototypes = labelled_prototypes(network, loader, method.problem.num_classes)
            state_then = {**method.snapshot(), "labelled/prototypes": prototypes}
            record |= {"logits": swept["logits"], "features": swept["features"], "snapshot": state_then}
    return scalars, record


def fit(state: TrainingState, recorder: Recorder, folder: Path, bar: tqdm) -> None:
    """Train to the end, one recorded and checkpointed epoch after the other.

    Parameters
    ----------
    state : TrainingState
        Fresh, or restored from the checkpoint at which the recorder stands.
    recorder : Recorder
    folder : Path
        Where checkpoints go.
    bar : tqdm
        Progress bar that counts steps.
    """
    config = state.config
    keep = snapshot_epochs(config.epochs, config.snapshots)
    requests: list[tuple[Tensor, Tensor]] = []
    program = step_program(state, recorder)
    for epoch in range(state.done // config.steps_per_epoch, config.epochs):
        began = time.perf_counter()
        with divergence_told(state, folder):
            means = train_epoch(program, bar)
            check_finite(means, program.sound, state, folder)
            trained = time.perf_counter()
            scalars, record = assess(state, epoch, means, requests, snapshot=epoch in keep)
        scalars["images_per_second"] = config.steps_per_epoch * state.images_per_step / (trained - began)
        recorder.end_epoch(iteration=state.done, scalars={**scalars, "seconds": time.perf_counter() - began}, **record)
        if requests:
            state.new_generation(*requests.pop())
        checkpoints.save_behind(recorder, folder, state.state_dict())
        shown = {"mask": scalars.get("mask_rate"), "bal.acc": scalars.get("balanced_accuracy")}
        bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items() if value is not None})
