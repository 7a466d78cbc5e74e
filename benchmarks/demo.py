"""What ``make demo`` costs once the package is installed: wall time and memory, from training to the exported page.

    python -m benchmarks.demo [--data glyphs-lt] [--jobs 2] [--keep FOLDER]

The recipe of the Makefile runs as it stands, in a temporary folder that holds a copy of what it reads, with this interpreter's
environment in place of the one that ``make setup`` makes. Memory is read from ``/proc`` five times a second (Linux; elsewhere it is
not measured).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.timing import CLOCKS, load, machine, print_machine

ROOT = Path(__file__).parents[1]
processor_time = CLOCKS["children"]
READ = ("Makefile", "pyproject.toml", "constraints.txt", "notebooks")
MIB = 1024  # kB
STAGES = ("train", "runs", "pldebias.widgets.static")
"""Words by which the commands of the recipe are told apart."""


@dataclass
class Cost:
    """What a process and its descendants took; memory in MiB, NaN where it cannot be read."""

    seconds: float = float("nan")  # wall time
    processor: float = float("nan")  # seconds of processor time, in all processes: what a busy machine does not change

    largest: float = float("nan")  # resident set of the largest single process, as the kernel keeps its peak
    together: float = float("nan")  # proportional sets of all processes at one moment: shared pages count once
    commands: dict[str, list[float]] = field(default_factory=dict)  # first and last seconds at which a step of the recipe was seen


def children() -> dict[int, list[int]]:
    """Process ids by parent."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except (OSError, IndexError):  # it has just ended
            continue
        found.setdefault(int(rest[1]), []).append(pid)
    return found


def descendants(root: int) -> list[int]:
    """Process ids below and including `root`."""
    of, found = children(), [root]
    for pid in found:
        found += of.get(pid, [])
    return found


def _kilobytes(path: Path, name: str) -> float:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), 0.0)


def watch(root: int, cost: Cost, stop: threading.Event, began: float) -> None:
    """Keep the peaks of a process tree until told to stop."""
    if not Path("/proc/self/smaps_rollup").exists():
        return
    cost.largest = cost.together = 0.0
    while not stop.wait(0.2):
        together = 0.0
        for pid in descendants(root):
            proc = Path(f"/proc/{pid}")
            together += _kilobytes(proc / "smaps_rollup", "Pss:") / MIB
            cost.largest = max(cost.largest, _kilobytes(proc / "status", "VmHWM") / MIB)
        cost.together = max(cost.together, together)
        for pid in descendants(root):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            name = next((f"{Path(a).name} {b}" for a, b in pairwise(words) if b in STAGES), None)
            if name:
                cost.commands.setdefault(name, [time.perf_counter() - began] * 2)[1] = time.perf_counter() - began


def run(folder: Path, *variables: str) -> tuple[Cost, str]:
    """Run the recipe in `folder`; returns what it took and what it printed.

    Raises
    ------
    RuntimeError
        The recipe failed; the message ends with what it printed last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in READ:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    # --old-file: the environment is the one that runs this, and is not to be made or updated.
    command = ["make", f"--old-file={sys.prefix}/.ready", "demo", f"VENV={sys.prefix}", *variables]
    began, before, cost, stop = time.perf_counter(), processor_time(), Cost(), threading.Event()
    log = folder / "make.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT) as process:
        watcher = threading.Thread(target=watch, args=(process.pid, cost, stop, began))
        watcher.start()
        try:
            code = process.wait()
        finally:
            stop.set()
            watcher.join()
    cost.seconds, cost.processor = time.perf_counter() - began, processor_time() - before
    printed = log.read_text(errors="replace")
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with code {code}:\n{printed[-3000:]}")
    return cost, printed


def main(arguments: list[str] | None = None) -> Cost:
    """Run the demo once and print what it took; returns seconds and cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="glyphs-lt")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="run in this folder, which must not exist, and leave it there")
    options = parser.parse_args(arguments)
    if shutil.which("make") is None:
        parser.error("the demo is a recipe of the Makefile: install make")
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        cost, printed = run(options.keep or Path(folder), f"DATA={options.data}", f"JOBS={options.jobs}")
    print_machine({**about, "load afterwards": load()})
    lines = printed.replace("\r", "\n").splitlines()
    start = next((i for i, line in enumerate(lines) if "runs under" in line), len(lines))
    print("\n".join(lines[start:]))
    print(f"\nmake demo, {options.jobs} jobs: {cost.seconds:.0f} s; processor time of all processes: {cost.processor:.0f} s")
    for name, (first, last) in cost.commands.items():
        print(f"  {name}: about {last - first:.0f} s")
    print(f"largest process: {cost.largest:.0f} MiB resident at its peak")
    print(f"all processes together: {cost.together:.0f} MiB at their common peak, shared pages counted once")
    return cost


if __name__ == "__main__":
    main()
