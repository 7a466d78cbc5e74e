"""Every learner and scheme on one data set, several seeds each: accuracy and pseudo-label bias in percent, mean ± standard deviation.

    python -m benchmarks.accuracy [--data glyphs-lt] [--seeds 2 3 4 5 6] [--methods fixmatch+daso ...] [--jobs 2] [--set steps=400 ...]
                                [--save]

Runs are kept under ``--out``; the same command goes on where it was interrupted, and trains nothing twice. The default seeds are not
among those on which the settings of the embedded data were chosen; `simpro(alpha=1)` alone was tried on them after the row above it had
been seen, so it explains that row. ``B after A`` is a second stage: B starts from the backbone that A ended with, or learns A's
pseudo-labels, seed by seed.

This is a demonstration on a small procedural set: the papers' order of methods on CIFAR-10-LT is not to be read off it. Trained digits
differ between CPUs, by a point and more.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from pldebias import metrics
from pldebias.methods import LEARNERS, parse, slug
from pldebias.runs import Run
from pldebias.training import TrainingError, sweep

REFERENCES = ("supervised", "supervised(augment=strong)", "fixmatch")
"""Always in the table: what labelled images alone give, with weak and with strong augmentation, and what differences refer to."""

METHODS = (
    *REFERENCES,
    *("supervised+la", "supervised+cb", "supervised+focal", "supervised+ldam", "supervised+ldam+drw"),
    *("pseudolabel", "meanteacher", "mixmatch", "remixmatch", "usadtm", "flexmatch", "freematch"),
    *("fixmatch+la", "fixmatch+la(at=posthoc)", "fixmatch+la(at=pseudo)", "fixmatch+cb", "fixmatch+focal", "fixmatch+ldam"),
    *("fixmatch+drw", "fixmatch+daso", "fixmatch+debiaspl", "fixmatch+seval", "fixmatch+adello", "fixmatch+udal", "fixmatch+darp"),
    *("fixmatch+crest", "fixmatch+crestplus", "fixmatch+abc", "fixmatch+abcla", "fixmatch+acr", "fixmatch+adsh", "fixmatch+saw"),
    *("fixmatch+cdmad", "fixmatch+simpro", "fixmatch+la+daso", "fixmatch+abc+daso", "fixmatch+la+debiaspl"),
    *("pseudolabel+daso", "meanteacher+daso", "mixmatch+daso", "remixmatch+daso", "remixmatch+la+daso", "flexmatch+daso"),
    *("crt after fixmatch", "selftraining after supervised", "supervised after rotation", "supervised after moco"),
)

COLUMNS = (
    *("bal. acc. last", "median of 20", "post-hoc LA", "PL recall head", "PL recall tail"),
    *("PL precision head", "PL precision tail", "tail PL / true", "mask rate"),
)
RATIOS = ("tail PL / true", "mask rate")  # all others are percent


def scores(run: Run) -> dict[str, float]:
    """The figures of one finished run, by column; NaN where a figure is not defined (a mask rate without an unlabelled loss).

    Pseudo-label columns are of the last epoch's sweep, accepted or not; head and tail are the outer thirds of the classes.
    """
    scalars = run.scalars

    def last(name: str) -> tuple[float, float]:
        return metrics.last_and_median(scalars[name].to_numpy()) if name in scalars else (np.nan, np.nan)

    row = dict.fromkeys(COLUMNS, np.nan)
    row["bal. acc. last"], row["median of 20"] = (100 * float(value) for value in last("balanced_accuracy"))
    row["post-hoc LA"] = 100 * float(last("balanced_accuracy_la")[0])
    row["mask rate"] = float(last("mask_rate")[0])
    if "sweep" in run.kinds:
        confusion, thirds = run.confusion("sweep", epoch=-1), metrics.groups(run.labelled_counts)
        of_groups, true = metrics.group(confusion, thirds), confusion[thirds.tail].sum()
        for i, name in ((0, "head"), (2, "tail")):
            row[f"PL recall {name}"] = 100 * float(of_groups.recall[i])
            row[f"PL precision {name}"] = 100 * float(of_groups.precision[i])
        row["tail PL / true"] = confusion[:, thirds.tail].sum() / true if true else np.nan
    return row


def train(methods: list[str], data: str, seeds: list[int], out: Path, jobs: int, **settings: Any) -> tuple[dict[str, list[Run]], dict]:
    """Runs of every method, one a seed, and what went wrong with others, by method."""
    stages = {name: name.split(" after ") for name in methods if " after " in name}
    first = list(dict.fromkeys([*(m for m in methods if m not in stages), *(before for _, before in stages.values())]))
    options = {"data": data, "jobs": jobs, "out": out, **settings}
    runs: dict[str, list[Run]] = {}
    errors: dict[str, str] = {}
    try:
        done = sweep(first, seeds=seeds, **options)
        runs = {m: done[i * len(seeds) : (i + 1) * len(seeds)] for i, m in enumerate(first)}
    except TrainingError:  # one diverged: the others are finished one method at a time, from where they were
        for method in first:
            try:
                runs[method] = sweep([method], seeds=seeds, **options)
            except TrainingError as error:
                errors[method] = str(error)
    for name, (after, before) in stages.items():
        if before in errors:
            errors[name] = f"{before} failed"
            continue
        try:
            runs[name] = [second(after, run, **{**options, "out": out / "after" / slug(before)}) for run in runs[before]]
        except TrainingError as error:
            errors[name] = str(error)
    return {name: runs[name] for name in methods if name in runs}, errors


def second(method: str, first: Run, **options: Any) -> Run:
    """A second stage with the seed of `first`: on its pseudo-labels if the learner takes a ``base``, else from its backbone."""
    if "base" in inspect.signature(LEARNERS[parse(method)[0].name]).parameters:
        return sweep([f"{method}(base={str(first.path)!r})"], seeds=[first.seed], **options)[0]
    return sweep([method], seeds=[first.seed], init=str(first.path), **options)[0]


def summarise(runs: dict[str, list[Run]], reference: str = "fixmatch") -> list[dict[str, str]]:
    """Rows of the table: mean and standard deviation over seeds, and the paired difference to `reference` with its wins."""
    rows = []
    by_seed = {name: {run.seed: scores(run) for run in found} for name, found in runs.items()}
    base = by_seed.get(reference, {})
    for name, of_seed in by_seed.items():
        cells = {column: cell([row[column] for row in of_seed.values()], 2 if column in RATIOS else 1) for column in COLUMNS}
        pairs = [of_seed[s]["median of 20"] - base[s]["median of 20"] for s in of_seed if s in base and name != reference]
        wins = f", {sum(d > 0 for d in pairs)} of {len(pairs)}" if pairs else ""
        rows.append({"what": name, "n": str(len(of_seed)), **cells, "median - fixmatch's, wins": cell(pairs, 1, "+") + wins})
    return rows


def cell(values: list[float], digits: int, sign: str = "") -> str:
    """``mean ± sd`` of the defined values (sd with n - 1, from two values on); a dash if none is."""
    defined = [v for v in values if not np.isnan(v)]
    if not defined:
        return "–"
    text = f"{np.mean(defined):{sign}.{digits}f}"
    return text if len(defined) < 2 else f"{text} ± {np.std(defined, ddof=1):.{digits}f}"


def setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value, such as steps=400")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing and print the table; returns the number of methods that failed."""
    parser = results.parser(__doc__)
    parser.add_argument("--data", default="glyphs-lt", help="a preset or a source")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4, 5, 6])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="default: all in METHODS; the references are always added")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="settings of every run")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    methods = list(dict.fromkeys([*REFERENCES, *options.methods]))
    runs, errors = train(methods, options.data, options.seeds, options.out, options.jobs, progress=not options.quiet, **dict(options.set))
    seeds = ", ".join(map(str, options.seeds))
    results.report("accuracy", __doc__, {options.data: summarise(runs)}, options, arguments, seeds=seeds)
    for name, error in errors.items():
        print(f"\n{name} failed: {error}", file=sys.stderr)
    return len(errors)


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
