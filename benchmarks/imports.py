"""How long ``import pldebias`` and its parts take in a fresh interpreter, and which large packages they bring along.

    python -m benchmarks.imports [--rounds 7] [--clock wall]

Interpreters take turns; figures are medians of the wall time, or with ``--clock children`` of the processor time, less that of an
interpreter that imports nothing, with the smallest and the largest behind them. Files are in the system's cache, as on every start
but the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import alternate, machine, print_machine, spread, table

CONTENDERS = {
    "import torch (for comparison)": "import torch",
    "import pldebias": "import pldebias",
    "pldebias.runs, to read a run": "import pldebias; pldebias.open_run",
    "pldebias.train": "import pldebias; pldebias.train",
    "pldebias.explore": "import pldebias; pldebias.explore",
    "command line, --help": "import sys; sys.argv = ['pldebias', '--help']; from pldebias.cli import main; main()",
}
LARGE = ("IPython", "matplotlib", "pandas", "plotly", "pyarrow", "scipy", "sklearn", "torch", "torchvision", "umap", "xarray", "zarr")


def run(code: str) -> subprocess.CompletedProcess:
    """Execute `code` in a fresh interpreter, in the package's parent folder."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])


def brought(code: str) -> list[str]:
    """The large packages that `code` loads."""
    report = f"import atexit, json, sys; atexit.register(lambda: sys.stderr.write(json.dumps([m for m in {LARGE} if m in sys.modules])))"
    return json.loads(run(f"{report}\n{code}").stderr.splitlines()[-1])


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print the table; returns the median seconds of every contender."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "children"), default="wall")
    options = parser.parse_args(arguments)
    about = machine()
    codes = {"": "pass", **CONTENDERS}
    times = alternate({name: lambda code=code: run(code) for name, code in codes.items()}, options.rounds, clock=options.clock)
    empty = times.pop("")
    print_machine(about)
    rows, medians = [], {}
    for name, values in times.items():
        low, medians[name], high = spread([value - bare for value, bare in zip(values, empty, strict=True)])
        rows.append([name, f"{medians[name]:.3f} ({low:.3f} .. {high:.3f})", ", ".join(brought(codes[name])) or "none"])
    print(table(["in a fresh interpreter", "seconds beyond an empty one", "large packages loaded"], rows))
    print(f"\nan empty interpreter: {spread(empty)[1]:.3f} s; {options.rounds} rounds, {options.clock} time")
    return medians


if __name__ == "__main__":
    main()
