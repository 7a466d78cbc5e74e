"""The benchmark of figures, tables and the report runs and prints a row for each."""

import re
import sys

from benchmarks import publishing


def test_benchmark(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["publishing", "--epochs", "4", "--samples", "200", "--runs", "2"])
    publishing.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if re.search(r"\d s \|", line)]
    assert len(rows) == 1 + len(publishing.FIGURES) + 2 + 2 + 2
    assert [row.split("|")[4].strip() for row in rows[-4:]] == ["5 s", "5 s", "", "10 s, 5 MB"]
