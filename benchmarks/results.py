"""Results of the benchmarks: kept as JSON, one file a benchmark, and rendered as one page.

    python -m benchmarks.speed --save           # measures, prints, and writes benchmarks/results/speed.json and the page
    python -m benchmarks.results                # writes benchmarks/RESULTS.md from benchmarks/results/*.json

A file holds the command, the date, the commit, the machine and its load, and tables of rows. A measured quantity has its unit, its number
of rounds n, its median, and the smallest and the largest value of the rounds. The interval from the smallest to the largest of n rounds
covers the true median with a probability of 1 - 2^(1 - n): 94 % for 5 rounds.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("results")
PAGE = Path(__file__).with_name("RESULTS.md")
HEAD = """# Measured

Rendered from `benchmarks/results/*.json` by `python -m benchmarks.results`. A cell shows the median of n rounds, and in brackets the
smallest and the largest value; contenders take turns in every round, and ratios are taken round by round. Times of one run compare, times
of two runs do not: other work on the machine shows in its load. What is not here was not measured; nothing was measured on a GPU yet.
"""

Tables = dict[str, list[dict[str, Any]]]


def quantity(values: Sequence[float], unit: str = "", scale: float = 1.0) -> dict[str, Any]:
    """Return the median and the range of `values` times `scale`, with their unit and number."""
    values = [scale * float(value) for value in values]
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "unit": unit, "n": len(values)}


def ratio(base: Sequence[float], values: Sequence[float]) -> dict[str, Any]:
    """Return how many times faster `values` are than `base`, round by round."""
    return quantity([a / b for a, b in zip(base, values, strict=True)])


def shown(value: Any) -> str:
    """Return a cell's text."""
    if value is None:
        return "not measured"
    if not isinstance(value, dict):
        return (
            f"{value:,}"
            if isinstance(value, int) and not isinstance(value, bool)
            else f"{value:.3g}"
            if isinstance(value, float)
            else str(value)
        )
    middle, low, high = (_digits(value[key]) for key in ("median", "low", "high"))
    text = middle if value["n"] == 1 else f"{middle} ({low} .. {high})"
    return f"{text} {value['unit']}".rstrip()


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, aligned so that it reads as text too; the first column to the left, all others to the right."""
    widths = [max(3, *(len(row[i]) for row in (columns, *rows))) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(columns), line(rule), *map(line, rows)])


def about(doc: str) -> str:
    """Return what a benchmark's docstring says, without the commands."""
    return "\n\n".join(part for part in doc.strip().split("\n\n") if not part.startswith("    "))


def section(report: dict[str, Any]) -> str:
    """Return the part of the page that shows one file."""
    parts = [f"## {report['name']}", report["about"], f"```bash\n{report['command']}\n```"]
    machine = "; ".join(f"{name} {value}" for name, value in report["machine"].items())
    parts.append(f"{report['date']}, commit {report['commit']}; {machine}.")
    for title, rows in report["tables"].items():
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[shown(row[key]) if key in row else "" for key in columns] for row in rows]
        parts.append(table([title, *columns[1:]], cells))
    return "\n\n".join(parts)


def render() -> str:
    """Return the whole page."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return "\n\n".join([HEAD.rstrip(), *map(section, reports)]) + "\n"


def parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--rounds", type=int, default=5, help="rounds that count, in which contenders take turns")
    made.add_argument("--save", action="store_true", help="keep what was measured in benchmarks/results and render the page anew")
    return made


def report(name: str, doc: str, tables: Tables, options: argparse.Namespace, arguments: list[str] | None, **more: str) -> Tables:
    """Print what `name` measured and, with ``--save``, keep it; returns `tables`."""
    given = [word for word in (sys.argv[1:] if arguments is None else arguments) if word != "--save"]
    made = {
        "name": name,
        "about": about(doc),
        "command": " ".join(["python -m", f"benchmarks.{name}", *(f'"{word}"' if " " in word else word for word in given)]),
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "machine": {**machine(), **more},
        "tables": tables,
    }
    print(section(made))
    if options.save:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(render(), encoding="utf-8")
    return tables


def machine() -> dict[str, str]:
    """Return what the figures depend on: processor, threads, load and versions, and the GPU if there is one."""
    import torch

    from pldebias.hardware import native_bf16, processor

    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    found = {
        "CPU": f"{processor()}, {os.cpu_count()} cores, {'with' if native_bf16() else 'without'} bfloat16",
        "threads": str(torch.get_num_threads()),
        "load": load,
        "Python": platform.python_version(),
        "torch": torch.__version__,
    }
    return found | ({"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=FOLDER.parent)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
