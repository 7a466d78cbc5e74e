"""Many runs, a large run, many writers, a long run.

    python -m benchmarks.load [catalogue large writers long] [--runs 1000] [--long 20000] [--save]

Other work on the machine shows in wall time most. Memory is the highest resident memory of a process of its own that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import results


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


def timed(what: str, times: list[tuple[float, float]], **more: str) -> dict:
    """A row of wall and processor time."""
    wall, own = zip(*times, strict=True)
    return {"what": what, "wall": results.quantity(wall, "s"), "processor": results.quantity(own, "s"), **more}


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


def catalogues(root: Path, options: argparse.Namespace) -> list[dict]:
    from pldebias.runs import catalogue

    many(root, options.runs, options.epochs)
    what = f"catalogue of {options.runs} runs of {options.epochs} epochs"
    return [
        timed(what, seconds(lambda: catalogue(root)), limit="2 s of a processor"),
        timed(f"{what}, check=False", seconds(lambda: catalogue(root, check=False))),
    ]


def large(root: Path, options: argparse.Namespace) -> list[dict]:
    what = f"{options.large} epochs x 50,000 samples, K = 100"
    recording = seconds(lambda: record(root, options.large, 50_000, 100), 1)
    seen = [reading(root) for _ in range(3)]
    return [
        timed(f"recording {what}", recording),
        timed(f"opening {what}", [one["open"] for one in seen], limit="1 s"),
        timed("reading all its sweep matrices", [one["matrices"] for one in seen]),
        {"what": "memory of opening and reading it", "value": f"{max(one['MB'] for one in seen):.0f} MB", "limit": "500 MB"},
    ]


def writers(root: Path, options: argparse.Namespace) -> list[dict]:
    taken = at_once(root, options.processes, 60)
    return [{"what": f"{options.processes} processes record 60 epochs each at once", "value": f"{taken:.1f} s", "limit": "nothing lost"}]


def endurance(root: Path, options: argparse.Namespace) -> list[dict]:
    notes = long(root, options.long, options.long // 10)
    check_long(root, options.long)
    (_, before, first), (_, after, last) = notes[0], notes[-1]
    return [
        {"what": f"memory over {options.long} epochs", "value": f"{before:.0f} -> {after:.0f} MB", "limit": "flat"},
        {"what": "open files over them", "value": f"{first} -> {last}", "limit": "flat"},
    ]


PARTS = {"catalogue": catalogues, "large": large, "writers": writers, "long": endurance}


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure and print; returns the tables."""
    parser = results.parser(__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure (default: everything)")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=50, help="of each of them")
    parser.add_argument("--large", type=int, default=500, help="epochs of the large run")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--long", type=int, default=20_000, help="epochs of the long run (100000 in `make soak`)")
    parser.add_argument("--at", help="folder to work in (default: a temporary one)")
    options, rows = parser.parse_args(arguments), []
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory(dir=options.at) as folder:
            rows += PARTS[name](Path(folder) / "run", options)
    return results.report("load", __doc__, {"what": rows}, options, arguments)


if __name__ == "__main__":
    main()
