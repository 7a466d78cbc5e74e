"""The benchmark of figures, tables and the report runs and prints a row for each."""

import re
import sys

from benchmarks import publishing


def test_benchmark(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["publishing", "--epochs", "4", "--samples", "200", "--runs", "2"])
    publishing.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if re.search(r"\d s \|", line)]
    assert len(rows) == 1 + len(publishing.FIGURES) + 4 and all("| 3 s |" in row or "| 5 s |" in row or "5 MB" in row for row in rows)
