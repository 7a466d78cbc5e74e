"""The optimiser step as one program of the device: run as it is written, or captured once as a CUDA graph and replayed.

Everything that changes from step to step lies in tensors that stay where they are: positions of the batch, learning rate, weight of the
teacher's update, step counter, generators, counters, sums of losses. The host fills the first three and starts the program; it reads
nothing. On a CPU the very same program runs operation by operation.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pldebias.presets import ConfigError
from pldebias.training.failures import kind

if TYPE_CHECKING:
    from pldebias.data import Batch
    from pldebias.methods import Method
    from pldebias.presets import Config
    from pldebias.runs import Recorder
    from pldebias.schemes import Step
    from pldebias.training.state import TrainingState

WARMUP = 3
"""Steps, real ones, that run on a side stream before the capture: optimiser state, constants and cuDNN's choices are made in them."""


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
    sum(losses.values()).backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.ema.move()
    state.t += 1
    return losses, step


def refusal(config: Config, method: Method, device: torch.device) -> str | None:
    """Why the step will not be captured as a CUDA graph, or None if it will.

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


def signature(state: TrainingState) -> tuple[Any, ...]:
    """What a captured step has fixed: where tensors lie, and the plain values of modules that its Python code may have branched on."""
    seen: list[Any] = [id(state.loader), id(state.loader.generator), id(state.generator)]
    for root in (state.student, state.ema.teacher, state.method):
        for path, module in root.named_modules():
            tensors = {**module._parameters, **module._buffers}
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    tensors[name] = value
                elif isinstance(value, bool | int | float | str | tuple) and (name != "training" or root is not state.ema.teacher):
                    seen.append((path, name, value))
            seen.extend((path, name, value.data_ptr()) for name, value in tensors.items() if value is not None)
    return tuple(seen)


def register(graph: torch.cuda.CUDAGraph, *generators: torch.Generator) -> None:
    """Let a graph that is captured next draw from these generators, where torch does not find out by itself (before 2.13)."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13):
        for generator in generators:
            graph.register_generator_state(generator)


class StepProgram:
    """Steps of one training.

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
        self._graph: torch.cuda.CUDAGraph | None = None
        self._fixed: tuple[Any, ...] = ()
        self._warm = 0
        self._untried = state.config.compile
        self._side = None if self.refusal else torch.cuda.Stream(state.device)

    @property
    def captured(self) -> bool:
        """Whether the next step is a replay."""
        return self._graph is not None

    def step(self) -> None:
        """One optimiser step on the next batch; its losses and mask rate are added up on the device."""
        state = self.state
        state.begin_step()
        self._feed(state.loader.draw())
        if self.refusal is not None:
            self._run()
        elif self._graph is not None:
            self._graph.replay()
        elif self._warm < WARMUP:
            self._warm_up()
        else:
            self._capture()
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
        """Capture anew if work between steps has moved a tensor or changed a setting; call after such work."""
        if self._graph is not None and signature(self.state) != self._fixed:
            self._graph.reset()
            self._graph, self._warm = None, 0

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
        torch._foreach_add_([self._totals[name] for name in seen], list(seen.values()))
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

    def _warm_up(self) -> None:
        current = torch.cuda.current_stream(self.state.device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            self._run()
        current.wait_stream(self._side)
        self._warm += 1

    def _capture(self) -> None:
        """Capture this step, then run it by replaying."""
        state = self.state
        generators = (state.generator, state.loader.generator)
        drawn = [generator.get_state() for generator in generators]
        self._fixed = signature(state)
        graph: torch.cuda.CUDAGraph | None = torch.cuda.CUDAGraph()
        register(graph, *generators)
        current, reason = torch.cuda.current_stream(state.device), None
        try:
            # Other threads (the writer, the one that pins batches) may go on using the device meanwhile.
            with torch.cuda.graph(graph, stream=self._side, capture_error_mode="thread_local"):
                self._run()
        except RuntimeError as error:
            first = _first(error)
            if kind(first) == "device" and "captur" not in str(first):
                raise
            reason = str(first).partition("\n")[0]
        if reason is None:
            self._graph = graph
            graph.replay()
        else:  # outside the handler, whose traceback holds what the half-captured step had made
            graph = None
            torch.cuda.set_stream(current)
            torch.cuda.empty_cache()
            self._give_up(reason, drawn)

    def _give_up(self, reason: str, drawn: list[Tensor]) -> None:
        """Go on step by step after a capture that failed: nothing of it was executed, but generators were left half-way."""
        state = self.state
        if state.config.graph is True:
            raise ConfigError(f"graph=True: the step of {state.method.spelling} could not be captured ({reason}); use graph=False")
        self.refusal = f"it could not be captured ({reason})"
        warnings.warn(f"{state.method.spelling}: the step runs without a CUDA graph, {self.refusal}", RuntimeWarning, stacklevel=4)
        state.optimizer.zero_grad()
        state.generator, state.loader.generator = (torch.Generator(state.device) for _ in drawn)
        for generator, kept in zip((state.generator, state.loader.generator), drawn, strict=True):
            generator.set_state(kept)
        self._run()


def _first(error: BaseException) -> BaseException:
    """What was raised before the error that the end of a broken capture raises over it."""
    while error.__context__ is not None:
        error = error.__context__
    return error
