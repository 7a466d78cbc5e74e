"""The benchmark of the reading side measures what it says, at a size that takes no time."""

import pytest

import pldebias as pld
from benchmarks import analysis


def test_its_run_is_one_that_relabelling_reproduces(tmp_path):
    run = analysis.record(tmp_path / "run", 300, 5, 8)
    assert pld.what_if(run).reproduces
    assert len(pld.what_if(run, "daso").changed) > 0


def test_it_prints_a_row_for_every_scheme_and_size(monkeypatch, capsys):
    monkeypatch.setattr(analysis, "SIZES", ((200, 4, 6, 50),))
    monkeypatch.setattr(analysis, "SNAPSHOTS", 2)
    rows = analysis.main([])
    printed = capsys.readouterr().out
    for scheme in analysis.SCHEMES:
        assert f"{scheme}, 200 x 4" in printed
    assert len(rows) == len(analysis.SCHEMES) + 2
    assert all(min(times) > 0 and goal in (50, 1000) for _, *times, goal in rows)


@pytest.mark.parametrize("repeats", [1, 4])
def test_the_clock_keeps_the_first_call_apart(repeats):
    calls = []
    times = analysis.clock(lambda: calls.append(1), repeats)
    assert len(calls) == repeats + 1 and len(times) == 3 and min(times) >= 0
