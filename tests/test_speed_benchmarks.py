"""The benchmarks of speed run, what they say of this machine is sound, and what they keep is the page."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import recording, results, speed

TINY = ["--network", "tiny_resnet", "--batch", "4", "--precision", "fp32", "--device", "cpu"]
SMALL = [*TINY, "--images", "32", "--test-images", "40", "--unlabelled-images", "50"]


@pytest.fixture(scope="module")
def measured():
    return speed.main([*SMALL, "--rounds", "2"])


def test_speed_measures_ratios_and_counts_waits(measured):
    compared, epoch, counted = measured.values()
    assert [row["what"] for row in compared] == [
        *("step, fp32", "iteration with data pipeline, fp32", "data pipeline", "EMA update", "evaluation, fp32")
    ]
    for row in compared:
        low, middle, high = (row["times faster"][key] for key in ("low", "median", "high"))
        assert 0 < low <= middle <= high and row["times faster"]["n"] == 2
    waits = {row["what"]: row["host waits"] for row in counted}
    assert waits["ours, step with data pipeline"] == 0
    assert waits["ours, evaluation of 64 images"] == 1  # whether all logits are finite, once and not for each batch
    assert waits["conventional, step"] == 4 and waits["conventional, evaluation of 64 images"] > 20
    operations = {row["what"]: row["operations"] for row in counted}
    assert operations["ours, of which EMA"] == 2 and operations["ours, step"] < operations["conventional, step"]
    assert [row["what"] for row in epoch] == [*speed.EPOCH_PARTS, "together"]
    assert all(row["of the steps' time"]["median"] > 0 for row in epoch)


def test_speed_guards_its_ratios(measured, capsys):
    """A ratio of one run, far beyond what noise does to it, fails the command; no figure of another machine is asked for."""
    rows = next(iter(measured.values()))
    speed.guard(rows, {"EMA update": 1.2, "data pipeline": 1.2})
    printed = capsys.readouterr().out
    assert "EMA update: at least 1.2 times faster" in printed and "data pipeline: at least 1.2 times faster" in printed
    with pytest.raises(SystemExit, match=r"EMA update is .* times faster .*, not 10000"):
        speed.guard(rows, {"EMA update": 1e4})
    with pytest.raises(SystemExit, match="'coffee' is not measured; measured are step"):
        speed.guard(rows, {"coffee": 1.0})


def test_processor_time_is_refused_where_it_misses_work(capsys):
    with pytest.raises(SystemExit):
        speed.parse(["--clock", "cpu", "--device", "cpu", "--workers", "2"])
    assert "sees neither" in capsys.readouterr().err


def test_what_was_measured_is_kept_and_rendered(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    tables = {"what": [{"what": "a step", "time": results.quantity([0.002, 0.001, 0.004], "ms", 1000), "rows": 1234}]}
    options = results.parser("About this.").parse_args(["--save"])
    results.report("made", "About this.\n\n    a command\n\nMore.", tables, options, ["--save", "--set", "x = 1"], clock="wall")
    kept = json.loads((tmp_path / "results" / "made.json").read_text())
    assert kept["tables"] == tables and kept["command"] == 'python -m benchmarks.made --set "x = 1"'
    assert kept["commit"] and kept["date"] and {"CPU", "load", "torch", "clock"} <= set(kept["machine"])
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| a step | 2 (1 .. 4) ms | 1,234 |" in page and "About this.\n\nMore." in page and "a command" not in page
    assert capsys.readouterr().out.strip() in page


def test_the_page_is_the_one_that_was_measured():
    """`python -m benchmarks.results` has been run since anything was measured."""
    assert results.PAGE.read_text(encoding="utf-8") == results.render()


def test_recording_counts_its_share(tmp_path):
    training, updates, all_recording = recording.train(tmp_path / "run", epochs=2, steps=3, products=1)
    assert 0 < updates < all_recording < training
