"""A hook that records a training of USB and of its forks."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from pldebias.interop.hooks import begin, check, end, tap, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from pldebias.runs.recorder import Recorder

__all__ = ["usb_hook"]


def _usb_base() -> type:
    """USB's base class of hooks; ``register_hook`` takes nothing else."""
    try:
        return importlib.import_module("semilearn.core.hooks").Hook  # the caller's own package, no dependency of this one
    except ImportError as error:
        raise ImportError("the hook needs USB or a fork of it, the package semilearn; call it where that is installed") from error


def usb_hook(recorder: Recorder, *, epoch_end: Callable[[Any], dict] | None = None):
    """Record a training of USB (microsoft/Semi-supervised-learning) and of its forks.

    Register it before ``algorithm.train()``::

        algorithm.register_hook(usb_hook(recorder), "RecorderHook", "LOWEST")

    Parameters
    ----------
    recorder : Recorder
        Is closed after the run. Its samples are numbered as those of ``dataset_dict["train_ulb"]``.
    epoch_end : callable, optional
        ``epoch_end(algorithm)`` gives more to `Recorder.end_epoch` as a dict: ``sweep``, ``test`` ... Its ``scalars`` come before
        those of the algorithm.

    Returns
    -------
    semilearn.core.hooks.Hook

    Raises
    ------
    ImportError
        The package ``semilearn`` is not installed.
    ValueError
        During training: the algorithm has no hooks to listen to, the batches have no ``idx_ulb``, or several processes train.

    Notes
    -----
    USB computes labels and masks inside ``train_step`` and keeps neither, so the hook listens to the two hooks that make them
    (``PseudoLabelingHook.gen_ulb_targets``, ``MaskingHook.masking``) and takes ``idx_ulb`` from the batch. Where a step asks them twice
    (DeFixMatch asks again for the labelled images), the first answer is that of the unlabelled ones. Soft targets count as their largest
    class; a weight of at least one half counts as accepted. Algorithms that use neither hook (MixMatch, Mean Teacher) cannot be recorded
    this way. A training that goes on from an earlier checkpoint rewinds the recorder to its epoch, with a warning.
    """
    base = _usb_base()
    check(recorder, epoch_end)

    class RecorderHook(base):
        def __init__(self):
            super().__init__()
            self._index = self._label = self._mask = None
            self._heard = self._steps = self._before = self._last = 0
            self._begun = False

        def _hear(self, name: str, value) -> None:
            if getattr(self, name) is None:
                setattr(self, name, value)

        def before_run(self, algorithm) -> None:
            if self._begun:  # CReST calls it once a generation
                return
            self._begun = True
            if getattr(algorithm, "distributed", False) and algorithm.world_size > 1:
                raise ValueError(
                    f"recording works in one process; this algorithm has {algorithm.world_size}. Gather the labels and record on rank 0"
                )
            for name, method, keep in (("PseudoLabelingHook", "gen_ulb_targets", "_label"), ("MaskingHook", "masking", "_mask")):
                if name not in algorithm.hooks_dict:
                    raise ValueError(
                        f"{type(algorithm).__name__} has no {name}, so its pseudo-labels cannot be heard; call recorder.update in its step"
                    )
                tap(algorithm.hooks_dict[name], method, functools.partial(self._hear, keep))
            process = algorithm.process_batch

            def process_batch(*args, **batch):
                self._hear("_index", batch.get("idx_ulb"))
                return process(*args, **batch)

            algorithm.process_batch = process_batch
            begin(recorder, getattr(algorithm, "start_epoch", 0))

        def before_train_step(self, algorithm) -> None:
            self._index = self._label = self._mask = None

        def after_train_step(self, algorithm) -> None:
            self._steps += 1
            if self._index is None:
                raise ValueError("the batch has no idx_ulb; USB's unlabelled data sets give it, so a custom one must too")
            if self._label is not None and self._mask is not None:
                label = self._label.argmax(1) if self._label.ndim == 2 else self._label
                recorder.update(self._index.to(label.device, non_blocking=True), label, self._mask >= 0.5)
                self._heard += 1

        def after_train_epoch(self, algorithm) -> None:
            if not self._heard:
                warn(
                    f"{type(algorithm).__name__} made no pseudo-labels in epoch {recorder.epoch} through its hooks, so none are recorded; "
                    "if it makes them elsewhere, call recorder.update in its step"
                )
            more = epoch_end(algorithm) if epoch_end else None
            loaders = getattr(algorithm, "loader_dict", {})
            lengths = [len(loaders[name]) for name in ("train_lb", "train_ulb") if hasattr(loaders.get(name), "__len__")]
            if algorithm.it < self._last:  # CReST counts anew in every generation
                self._before += self._last
            self._last = algorithm.it
            steps = min(lengths, default=self._steps)
            end(recorder, self._before + algorithm.it, getattr(algorithm, "log_dict", {}), more, self._steps, steps)
            self._heard = self._steps = 0

        def after_run(self, algorithm) -> None:
            recorder.close()

    return RecorderHook()
