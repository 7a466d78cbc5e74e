"""The benchmark of the reading side measures what it says, at a size that takes no time."""

import pldebias as pld
from benchmarks import analysis


def test_its_run_is_one_that_relabelling_reproduces(tmp_path):
    run = analysis.record(tmp_path / "run", 300, 5, 8)
    assert pld.what_if(run).reproduces
    assert len(pld.what_if(run, "daso").changed) > 0


def test_it_has_a_row_for_every_scheme_and_size(monkeypatch):
    monkeypatch.setattr(analysis, "SIZES", ((200, 4, 6, 50),))
    monkeypatch.setattr(analysis, "SCHEMES", ("la(at=pseudo)", "daso(T=1.5)"))
    monkeypatch.setattr(
        analysis, "record", lambda path, n, k, d, epochs=1, real=analysis.record: real(path, min(n, 200), k, 6, min(epochs, 2))
    )
    (rows,) = analysis.main([]).values()
    assert [row["what"] for row in rows[:2]] == ["la(at=pseudo), 200 x 4", "daso(T=1.5), 200 x 4"] and len(rows) == 4
    assert all(row["first call"]["n"] == 1 and row["others"]["low"] > 0 and row["goal, ms"] in (50, 1000) for row in rows)
