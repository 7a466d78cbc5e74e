"""What `python -m benchmarks.load` measures, at a size for every day or (`make soak`) in full: many runs, large, at once, for long."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks/ is part of the repository and not of the installed package

from needs import SOAK

from benchmarks import load
from pldebias.runs import catalogue
from pldebias.training import checkpoints, train


def test_many_runs_are_listed_at_once(tmp_path):
    """1,000 runs of 50 epochs in 2 s of processor time; a tenth of them has more, since other work beside it costs caches."""
    runs, epochs, limit = (1000, 50, 2) if SOAK else (100, 20, 0.5)
    load.many(tmp_path, runs, epochs)
    times = []
    for _ in range(3):
        begin = time.process_time()
        assert len(catalogue(tmp_path)) == runs
        times.append(time.process_time() - begin)
    assert min(times) < limit


def test_a_large_run_opens_in_little_memory(tmp_path):
    """500 epochs x 50,000 samples x 100 classes, or a tenth of them; numpy and pandas are in the memory too."""
    epochs, limit = (500, 500) if SOAK else (50, 250)
    told = load.reading(load.record(tmp_path / "run", epochs, 50_000, 100))
    assert told["open"][1] < 1 and told["MB"] < limit


def test_processes_that_record_at_once_lose_nothing(tmp_path):
    load.at_once(tmp_path, *((8, 60) if SOAK else (3, 5)))


def test_recording_for_long_takes_no_more_memory_nor_files(tmp_path):
    """A day of an epoch a second, or a hundredth of it."""
    epochs = 100_000 if SOAK else 1200
    notes = load.long(tmp_path / "run", epochs, epochs // 4)
    load.check_long(tmp_path / "run", epochs)
    assert notes[-1][1] - notes[1][1] < (16 if SOAK else 4) and notes[-1][2] <= notes[0][2]


def test_training_for_long_takes_no_more_memory_nor_files(tmp_path, monkeypatch):
    epochs, notes = 4000 if SOAK else 80, []
    save, page = checkpoints.save, os.sysconf("SC_PAGE_SIZE") / 2**20

    def noted(folder, state):
        save(folder, state)
        notes.append((int(Path("/proc/self/statm").read_text().split()[1]) * page, len(os.listdir("/proc/self/fd"))))

    monkeypatch.setattr(checkpoints, "save", noted)
    settings = {"n1": 20, "m1": 20, "batch_size": 4, "steps": epochs, "steps_per_epoch": 1, "snapshots": 4, "progress": False}
    run = train("fixmatch+daso(start=0)", "digits-lt", out=tmp_path, **settings)
    assert len(run.epochs) == len(notes) == epochs
    memory, files = zip(*notes, strict=True)
    assert max(memory) - memory[epochs // 4] < (32 if SOAK else 8) and max(files) <= files[0]


def test_it_prints_a_table(capsys):
    load.main(["catalogue", "long", "--runs", "3", "--epochs", "2", "--long", "20"])
    table = capsys.readouterr().out
    assert "| catalogue of 3 runs of 2 epochs " in table and "| open files over them " in table
