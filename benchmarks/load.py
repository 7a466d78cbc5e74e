"""Many runs, a large run, many writers, a long run: ``python -m benchmarks.load``.

Times are wall time, the median of three with the slowest in brackets, and processor time, the median too; other work on the machine shows
in the first most. Memory is the highest resident memory of a process of its own that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def record(path: Path, epochs: int, n: int, k: int, seed: int = 0, scalars: int = 15) -> Path:
    """A run of random labels, with every kind of array but outputs."""
    import torch

    from pldebias.runs import Recorder

    torch.set_num_threads(1)
    r = np.random.default_rng(seed)
    truth = r.integers(0, k, n)
    attrs = {"method": "fixmatch+daso", "data": "load", "seed": seed, "config": {f"setting{i}": i for i in range(40)}}
    with Recorder(path, truth, range(k, 0, -1), [f"class {i}" for i in range(k)], num_epochs=epochs, attrs=attrs) as recorder:
        for e in range(epochs):
            label = np.where(r.random(n) < e / epochs, truth, r.integers(0, k, n))
            recorder.update(np.arange(min(n, 8192)), label[:8192], label[:8192] % 2)
            recorder.end_epoch(
                iteration=e,
                scalars={f"scalar {i}": e + i for i in range(scalars)},
                sweep=(label, label % 2 == 0),
                test=(truth[:1000], label[:1000]),
                series={"daso/prior": np.bincount(label, minlength=k) / n},
            )
    return path


def many(root: Path, runs: int, epochs: int) -> Path:
    """Copies of one run under names of their own."""
    first = record(root / "m0" / "s0", epochs, 2000, 10)
    for i in range(1, runs):
        shutil.copytree(first, root / f"m{i // 10}" / f"s{i % 10}" if i >= 10 else root / "m0" / f"s{i}")
    return root


def seconds(function, repeats: int = 3) -> list[tuple[float, float]]:
    """Wall and processor time of every call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return times


def told(times: list[tuple[float, float]]) -> str:
    wall, own = zip(*times, strict=True)
    return f"{statistics.median(wall):.2f} ({max(wall):.2f}) s, {statistics.median(own):.2f} s of a processor"


READ = """
import json, sys, time
import numpy
from pldebias.runs import open_run
def now(): return time.perf_counter(), time.process_time()
imported = now()
run = open_run(sys.argv[1])
opened = now()
matrices = run.confusion()
read = now()
assert run.history(-1)[0].shape == (run.num_unlabelled,) and len(run.scalars) == len(run.epochs) == len(matrices)
highest = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss would count the parent's
parts = {"open": (imported, opened), "matrices": (opened, read)}
print(json.dumps({k: [b - a for a, b in zip(*v)] for k, v in parts.items()} | {"MB": int(highest.split()[1]) / 1024}))
"""


def reading(path: Path) -> dict:
    """Wall and processor time to open a run and to read its matrices, and the memory of the process that did."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


def at_once(root: Path, processes: int, epochs: int, n: int = 5000, k: int = 10) -> float:
    """Let processes record at the same time, one run each; returns seconds. Raises if anything is missing or mixed up."""
    from pldebias.runs import catalogue, open_run

    begin = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=record, args=(root / f"s{i}", epochs, n, k, i)) for i in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken = time.perf_counter() - begin
    table = catalogue(root)
    if not (len(table) == processes and table.finished.all() and table.problem.isna().all()):
        raise AssertionError(f"lost something:\n{table[['path', 'epochs', 'finished', 'problem']]}")
    for i in range(processes):
        run, r = open_run(root / f"s{i}"), np.random.default_rng(i)
        truth = r.integers(0, k, n)
        for e in range(epochs):
            label = np.where(r.random(n) < e / epochs, truth, r.integers(0, k, n))
            if not (run.history(e)[0] == label).all() or run.confusion("visits", epoch=e).sum() != min(n, 8192):
                raise AssertionError(f"epoch {e} of run {i} is not what was recorded")
    return taken


def long(path: Path, epochs: int, every: int) -> list[tuple[int, float, int]]:
    """Record epochs and note ``(epochs, resident MB, open files)`` every so often."""
    import torch

    from pldebias.runs import Recorder

    torch.set_num_threads(1)
    page, notes = os.sysconf("SC_PAGE_SIZE") / 2**20, []
    with Recorder(path, np.arange(100) % 3, [3, 2, 1], [*"abc"]) as recorder:
        index, label = np.arange(100), np.zeros(100, np.int64)
        for e in range(1, epochs + 1):
            recorder.update(index, label + e % 3, label)
            recorder.end_epoch(iteration=e, scalars={"loss": e, "accuracy": -e}, series={"s/e": [e] * 3})
            if e % every == 0:
                recorder.flush()
                resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
                notes.append((e, resident, len(os.listdir("/proc/self/fd"))))
    return notes


def check_long(path: Path, epochs: int) -> None:
    """Every epoch of `long` is there."""
    from pldebias.runs import open_run

    run = open_run(path)
    counts = np.arange(1, epochs + 1)
    if not ((run.epochs == counts - 1).all() and len(run.epochs) == epochs and (run.iterations == counts).all()):
        raise AssertionError("epochs are missing")
    if not ((run.scalars["loss"] == counts).all() and (run.state("s/e")[:, 0] == counts).all()):
        raise AssertionError("values differ")
    picked = counts[:: max(1, epochs // 500)] - 1
    if not (run.confusion("visits", epoch=picked).sum((1, 2)) == 100).all():
        raise AssertionError("matrices differ")


def row(what: str, value: str, limit: str) -> None:
    print(f"| {what} | {value} | {limit} |", flush=True)


def catalogues(root: Path, given: argparse.Namespace) -> None:
    from pldebias.runs import catalogue

    many(root, given.runs, given.epochs)
    for check in (True, False):
        times = seconds(lambda: catalogue(root, check=check))  # noqa: B023 - called at once
        what = f"catalogue of {given.runs} runs of {given.epochs} epochs" + ("" if check else ", check=False")
        row(what, told(times), "2 s" if check else "")


def large(root: Path, given: argparse.Namespace) -> None:
    begin = time.perf_counter()
    record(root, given.large, 50_000, 100)
    what = f"{given.large} epochs x 50,000 samples, K = 100"
    row(f"recording {what}", f"{time.perf_counter() - begin:.0f} s", "")
    seen = [reading(root) for _ in range(3)]
    row(f"opening {what}", told([one["open"] for one in seen]), "1 s")
    row("reading all its sweep matrices", told([one["matrices"] for one in seen]), "")
    row("memory of opening and reading it", f"{max(one['MB'] for one in seen):.0f} MB", "500 MB")


def writers(root: Path, given: argparse.Namespace) -> None:
    taken = at_once(root, given.processes, 60)
    row(f"{given.processes} processes record 60 epochs each at once", f"{taken:.1f} s, nothing lost", "nothing lost")


def endurance(root: Path, given: argparse.Namespace) -> None:
    notes = long(root, given.long, given.long // 10)
    check_long(root, given.long)
    grown = notes[-1][1] - notes[0][1]
    row(f"memory over {given.long} epochs", f"{notes[0][1]:.0f} -> {notes[-1][1]:.0f} MB ({grown:+.1f})", "flat")
    row("open files over them", f"{notes[0][2]} -> {notes[-1][2]}", "flat")


PARTS = {"catalogue": catalogues, "large": large, "writers": writers, "long": endurance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure (default: everything)")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=50, help="of each of them")
    parser.add_argument("--large", type=int, default=500, help="epochs of the large run")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--long", type=int, default=20_000, help="epochs of the long run (100000 in `make soak`)")
    parser.add_argument("--at", help="folder to work in (default: a temporary one)")
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} at the start\n\n| what | measured | limit |\n|---|---|---|")
    for name in given.parts or PARTS:
        with tempfile.TemporaryDirectory(dir=given.at) as folder:
            PARTS[name](Path(folder) / "run", given)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
