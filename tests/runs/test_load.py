"""What `python -m benchmarks.load` measures, at a size for every day: many runs, a large one, many writers, a long run."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import load
from pldebias.runs import catalogue


def test_a_hundred_runs_are_listed_at_once(tmp_path):
    """1,000 runs may take 2 s; processor time, the best of three, so that a busy machine does not matter."""
    load.many(tmp_path, 100, 20)
    times = []
    for _ in range(3):
        begin = time.process_time()
        assert len(catalogue(tmp_path)) == 100
        times.append(time.process_time() - begin)
    assert min(times) < 0.2


def test_a_large_run_opens_in_little_memory(tmp_path):
    """A tenth of 500 epochs x 50,000 samples x 100 classes, which may take 1 s and 500 MB with numpy and pandas in them."""
    told = load.reading(load.record(tmp_path / "run", 50, 50_000, 100))
    assert told["open"] < 1 and told["MB"] < 250


def test_processes_that_record_at_once_lose_nothing(tmp_path):
    load.at_once(tmp_path, 3, 5)


def test_memory_and_files_do_not_grow(tmp_path):
    notes = load.long(tmp_path / "run", 1200, 300)
    load.check_long(tmp_path / "run", 1200)
    assert notes[-1][1] - notes[1][1] < 4 and notes[-1][2] <= notes[0][2]


def test_it_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["load", "--runs", "3", "--epochs", "2", "--large", "2", "--processes", "2", "--long", "20"])
    load.main()
    table = capsys.readouterr().out
    assert "| catalogue of 3 runs of 2 epochs |" in table and "nothing lost" in table and "| open files over them |" in table
