"""The scale benchmark runs, and what it shows holds: a step does not care for the number of unlabelled images."""

import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import scale

SMALL = ["--images", "100", "800", "--classes", "3", "60", "--epochs", "2", "5", "--steps", "2", "--batch", "4"]
SMALL += ["--clock", "cpu", "--device", "cpu"]


def test_scale_measures_every_part(capsys):
    found = scale.main(SMALL)
    printed = capsys.readouterr().out
    assert tuple(found["images"]) == tuple(found["classes"]) == scale.PARTS
    assert "| one step, N = 800 " in printed and "| one sweep over N, K = 60 " in printed and "epochs = 5" in printed
    steps, sweeps, _, size = ([statistics.median(v) for v in found["images"][part]] for part in scale.PARTS)
    assert steps[1] < 3 * steps[0], "a step takes a batch, whatever N"
    assert sweeps[1] > 2 * sweeps[0] and size[1] > size[0]
    assert found["classes"]["bytes of an epoch on disk"][1] > found["classes"]["bytes of an epoch on disk"][0]


def test_scale_gives_its_numbers_to_programs(capsys):
    scale.main([*SMALL, "--rounds", "1", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert len(report["found"]["epochs"]["one recorded epoch, at the end"]) == 2 and report["machine"]["load afterwards"]
