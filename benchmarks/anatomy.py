"""Where the time of a training step goes, by kind of work, as torch's profiler sees it.

    python -m benchmarks.anatomy [--network wrn28_2] [--batch 64] [--mu 2] [--precision fp32 bf16] [--device cpu] [--threads 1] [--steps 5]

FixMatch on random pictures of CIFAR's size, new batches every step, operation by operation (a profiler cannot look into a replayed CUDA
graph's Python, and a compiled network has other operations). On a CPU the figures are time of its operations, on CUDA that of the kernels
that they launched; the last row is what the step took beside them: waiting for the host on CUDA, the interpreter on a CPU. The profiler
itself slows a step, so these are shares, and the rates are `benchmarks.speed`'s.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from benchmarks.contenders import Ours, pictures, step_parser
from benchmarks.timing import machine, native_bf16, print_machine, synchronise, table
from pldebias.presets import PRECISIONS

WARMUP = 3  # steps under the profiler that do not count: it disturbs the allocator at first
PIPELINE, TEACHER = "data pipeline", "teacher (EMA)"
KINDS = (
    (PIPELINE, (PIPELINE,)),
    (TEACHER, (TEACHER,)),
    ("optimiser", ("Optimizer.step", "Optimizer.zero_grad")),
    ("convolutions, backward", ("aten::convolution_backward",)),
    ("convolutions, forward", ("aten::conv2d", "aten::convolution")),
    ("batch normalisation, backward", ("aten::native_batch_norm_backward", "aten::cudnn_batch_norm_backward", "aten::batch_norm_backward")),
    ("batch normalisation, forward", ("aten::batch_norm",)),
    ("activations, backward", ("aten::leaky_relu_backward", "aten::threshold_backward")),
    ("activations, forward", ("aten::leaky_relu", "aten::relu")),
    ("residual sums, pooling", ("aten::add", "aten::mean", "aten::adaptive_avg_pool2d")),
)
"""Kinds of work, and how the names of their operations begin; of nested operations the outermost that has a kind decides."""
REST = "classifier, losses, pseudo-labels, conversions"


def kind(event: Any) -> str:
    """Of an operation, by itself and those that it was called from."""
    names = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    for name in reversed(names):
        for of_kind, starts in KINDS:
            if name.startswith(starts):
                return of_kind
    return REST


def marked(owner: Any, method: str, name: str) -> None:
    """Have the profiler see calls of a method under a name."""
    plain: Callable = getattr(owner, method)

    def call(*args: Any) -> Any:
        with record_function(name):
            return plain(*args)

    setattr(owner, method, call)


def dissect(options: argparse.Namespace, precision: str) -> tuple[dict[str, float], dict[str, int], float]:
    """Seconds of a step by kind of work, operations of each kind that took any, and seconds of the whole step."""
    cuda = torch.device(options.device).type == "cuda"
    data = pictures(max(512, options.batch), max(1024, int(options.batch * options.mu)), 8)
    ours = Ours(options, data, precision)
    marked(ours.loader, "next", PIPELINE)
    marked(ours.state.ema, "move", TEACHER)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    ours.begin()
    moments = []
    with profile(activities=activities, schedule=schedule(wait=0, warmup=WARMUP, active=options.steps), acc_events=True) as seen:
        for _ in range(WARMUP + options.steps):
            synchronise(options.device)
            moments.append(time.perf_counter())
            ours.steps(1, True)
            synchronise(options.device)
            moments.append(time.perf_counter())
            seen.step()
    ours.end()
    whole = sum(moments[1::2][WARMUP:]) - sum(moments[::2][WARMUP:])
    whole /= options.steps
    seconds, operations = Counter(), Counter()
    for event in seen.events():
        # Kernels are counted with the operation that launched them.
        if str(event.device_type).endswith("CPU") and not event.name.startswith("ProfilerStep"):
            spent = event.self_device_time_total if cuda else event.self_cpu_time_total
            if spent > 0:
                of_kind = kind(event)
                seconds[of_kind] += spent / 1e6 / options.steps
                operations[of_kind] += event.name.startswith("aten::")
    return dict(seconds), {name: round(n / options.steps) for name, n in operations.items()}, whole


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Print a table for each precision; returns what `dissect` found, by precision."""
    parser = step_parser(__doc__.splitlines()[0])
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="default: bf16 where the device has it, else fp32")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's")
    parser.add_argument("--steps", type=int, help="steps that are looked at; default: 5 on a CPU, 50 on CUDA")
    options = parser.parse_args(arguments)
    cuda = torch.device(options.device).type == "cuda"
    options.precision = options.precision or ["bf16" if cuda or native_bf16() else "fp32"]
    options.steps = options.steps or (50 if cuda else 5)
    if options.threads:
        torch.set_num_threads(options.threads)
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # it would tell of every GPU that it does not find
    found = {precision: dissect(options, precision) for precision in options.precision}
    about = machine(options.device)
    if options.json:
        print(json.dumps({"machine": about, "options": vars(options), "found": found}))
        return found
    rows = int(options.batch * options.mu)
    print(f"FixMatch, {options.network}, {options.batch} + 2 x {rows} images of 32 x 32, {options.steps} steps")
    print_machine(about)
    lines = []
    for name in [*(name for name, _ in KINDS), REST]:
        cells = [name]
        for seconds, operations, whole in found.values():
            spent = seconds.get(name, 0.0)
            cells += [f"{1e3 * spent:.2f}", f"{100 * spent / whole:.1f} %", str(operations.get(name, 0))]
        lines.append(cells)
    beside = ["beside them"]
    for seconds, _, whole in found.values():
        left = whole - sum(seconds.values())
        beside += [f"{1e3 * left:.2f}", f"{100 * left / whole:.1f} %", ""]
    total = ["a step"]
    for *_, whole in found.values():
        total += [f"{1e3 * whole:.2f}", "100 %", ""]
    heads = [f"{precision}, {what}" for precision in found for what in ("ms", "of a step", "operations")]
    print(table(["kind of work", *heads], [*lines, beside, total]))
    return found


if __name__ == "__main__":
    main()
