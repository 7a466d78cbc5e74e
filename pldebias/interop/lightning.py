"""A callback that records a Lightning training. Any other loop calls `Recorder` itself."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from pldebias.interop.hooks import begin, check, end, tap, warn
from pldebias.optional import needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pldebias.runs.recorder import Recorder

__all__ = ["lightning_callback"]


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
    check(recorder, epoch_end)
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
            begin(recorder, trainer.current_epoch)
            if pl_module is not None:  # what is logged in its own hook, which comes after ours, belongs to the epoch, too
                self._module = pl_module
                tap(pl_module, "on_train_epoch_end", lambda _: self._close_epoch(trainer, pl_module))

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
                warn(f"no step of epoch {recorder.epoch} returned {key!r}, so it is recorded without visits")
            more = epoch_end(trainer, pl_module) if epoch_end else None
            batches = getattr(trainer, "num_training_batches", math.inf)
            steps = batches if batches < math.inf else self._steps + (self._first or 0)
            logged = {name: value for name, value in trainer.callback_metrics.items() if value is not self._old.get(name)}
            end(recorder, trainer.global_step, logged, more, self._steps, steps)
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
