"""The chain that a what-if applies, and the run that was really trained with it."""

from __future__ import annotations

import inspect
from pathlib import Path, PurePosixPath

from pldebias import metrics
from pldebias.learners import FixMatch, Learner
from pldebias.methods import LEARNERS, SCHEMES, Method, MethodError, MethodSpec, PartSpec, build_method, parse
from pldebias.registry import missing_plugins
from pldebias.runs import Run, RunError
from pldebias.runs.catalogue import find_runs
from pldebias.runs.run import as_run
from pldebias.schemes import Scheme

__all__ = ["asked", "compose", "effective", "known_method", "options_of", "outcome", "trained_counterpart", "unseen"]


def _plain(learner: Learner) -> bool:
    """Tell whether a learner's logged labels are the bare chain: it trains without them, and only the log has them."""
    return "pseudo_label" not in learner.offers and type(learner).pseudo_label is Learner.pseudo_label


def _with_labeller(spec: MethodSpec, options: dict) -> tuple[MethodSpec, tuple[str, ...]]:
    """Method whose learner pseudo-labels, and a note: FixMatch, at its threshold, stands in for a learner that does not."""
    method = build_method(MethodSpec([spec.learner]), options)
    learner = method.learner
    if not method.predicts:
        raise MethodError(f"{learner.name} learns no classifier, so there are no pseudo-labels to show; name a learner that makes them")
    if not _plain(learner):
        return spec, ()
    stand_in = MethodSpec([PartSpec(FixMatch.name, {"threshold": learner.confidence_threshold}), *spec.schemes])
    return stand_in, (
        f"{learner.name} {learner.labels_with}; labelled as FixMatch would at its threshold, {learner.confidence_threshold:g}",
    )


def options_of(run: Run) -> dict[str, dict]:
    """Options of the run's preset, under those of its own configuration."""
    found = [run.attrs.get("defaults"), run.config.get("options")]
    merged = {name: value for options in found if isinstance(options, dict) for name, value in options.items()}
    return {name: value for name, value in merged.items() if isinstance(value, dict)}


def known_method(run: Run) -> tuple[MethodSpec | None, str]:
    """The run's method, if this package has it; otherwise None, and a sentence on why."""
    if run.method is None:
        return None, "the run does not say its method"
    try:
        return build_method(run.method, options_of(run)).spec, ""
    except (MethodError, TypeError, AttributeError) as error:
        return None, f"the run's method {run.method!r} is not known here ({error}{missing_plugins(run.attrs)})"


def asked(run: Run, scheme: str | MethodSpec | None) -> tuple[MethodSpec, tuple[str, ...]]:
    """The full method that `scheme` names beside a run, and notes on it.

    Parameters
    ----------
    run : Run
    scheme : str, MethodSpec or None
        None is the run's own method; a string that starts with a learner is taken as it is, otherwise the run's learner is put first.
        ``""`` is the learner alone.
    """
    own, why = known_method(run)
    if scheme is None:
        if own is None:
            raise MethodError(f"{run.name}: {why}; pass the chain, such as 'fixmatch(threshold=0.95)+daso'")
        return own, ()
    if not isinstance(scheme, str | MethodSpec):
        raise MethodError(f"scheme={scheme!r} is no text; write the chain, such as 'daso(T=1.5)'")
    if isinstance(scheme, str):
        text = scheme.strip().lstrip("+").strip()
        scheme = parse(text) if text else MethodSpec()
    if scheme and scheme.learner.name in LEARNERS:
        return build_method(scheme, options_of(run)).spec, ()
    learner = PartSpec(FixMatch.name) if own is None else own.learner
    notes = () if own else (f"{why}; labelled as FixMatch would at its default threshold",)
    return MethodSpec([learner, *scheme]), notes


def compose(run: Run, scheme: str | MethodSpec | None) -> tuple[MethodSpec, tuple[str, ...]]:
    """The method of a what-if, whose learner pseudo-labels, and notes on it; arguments as in `asked`."""
    spec, notes = asked(run, scheme)
    stand_in, more = _with_labeller(spec, options_of(run))
    return stand_in, (*notes, *more)


_SHOWN = ("refine", "blend", "expected", "threshold", "accept", "weigh", "target", "margin")  # hooks that relabelling runs


def shows(scheme: Scheme) -> bool:
    """Tell whether relabelling can show what a scheme does."""
    acts = scheme.acts_on & {"pseudo_label", "acceptance"}
    return bool(acts) and any(getattr(type(scheme), hook) is not getattr(Scheme, hook) for hook in _SHOWN)


def unseen(method: Method) -> tuple[str, ...]:
    """Notes on the schemes of an asked-for method that relabelling cannot show.

    Raises
    ------
    MethodError
        It can show none of them.
    """
    hidden = [scheme for scheme in method.chain if not shows(scheme)]
    if hidden and len(hidden) == len(method.chain):
        what = "; ".join(map(_instead, hidden))
        raise MethodError(f"relabelling cannot show {method.spelling!r}: {what}. Train with it instead")
    return tuple(f"not shown: {_instead(scheme)}" for scheme in hidden)


def _instead(scheme: Scheme) -> str:
    """Say in words what a scheme changes in place of pseudo-labels."""
    if scheme.generations > 1:
        return f"{scheme.name} changes the labelled set of the next generation, not pseudo-labels"
    acts = " and ".join(sorted(a.replace("_", "-") for a in scheme.acts_on - {"pseudo_label", "acceptance"}))
    hint = f" ({scheme.unseen_hint})" if scheme.unseen_hint else ""
    return f"{scheme.name} changes the {acts} step, not pseudo-labels{hint}"


def effective(method: str | MethodSpec, options: dict) -> list[tuple[str, dict]]:
    """Parts of a method with all their options, written, preset and default."""
    found = []
    for part in parse(method):
        signature = inspect.signature((LEARNERS | SCHEMES)[part.name])
        known = {n: p.default for n, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD}
        preset = {n: v for n, v in options.get(part.name, {}).items() if n in known}
        found.append((part.name, known | preset | dict(part.options)))
    return found


def trained_counterpart(run: Run | str | Path, scheme: str | None, root: str | Path | None = None, options: str = "same") -> Run | None:
    """The run that was really trained with `scheme`, on the same data, split and seed.

    Parameters
    ----------
    run : Run or path
    scheme : str
        As in `what_if`, or a whole method.
    root : path, optional
        Folder of runs; by default the one that `run` lies in.
    options : {"same", "any"}, default "same"
        Whether all options of learner and schemes must agree, defaults included; "any" prefers such a run and otherwise takes the one with
        the fewest differences.

    Returns
    -------
    Run or None
        None if there is no such run. Broken runs are passed over; finished ones are preferred.
    """
    if options not in ("same", "any"):
        raise ValueError(f"options={options!r} is not known; choose 'same' or 'any'")
    run = as_run(run)
    wanted = effective(build_method(asked(run, scheme)[0], options_of(run)).spec, options_of(run))
    found = []
    for path in find_runs(_root_of(run) if root is None else root):
        try:
            other = Run(path, check="")
            theirs = effective(other.method or "", options_of(other))
        except (RunError, MethodError, KeyError):
            continue
        if (other.fingerprint, other.seed) != (run.fingerprint, run.seed) or not len(other.epochs):
            continue
        if [name for name, _ in theirs] != [name for name, _ in wanted]:
            continue
        differences = sum(a[k] != b.get(k) for (_, a), (_, b) in zip(wanted, theirs, strict=True) for k in a)
        if options == "any" or not differences:
            found.append((differences, not other.finished, -len(other.epochs), str(path)))
    return Run(min(found)[-1]) if found else None


def _root_of(run: Run) -> str:
    """The folder above ``<data>/<method>/s<seed>``, or that of a zip file."""
    path = PurePosixPath(str(run.path).removeprefix("zip://::").replace("\\", "/"))
    if path.suffix == ".zip":
        return str(path.parent)
    return str(path.parents[2]) if len(path.parents) > 2 else "runs"


def outcome(run: Run) -> dict[str, float]:
    """Tail recall and precision of a run's last sweep and its balanced test accuracy, in percent; NaN if unknown."""
    tail = metrics.groups(run.labelled_counts).tail
    found: dict[str, float] = dict.fromkeys(("tail recall", "tail precision", "balanced test accuracy"), float("nan"))
    if "sweep" in run.kinds:
        sweep = run.confusion("sweep", epoch=-1)
        found["tail recall"] = 100 * float(metrics.macro(metrics.recall(sweep)[tail]))
        found["tail precision"] = 100 * float(metrics.macro(metrics.precision(sweep)[tail]))
    if "test" in run.kinds:
        found["balanced test accuracy"] = 100 * float(metrics.balanced_accuracy(run.confusion("test", epoch=-1)))
    return found
