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
def test_it_opens_pages_and_measures_steps_beside_a_training(capsys):
    found = benchmark.main(["--epochs", "12", "--steps", "3", "--classes", "10", "--samples", "500"])
    printed = capsys.readouterr().out
    assert [row[0] for row in found["opened"]] == ["K = 10, one run", "K = 10, one run, sweep alone", "K = 10, two runs"]
    assert [row[0].split(", ")[-1] for row in found["stepped"]] == ["idle", "beside a training"] * 3
    for _, wall, processor, first, megabytes, gzipped in found["opened"]:
        assert float(wall) > 0 and float(processor) > 0 and float(first) > 0 and float(megabytes) > float(gzipped) > 0
    for name, step, floor, drawing, _ in found["stepped"]:
        step, floor, drawing = (float(text.split(" ")[0]) for text in (step, floor, drawing))
        assert name in printed and step > drawing > 0 and floor > 5  # a frame of the browser is 16.7 ms
