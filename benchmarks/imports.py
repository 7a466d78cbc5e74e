"""Time of ``import pldebias`` and its parts in a fresh interpreter, and the large packages that they bring along.

    python -m benchmarks.imports [--rounds 7] [--clock children] [--save]

Interpreters take turns; figures are the wall time, or with ``--clock children`` the processor time, less that of an interpreter that
imports nothing. Files are in the system's cache, as on every start but the first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import results
from benchmarks.timing import alternate

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
    """Return the large packages that `code` loads."""
    told = f"import atexit, json, sys; atexit.register(lambda: sys.stderr.write(json.dumps([m for m in {LARGE} if m in sys.modules])))"
    return json.loads(run(f"{told}\n{code}").stderr.splitlines()[-1])


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure and print; returns the tables."""
    parser = results.parser(__doc__)
    parser.add_argument("--clock", choices=("wall", "children"), default="wall")
    options = parser.parse_args(arguments)
    codes = {"": "pass", **CONTENDERS}
    times = alternate({name: lambda code=code: run(code) for name, code in codes.items()}, options.rounds, clock=options.clock)
    empty, rows = times.pop(""), []
    for name, values in times.items():
        beyond = [value - bare for value, bare in zip(values, empty, strict=True)]
        rows.append({"what": name, "beyond an empty interpreter": results.quantity(beyond, "s"), "brings": ", ".join(brought(codes[name]))})
    return results.report("imports", __doc__, {"in a fresh interpreter": rows}, options, arguments, clock=options.clock)


if __name__ == "__main__":
    main()
