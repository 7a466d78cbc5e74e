"""The one training loop: every method, every data set, every device."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pldebias.schemes import EpochEnd
from pldebias.training import checkpoints
from pldebias.training.evaluate import evaluate, labelled_prototypes, score, sweep
from pldebias.training.failures import TrainingError
from pldebias.training.graph import StepProgram, compute

if TYPE_CHECKING:
    from pathlib import Path

    from tqdm import tqdm

    from pldebias.runs import Recorder
    from pldebias.schemes import Step
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


def _last_good(state: TrainingState, folder: Path) -> str:
    first = state.done - state.config.steps_per_epoch
    return f"the last good checkpoint, of step {first}, is in {folder}" if first else "there is no earlier checkpoint"


def check_finite(means: dict[str, float], sound: int, state: TrainingState, folder: Path) -> None:
    """Stop at the end of the first epoch whose losses are not finite, of which `sound` steps were; its weights are never saved."""
    wrong = [name for name, value in means.items() if not math.isfinite(value)]
    if wrong:
        step = state.done - state.config.steps_per_epoch + sound + 1
        raise TrainingError(
            f"{state.method.spelling}: {', '.join(wrong)} became {means[wrong[0]]} in step {step}; {_last_good(state, folder)}. "
            f"Lower lr (now {state.config.lr}) or use precision='fp32' (now {state.config.precision!r})"
        )


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
    config, method = state.config, state.method
    keep = snapshot_epochs(config.epochs, config.snapshots)
    requests: list[tuple[Tensor, Tensor]] = []
    program = StepProgram(state, recorder)
    for epoch in range(state.done // config.steps_per_epoch, config.epochs):
        began = time.perf_counter()
        means = train_epoch(program, bar)
        check_finite(means, program.sound, state, folder)
        trained = time.perf_counter()
        network, loader = state.evaluated, state.loader
        end = EpochEnd(epoch, state.done, lambda split: score(network, loader, split), lambda *extra: requests.append(extra), network)  # noqa: B023
        try:
            method.end_epoch(end)
        except ValueError as error:  # outputs from which nothing can be estimated
            raise TrainingError(f"{method.spelling}, after step {state.done}: {error}; {_last_good(state, folder)}") from error
        scalars = {**means, "images_per_second": config.steps_per_epoch * state.images_per_step / (trained - began)}
        record: dict[str, Any] = {"series": method.series()}
        if method.predicts:
            test, measured = evaluate(network, method, loader)
            swept = sweep(network, method, loader, state.t)
            scalars |= measured
            record |= {"test": test, "sweep": (swept["label"], swept["accepted"])}
            if epoch in keep:
                prototypes = labelled_prototypes(network, loader, method.problem.num_classes)
                state_then = {**method.snapshot(), "labelled/prototypes": prototypes}
                record |= {"logits": swept["logits"], "features": swept["features"], "snapshot": state_then}
        recorder.end_epoch(iteration=state.done, scalars={**scalars, "seconds": time.perf_counter() - began}, **record)
        if requests:
            state.new_generation(*requests.pop())
        checkpoints.save_behind(recorder, folder, state.state_dict())
        shown = {"mask": scalars.get("mask_rate"), "bal.acc": scalars.get("balanced_accuracy")}
        bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items() if value is not None})
