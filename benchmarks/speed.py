"""FixMatch's step, iteration, data pipeline, teacher and evaluation against the loop that public trainers write.

    python -m benchmarks.speed [--network wrn28_2] [--batch 64] [--mu 2] [--precision fp32 bf16] [--compile] [--device cpu]
                               [--threads 1] [--rounds 5] [--at-least "step=2" "data pipeline=10" "EMA update=5"] [--save]

Both do the same mathematics on random pictures of CIFAR's size. The conventional loop (`benchmarks.conventional`) is float32 in the
default layout with torch's default settings (on CUDA these let convolutions use TF32); ours is channels last and as precise as
``--precision`` says, by default bfloat16 where the processor has it. On CUDA our step is measured operation by operation, and replayed as
a CUDA graph; ``--compile`` adds both with a compiled backbone; the Triton kernel is compared with the operations that it stands for.

A second table says what an epoch of `EPOCH_STEPS` steps of CIFAR-10-LT costs beside its steps, a third counts operations and waits.
``--at-least`` makes a guard of the command: it fails if a median ratio of this very run is smaller. ``--clock cpu`` measures processor
time: use it where others compete for the machine. On a CPU the conventional loop cuts its images in the training process (``--workers
0``), since workers would only take the step's own cores; on CUDA it has eight workers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import results
from benchmarks.contenders import CLASSES, Ours, Theirs, pictures, step_parser
from benchmarks.conventional import MEAN, STD, photographs
from benchmarks.results import quantity, ratio
from benchmarks.timing import CLOCKS, alternate, counting, synchronise
from pldebias.data import make_augment
from pldebias.hardware import native_bf16
from pldebias.presets import PRECISIONS
from pldebias.runs import Recorder
from pldebias.training import checkpoints
from pldebias.training.device import machine as training_machine
from pldebias.training.evaluate import evaluate, sweep

WARM, EMA_UPDATES, BATCHES = 6, 20, 5
LABELLED = 1236  # images of CIFAR-10-LT with N1=500 and gamma=100
EPOCH_STEPS = 500  # of DASO's protocol, between two evaluations
EPOCH_PARTS = ("evaluation of the test images", "sweep over the unlabelled images", "handing over to the writer", "checkpoint, log on disk")


def contenders(options: argparse.Namespace, data: Any) -> dict[str, Ours]:
    """Ours, by precision and way of running, warm."""
    cuda = torch.device(options.device).type == "cuda"
    ways = {"": {}, ", compiled": {"compiled": True}, ", graph": {"graph": True}, ", compiled, graph": {"compiled": True, "graph": True}}
    ours = {}
    for precision in options.precision:
        for way, settings in ways.items():
            if settings.get("graph", False) > cuda or settings.get("compiled", False) > options.compile:
                continue
            made = ours[precision + way] = Ours(options, data, precision, **settings)
            if cuda or settings:  # compile, capture, and tune before the clock runs
                made.begin()
                for pipeline in (False, True):
                    made.steps(WARM, pipeline)
                made.end()
    return ours


def measure(options: argparse.Namespace) -> results.Tables:
    """Every comparison with the conventional loop, and what an epoch costs beside its steps."""
    count = options.steps
    data = pictures(max(options.labelled, options.batch), max(options.unlabelled, int(options.batch * options.mu)), options.images)
    ours = contenders(options, data)
    name, first = next(iter(ours.items()))
    theirs = Theirs(options, data, first.batch)
    ema, teacher = first.state.ema, theirs.trainer.ema
    rows, seconds = [], {}

    def compare(what: str, base: Callable, mine: dict[str, Callable], units: int, unit: str, prepare=None, pipeline=None) -> None:
        """Let both do the same; `pipeline` says whether a step of ours takes new batches, None that it is no step."""
        before = {name: partial(ours[name].begin, pipeline) for name in mine} | ({"": prepare} if prepare else {})
        after = {name: ours[name].end for name in mine}
        times = alternate({"": base, **mine}, options.rounds, options.device, options.clock, before=before, after=after)
        theirs = times.pop("")
        for name, values in times.items():
            seconds[what, name] = statistics.median(values) / units
            row = {"what": what if unit in ("batch", "update") else f"{what}, {name}", "a": unit}  # neither knows of precisions
            row |= {"conventional": quantity(theirs, "ms", 1000 / units), "ours": quantity(values, "ms", 1000 / units)}
            rows.append({**row, "times faster": ratio(theirs, values)})

    def iterate() -> None:
        theirs.start_pipeline(count)
        theirs.begin()

    steps = {pipeline: {name: partial(o.steps, count, pipeline) for name, o in ours.items()} for pipeline in (False, True)}
    compare("step", lambda: theirs.steps(count), steps[False], count, "step", theirs.begin, False)
    compare("iteration with data pipeline", lambda: theirs.iterations(count), steps[True], count, "step", iterate, True)
    started = partial(theirs.start_pipeline, BATCHES)
    compare("data pipeline", lambda: theirs.batches(BATCHES), {name: lambda: first.batches(BATCHES)}, BATCHES, "batch", started)
    updates = (lambda: [teacher.update() for _ in range(EMA_UPDATES)]), (lambda: [ema.update() for _ in range(EMA_UPDATES)])
    compare("EMA update", updates[0], {name: updates[1]}, EMA_UPDATES, "update")
    compare("evaluation", theirs.evaluate, {p: ours[p].evaluate for p in options.precision}, options.images, "image")
    iterations = {name: value for (what, name), value in seconds.items() if what == "iteration with data pipeline"}
    fastest = min(iterations, key=iterations.get)
    tables = {"per step, batch, update or image": rows}
    if torch.device(options.device).type == "cuda":
        tables["views as a Triton kernel"] = kernel(options)
    return tables | {f"once in {EPOCH_STEPS} iterations": epoch(options, fastest, iterations[fastest])}


def kernel(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Weak and strong views by the Triton kernel against the batched operations that it stands for, both replayed as graphs."""
    from pldebias.gpu.graph import register

    size, replays, kept = options.batch * int(1 + options.mu), 20, {}
    for way in ("masked", "kernel"):
        augment, generator = make_augment("daso", MEAN, STD, 32), torch.Generator("cuda").manual_seed(0)
        augment.strategy, images, graph = way, photographs(size).cuda(), torch.cuda.CUDAGraph()
        register(graph, generator)
        for context in (nullcontext(), torch.cuda.graph(graph)):
            with context:
                augment(images, "weak", generator), augment(images, "strong", generator)
        kept[way] = graph, augment, images, generator  # a graph reads what it was captured on
    turns = {way: lambda graph=made[0]: [graph.replay() for _ in range(replays)] for way, made in kept.items()}
    times = alternate(turns, options.rounds, "cuda")
    each = {name: quantity(values, "us", 1e6 / replays / size) for name, values in times.items()}
    return [{"what": "image", **each, "times faster": ratio(times["masked"], times["kernel"])}]


def epoch(options: argparse.Namespace, way: str, iteration: float) -> list[dict[str, Any]]:
    """Time of what ends an epoch, by part, and its share of `EPOCH_STEPS` iterations of `iteration` seconds."""
    state = Ours(options, pictures(LABELLED, options.unlabelled_images, options.test_images), way.partition(",")[0]).state
    data, network, method = state.dataset, state.ema.teacher, state.method
    times: dict[str, list[float]] = {part: [] for part in EPOCH_PARTS}
    with tempfile.TemporaryDirectory() as folder:
        path, labels = Path(folder), data.unlabelled.labels
        recorder = Recorder(path / "run", labels, data.labelled_counts, data.class_names, device=state.device)
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
                checkpoints.save(checkpoints.folder_of(path), state.state_dict())
                moments.append(_now(options))
                if number:  # the first round warms up
                    for part, start, end in zip(EPOCH_PARTS, moments, moments[1:], strict=False):
                        times[part].append(end - start)
    share = {part: [100 * value / (EPOCH_STEPS * iteration) for value in values] for part, values in times.items()}
    rows = [{"what": part, "time": quantity(times[part], "ms", 1000), "of the steps' time": quantity(share[part], "%")} for part in times]
    return [*rows, {"what": "together", "of the steps' time": quantity([sum(parts) for parts in zip(*share.values(), strict=True)], "%")}]


def _now(options: argparse.Namespace) -> float:
    synchronise(options.device)
    return CLOCKS[options.clock]()


def operations(options: argparse.Namespace) -> list[dict[str, Any]]:
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
        rows.append({"what": name, "operations": counts.operations.total(), "host waits": counts.syncs.total()})
    return rows


def guard(rows: list[dict[str, Any]], least: dict[str, float]) -> None:
    """End with an error if the best median ratio of a row, in any precision or way of running, is smaller than asked for."""
    for name, wanted in least.items():
        found = {row["what"]: row["times faster"]["median"] for row in rows if row["what"] == name or row["what"].startswith(f"{name}, ")}
        if not found:
            raise SystemExit(f"{name!r} is not measured; measured are {'; '.join(row['what'] for row in rows)}")
        best = max(found, key=found.get)
        if found[best] < wanted:
            raise SystemExit(f"{best} is {found[best]:.2f} times faster than the conventional loop, not {wanted:g}")
        print(f"{best}: at least {wanted:g} times faster, as asked for ({found[best]:.2f})")


def _least(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not row=ratio, such as step=2")
    return name, float(value)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options, with the defaults that depend on the machine."""
    parser = step_parser(__doc__)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="of ours; default: bf16 where the device has it, else fp32")
    parser.add_argument("--threads", type=int, help="CPU threads of the training process; default: torch's")
    parser.add_argument("--steps", type=int, help="steps a turn; default: 1 on a CPU, 50 on CUDA")
    parser.add_argument("--images", type=int, help="test images of the evaluation; default: 512 on a CPU, 10000 on CUDA")
    parser.add_argument("--test-images", type=int, default=10_000, help="of the evaluation that ends an epoch")
    parser.add_argument("--unlabelled-images", type=int, default=9922, help="of the sweep that ends an epoch; default: CIFAR-10-LT's")
    parser.add_argument("--compile", action="store_true", help="measure ours with a compiled backbone too")
    parser.add_argument("--workers", type=int, help="DataLoader workers of the conventional loop; default: 0 on a CPU, at most 8 on CUDA")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--at-least", type=_least, nargs="+", default=[], metavar="ROW=RATIO", help="fail if a ratio is smaller")
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


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure, print, and hold the ratios to ``--at-least``; returns the tables."""
    options = parse(arguments)
    tables = measure(options) | {"dispatched operations, without views": operations(options)}
    sizes = f"{options.network}, {options.batch} labelled and 2 x {int(options.batch * options.mu)} unlabelled images of 32 x 32"
    results.report("speed", __doc__, tables, options, arguments, step=sizes, clock=options.clock)
    guard(tables["per step, batch, update or image"], dict(options.at_least))
    return tables


if __name__ == "__main__":
    main()
