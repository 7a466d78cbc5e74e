"""The streaming benchmark runs and measures every source with every number of workers."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import streaming

SMALL = ["--images", "60", "--size", "16", "--batch", "4", "--workers", "0", "1", "--batches", "2", "--rounds", "1", "--device", "cpu"]


def test_streaming_measures_every_source(capsys):
    times = streaming.main(SMALL)
    assert list(times) == ["memory", *(f"{s}, {w}" for s in ("array on disk", "JPEG files") for w in ("0 workers", "1 worker"))]
    assert all(value > 0 for values in times.values() for value in values)
    assert "batches of 12 images of 16 x 16, 1 rounds" in capsys.readouterr().out
    streaming.main([*SMALL[:-2], "--device", "cpu", "--compute", "1", "--json"])
    assert json.loads(capsys.readouterr().out)["options"]["compute"] == 1
