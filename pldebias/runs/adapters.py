"""The recorder inside other people's loops: a callback for Lightning and a hook for USB. Any other loop calls `Recorder` itself.

Both hand device tensors over and wait for nothing. Neither package is imported until asked for.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pldebias.optional import needed
from pldebias.runs.checks import is_scalar
from pldebias.runs.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["lightning_callback", "usb_hook"]

_MORE = tuple(inspect.signature(Recorder.end_epoch).parameters)[1:]


def _numbers(values: dict) -> dict[str, float]:
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


def _begin(recorder: Recorder, epoch: int) -> None:
    """Have the record go on at the epoch at which the training goes on."""
    if epoch < recorder.end:
        _warn(
            f"the training goes on at epoch {epoch}, so the recorded epochs {epoch}..{recorder.end - 1} are replaced; "
            "to go on behind them, start it from their checkpoint"
        )
    if epoch > recorder.end:
        _warn(f"the training goes on at epoch {epoch}, so the epochs {recorder.end}..{epoch - 1} are missing from the record")
    if epoch != recorder.epoch:
        recorder.rewind(epoch)


def _end(recorder: Recorder, iteration: int, logged: dict, more: dict | None, counted: int, steps: int) -> None:
    """Close an epoch, of which `counted` of `steps` steps were recorded."""
    wrong = [name for name in more if name not in _MORE] if isinstance(more, Mapping) else more and [type(more)]
    if wrong:
        raise ValueError(f"epoch_end must return a dict of arguments of Recorder.end_epoch ({', '.join(_MORE)}); got {wrong[0]!r}")
    more = {"iteration": iteration, **(more or {})}
    scalars = {**_numbers(logged), **more.pop("scalars", {})}
    if counted < steps:
        _warn(f"epoch {recorder.epoch}: {counted} of {steps} steps were recorded, so its visits are those of a part of it")
        scalars["recorded_steps"] = counted
    recorder.end_epoch(scalars=scalars, **more)


def _check(recorder, epoch_end) -> None:
    if not isinstance(recorder, Recorder):
        raise ValueError(f"recorder must be a pldebias.Recorder; got {type(recorder).__name__}")
    if recorder.closed:
        raise ValueError(f"the recorder of {recorder.path} is closed; open another with resume=True")
    if epoch_end is not None and not callable(epoch_end):
        raise ValueError(f"epoch_end must be a function; got {type(epoch_end).__name__}")


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def _callbacks() -> tuple[type, ...]:
    """Callback classes of the Lightning that is in use; both names of the package may be."""
    loaded = [name for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules]
    if not loaded:
        needed("the callback of Lightning", "loggers", "lightning.pytorch")
        loaded = ["lightning.pytorch"]
    return tuple(sys.modules[name].Callback for name in loaded)


def lightning_callback(recorder: Recorder, *, key: str = "pseudo_labels", epoch_end: Callable[[Any, Any], dict] | None = None):
    """Record a Lightning training.

    Three lines: the training step returns ``{"loss": loss, "pseudo_labels": (index, label, accepted)}``, and the callback goes to the
    trainer::

        recorder = pld.Recorder("runs/mine", true_labels, labelled_counts, class_names)
        trainer = lightning.Trainer(callbacks=[lightning_callback(recorder)])

    Parameters
    ----------
    recorder : Recorder
        Is closed at the end of ``fit``; after an exception it stays unfinished and can be resumed.
    key : str
        Name of the triple in what ``training_step`` returns: positions in the unlabelled set ``[M]``, labels ``[M]``, accepted ``[M]``.
    epoch_end : callable, optional
        ``epoch_end(trainer, module)`` gives more to `Recorder.end_epoch` as a dict: ``sweep``, ``test``, ``logits``, ``series`` ... Its
        ``scalars`` come before logged ones of the same name.

    Returns
    -------
    lightning.pytorch.Callback (or pytorch_lightning.Callback, whichever is in use)

    Raises
    ------
    ImportError
        Lightning is not installed.
    ValueError
        An argument is of another type, or the recorder closed. During training: a step without the triple, or more than one process (each
        would record a part only).

    Warns
    -----
    RuntimeWarning
        The training goes on at an epoch beyond the record or replaces recorded epochs, no step of an epoch returned the triple, or only a
        part of the epoch was recorded: it was stopped, or goes on in its middle from a checkpoint that was saved without this callback.
        The scalar ``recorded_steps`` then says how many steps were.

    Notes
    -----
    Metrics that were logged with ``self.log``, in the module's ``on_train_epoch_end`` too, and are single numbers become scalars of the
    epoch; they are read once an epoch. One named ``epoch`` or ``iteration`` becomes ``logged/epoch`` or ``logged/iteration``.
    A step for which ``training_step`` returns None is passed over. Checkpoints hold the counts of an epoch that is not over.
    A training that goes on from an earlier checkpoint rewinds the recorder to its epoch, with a warning.
    """
    bases = _callbacks()
    _check(recorder, epoch_end)
    if not isinstance(key, str):
        raise ValueError(f"key must be a text; got {key!r}")

    class RecorderCallback(*bases):
        def __init__(self):
            super().__init__()
            self._saved: dict = {}
            self._steps = self._heard = 0
            self._first: int | None = None  # batch of the epoch that was trained on first
            self._module = None
            self._old: dict = {}  # metrics of earlier epochs, which Lightning keeps

        @property
        def state_key(self) -> str:  # several recorders may be in one training
            return f"pldebias.Recorder {recorder.path.parent.name}/{recorder.path.name}"

        def state_dict(self) -> dict:
            if recorder.closed:
                return {}
            recorder.flush()  # the record reaches as far as the checkpoint
            return {**recorder.state_dict(), "steps": self._steps, "heard": self._heard}

        def load_state_dict(self, state_dict: dict) -> None:
            self._saved = state_dict

        def on_fit_start(self, trainer, pl_module) -> None:
            if trainer.world_size > 1:
                raise ValueError(
                    f"recording works in one process; this trainer has {trainer.world_size}. Gather the labels and record on rank 0"
                )

        def on_train_start(self, trainer, pl_module) -> None:
            _begin(recorder, trainer.current_epoch)
            if pl_module is not None:  # what is logged in its own hook, which comes after ours, belongs to the epoch, too
                self._module = pl_module
                _tap(pl_module, "on_train_epoch_end", lambda _: self._close_epoch(trainer, pl_module))

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if self._first is None:
                self._first, self._old = batch_idx, dict(trainer.callback_metrics)
                if batch_idx and (self._saved.get("epoch"), self._saved.get("steps")) == (recorder.epoch, batch_idx):
                    recorder.load_state_dict(self._saved)
                    self._first, self._steps, self._heard = 0, batch_idx, self._saved["heard"]

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            self._steps += 1
            if outputs is None or (isinstance(outputs, dict) and not outputs):  # training_step returned None
                return
            triple = outputs.get(key) if isinstance(outputs, dict) else None
            if not isinstance(triple, tuple | list) or len(triple) != 3:
                given = ", ".join(map(str, outputs)) if isinstance(outputs, dict) else type(outputs).__name__
                raise ValueError(f"training_step must return a dict with 'loss' and {key!r}: (index, label, accepted); it returned {given}")
            recorder.update(*triple)
            self._heard += 1

        def on_train_epoch_end(self, trainer, pl_module) -> None:
            if self._module is None:
                self._close_epoch(trainer, pl_module)

        def _close_epoch(self, trainer, pl_module) -> None:
            if self._steps and not self._heard:
                _warn(f"no step of epoch {recorder.epoch} returned {key!r}, so it is recorded without visits")
            more = epoch_end(trainer, pl_module) if epoch_end else None
            batches = getattr(trainer, "num_training_batches", math.inf)
            steps = batches if batches < math.inf else self._steps + (self._first or 0)
            logged = {name: value for name, value in trainer.callback_metrics.items() if value is not self._old.get(name)}
            _end(recorder, trainer.global_step, logged, more, self._steps, steps)
            self._steps = self._heard = 0
            self._first = None

        def _let_go(self) -> None:
            if self._module is not None:
                vars(self._module).pop("on_train_epoch_end", None)
                self._module = None

        def on_fit_end(self, trainer, pl_module) -> None:
            self._let_go()
            recorder.close()

        def on_exception(self, trainer, pl_module, exception) -> None:
            self._let_go()
            recorder.__exit__(type(exception), exception, exception.__traceback__)

    return RecorderCallback()


def _tap(hook, method: str, told: Callable[[Any], None]) -> None:
    """Have `told` hear what a method of a hook returns."""
    original = getattr(hook, method)

    @functools.wraps(original)
    def tapped(*args, **kwargs):
        result = original(*args, **kwargs)
        told(result)
        return result

    setattr(hook, method, tapped)


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
    _check(recorder, epoch_end)

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
                _tap(algorithm.hooks_dict[name], method, functools.partial(self._hear, keep))
            process = algorithm.process_batch

            def process_batch(*args, **batch):
                self._hear("_index", batch.get("idx_ulb"))
                return process(*args, **batch)

            algorithm.process_batch = process_batch
            _begin(recorder, getattr(algorithm, "start_epoch", 0))

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
                _warn(
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
            _end(recorder, self._before + algorithm.it, getattr(algorithm, "log_dict", {}), more, self._steps, steps)
            self._heard = self._steps = 0

        def after_run(self, algorithm) -> None:
            recorder.close()

    return RecorderHook()
