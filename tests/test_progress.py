"""Progress where there is no terminal: lines, few of them, and nothing that only a terminal understands."""

import io
import sys

import pytest
import torchvision
from tqdm.auto import tqdm

import pldebias as pld
from pldebias import progress


@pytest.fixture
def log(capsys):
    """What was written to standard error since it was last asked for."""
    return lambda: capsys.readouterr().err


def test_a_log_has_a_line_every_interval_and_one_at_the_end(log, monkeypatch):
    now = iter(range(10_000))
    monkeypatch.setattr(progress.Lines, "_time", lambda: next(now), raising=False)
    monkeypatch.setattr(progress.std, "time", lambda: next(now))
    with progress.bar(total=100, desc="decoding", unit=" images") as bar:
        for _ in range(100):
            bar.update()
    written = log()
    lines = written.splitlines()
    assert 3 <= len(lines) <= 5 and "\r" not in written
    assert lines[0].startswith("decoding: 30 of 100 images (30 %), 00:") and lines[0].endswith(" left")
    assert lines[-1].startswith("decoding: 100 of 100 images (100 %)")


def test_short_work_that_leaves_no_bar_leaves_no_line(log):
    assert list(progress.bar(range(3), desc="figures", leave=False)) == [0, 1, 2]
    list(progress.bar(iter(range(3)), desc="rows: ", unit="row"))  # nobody knows how many
    with progress.bar(total=1, disable=True) as bar:
        bar.update()
        bar.set_postfix(loss=1)
    written = log()
    assert written.startswith("rows: 3 row, 00:00 elapsed") and written.count("\n") == 1


def test_what_is_written_between_lines_calls_forth_no_other(capsys):
    with progress.bar(total=2, desc="runs") as bar:
        bar.write("one done")
        bar.update(2)
    out, err = capsys.readouterr()
    assert out == "one done\n" and err.count("\n") == 1


def test_terminals_and_notebooks_keep_their_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.bar(total=2, file=terminal) as bar:
        assert isinstance(bar, tqdm) and not isinstance(bar, progress.Lines)
    monkeypatch.setattr(sys, "stderr", None)  # pythonw.exe
    assert progress.bar(total=2).disable


def test_downloads_of_torchvision_write_lines_too(log):
    utils = torchvision.datasets.utils
    own = utils.tqdm
    with progress.of_downloads(), utils.tqdm(total=2**20, unit="B", unit_scale=True) as bar:
        bar.update(2**20)
    assert log().startswith("download: 1.05M of 1.05M B (100 %)") and utils.tqdm is own


def test_a_training_writes_a_line_an_epoch(log, tmp_path):
    pld.train("supervised", out=tmp_path, steps=8, steps_per_epoch=2, snapshots=1, m1=100, gamma_u=2.0)
    written = log()
    lines = [line for line in written.splitlines() if line.startswith("supervised s0: ")]
    assert [line.partition(" (")[0] for line in lines] == [f"supervised s0: {done} of 8 steps" for done in (2, 4, 6, 8)]
    assert "bal.acc=" in lines[-1] and "\r" not in written
