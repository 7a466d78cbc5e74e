"""From the start of the interpreter to the end of the first optimiser step, in fresh processes.

    python -m benchmarks.start [--data glyphs-lt cifar10-lt] [--source parquet:FOLDER] [--precision bf16] [--device auto] [--no-compile]
                               [--rounds 3]

What a person waits for who starts a training: imports, the data set (decoded before, as it is after a first training), networks, the
run's folder, and the first step. With ``compile=True`` once from nothing, and then with what torch's compiler has kept on the disk.
CIFAR-10 comes from ``--source``, the environment's PLDEBIAS_CIFAR10, or what torchvision has downloaded before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch

from benchmarks.timing import machine, native_bf16, print_machine, table
from pldebias.data.sources import data_root

PARTS = ("imports", "data set", "networks, run folder", "first step")


class _Stop(Exception):
    pass


def child(began: float, settings: dict[str, Any]) -> None:
    """In a fresh process: train until the first step is done, and print the seconds of every part."""
    moments = [began]
    from pldebias.training import graph, train  # noqa: F401 - the function hides the module of its name

    module = sys.modules["pldebias.training.train"]
    moments.append(time.time())
    made, step = module.make_dataset, graph.StepProgram.step

    def make_dataset(*args: Any) -> Any:
        dataset = made(*args)
        moments.append(time.time())
        return dataset

    def first_step(program: graph.StepProgram) -> None:
        moments.append(time.time())
        step(program)
        if program.state.device.type == "cuda":
            torch.cuda.synchronize()
        moments.append(time.time())
        raise _Stop

    module.make_dataset, graph.StepProgram.step = make_dataset, first_step
    with tempfile.TemporaryDirectory() as folder:
        try:
            module.train("fixmatch", out=folder, progress=False, **settings)
        except _Stop:
            print(json.dumps([b - a for a, b in itertools.pairwise(moments)]))


def start(settings: dict[str, Any], cache: str) -> list[float]:
    """Seconds of every part in one fresh process."""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache}
    command = [sys.executable, "-m", "benchmarks.start", "--child", str(time.time()), json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the training ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> dict[str, list[list[float]]]:
    """Print the table; returns the parts' seconds, one list a process, by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", help="presets; default: glyphs-lt, and cifar10-lt where its images are at hand")
    parser.add_argument("--source", help="where CIFAR-10 comes from")
    parser.add_argument("--precision", default="bf16" if torch.cuda.is_available() or native_bf16() else "fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-compile", action="store_true", help="leave compile=True out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return child(float(options.child[0]), json.loads(options.child[1]))
    source = options.source or (f"parquet:{os.environ['PLDEBIAS_CIFAR10']}" if os.environ.get("PLDEBIAS_CIFAR10") else None)
    at_hand = source or (data_root(None) / "cifar-10-batches-py").is_dir()
    options.data = options.data or [*(["cifar10-lt"] if at_hand else []), "glyphs-lt"]
    about, found = machine(), {}
    with tempfile.TemporaryDirectory() as cache:
        for data in options.data:
            settings = {"data": data, "precision": options.precision, "device": options.device}
            if source and data.startswith("cifar10"):
                settings["source"] = source
            start(settings, cache)  # data are decoded, files are in the system's cache
            found[data] = [start(settings, cache) for _ in range(options.rounds)]
            if not options.no_compile:
                compiled = {**settings, "compile": True}
                found[f"{data}, compile=True, first time"] = [start(compiled, cache)]
                found[f"{data}, compile=True, again"] = [start(compiled, cache) for _ in range(options.rounds)]
    about["load afterwards"] = machine()["load"]
    if options.json:
        print(json.dumps({"machine": about, "options": vars(options), "found": found}))
        return found
    print_machine(about)
    lines = []
    for name, processes in found.items():
        middles = [f"{statistics.median(values):.2f}" for values in zip(*processes, strict=True)]
        totals = [sum(values) for values in processes]
        lines.append([name, *middles, f"{statistics.median(totals):.2f} ({min(totals):.2f} .. {max(totals):.2f})"])
    print(table([f"seconds, fixmatch, {options.precision}", *PARTS, "together"], lines))
    return found


if __name__ == "__main__":
    main()
