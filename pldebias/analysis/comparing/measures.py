"""Named numbers of a run, for tables and figures: each says what it is called, which way is better and how it is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pldebias import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from pldebias.runs import Run

__all__ = ["GROUPS", "Measure", "expand", "measure", "names", "shadowed", "statistic", "window"]

GROUPS = ("head", "medium", "tail")


class Measure(NamedTuple):
    """A number that every epoch of a run has.

    Attributes
    ----------
    name : str
    family, label : str
        Heading and sub-heading, such as "test recall" and "tail".
    scale : float
        100 where the value is a share that is told in percent.
    best : int
        1 if more is better, -1 if less is better, 0 if neither.
    kind : str
        Matrices it is taken from; empty for a logged scalar.
    at : callable
        ``at(run, epochs, groups)`` gives the values at `epochs`, shape ``[E]``, NaN where undefined.
    """

    name: str
    family: str
    label: str
    scale: float
    best: int
    kind: str
    at: Callable[[Run, np.ndarray, metrics.Groups], np.ndarray]

    @property
    def needs_truth(self) -> bool:
        """True if the measure compares pseudo-labels with true classes."""
        return self.kind == "sweep" and self.name != "acceptance"


def _matrix(name: str, family: str, label: str, kind: str, formula, scale: float = 100.0, best: int = 1) -> Measure:
    return Measure(name, family, label, scale, best, kind, lambda run, epochs, groups: formula(run.confusion(kind, epoch=epochs), groups))


def _groups(prefix: str, family: str, kind: str, formula, *options) -> list[Measure]:
    """Measures of head, medium and tail, which are the last axis of what `formula` gives."""

    def of(number: int):
        return lambda confusion, groups: formula(confusion, groups)[..., number]

    return [_matrix(f"{prefix}_{name}", family, name, kind, of(number), *options) for number, name in enumerate(GROUPS)]


def _gain(confusion: np.ndarray, groups: metrics.Groups) -> np.ndarray:
    members = np.eye(3)[groups.of]
    return metrics.gain(members.T @ confusion @ members)


def _acceptance(run: Run, epochs: np.ndarray, groups: metrics.Groups) -> np.ndarray:
    every, some = (run.pseudo_counts("sweep", split, epoch=epochs).sum(-1) for split in ("all", "accepted"))
    return np.divide(some, every, out=np.full(every.shape, np.nan), where=every > 0)


_BIAS = "pseudo-label bias"
_FIXED = {
    found.name: found
    for found in (
        _matrix("accuracy", "test", "accuracy", "test", lambda c, g: metrics.accuracy(c)),
        _matrix("balanced_accuracy", "test", "bal. accuracy", "test", lambda c, g: metrics.balanced_accuracy(c)),
        _matrix("g_mean", "test", "g-mean", "test", lambda c, g: metrics.g_mean(c)),
        *_groups("recall", "test recall", "test", lambda c, g: metrics.group(c, g).recall),
        *_groups("precision", "test precision", "test", lambda c, g: metrics.group(c, g).precision),
        _matrix("pl_accuracy", "pseudo-labels", "accuracy", "sweep", lambda c, g: metrics.accuracy(c)),
        *_groups("pl_recall", "pseudo-label recall", "sweep", lambda c, g: metrics.group(c, g).recall),
        *_groups("pl_precision", "pseudo-label precision", "sweep", lambda c, g: metrics.group(c, g).precision),
        *_groups("pl_ratio", "labels given / true", "sweep", _gain, 1.0, 0),
        _matrix("pl_kl", _BIAS, "KL (nats)", "sweep", lambda c, g: metrics.bias_indices(c, g).kl, 1.0, -1),
        _matrix("pl_tv", _BIAS, "TV", "sweep", lambda c, g: metrics.bias_indices(c, g).tv, 100.0, -1),
        _matrix("tail_to_head", _BIAS, "tail to head", "sweep", lambda c, g: metrics.bias_indices(c, g).tail_to_head, 100.0, -1),
        Measure("acceptance", "pseudo-labels", "accepted", 100.0, 0, "sweep", _acceptance),
    )
}
_FAMILIES = ("recall", "precision", "pl_recall", "pl_precision", "pl_ratio")
_LESS = ("ece", "mce", "loss", "error")


def names() -> tuple[str, ...]:
    """Everything `measure` knows beside the logged scalars; a family such as ``recall`` stands for its three groups."""
    return (*_FIXED, *_FAMILIES)


def expand(values) -> list[str]:
    """Families replaced by their head, medium and tail; order kept, doubles dropped."""
    values = [values] if isinstance(values, str) else list(values)
    single = [[f"{value}_{group}" for group in GROUPS] if value in _FAMILIES else [value] for value in values]
    return list(dict.fromkeys(name for found in single for name in found))


def measure(name: str, run: Run) -> Measure:
    """The measure called `name`: one of `names`, else a scalar that `run` logged.

    A share logged as a scalar (accuracy, ECE, g-mean, mask rate) is told in percent, any other scalar as it is.

    Raises
    ------
    ValueError
        Neither; the message lists both.
    """
    if name in _FIXED and (_FIXED[name].kind in run.kinds or name not in run.scalars):
        return _FIXED[name]
    if name not in run.scalars:
        logged = ", ".join(run.scalars) or "none"
        raise ValueError(f"no measure {name!r}; there are {', '.join(names())}, and the scalars of {run.name}: {logged}")
    share = name.startswith(("test_accuracy", "balanced_accuracy", "g_mean", "ece", "mce", "mask_rate"))
    best = -1 if name.startswith(_LESS) else 1 if "accuracy" in name or name == "g_mean" else 0
    label = {"balanced_accuracy_la": "bal. accuracy, post-hoc LA", "ece": "ECE", "mce": "MCE"}.get(name, name.replace("_", " "))
    return Measure(
        name, "logged", label, 100.0 if share else 1.0, best, "", lambda run, epochs, _: run.scalars[name].loc[epochs].to_numpy()
    )


def shadowed(values, runs) -> str:
    """A sentence, with a space before it, on scalars that were logged under the name of a measure with other values; empty if none was."""
    names = [values] if isinstance(values, str) else list(values)
    told = list(dict.fromkeys(name for name in names if any(name in run.scalars and _differs(name, run) for run in runs)))
    if not told:
        return ""
    listed = ", ".join(told)
    return f" {listed}: computed from the matrices; the scalars logged under the name have other values, see run.scalars[{told[0]!r}]."


def _differs(name: str, run: Run) -> bool:
    if name in _FAMILIES:
        return True
    if name not in _FIXED or _FIXED[name].kind not in run.kinds or not len(epochs := run.logged(_FIXED[name].kind)[-1:]):
        return False
    ours, logged = float(_FIXED[name].at(run, epochs, metrics.groups(run.labelled_counts))[0]), float(run.scalars[name].loc[epochs].iloc[0])
    return logged == logged and not any(np.isclose(logged, scale * ours, rtol=1e-3, atol=1e-6, equal_nan=True) for scale in (1, 100))


def statistic(found: Measure, run: Run, groups: metrics.Groups, which: str = "last") -> float:
    """One number of a run, in the measure's scale.

    Parameters
    ----------
    found : Measure
    run : Run
    groups : Groups
    which : {"last", "median20"}
        The last epoch, or the median of the last 20, as DASO, SEVAL and the work after them report test accuracy.

    Returns
    -------
    float
        NaN where undefined at every epoch asked for, or where the run never recorded what the measure is made of.
    """
    if not len(epochs := window(found, run, which)):
        return float("nan")
    last, median = metrics.last_and_median(found.at(run, epochs, groups))
    return float(found.scale * (median if which == "median20" else last))


def window(found: Measure, run: Run, which: str = "last") -> np.ndarray:
    """Epochs that `statistic` is made of: the last one, or the last 20, fewer in a shorter run; empty if nothing was recorded."""
    if which not in ("last", "median20"):
        raise ValueError(f"statistic must be 'last' or 'median20'; got {which!r}")
    recorded = found.kind in run.kinds if found.kind else found.name in run.scalars
    epochs = run.logged(found.kind) if found.kind else run.epochs
    return epochs[-20 if which == "median20" else -1 :] if recorded else epochs[:0]
