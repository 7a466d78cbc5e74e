"""Train the CIFAR-10-LT rows of the papers, print them beside the published numbers, and ship small copies of the runs.

    python -m benchmarks.gallery [--size full|small] [--settings consistent ...] [--methods fixmatch+daso ...] [--seeds 0] [--jobs 1]
                                 [--set steps=50000 ...] [--ship consistent ...] [--out runs/gallery] [--to data/gallery]

``full`` is DASO's protocol on WRN-28-2 in bfloat16, for a GPU; ``small`` the same path with a network of 78 thousand parameters and 4,000
steps, for a CPU, whose accuracies are not those of the papers. ``make gallery`` runs it. Finished runs are kept and unfinished ones
resumed, so that the command may be given again after an interruption, with more seeds or settings, or with more steps in another ``--out``.

The shipped copies (one zip file a run, of the first seed and the settings of ``--ship``, at most `RUN_LIMIT` bytes each, `LIMIT` together)
are opened by ``pld.open_run("data/gallery/<file>")``, from a notebook ``"../data/gallery/<file>"``. The table, with what it was made with,
lies beside them as ``README.md``.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.accuracy import cell, setting
from benchmarks.results import machine, table
from pldebias import metrics
from pldebias.analysis.comparing.published import SOURCES, lookup
from pldebias.analysis.comparing.tables import Published
from pldebias.interop.thin import thin
from pldebias.methods import slug
from pldebias.runs import Run, RunError
from pldebias.training import TrainingError, sweep

METHODS = (
    *("supervised", "supervised+la", "fixmatch", "usadtm", "fixmatch+daso", "fixmatch+debiaspl", "fixmatch+la"),
    *("fixmatch+abc", "fixmatch+seval", "fixmatch+adello"),
)
"""The rows, in the order of the table."""
SETTINGS: dict[str, dict[str, Any]] = {
    "consistent": {"n1": 500, "m1": 4000, "gamma_u": 100.0},
    "uniform": {"n1": 500, "m1": 4000, "gamma_u": 1.0},
    "reversed": {"n1": 500, "m1": 4000, "gamma_u": 100.0, "reverse_unlabelled": True},
    "consistent-1500": {"n1": 1500, "m1": 3000, "gamma_u": 100.0},
}
"""Splits of CIFAR-10 with gamma_l = 100, by name."""
SIZES = {"full": ("cifar10-lt", {"precision": "bf16"}), "small": ("cifar10-lt-cpu", {"threads": 1})}
"""Preset and settings, by name."""
RUN_LIMIT, LIMIT = 3_000_000, 27_000_000
"""Bytes of one shipped run, and of all of them."""


def train(
    name: str, methods: list[str], seeds: list[int], size: str, out: Path, jobs: int, **settings: Any
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Runs of one setting, one a seed, by method, and the messages of those that failed."""
    preset, own = SIZES[size]
    options = {**own, **SETTINGS[name], **settings}
    runs, errors = {}, {}
    for method in methods:
        try:
            runs[method] = sweep([method], preset, seeds, jobs=jobs, out=out / name, **options)
        except (TrainingError, RunError) as error:
            errors[method] = str(error)
    return runs, errors


def accuracy(run: Run) -> float:
    """Median of the last 20 test accuracies in percent, which is what DASO's tables show."""
    return 100 * float(metrics.last_and_median(run.scalars["test_accuracy"].to_numpy())[1])


def rows(name: str, runs: dict[str, list[Run]]) -> list[list[str]]:
    """One row a method: ours and what was published for these class counts, the first source that has it first."""
    lines = []
    for method, found in runs.items():
        there = lookup(method, {**found[0].config, "source": "cifar10"})  # a copy in another format holds the same images
        sources = [str(Published(*row)) for row in there[["value", "sd", "source", "differs"]].itertuples(index=False)]
        recall = [100 * metrics.group(r.confusion("sweep", epoch=-1), metrics.groups(r.labelled_counts)).recall for r in found]
        tail, head = cell([float(r[2]) for r in recall], 1), cell([float(r[0]) for r in recall], 1)
        lines.append([f"{name}, {method}", str(len(found)), cell([accuracy(r) for r in found], 1), "; ".join(sources) or "–", head, tail])
    return lines


def ship(runs: dict[str, dict[str, list[Run]]], folder: Path, limit: int) -> dict[str, int]:
    """Thinned copies of the first seeds' runs, each with an equal share of `limit` bytes; bytes by file name."""
    shipped: dict[str, int] = {}
    share = min(RUN_LIMIT, limit // max(sum(map(len, runs.values())), 1))
    for name, of_setting in runs.items():
        for method, found in of_setting.items():
            path = folder / f"{name}_{slug(method)}_s{found[0].seed}.zip"
            for snapshots, dimensions, epochs in ((8, 16, 60), (5, 16, 60), (4, 12, 40), (3, 8, 40), (2, 8, 20), (1, 8, 0)):
                size = thin(found[0], path, epochs=epochs, snapshots=snapshots, dimensions=dimensions).stat().st_size
                if size <= share:
                    break
            if size > share:
                path.unlink()
                print(f"{path.name} is left out: {size:,} bytes, where {share:,} are its share", file=sys.stderr)
            else:
                shipped[path.name] = size
    return shipped


HEADER = ("CIFAR-10-LT, gamma_l = 100", "n", "median of 20, %", "published, %", "PL recall head, %", "PL recall tail, %")


def page(options: argparse.Namespace, lines: list[list[str]], shipped: dict[str, int], about: dict[str, Any], example: Run) -> str:
    """The text of ``README.md``."""
    config, used = example.config, {source for line in lines for source in SOURCES if f"({source})" in line[3] or f"({source}," in line[3]}
    seeds = ", ".join(map(str, options.seeds))
    settings = f"{config['network']}, {config['steps']:,} steps, {example.attrs['machine'].get('name')}, seeds {seeds}"
    warning = (
        ""
        if options.size == "full"
        else "The network and the training are reduced: these accuracies are not comparable with published ones.\n"
        "Trained digits also differ between CPUs, by a point and more.\n"
    )
    copy = (
        ""
        if config["source"] == "cifar10"
        else f"Images come from {config['source'].partition(':')[0]} files, not from the original archive.\n"
    )
    copies = [
        "| file | bytes |\n|---|---:|",
        *(f"| `{name}` | {size:,} |" for name, size in shipped.items()),
        "",
        'Open one from a notebook: `run = pld.open_run("../data/gallery/FILE")`. List all: `pldebias runs data/gallery`. The copies',
        "are thinned (`run.attrs['thinned']`): fewer epochs, under their own numbers, fewer snapshots, and features projected to few",
        "dimensions. What relabelling needs is kept beside them, so that `pld.what_if` gives the labels that the whole run gives.",
    ]
    return "\n".join(
        [
            "# Gallery",
            "",
            f"Runs of `python -m benchmarks.gallery --size {options.size}`, {datetime.date.today().isoformat()}: {settings};",
            f"Python {about['Python']}, torch {about['torch']}.",
            "",
            "Test accuracy is the median of the last 20 evaluations, mean ± standard deviation over n seeds; – is not published for this",
            "setting. Recall is of the pseudo-labels of the first and the last third of the classes, in the last epoch.",
            warning + copy,
            table(HEADER, lines),
            "",
            *(f"* {source}: {SOURCES[source]}" for source in SOURCES if source in used),
            "",
            *(copies if shipped else ["No runs lie beside this page."]),
            "",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Train, print, ship; returns the number of rows that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS), default=["consistent"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ship", nargs="*", choices=tuple(SETTINGS), default=["consistent"], help="settings whose runs are copied")
    parser.add_argument("--jobs", type=int, help="runs at once; default: as many as cores with --size small, else 1")
    parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="where whole runs are kept; those of sizes lie apart")
    parser.add_argument("--to", type=Path, default=Path("data/gallery"), help="where the page and the shipped copies go")
    parser.add_argument(
        "--source", help="where CIFAR-10 comes from, such as parquet:FOLDER; default: the environment's PLDEBIAS_CIFAR10, or a download"
    )
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="settings of every run")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    settings = dict(options.set)
    jobs = options.jobs or (os.cpu_count() or 1 if options.size == "small" else 1)
    # The run keeps the variable's name, and finds its images wherever that points.
    source = options.source or ("parquet:$PLDEBIAS_CIFAR10" if os.environ.get("PLDEBIAS_CIFAR10") else None)
    if source:
        settings["source"] = source
    runs, lines, failed = {}, [], {}
    for name in options.settings:
        runs[name], errors = train(
            name,
            options.methods,
            options.seeds,
            options.size,
            options.out / options.size,
            jobs,
            progress=not options.quiet,
            **settings,
        )
        lines += rows(name, runs[name])
        failed |= {f"{name}, {method}": error for method, error in errors.items()}
    for name, error in failed.items():
        print(f"\n{name} failed: {error}", file=sys.stderr)
    if lines:
        example = next(found[0] for of_setting in runs.values() for found in of_setting.values())
        shipped = ship({name: of for name, of in runs.items() if name in options.ship}, options.to, LIMIT)
        text = page(options, lines, shipped, machine(), example)
        options.to.mkdir(parents=True, exist_ok=True)
        (options.to / "README.md").write_text(text)
        print(text)
    return len(failed)


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
