"""The benchmarks of speed run, and what they say of this machine is sound."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import anatomy, jobs, speed, start

TINY = ["--network", "tiny_resnet", "--batch", "4", "--precision", "fp32", "--device", "cpu"]
SMALL = [*TINY, "--images", "32", "--test-images", "40", "--unlabelled-images", "50"]


def test_speed_prints_ratios_and_counts(capsys):
    speed.main([*SMALL, "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "times faster" in printed and "| step, fp32 " in printed and "compiled" not in printed
    speed.main([*SMALL, "--rounds", "1", "--json"])
    report = json.loads(capsys.readouterr().out)
    waits = {row["what"]: sum(row["host waits"].values()) for row in report["operations"]}
    assert waits["ours, step with data pipeline"] == 0
    assert waits["ours, evaluation of 64 images"] == 1  # whether all logits are finite, once and not for each batch
    assert waits["conventional, step"] == 4 and waits["conventional, evaluation of 64 images"] > 20
    operations = {row["what"]: row["operations"] for row in report["operations"]}
    assert operations["ours, of which EMA"] == 2 and operations["ours, step"] < operations["conventional, step"]
    assert [row["what"] for row in report["times"]] == ["step", "iteration with data pipeline", "data pipeline", "EMA update", "evaluation"]
    assert [row["what"] for row in report["epoch"]] == list(speed.EPOCH_PARTS)
    assert all(value > 0 for row in report["epoch"] for value in row["seconds"])


def test_speed_guards_its_ratios(capsys):
    """A ratio of one run, far beyond what noise does to it, fails the command; no figure of another machine is asked for."""
    results = speed.main([*SMALL, "--rounds", "3", "--at-least", "EMA update=1.5", "data pipeline=1.2"])
    printed = capsys.readouterr().out
    assert "EMA update: at least 1.5 times faster" in printed and "data pipeline: at least 1.2 times faster" in printed
    with pytest.raises(SystemExit, match=r"EMA update is .* times faster .*, not 10000"):
        speed.guard(results, {"EMA update": 1e4})
    with pytest.raises(SystemExit, match="'coffee' is not measured; measured are step"):
        speed.guard(results, {"coffee": 1.0})


def test_processor_time_is_refused_where_it_misses_work(capsys):
    with pytest.raises(SystemExit):
        speed.parse(["--clock", "cpu", "--device", "cpu", "--workers", "2"])
    assert "sees neither" in capsys.readouterr().err


def test_speed_measures_the_compiled_network_when_asked_to(monkeypatch):
    monkeypatch.setattr(speed, "measure_epoch", lambda options, way, iteration: [])
    results = speed.main([*SMALL, "--rounds", "1", "--compile", "--json"])
    steps = [row["precision"] for row in results if row["what"] in ("step", "iteration with data pipeline")]
    assert steps == ["fp32", "fp32, compiled"] * 2


def test_anatomy_tells_every_kind_of_work(capsys):
    found = anatomy.main([*TINY, "--steps", "2"])
    printed = capsys.readouterr().out
    seconds, operations, whole = found["fp32"]
    assert set(seconds) == {name for name, _ in anatomy.KINDS} | {anatomy.REST}
    assert all(value > 0 for value in seconds.values()) and sum(seconds.values()) < whole
    assert operations["convolutions, backward"] >= 9 and operations[anatomy.TEACHER] == 1
    for name in (*seconds, "beside them", "a step"):
        assert f"| {name} " in printed
    anatomy.main([*TINY, "--steps", "1", "--json"])
    assert json.loads(capsys.readouterr().out)["found"]["fp32"][2] > 0


def test_jobs_counts_the_steps_of_all_processes(capsys):
    found = jobs.main([*TINY, "--at-once", "1x1", "2x1", "--seconds", "0.5", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert list(found["tiny_resnet"]) == [(1, 1), (2, 1)] and all(rates[0] > 1 for rates in found["tiny_resnet"].values())
    assert printed.count("| tiny_resnet ") == 2 and " 1.00 |" in printed
    for wrong in ("2", "x2", "0x1", "2xtwo"):
        with pytest.raises(SystemExit):
            jobs.main(["--at-once", wrong])
    assert "is not PROCESSESxTHREADS, such as 2x1" in capsys.readouterr().err


def test_start_tells_the_parts_of_a_fresh_process(capsys, tmp_path):
    found = start.main(["--data", "glyphs-lt", "--precision", "fp32", "--device", "cpu", "--no-compile", "--rounds", "1"])
    assert len(found["glyphs-lt"]) == 1 and len(found["glyphs-lt"][0]) == len(start.PARTS) and min(found["glyphs-lt"][0]) > 0
    assert "| glyphs-lt " in capsys.readouterr().out
    with pytest.raises(RuntimeError, match=r"ended with code 1:(?s:.*)'sun' is not known"):
        start.start({"data": "glyphs-lt", "device": "sun"}, str(tmp_path))
