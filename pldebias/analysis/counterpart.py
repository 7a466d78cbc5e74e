"""Which chain a what-if applies, and which run was really trained with it."""

from __future__ import annotations

import inspect
from pathlib import Path, PurePosixPath

from pldebias import metrics
from pldebias.analysis.outputs import as_run
from pldebias.learners import Learner
from pldebias.methods import LEARNERS, SCHEMES, MethodError, Part, build_method, parse
from pldebias.runs import Run, RunError
from pldebias.runs.catalogue import find_runs

__all__ = ["compose", "options_of", "outcome", "trained_counterpart"]


def _plain(learner: Learner) -> bool:
    """Whether a learner's logged labels are the bare chain: it trains without pseudo-labels, and only the log has them."""
    return "pseudo_label" not in learner.offers and type(learner).pseudo_label is Learner.pseudo_label


def _with_labeller(parts: tuple[Part, ...], options: dict) -> tuple[str, str | None]:
    """Method string whose learner pseudo-labels; a learner that does not is replaced by FixMatch at its threshold."""
    learner = build_method(str(parts[0]), options).learner
    spelling = "+".join(map(str, parts))
    if not _plain(learner):
        return spelling, None
    stand_in = "+".join(map(str, (Part("fixmatch", {"threshold": learner.confidence_threshold}), *parts[1:])))
    return stand_in, f"{learner.name} trains without pseudo-labels; labelled as FixMatch would at its threshold"


def options_of(run: Run) -> dict[str, dict]:
    """Options of the run's preset, under those of its own configuration."""
    return {**(run.attrs.get("defaults") or {}), **(run.config.get("options") or {})}


def compose(run: Run, scheme: str | None) -> tuple[str, tuple[str, ...]]:
    """The full method string of a what-if, and notes on it.

    Parameters
    ----------
    run : Run
    scheme : str or None
        None is the run's own method; a string that starts with a learner is taken as it is, otherwise the run's learner is put first.
        ``""`` is the learner alone.
    """
    options = options_of(run)
    if scheme is None:
        if run.method is None:
            raise MethodError(f"{run.name} does not say its method; pass the chain, such as 'fixmatch(threshold=0.95)+daso'")
        spelling, note = _with_labeller(parse(run.method), options)
        return spelling, (note,) if note else ()
    text = scheme.strip().lstrip("+").strip()
    asked = parse(text) if text else ()
    if asked and asked[0].name in LEARNERS:
        return build_method(text, options).spelling, ()
    notes = []
    if run.method is None:
        base = (Part("fixmatch", {}),)
        notes.append("the run does not say its method; labelled as FixMatch would at its default threshold")
    else:
        base = parse(run.method)[:1]
    spelling, note = _with_labeller((*base, *asked), options)
    built = build_method(spelling, options)
    if len(built.chain) and not any(part.acts_on & {"pseudo_label", "acceptance"} for part in built.chain):
        acts = " and ".join(sorted({a.replace("_", "-") for part in built.chain for a in part.acts_on}))
        hint = "; la(at=pseudo) adjusts pseudo-labels" if any(part.name == "la" for part in built.chain) else ""
        raise MethodError(f"{text!r} changes the {acts} step, not pseudo-labels: relabelling cannot show it{hint}. Train with it instead")
    return built.spelling, (*notes, *([note] if note else []))


def _effective(spelling: str, options: dict) -> list[tuple[str, dict]]:
    """Parts of a method with all their options, written, preset and default."""
    found = []
    for part in parse(spelling):
        signature = inspect.signature((LEARNERS | SCHEMES)[part.name])
        known = {n: p.default for n, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD}
        preset = {n: v for n, v in options.get(part.name, {}).items() if n in known}
        found.append((part.name, known | preset | part.options))
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
    wanted = _effective(compose(run, scheme)[0], options_of(run))
    found = []
    for path in find_runs(_root_of(run) if root is None else root):
        try:
            other = Run(path, check=False)
            theirs = _effective(other.method or "", options_of(other))
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
    """What a training came to, in percent: tail recall and precision of its last sweep, balanced test accuracy; NaN if unknown."""
    tail = metrics.groups(run.labelled_counts).tail
    found = dict.fromkeys(("tail recall", "tail precision", "balanced test accuracy"), float("nan"))
    if "sweep" in run.kinds:
        sweep = run.confusion("sweep", epoch=-1)
        found["tail recall"] = 100 * float(metrics.macro(metrics.recall(sweep)[tail]))
        found["tail precision"] = 100 * float(metrics.macro(metrics.precision(sweep)[tail]))
    if "test" in run.kinds:
        found["balanced test accuracy"] = 100 * float(metrics.balanced_accuracy(run.confusion("test", epoch=-1)))
    return found
