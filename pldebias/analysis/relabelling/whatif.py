"""Cached outputs of an epoch, relabelled by another scheme: the package's own chain, with other parts, thresholds or priors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pldebias import metrics
from pldebias.analysis.relabelling.counterpart import compose, effective, known_method, options_of, trained_counterpart, unseen
from pldebias.analysis.relabelling.estimate import prepare
from pldebias.analysis.relabelling.outputs import Outputs, outputs
from pldebias.analysis.relabelling.relabelled import GROUP_NAMES, SENTENCE, WhatIf, reproduction
from pldebias.learners import Learner
from pldebias.methods import Method, MethodError, MethodSpec, PartSpec, build_method
from pldebias.runs import Run
from pldebias.runs.given import array
from pldebias.runs.named import by_class
from pldebias.runs.run import as_run
from pldebias.schemes import Scheme, Step
from pldebias.settings import plain, typed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SENTENCE", "WhatIf", "reproduction", "trained_counterpart", "what_if"]

SOFT = "the target is a distribution, not a label: the pull is that of its probability for the label"
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
        for name, members in zip(GROUP_NAMES, groups[:3], strict=True):
            if threshold.get(name) is not None:
                values[members] = _level(f"threshold of {name}", threshold[name])
    else:
        if isinstance(threshold, list | tuple):
            threshold = [np.nan if level is None else level for level in threshold]
        values = array("threshold", threshold).astype(np.float32)
        if not values.ndim:
            values = _level("threshold", threshold)
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


def _level(what: str, value) -> np.ndarray:
    """One threshold, float32."""
    level = array(what, value).astype(np.float32)
    if level.shape or not 0 <= level <= 1:
        raise ValueError(f"{what} must be one number in [0, 1]; got {level.tolist()}")
    return level


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


class Relabelled(NamedTuple):
    """Label, acceptance, confidence, weight and pull of every sample, each ``[N]``."""

    label: np.ndarray
    accepted: np.ndarray
    confidence: np.ndarray
    weight: np.ndarray
    pull: np.ndarray


def _relabel(method: Method, seen: Outputs, step: int) -> tuple[Relabelled, tuple[str, ...]]:
    """Label all samples block by block, or at once where a part looks at the whole set; with a note on soft targets."""
    samples = len(seen.logits)
    features = seen.features if seen.features is not None else seen.logits.new_zeros(samples, 1)
    rows = samples if any(scheme.whole_set for scheme in method.chain) else ROWS
    t, index, found, soft = torch.tensor(step), torch.arange(samples), [], False
    for block in (slice(start, start + rows) for start in range(0, samples, rows)):
        try:
            done = method.relabel(seen.logits[block], features[block], t, index[block])
        except ValueError as error:  # such as a search that does not settle on these outputs
            raise MethodError(str(error)) from error
        target = method.learner.target(done)
        soft = target.dim() == 2
        found.append((done.label, done.mask > 0, done.confidence, done.weight, _pull(method, done, target)))
    relabelled = Relabelled(*(torch.cat(column).numpy() for column in zip(*found, strict=True)))
    return relabelled, (SOFT,) if soft else ()


def _pull(method: Method, step: Step, target: Tensor) -> Tensor:
    """Size of the gradient that the target's cross-entropy, with the chain's margin, has on the label's own logit."""
    label = step.label[:, None]
    wanted = target.gather(1, label)[:, 0] if target.dim() == 2 else 1.0
    return (wanted - method.chain.margin(step.logits, step).softmax(1).gather(1, label)[:, 0]).abs()


def _enter(method: Method, step: int, fixed: bool, generation: int | None, absent: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Let an asked-for method stand at a step, and act there unless the step is `fixed`; returns the step and notes."""
    notes = []
    scheme = next((scheme for scheme in method.chain if scheme.generations > 1), None)
    if generation is not None and not generation < (scheme.generations if scheme else 0):
        allowed = f"0..{scheme.generations - 1} for {scheme.name}" if scheme else f"left out: {method.spelling!r} has no generations"
        raise ValueError(f"generation={generation} must be {allowed}")
    if scheme is not None:
        length = max(method.stage.total_steps, 1)  # a run of fewer steps than generations
        if generation is not None:
            scheme.enter(generation)
            step = step if fixed else (generation + 1) * length
        elif f"{scheme.name}/generation" in absent:
            scheme.enter(min(max(step - 1, 0) // length, scheme.generations - 1))
        notes.append(f"{scheme.name}: generation {int(scheme.generation)} of 0..{scheme.generations - 1}; generation= chooses another")
    if not fixed:
        local = int(method.local(torch.tensor(step)))
        notes += [f"{part.name}: {note}" for part in method.parts if (note := part.begin(local))]
    return step, tuple(notes)


def _labels(
    seen: Outputs, scheme: str | MethodSpec | None = None, *, threshold: Tensor | None = None, prior=None, state=None,
    step: int | None = None, generation: int | None = None,
) -> tuple[MethodSpec, tuple[str, ...], Relabelled]:  # fmt: skip
    """Method, notes and labels of a what-if; arguments as in `what_if`, thresholds by class ``[K]``."""
    spec, notes = compose(seen.run, scheme)
    method = build_method(spec, options_of(seen.run)).setup(seen.problem)
    notes += unseen(method) if scheme else ()
    given, origin = _given_state(state, seen, method)
    absent = method.restore(given)
    clock, when = seen.step if step is None else step, ()
    if scheme is not None or generation is not None:
        clock, when = _enter(method, clock, step is not None, generation, absent)
    notes += (*origin, *prepare(method, seen, absent, clock, prior), *when)
    if threshold is not None:
        if type(method.learner).accept is not Learner.accept:
            raise MethodError(f"{method.learner.name} uses every pseudo-label; threshold= has nothing to act on")
        method.chain.append(_Thresholds(threshold))
    found, soft = _relabel(method, seen, clock)
    return spec, notes + soft, found


def _as_trained(seen: Outputs) -> tuple[MethodSpec, tuple[str, ...], Relabelled]:
    """`_labels` of the run's own chain; computed once for an epoch."""
    if seen.as_trained is None:
        seen.as_trained = _labels(seen)
    return seen.as_trained


def _check(seen: Outputs) -> tuple[bool | None, int, Relabelled | None]:
    """Compare the chain as trained with the log: whether they agree, in how many samples they do not, and the labels of the chain."""
    if seen.label is None or known_method(seen.run)[0] is None:
        return None, 0, None
    try:
        _, _, found = _as_trained(seen)
    except MethodError:  # its state is not in the log
        return None, 0, None
    other = (found.label != seen.label) & (seen.label >= 0)  # a recorder may leave the labels of rejected samples out
    differing = int((other | (found.accepted != seen.accepted)).sum())
    return differing == 0, differing, found


@_quick()
@typed
def what_if(
    run: Run | str | Path,
    scheme: str | MethodSpec | None = None,
    *,
    epoch: int = -1,
    threshold=None,
    prior=None,
    state: Run | str | Path | Mapping | None = None,
    step: int | None = None,
    generation: int | None = None,
    groups: str | tuple[int, int] = "tertiles",
) -> WhatIf:
    """Relabel the cached outputs of one epoch by another chain of schemes.

    The network's weights stay as they were: this is what the *next* pseudo-labels would have been, not what training with the scheme
    would have led to (`WhatIf.trained` finds a run that tells).

    Parameters
    ----------
    run : Run or path
    scheme : str or MethodSpec, optional
        ``"daso(T=1.5)"``, ``"debiaspl(tau=1)+seval"``: schemes after the run's learner, in place of its own; ``""`` is the bare learner; a
        string that starts with a learner is a whole method. None is the run's method as trained.
    epoch : int, default -1
        A snapshot epoch (``run.logged("logits")``); -1 is the last.
    threshold : float, mapping or array_like [K], optional
        Confidence that a label needs, in place of the method's own: one for all, by group of the *label* (``{"tail": 0.7}``, others keep
        theirs), or by class.
    prior : {"labelled", "running", "oracle"} or array_like [K], optional
        Class distribution that the chain reads: what debiaspl and la subtract, the running prior of adello and udal, the unlabelled
        distribution that acr and simpro estimate, the counts behind DASO's and SAW's weights, the target of darp and of distribution
        alignment. ``running`` is the mean prediction over these outputs, ``oracle`` the true unlabelled one. None leaves each scheme its
        own. A dict or Series is read by class.
    state : Run, path or mapping, optional
        Take the state of the schemes from another run (its snapshot nearest to `epoch`), or from ``{"seval/learned.offsets": [K], ...}``.
    step : int, optional
        Optimiser step at which the method stands, which schedules and starts read. None: the epoch's own; a scheme that would begin later
        is shown as if it had begun there, and the notes say so.
    generation : int, optional
        0-based generation in which ``crestplus`` stands, at its end unless `step` says otherwise. None: that of the step.
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`; for the table and for thresholds by group.

    Returns
    -------
    WhatIf

    Notes
    -----
    A scheme that the run was trained with has its logged state. Any other gets what its own formulas give on these outputs
    (`pldebias.schemes.part.Part.estimate_state`): running priors are their mean prediction, prototypes the clean labelled class means of
    the epoch, class distributions those of the labels; the notes of the result say which.

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
    if not isinstance(threshold, Mapping):  # which is by group
        threshold = by_class("threshold", threshold, run.class_names)
    threshold, prior = plain(threshold), plain(by_class("prior", prior, run.class_names))
    asked = {"prior": prior, "state": state, "step": step, "generation": generation}
    asked["threshold"] = None if threshold is None else _thresholds(threshold, run.num_classes, parts)
    own = scheme is None and all(value is None for value in asked.values())
    spec, notes, found = _as_trained(seen) if own else _labels(seen, scheme, **asked)
    reproduces, differing, logged = _check(seen)
    result = WhatIf(
        run=run, method=str(spec), scheme=None if scheme is None else str(scheme), epoch=seen.epoch, **found._asdict(),
        logged_label=seen.label, logged_accepted=seen.accepted,
        logged_weight=None if logged is None else logged.weight, logged_pull=None if logged is None else logged.pull,
        true=run.true_labels, groups=parts, reproduces=reproduces, differing=differing,
        settings=_settings(threshold, prior, step, generation), notes=notes,
    )  # fmt: skip
    if scheme is not None and result.summary:
        notes += (result.summary,)
    if unknown := int((run.true_labels < 0).sum()):
        notes += (f"truth unknown for {unknown:,} of {len(found.label):,} samples: recall and precision are of the others",)
    return replace(result, notes=notes)


def _settings(threshold, prior, step: int | None, generation: int | None) -> dict[str, str]:
    words = {}
    if isinstance(threshold, Mapping):
        if any(value is not None for value in threshold.values()):
            words["threshold"] = " ".join(f"{name} {float(value):g}" for name, value in threshold.items() if value is not None)
    elif threshold is not None:
        words["threshold"] = "by class" if isinstance(threshold, list | tuple) or np.ndim(threshold) else f"{float(threshold):g}"
    if prior is not None:
        words["prior"] = prior if isinstance(prior, str) else "as given"
    return words | {name: str(value) for name, value in (("step", step), ("generation", generation)) if value is not None}


def _given_state(state, seen: Outputs, method: Method) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state that schemes get, and a note on where it is from, if not from the run itself."""
    own, notes = _logged(seen, method, seen.run)
    if state is None:
        return own, notes
    known = method.logged_buffers()
    if isinstance(state, Mapping):
        ordered = {name: by_class(f"state={name!r}", values, seen.run.class_names, (0, 1), strict=False) for name, values in state.items()}
        given = {name: torch.as_tensor(array(f"state={name!r}", values).astype(np.float32)) for name, values in ordered.items()}
        for name, values in given.items():
            if name not in known:
                raise MethodError(f"state={name!r} is no state of {method.spelling!r}; it has {', '.join(known) or 'none'}")
            if values.shape != known[name].shape or not bool(values.isfinite().all()):
                raise MethodError(f"state={name!r} must be finite numbers of shape {list(known[name].shape)}; got {values.tolist()}")
        return own | given, (*((f"state as given: {', '.join(given)}",) if given else ()), *notes)
    other = as_run(state)
    if other.class_names != seen.run.class_names:
        raise ValueError(f"state={other.name}: its classes are not those of {seen.run.name}; take a run on the same data")
    have = other.logged("logits")
    nearest = int(have[np.abs(have - seen.epoch).argmin()]) if len(have) else -1
    theirs, notes = _logged(outputs(other, nearest), method, seen.run)
    if not known.keys() & theirs.keys():
        held = ", ".join(theirs) or "none"
        raise MethodError(f"state={other.name} holds no state of {method.spelling!r} at epoch {nearest}; it has {held}")
    return own | theirs, (f"state of the schemes: {other.name}, epoch {nearest}", *notes)


def _logged(seen: Outputs, method: Method, run: Run) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """State that `seen` logged, but for what follows from options that a method asked for beside `run` has otherwise; notes on those."""
    state, trained, notes = dict(seen.state), known_method(seen.run)[0], []
    theirs = dict(effective(trained, options_of(seen.run))) if trained else {}
    known = {n for n, buffer in method.logged_buffers().items() if n in state and buffer.is_floating_point()}
    for part, (name, options) in zip(method.parts, effective(method.spec, options_of(run)), strict=True):
        other = {k: theirs[name][k] for k, value in options.items() if name in theirs and theirs[name][k] != value}
        gone = tuple(f"{name}/{buffer}" for buffer, on in part.follows.items() if other.keys() & set(on))
        state = {n: value for n, value in state.items() if not n.startswith(gone)}
        if other and any(n.startswith(f"{name}/") and n in state for n in known):
            notes.append(f"{name}: state as {PartSpec(name, other)} left it")
    return state, tuple(notes)
