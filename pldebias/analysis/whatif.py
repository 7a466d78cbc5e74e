"""What if this epoch had been pseudo-labelled by another scheme? Cached outputs, relabelled by the package's own chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pldebias import metrics
from pldebias.analysis.counterpart import compose, options_of, trained_counterpart
from pldebias.analysis.estimate import prepare
from pldebias.analysis.outputs import Outputs, as_run, outputs
from pldebias.analysis.relabelled import GROUP_NAMES, SENTENCE, WhatIf, reproduction
from pldebias.learners import Learner
from pldebias.methods import Method, MethodError, build_method
from pldebias.runs import Run
from pldebias.schemes import Scheme

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SENTENCE", "WhatIf", "reproduction", "trained_counterpart", "what_if"]

ALL_BEGUN = 2**31 - 1  # a step at which every scheme has begun
ROWS = 4096  # relabelled at once: what fits a core's cache is done twice as fast as what does not


class _Thresholds(Scheme):
    """Confidence thresholds by predicted class ``[K]`` in place of the method's own; NaN keeps that."""

    name = "threshold"
    acts_on = frozenset({"acceptance"})

    def __init__(self, values: Tensor):
        super().__init__()
        self.values = values

    def threshold(self, threshold: Tensor, step) -> Tensor:
        asked = self.values[step.label]
        return torch.where(asked.isnan(), threshold, asked)


def _thresholds(threshold, classes: int, groups: metrics.Groups) -> Tensor:
    if isinstance(threshold, Mapping):
        if unknown := set(threshold) - set(GROUP_NAMES):
            raise ValueError(f"threshold names {', '.join(map(repr, sorted(unknown)))}; groups are {', '.join(GROUP_NAMES)}")
        values = np.full(classes, np.nan, np.float32)
        for name, members in zip(GROUP_NAMES, groups, strict=False):
            if threshold.get(name) is not None:
                values[members] = threshold[name]
    else:
        values = np.asarray(threshold, np.float32)
        if values.shape not in ((), (classes,)):
            raise ValueError(
                f"threshold must be a number, {classes} numbers (one per class) or {{'head': .., 'medium': .., 'tail': ..}}; "
                f"got {values.size} numbers"
            )
        values = np.broadcast_to(values, classes).copy()
    outside = values[~np.isnan(values) & ~((values >= 0) & (values <= 1))]
    if len(outside):
        raise ValueError(f"thresholds must be in [0, 1]; got {outside[0]:g}")
    return torch.as_tensor(values)


@contextmanager
def _quick() -> Iterator[None]:
    """Torch without gradients and on one thread: small operations wait longer for a second one than it saves them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def _relabel(method: Method, seen: Outputs, step: int) -> tuple[np.ndarray, ...]:
    """Label, acceptance, confidence and pull of every sample, each ``[N]``; block by block, unless a part looks at the whole set."""
    samples = len(seen.logits)
    features = seen.features if seen.features is not None else seen.logits.new_zeros(samples, 1)
    rows = samples if any(scheme.whole_set for scheme in method.chain) else ROWS
    t, index, found = torch.tensor(step), torch.arange(samples), []
    for block in (slice(start, start + rows) for start in range(0, samples, rows)):
        done = method.relabel(seen.logits[block], features[block], t, index[block])
        # The gradient that the label's cross-entropy, with the chain's margin, has on the label's own logit.
        pull = 1 - method.chain.margin(done.weak_logits, done).softmax(1).gather(1, done.label[:, None])[:, 0]
        found.append((done.label.numpy(), done.mask.numpy() > 0, done.confidence.numpy(), pull.numpy()))
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def _as_trained(seen: Outputs) -> tuple[str, tuple[str, ...], tuple[np.ndarray, ...]]:
    """Method, notes and (label, accepted, confidence, pull) of the run's own chain; computed once for an epoch."""
    if not hasattr(seen, "as_trained"):
        spelling, notes = compose(seen.run, None)
        method = build_method(spelling, options_of(seen.run)).setup(seen.problem)
        notes += prepare(method, seen, seen.state)
        seen.as_trained = spelling, notes, _relabel(method, seen, seen.step)
    return seen.as_trained


def _check(seen: Outputs) -> tuple[bool | None, int, np.ndarray | None]:
    """Whether the chain as trained reproduces the log, in how many samples it does not, and the pull of its labels."""
    if seen.label is None or seen.run.method is None:
        return None, 0, None
    try:
        _, _, (label, accepted, _, pull) = _as_trained(seen)
    except MethodError:  # its state is not in the log
        return None, 0, None
    differing = int(((label != seen.label) | (accepted != seen.accepted)).sum())
    return differing == 0, differing, pull


@_quick()
def what_if(
    run: Run | str | Path,
    scheme: str | None = None,
    *,
    epoch: int = -1,
    threshold=None,
    prior=None,
    state: Run | str | Path | Mapping | None = None,
    step: int | None = None,
    groups: str | tuple[int, int] = "tertiles",
) -> WhatIf:
    """Relabel the cached outputs of one epoch by another chain of schemes.

    The network's weights stay as they were: this is what the *next* pseudo-labels would have been, not what training with the scheme
    would have led to (`WhatIf.trained` finds a run that tells).

    Parameters
    ----------
    run : Run or path
    scheme : str, optional
        ``"daso(T=1.5)"``, ``"debiaspl(tau=1)+seval"``: schemes after the run's learner, in place of its own; ``""`` is the bare learner; a
        string that starts with a learner is a whole method. None is the run's method as trained.
    epoch : int, default -1
        A snapshot epoch (``run.logged("logits")``); -1 is the last.
    threshold : float, mapping or array_like [K], optional
        Confidence that a label needs, in place of the method's own: one for all, by group of the *label* (``{"tail": 0.7}``, others keep
        theirs), or by class.
    prior : {"labelled", "running", "oracle"} or array_like [K], optional
        Class distribution that the chain reads: what debiaspl, la and acr subtract, DASO's blending weights, the target of darp and of
        distribution alignment. ``running`` is the mean prediction over these outputs, ``oracle`` the true unlabelled one. None leaves each
        scheme its own.
    state : Run, path or mapping, optional
        Take the state of the schemes from another run (its snapshot nearest to `epoch`), or from ``{"seval/learned.offsets": [K], ...}``.
    step : int, optional
        Optimiser step that schemes see. None: the epoch's own for ``scheme=None``, otherwise one past every start, also that of a scheme
        which begins later than this training ended.
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`; for the table and for thresholds by group.

    Returns
    -------
    WhatIf

    Notes
    -----
    A scheme that the run was trained with has its logged state. Any other gets what its own formulas give on these outputs: running priors
    are their mean prediction, prototypes the clean labelled class means of the epoch, class distributions the logged pseudo-labels; the
    notes of the result say which.

    Raises
    ------
    NotLogged
        No logits at this epoch; the message lists the epochs that have them.
    MethodError
        The chain is impossible, does not touch pseudo-labels, or needs what the run did not keep.
    """
    run = as_run(run)
    seen = outputs(run, epoch)
    parts = metrics.groups(run.labelled_counts, groups)
    if scheme is None and threshold is None and prior is None and state is None and step is None:
        spelling, notes, (label, accepted, confidence, pull) = _as_trained(seen)
    else:
        spelling, notes = compose(run, scheme)
        method = build_method(spelling, options_of(run)).setup(seen.problem)
        given, origin = _given_state(state, seen)
        notes += (*origin, *prepare(method, seen, given, prior))
        if threshold is not None:
            if type(method.learner).accept is not Learner.accept:
                raise MethodError(f"{method.learner.name} uses every pseudo-label; threshold= has nothing to act on")
            method.chain.append(_Thresholds(_thresholds(threshold, run.num_classes, parts)))
        clock = step if step is not None else seen.step if scheme is None else ALL_BEGUN
        label, accepted, confidence, pull = _relabel(method, seen, clock)
    if scheme and seen.label is not None and (label == seen.label).all() and (accepted == seen.accepted).all():
        notes += ("nothing changes at this epoch",)
    reproduces, differing, logged_pull = _check(seen)
    unknown = int((run.true_labels < 0).sum())
    if unknown:
        notes += (f"truth unknown for {unknown:,} of {len(label):,} samples: recall and precision are of the others",)
    return WhatIf(
        run=run, method=spelling, scheme=scheme, epoch=seen.epoch, label=label, accepted=accepted, confidence=confidence, pull=pull,
        logged_label=seen.label, logged_accepted=seen.accepted, logged_pull=logged_pull, true=run.true_labels, groups=parts,
        reproduces=reproduces, differing=differing, settings=_settings(threshold, prior, step), notes=notes,
    )  # fmt: skip


def _settings(threshold, prior, step: int | None) -> dict[str, str]:
    words = {}
    if isinstance(threshold, Mapping):
        words["threshold"] = " ".join(f"{name} {value:g}" for name, value in threshold.items() if value is not None)
    elif threshold is not None:
        words["threshold"] = "by class" if np.ndim(threshold) else f"{float(threshold):g}"
    if prior is not None:
        words["prior"] = prior if isinstance(prior, str) else "as given"
    return words if step is None else words | {"step": str(step)}


def _given_state(state, seen: Outputs) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state that schemes get, and a note on where it is from, if not from the run itself."""
    if state is None:
        return seen.state, ()
    if isinstance(state, Mapping):
        given = {name: torch.as_tensor(np.asarray(values, np.float32)) for name, values in state.items()}
        return seen.state | given, (f"state as given: {', '.join(given)}",)
    other = as_run(state)
    if other.class_names != seen.run.class_names:
        raise ValueError(f"state={other.name}: its classes are not those of {seen.run.name}; take a run on the same data")
    have = other.logged("logits")
    nearest = int(have[np.abs(have - seen.epoch).argmin()]) if len(have) else -1
    return seen.state | outputs(other, nearest).state, (f"state of the schemes: {other.name}, epoch {nearest}",)
