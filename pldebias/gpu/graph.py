"""The step captured once as a CUDA graph and replayed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pldebias.presets import ConfigError
from pldebias.training.failures import kind
from pldebias.training.program import StepProgram

if TYPE_CHECKING:
    from pldebias.runs import Recorder
    from pldebias.training.state import TrainingState

WARMUP = 3
"""Steps, real ones, that run on a side stream before the capture: optimiser state, constants and cuDNN's choices are made in them."""


def signature(state: TrainingState) -> tuple[Any, ...]:
    """Values that a captured step has fixed: addresses of tensors, and plain values of modules on which its code may have branched."""
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


class GraphProgram(StepProgram):
    """Steps of one training, replayed from a CUDA graph after `WARMUP` steps; parameters and attributes as of `StepProgram`.

    A step that cannot be captured runs operation by operation, which a warning and `refusal` say.
    """

    def __init__(self, state: TrainingState, recorder: Recorder | None = None):
        super().__init__(state, recorder)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._fixed: tuple[Any, ...] = ()
        self._warm = 0
        self._side = torch.cuda.Stream(state.device)

    @property
    def captured(self) -> bool:
        """True if the next step is a replay."""
        return self._graph is not None

    def renew(self) -> None:
        """Capture anew if work between steps has moved a tensor or changed a setting; call after such work."""
        if self._graph is not None and signature(self.state) != self._fixed:
            self._graph.reset()
            self._graph, self._warm = None, 0

    def _start(self) -> None:
        if self.refusal is not None:
            self._run()
        elif self._graph is not None:
            self._graph.replay()
        elif self._warm < WARMUP:
            self._warm_up()
        else:
            self._capture()

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
    """Return the exception before the error that the end of a broken capture raises over it."""
    while error.__context__ is not None:
        error = error.__context__
    return error
