"""The benchmark of the explorer measures what it says, on runs that take no time."""

import pytest

import pldebias as pld
from benchmarks import explorer as benchmark


def test_its_runs_are_learned_head_first(tmp_path):
    run = pld.open_run(benchmark.record(tmp_path / "run", 10, 20, 800))
    early, late = run.confusion("sweep", epoch=4), run.confusion("sweep", epoch=-1)
    assert set(run.kinds) == {"visits", "sweep", "test"}
    assert run.confusion("visits", epoch=0).sum() == benchmark.VISITS * run.num_unlabelled
    assert early[0, 0] / early[0].sum() > early[9, 9] / early[9].sum()
    assert late.trace() > early.trace()


@pytest.mark.browser
def test_it_opens_pages_and_measures_steps_beside_a_training():
    opened, stepped = benchmark.main(["--epochs", "12", "--steps", "3", "--classes", "10", "--samples", "500", "--rounds", "1"]).values()
    assert [row["what"] for row in opened] == ["K = 10, one run", "K = 10, one run, sweep alone", "K = 10, two runs"]
    assert [row["what"].split(", ")[-1] for row in stepped] == ["idle", "beside a training"] * 3
    for row in opened:
        assert row["pld.explore"]["low"] > 0 and row["page to first frame, idle"]["low"] > 0 and row["page, MB"] > 0
    for row in stepped:
        assert row["step"]["median"] > row["drawing"]["median"] > 0 and row["empty page"]["median"] > 5  # a frame of the browser is 16.7 ms
