"""File systems that are full, become read-only or vanish, made by the system itself in a name space of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pldebias

HEAD = """
import subprocess
from pathlib import Path
import numpy as np
from pldebias.runs import Recorder, RunError, catalogue, open_run

def sh(*command):
    subprocess.run(command, check=True)

N, K, root = 4000, 5, Path(ROOT)
truth, disk = np.arange(N) % K, root / "disk"
disk.mkdir()

def start():
    return Recorder(disk / "run", truth, [5, 4, 3, 2, 1], [*"abcde"], resume=True, num_epochs=30)

def record(recorder, until):
    while recorder.epoch < until:
        e = recorder.epoch
        label = (truth * 7 + e) % K
        recorder.update(np.arange(N), label, label > 1)
        outputs = {"logits": np.full((N, K), e)} if e % 5 == 4 else {}
        recorder.end_epoch(iteration=e, scalars={"e": e}, sweep=(label, label > 1), series={"s/e": [e] * K}, **outputs)
        recorder.flush()

def intact(least):
    run = open_run(disk / "run")
    assert run.dropped == {} and run.epochs.tolist() == list(range(len(run.epochs))) and len(run.epochs) >= least
    for e in run.epochs.tolist():
        label = (truth * 7 + e) % K
        expected = np.zeros((K, K), int)
        np.add.at(expected, (truth, label), 1)
        assert (run.confusion("visits", epoch=e) == expected).all() and (run.history(e)[0] == label).all()
        assert run.scalars.e[e] == e and e % 5 != 4 or (run.logits(e) == e).all()
    assert catalogue(disk).epochs.tolist() == [len(run.epochs)]
    return len(run.epochs)

def refused(recorder, *what):
    try:
        record(recorder, 30)
    except RunError as error:
        told = str(error)
    assert "cannot write epoch" in told and "finished epochs are safe" in told and any(w in told for w in what), told
    try:
        recorder.close()
    except RunError:
        return
    raise AssertionError("closing said nothing")

def go_on():
    "In the same process, as after a notebook cell that failed."
    with start() as recorder:
        record(recorder, 30)
    assert intact(30) == 30 and open_run(disk / "run").finished and not (disk / "run.lock").exists()
"""
CASES = {
    "full": """
sh("mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", disk)
recorder = start()
refused(recorder, "No space left")
intact(3)
sh("mount", "-o", "remount,size=20m", disk)
go_on()
""",
    "too small": """
sh("mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", disk)
try:
    start()
except RunError as error:
    assert "No space left" in str(error)
else:
    raise AssertionError("a disk on which no epoch fits was taken")
assert not list(disk.glob("*.lock"))
sh("mount", "-o", "remount,size=20m", disk)
go_on()
""",
    "read-only": """
sh("mount", "-t", "tmpfs", "tmpfs", disk)
recorder = start()
record(recorder, 7)
sh("mount", "--bind", disk, disk)  # above it, since the lease keeps a file open
sh("mount", "-o", "remount,bind,ro", disk)
refused(recorder, "Read-only file system")
intact(7)
try:
    start()
except RunError as error:
    assert "Read-only file system" in str(error)
else:
    raise AssertionError("a read-only disk was taken")
sh("umount", "-l", disk)
go_on()
""",
    "vanished": """
(root / "far").mkdir()
sh("mount", "--bind", root / "far", disk)
recorder = start()
record(recorder, 4)  # the next epoch is the first with outputs: folders are made for them
reader = open_run(disk / "run")
sh("umount", "-l", disk)
refused(recorder, "No such file or directory")
assert not list(disk.iterdir())  # nothing was put in its place
for read in (lambda: open_run(disk / "run"), lambda: reader.history(2), reader.refresh):
    try:
        read()
    except RunError as error:
        assert str(error)
    else:
        raise AssertionError("something was read from a disk that is gone")
sh("mount", "--bind", root / "far", disk)
intact(4)
go_on()
""",
}


ALL = """
import json, sys, traceback
told = {}
for name, code in json.loads(sys.argv[1]).items():
    try:
        exec(code, {})
        told[name] = ""
    except BaseException:
        told[name] = traceback.format_exc()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, str]:
    """What went wrong in each case, empty where nothing did."""
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no mounts of one's own here; test_durability.py has the same with errors that are made up")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(pldebias.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    codes = {name: HEAD.replace("ROOT", repr(str(tmp_path_factory.mktemp("disk")))) + code for name, code in CASES.items()}
    done = subprocess.run(
        [*command, sys.executable, "-c", ALL, json.dumps(codes)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
def test_a_file_system_that_is(case, told):
    assert told[case] == ""
