"""How many trainings at once, with how many threads each, get through a list of runs fastest.

    python -m benchmarks.jobs [--network tiny_resnet wrn28_2] [--at-once 1x2 2x1 2x2] [--batch 64] [--mu 2] [--precision bf16]
                              [--device cpu] [--seconds 10] [--rounds 3]

``2x1`` is two processes with one thread each. All processes of a layout train FixMatch on random pictures of CIFAR's size, start together
and stop after ``--seconds``; the figure is optimiser steps a second of all of them together, layouts in turns. On CUDA each process replays
a graph of its own, and all share the device (time slices, or together where CUDA's multi-process service runs). This is what decides how
`pldebias train --jobs` and `sweep` share the cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from typing import Any

import torch

from benchmarks.timing import machine, native_bf16, print_machine, spread, synchronise, table
from pldebias.presets import PRECISIONS


def _train(options: argparse.Namespace, network: str, threads: int, ready: Any, pipe: Any) -> None:
    """One process of a layout: steps done, and seconds that they took, whenever it is told to begin; None ends it."""
    from benchmarks.contenders import Ours, pictures
    from pldebias.gpu.graph import WARMUP

    torch.set_num_threads(threads)
    settings = argparse.Namespace(**{**vars(options), "network": network})
    ours = Ours(settings, pictures(512, 1024, 8), options.precision, graph=torch.device(options.device).type == "cuda")
    ours.begin()
    ours.steps(WARMUP + 2, True)
    synchronise(options.device)
    pipe.send(None)
    while pipe.recv() is not None:
        ready.wait()
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < options.seconds:
            ours.steps(options.steps, True)
            synchronise(options.device)
            steps += options.steps
        pipe.send((steps, time.perf_counter() - start))


class Layout:
    """Processes that train at once when told to; `close` ends them."""

    def __init__(self, options: argparse.Namespace, network: str, processes: int, threads: int):
        spawn = multiprocessing.get_context("spawn")
        ready, ends = spawn.Barrier(processes), [spawn.Pipe() for _ in range(processes)]
        self.pipes = [ours for ours, _ in ends]
        self.processes = [spawn.Process(target=_train, args=(options, network, threads, ready, end), daemon=True) for _, end in ends]
        for process in self.processes:
            process.start()
        for pipe, (_, end) in zip(self.pipes, ends, strict=True):
            end.close()  # so that a process that died is noticed
            pipe.recv()

    def rate(self) -> float:
        """Steps a second of all processes together."""
        for pipe in self.pipes:
            pipe.send(True)
        return sum(steps / seconds for steps, seconds in (pipe.recv() for pipe in self.pipes))

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()


def layout(text: str) -> tuple[int, int]:
    processes, cross, threads = text.partition("x")
    if not (cross and processes.isdigit() and threads.isdigit() and int(processes) and int(threads)):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROCESSESxTHREADS, such as 2x1")
    return int(processes), int(threads)


def measure(options: argparse.Namespace, network: str) -> dict[tuple[int, int], list[float]]:
    """Steps a second of every layout, one value a round."""
    layouts = {}
    try:
        for processes, threads in options.at_once:
            layouts[processes, threads] = Layout(options, network, processes, threads)
        found: dict[tuple[int, int], list[float]] = {shape: [] for shape in layouts}
        for _ in range(options.rounds):
            for shape, of_shape in layouts.items():
                found[shape].append(of_shape.rate())
    finally:
        for of_shape in layouts.values():
            of_shape.close()
    return found


def main(arguments: list[str] | None = None) -> dict[str, dict[tuple[int, int], list[float]]]:
    """Print the table; returns steps a second, by network and layout."""
    cuda = torch.cuda.is_available()
    cores = os.cpu_count() or 1
    usual = [(1, 1), (2, 1), (4, 1)] if cuda else list(dict.fromkeys([(1, cores), (1, 1), (cores, 1), (cores, cores)]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", default=["wrn28_2"] if cuda else ["tiny_resnet", "wrn28_2"])
    parser.add_argument("--at-once", type=layout, nargs="+", default=usual, metavar="PROCESSESxTHREADS")
    parser.add_argument("--batch", type=int, default=64, help="labelled images a step")
    parser.add_argument("--mu", type=float, default=2.0, help="unlabelled images per labelled one, each in two views")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16" if cuda or native_bf16() else "fp32")
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a turn")
    parser.add_argument("--steps", type=int, default=50 if cuda else 1, help="between two looks at the clock")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    options = parser.parse_args(arguments)
    about = machine(options.device)
    found = {network: measure(options, network) for network in options.network}
    about["load afterwards"] = machine(options.device)["load"]
    if options.json:
        rows = {network: [[*shape, rates] for shape, rates in of.items()] for network, of in found.items()}
        print(json.dumps({"machine": about, "options": vars(options), "found": rows}))
        return found
    rows = int(options.batch * options.mu)
    turns = f"{options.rounds} rounds of {options.seconds:g} s"
    print(f"FixMatch, {options.batch} + 2 x {rows} images of 32 x 32, {options.precision}, {turns}")
    print_machine(about)
    lines = []
    for network, of_network in found.items():
        base = next(iter(of_network.values()))
        for (processes, threads), rates in of_network.items():
            low, middle, high = spread(rates)
            ratio = spread([a / b for a, b in zip(rates, base, strict=True)])[1]
            lines.append([network, str(processes), str(threads), f"{middle:.3g} ({low:.3g} .. {high:.3g})", f"{ratio:.2f}"])
    print(table(["network", "runs at once", "threads each", "steps a second, together", "relative to the first"], lines))
    return found


if __name__ == "__main__":
    main()
