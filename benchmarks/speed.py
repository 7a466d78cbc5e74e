"""The package's training step, iteration and evaluation against the conventional loop of `benchmarks.conventional`.

    python -m benchmarks.speed [--network wrn28_2] [--batch 64] [--mu 2] [--precision fp32 bf16] [--compile] [--device cpu]
                               [--threads 1] [--rounds 5] [--at-least "step=2" "data pipeline=10" "EMA update=5"]

Both do the same mathematics on random pictures of CIFAR's size; contenders take turns in every round, and the figures are medians over
the rounds with the smallest and the largest behind them. The ratio is taken round by round. The conventional loop is float32 in the
default layout with torch's default settings (on CUDA these let convolutions use TF32); ours is channels last and as precise as
``--precision`` says, by default bfloat16 where the processor has it. On CUDA our step is measured operation by operation, and replayed as
a CUDA graph; ``--compile`` adds both with a compiled backbone. On a CPU, where a turn is short, a step that does not count comes first.

A second table says what an epoch of `EPOCH_STEPS` steps of CIFAR-10-LT costs beside its steps: the evaluation of test and unlabelled
images, the handing over of outputs to the writing thread, and the checkpoint. A third counts operations and waits. ``--at-least`` makes a
guard of the command: it fails if a median ratio of this very run is smaller.

On a CPU, `--clock cpu` measures processor time: use it where others compete for the machine. The conventional iteration cuts its images
in the training process there (``--workers 0``), since workers would only take the step's own cores; on CUDA it has eight workers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import CLASSES, Ours, Theirs, pictures, step_parser
from benchmarks.timing import CLOCKS, alternate, counting, machine, native_bf16, print_machine, spread, synchronise, table
from pldebias.data import Dataset
from pldebias.gpu.graph import WARMUP
from pldebias.presets import PRECISIONS
from pldebias.runs import Recorder
from pldebias.training import checkpoints
from pldebias.training.device import machine as training_machine
from pldebias.training.evaluate import evaluate, sweep

EMA_UPDATES, BATCHES = 20, 5  # a turn: one is too short for a clock
LABELLED = 1236  # images of CIFAR-10-LT with N1=500 and gamma=100


def contenders(options: argparse.Namespace, data: Dataset) -> tuple[dict[str, Ours], dict[str, int]]:
    """Ours, by precision and way of running, warm; and the bytes of GPU memory that each took at its peak."""
    cuda = torch.device(options.device).type == "cuda"
    ways = {"": {}, ", compiled": {"compiled": True}, ", graph": {"graph": True}, ", compiled, graph": {"compiled": True, "graph": True}}
    ours, memory = {}, {}
    for precision in options.precision:
        for way, settings in ways.items():
            if settings.get("graph", False) > cuda or settings.get("compiled", False) > options.compile:
                continue
            name = precision + way
            if cuda:
                torch.cuda.reset_peak_memory_stats(options.device)
                held = torch.cuda.memory_allocated(options.device)
            ours[name] = Ours(options, data, precision, **settings)
            if cuda or settings:  # compile, capture, and tune before the clock runs
                ours[name].begin()
                for pipeline in (False, True):
                    ours[name].steps(WARMUP + 3, pipeline)
                ours[name].end()
            if cuda:
                memory[name] = torch.cuda.max_memory_allocated(options.device) - held
    return ours, memory


@dataclass
class Comparison:
    """Turns that do the same: the conventional loop's, what it prepares while the clock stands, and ours, by name."""

    theirs: Callable
    ours: dict[str, Callable]
    units: int  # of work in a turn
    unit: str = "step"
    prepare: Callable = field(default=lambda: None)
    pipeline: bool | None = None  # whether a step of ours takes new batches; None if it is no step

    def times(self, options: argparse.Namespace, contenders: dict[str, Ours]) -> dict[str, list[float]]:
        """Seconds a unit, one value a round, of ours by name and of theirs under ""."""
        before = {"": self.prepare, **{name: lambda o=contenders[name]: o.begin(self.pipeline) for name in self.ours}}
        after = {name: contenders[name].end for name in self.ours}
        turns = {"": self.theirs, **self.ours}
        times = alternate(turns, options.rounds, options.device, options.clock, before=before, after=after)
        return {name: [value / self.units for value in values] for name, values in times.items()}


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, int]]:
    """Every comparison: seconds of the conventional loop and of ours per unit of work, their ratios, one value a round; an epoch."""
    count = options.steps
    data = pictures(max(options.labelled, options.batch), max(options.unlabelled, int(options.batch * options.mu)), options.images)
    ours, memory = contenders(options, data)
    name, first = next(iter(ours.items()))
    theirs = Theirs(options, data, first.batch)
    ema, teacher = first.state.ema, theirs.trainer.ema

    def iterate() -> None:
        theirs.start_pipeline(count)
        theirs.begin()

    comparisons = {
        "step": Comparison(
            lambda: theirs.steps(count), {p: lambda o=o: o.steps(count, False) for p, o in ours.items()}, count, "step", theirs.begin, False
        ),
        "iteration with data pipeline": Comparison(
            lambda: theirs.iterations(count), {p: lambda o=o: o.steps(count, True) for p, o in ours.items()}, count, "step", iterate, True
        ),
        "data pipeline": Comparison(
            lambda: theirs.batches(BATCHES),
            {name: lambda: first.batches(BATCHES)},
            BATCHES,
            "batch",
            lambda: theirs.start_pipeline(BATCHES),
        ),
        "EMA update": Comparison(
            lambda: [teacher.update() for _ in range(EMA_UPDATES)],
            {name: lambda: [ema.update() for _ in range(EMA_UPDATES)]},
            EMA_UPDATES,
            "update",
        ),
        "evaluation": Comparison(theirs.evaluate, {p: ours[p].evaluate for p in options.precision}, options.images, "image"),
    }
    results = []
    for what, comparison in comparisons.items():
        times = comparison.times(options, ours)
        base = times.pop("")
        for way, values in times.items():
            ratios = [a / b for a, b in zip(base, values, strict=True)]
            shown = "any" if comparison.unit in ("batch", "update") else way  # neither knows of precisions
            row = {"what": what, "precision": shown, "unit": comparison.unit, "conventional": base, "ours": values, "ratio": ratios}
            results.append(row)
    iterations = {r["precision"]: statistics.median(r["ours"]) for r in results if r["what"] == "iteration with data pipeline"}
    fastest = min(iterations, key=iterations.get)
    return results, measure_epoch(options, fastest, iterations[fastest]), memory


EPOCH_STEPS = 500  # of DASO's protocol, between two evaluations
EPOCH_PARTS = ("evaluation of the test images", "sweep over the unlabelled images", "handing over to the writer", "checkpoint, log on disk")


def measure_epoch(options: argparse.Namespace, way: str, iteration: float) -> list[dict[str, Any]]:
    """Seconds of what ends an epoch, by part, one value a round, and their share of `EPOCH_STEPS` iterations of `iteration` seconds."""
    state = Ours(options, pictures(LABELLED, options.unlabelled_images, options.test_images), way.partition(",")[0]).state
    data, network, method = state.dataset, state.ema.teacher, state.method
    times: dict[str, list[float]] = {part: [] for part in EPOCH_PARTS}
    with tempfile.TemporaryDirectory() as folder:
        path, n = Path(folder), data.unlabelled.labels
        recorder = Recorder(path / "run", n, data.labelled_counts, data.class_names, device=state.device)
        with recorder, training_machine(state.config, state.device):
            for number in range(min(options.rounds, 3) + 1):
                moments = [_now(options)]
                test, scalars = evaluate(network, method, state.loader)
                moments.append(_now(options))
                swept = sweep(network, method, state.loader, state.t)
                moments.append(_now(options))
                outputs = {"logits": swept["logits"], "features": swept["features"]}
                recorder.end_epoch(iteration=number, test=test, scalars=scalars, sweep=(swept["label"], swept["accepted"]), **outputs)
                moments.append(_now(options))
                recorder.flush()
                checkpoints.save(path / "checkpoints", state.state_dict())
                moments.append(_now(options))
                if number:  # the first round warms up
                    for part, start, end in zip(EPOCH_PARTS, moments, moments[1:], strict=False):
                        times[part].append(end - start)
    return [
        {"what": part, "seconds": seconds, "share": statistics.median(seconds) / (EPOCH_STEPS * iteration)}
        for part, seconds in times.items()
    ]


def _now(options: argparse.Namespace) -> float:
    synchronise(options.device)
    return CLOCKS[options.clock]()


def guard(results: list[dict[str, Any]], least: dict[str, float]) -> None:
    """End with an error if a median ratio of `results` is smaller than asked for, by the row's name; graph rows count as their own."""
    named = {_named(r): statistics.median(r["ratio"]) for r in results}
    for name, wanted in least.items():
        found = {row: ratio for row, ratio in named.items() if row == name or row.startswith(f"{name}, ")}
        if not found:
            raise SystemExit(f"{name!r} is not measured; measured are {'; '.join(named)}")
        best = max(found, key=found.get)
        if found[best] < wanted:
            raise SystemExit(f"{best} is {found[best]:.2f} times faster than the conventional loop, not {wanted:g}")
        print(f"{best}: at least {wanted:g} times faster, as asked for ({found[best]:.2f})")


def _named(row: dict[str, Any]) -> str:
    return row["what"] if row["precision"] == "any" else f"{row['what']}, {row['precision']}"


def count_operations(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Operations and host synchronisations of one warm step, which do not depend on the batch size: a small one is used."""
    small = argparse.Namespace(**{**vars(options), "batch": 4, "mu": 2.0, "workers": 0})
    data = pictures(8, 16, 64)
    ours = Ours(small, data, options.precision[-1])
    theirs = Theirs(small, data, ours.batch)
    tested = list(theirs.test)
    # The strategy of CUDA; the one of the CPU asks for counts, which costs nothing there.
    ours.state.augment.strategy = "masked"
    blocks: dict[str, Callable[[], Any]] = {
        "conventional, step": lambda: theirs.steps(1),
        "conventional, of which EMA": theirs.trainer.ema.update,
        "conventional, evaluation of 64 images": lambda: theirs.trainer.evaluate(tested, CLASSES, theirs.device),
        "ours, step": lambda: ours.steps(1, False),
        "ours, of which EMA": ours.state.ema.update,
        "ours, step with data pipeline": lambda: ours.steps(1, True),
        "ours, evaluation of 64 images": ours.evaluate,
    }
    rows = []
    for name, run in blocks.items():
        run()  # momentum buffers and constants are made once
        with counting() as counts:
            run()
        rows.append({"what": name, "operations": counts.operations.total(), "host waits": dict(counts.syncs)})
    return rows


def _time(values: list[float]) -> str:
    low, middle, high = (1000 * value for value in spread(values))
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 3
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"


def _print_operations(counts: list[dict[str, Any]]) -> None:
    waits = [[r["what"], str(r["operations"]), ", ".join(f"{n} {name}" for name, n in r["host waits"].items()) or "0"] for r in counts]
    print(table(["dispatched operations, without views", "operations", "host waits"], waits))


def _ratio(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not row=ratio, such as step=2")
    return name, float(value)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options, with the defaults that depend on the machine."""
    parser = step_parser(__doc__.splitlines()[0])
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="of ours; default: bf16 where the device has it, else fp32")
    parser.add_argument("--threads", type=int, help="CPU threads of the training process; default: torch's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="steps a turn; default: 1 on a CPU, 50 on CUDA")
    parser.add_argument("--images", type=int, help="test images of the evaluation; default: 512 on a CPU, 10000 on CUDA")
    parser.add_argument("--test-images", type=int, default=10_000, help="of the evaluation that ends an epoch")
    parser.add_argument("--unlabelled-images", type=int, default=9922, help="of the sweep that ends an epoch; default: CIFAR-10-LT's")
    parser.add_argument("--compile", action="store_true", help="measure ours with a compiled backbone too")
    parser.add_argument("--workers", type=int, help="DataLoader workers of the conventional loop; default: 0 on a CPU, at most 8 on CUDA")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--operations", action="store_true", help="count operations and waits, and measure no time")
    parser.add_argument("--at-least", type=_ratio, nargs="+", default=[], metavar="ROW=RATIO", help="fail if a ratio is smaller")
    options = parser.parse_args(arguments)
    cuda = torch.device(options.device).type == "cuda"
    options.precision = options.precision or ["bf16" if cuda or native_bf16() else "fp32"]
    options.steps = options.steps or (50 if cuda else 1)
    options.images = options.images or (10_000 if cuda else 512)
    options.labelled, options.unlabelled = (LABELLED, 9922) if cuda else (512, 1024)  # on CUDA those of CIFAR-10-LT
    options.workers = options.workers if options.workers is not None else min(8, os.cpu_count() or 1) if cuda else 0
    if options.clock == "cpu" and (cuda or options.workers):
        parser.error("--clock cpu sees neither a GPU's work nor that of workers: it goes with --device cpu --workers 0")
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Print the tables; returns the rows of the first."""
    options = parse(arguments)
    about = machine(options.device)
    (results, epoch, memory), counts = ([], [], {}) if options.operations else measure(options), count_operations(options)
    if memory:
        about["GPU memory"] = ", ".join(f"{name}: {size / 2**30:.2f} GiB" for name, size in memory.items())
    about["load afterwards"] = machine(options.device)["load"]
    if options.json:
        report = {"machine": about, "options": vars(options), "times": results, "epoch": epoch, "operations": counts, "memory": memory}
        print(json.dumps(report))
        guard(results, dict(options.at_least))
        return results
    rows = int(options.batch * options.mu)
    if options.operations:
        print_machine(about)
        _print_operations(counts)
        return results
    print(f"FixMatch, {options.network}, {options.batch} + 2 x {rows} images of 32 x 32, {options.rounds} rounds, {options.clock} time")
    print_machine(about)
    lines = []
    for r in results:
        low, middle, high = spread(r["ratio"])
        rate = f"{1 / statistics.median(r['conventional']):.3g} / {1 / statistics.median(r['ours']):.3g}"
        lines.append([_named(r), _time(r["conventional"]), _time(r["ours"]), rate, f"{middle:.2f} ({low:.2f} .. {high:.2f})"])
    print(table(["per step, batch, update or image", "conventional, ms", "ours, ms", "per second", "times faster"], lines))
    print()
    lines = [[r["what"], _time(r["seconds"]), f"{100 * r['share']:.2f} %"] for r in epoch]
    lines.append(["together", "", f"{100 * sum(r['share'] for r in epoch):.2f} %"])
    print(table([f"once in {EPOCH_STEPS} iterations, {options.clock} time", "ms", "of their time"], lines))
    print()
    _print_operations(counts)
    guard(results, dict(options.at_least))
    return results


if __name__ == "__main__":
    main()
