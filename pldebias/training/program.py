"""The optimiser step as one program of the device.

Everything that changes from step to step lies in tensors that stay where they are: positions of the batch, learning rate, weight of the
teacher's update, step counter, generators, counters, sums of losses. The host fills the first three and starts the program; it reads
nothing. `StepProgram` runs it operation by operation; on a GPU `pldebias.gpu.graph` captures and replays it.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from pldebias.presets import ConfigError

if TYPE_CHECKING:
    from pldebias.data import Batch
    from pldebias.methods import Method
    from pldebias.presets import Config
    from pldebias.runs import Recorder
    from pldebias.schemes import Step
    from pldebias.training.state import TrainingState


def compute(state: TrainingState, batch: Batch) -> tuple[dict[str, Tensor], Step]:
    """The device's part of one optimiser step, after `TrainingState.begin_step`; nothing in it waits for the device.

    Returns
    -------
    losses : dict
        Weighted loss terms by name.
    step : Step
        What was pseudo-labelled.
    """
    losses, step = state.method.losses(state.models, batch, state.t, state.generator)
    cast("Tensor", sum(losses.values())).backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.ema.move()
    state.t += 1
    return losses, step


def refusal(config: Config, method: Method, device: torch.device) -> str | None:
    """Return why the step will not be captured as a CUDA graph, or None if it will.

    Raises
    ------
    ConfigError
        ``graph=True`` asks for what cannot be.
    """
    reasons = [f"{part.name}: {part.uncapturable}" for part in method.parts if part.uncapturable]
    if device.type != "cuda":
        reasons.insert(0, f"it runs on the device {device.type!r}, which has none")
    if config.graph is True and reasons:
        raise ConfigError(f"graph=True: the step of {method.spelling} cannot be a CUDA graph ({'; '.join(reasons)}); use graph='auto'")
    return "graph=False" if config.graph is False else "; ".join(reasons) or None


def step_program(state: TrainingState, recorder: Recorder | None = None) -> StepProgram:
    """Return the steps of a training, replayed from a CUDA graph where they can be."""
    if refusal(state.config, state.method, state.device) is not None:
        return StepProgram(state, recorder)
    from pldebias.gpu.graph import GraphProgram

    return GraphProgram(state, recorder)


class StepProgram:
    """Steps of one training, each run operation by operation.

    Parameters
    ----------
    state : TrainingState
    recorder : Recorder, optional
        Counts the pseudo-labels of every step.

    Attributes
    ----------
    refusal : str or None
        Why steps are not replayed from a CUDA graph; None if they are.
    sound : int
        Steps with finite losses before the first other one, between the last two calls of `means`.
    """

    def __init__(self, state: TrainingState, recorder: Recorder | None = None):
        self.state, self.recorder = state, recorder
        self.refusal = refusal(state.config, state.method, state.device)
        self.inputs: tuple[Tensor, ...] = ()
        self._totals: dict[str, Tensor] = {}
        self.sound, self._sound = 0, torch.zeros((), device=state.device)
        self._untried = state.config.compile

    def step(self) -> None:
        """One optimiser step on the next batch; its losses and mask rate are added up on the device."""
        state = self.state
        state.begin_step()
        self._feed(state.loader.draw())
        self._start()
        state.loader.ahead()
        if state.end_step():
            self.renew()

    def means(self, steps: int) -> dict[str, float]:
        """Sums since the last call over `steps`; waits for the device."""
        if not self._totals:
            return {}
        sums = [*self._totals.values(), self._sound]
        *values, sound = torch.stack([total.double() for total in sums]).tolist()
        for total in sums:
            total.zero_()
        self.sound = int(sound)
        return {name: value / steps for name, value in zip(self._totals, values, strict=True)}

    def renew(self) -> None:
        """Take note of work between steps that may have moved a tensor or changed a setting; call after such work."""

    def _start(self) -> None:
        self._run()

    def _feed(self, drawn: tuple[Tensor, ...]) -> None:
        if not self.inputs:
            self.inputs = tuple(torch.empty_like(t) for t in drawn)
        for kept, new in zip(self.inputs, drawn, strict=True):
            kept.copy_(new, non_blocking=True)

    def _run(self) -> None:
        if self._untried:
            self._try()
        else:
            self._work()

    def _work(self) -> None:
        losses, step = compute(self.state, self.state.loader.make(*self.inputs))
        seen = {f"loss/{name}": value.detach() for name, value in losses.items()}
        if step.label is not None:
            if self.recorder is not None:
                self.recorder.update(step.index, step.label, step.mask)
            seen["mask_rate"] = step.mask.mean()
        for name, value in seen.items():
            if name not in self._totals:
                self._totals[name] = torch.zeros_like(value)
        torch._foreach_add_([self._totals[name] for name in seen], list(seen.values()))  # pyright: ignore[reportPrivateImportUsage]
        self._sound.add_(torch.stack([total for name, total in self._totals.items() if name != "mask_rate"]).sum().isfinite())

    def _try(self) -> None:
        """The first step of a compiled network; where it fails, it is undone, and taken with the network as it is written."""
        state, self._untried = self.state, False
        before, reason = copy.deepcopy(state.state_dict()), None
        try:
            self._work()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of Dynamo, Inductor, Triton or a C++ compiler, which have no class in common
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1])  # "backend='inductor' raised:" says nothing yet
        if reason is not None:  # outside the handler, whose traceback holds what the failed step had made
            state.config = replace(state.config, compile=False)
            state.student.compiled = None
            state.optimizer.zero_grad()
            state.load_state_dict(before)
            self._work()  # an error that is not the compiler's comes again
            warnings.warn(
                f"{state.method.spelling}: torch.compile failed ({reason}); the network runs as it is written, as with compile=False",
                RuntimeWarning,
                stacklevel=4,
            )
