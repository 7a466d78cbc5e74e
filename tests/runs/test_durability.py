"""What is finished stays readable: on a full disk, with damaged files, with two writers. Kills are in tests/fuzz/test_kills.py."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pldebias import _files
from pldebias.runs import NotLogged, RunError, lock, open_run, store

# -- resuming -------------------------------------------------------------------------------------------------------------


def same(a, b):
    for kind in ("visits", "sweep", "test"):
        np.testing.assert_array_equal(a.confusion(kind), b.confusion(kind))
    for one, two in zip(a.history(), b.history(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert a.scalars.equals(b.scalars)
    np.testing.assert_array_equal(a.state("daso/class_dist"), b.state("daso/class_dist"))
    np.testing.assert_array_equal(a.iterations, b.iterations)
    np.testing.assert_array_equal(a.snapshots, b.snapshots)
    for e in a.snapshots:
        np.testing.assert_array_equal(a.logits(e), b.logits(e))
    assert a.finished == b.finished and a.attrs == b.attrs


def test_resumed_equals_uninterrupted(tmp_path, world):
    with world.start(tmp_path / "whole", snapshots=(0, 2, 4)) as recorder:
        world.record(recorder, range(5), snapshots=(0, 2, 4))
    with world.start(tmp_path / "parts", snapshots=(0, 2, 4), resume=True) as recorder:
        world.record(recorder, range(3), snapshots=(0, 2, 4))
        recorder.update([0], [0], [True])  # lost with the process
    with world.start(tmp_path / "parts", snapshots=(0, 2, 4), resume=True) as recorder:
        assert recorder.epoch == 3
        world.record(recorder, range(3, 5), snapshots=(0, 2, 4))
    same(open_run(tmp_path / "whole"), open_run(tmp_path / "parts"))


def test_rewinding_to_an_older_checkpoint(tmp_path, world):
    with world.start(tmp_path / "whole") as recorder:
        world.record(recorder, range(5), snapshots=(0, 1, 3))
    with world.start(tmp_path / "back") as recorder:
        world.record(recorder, range(4), snapshots=(0, 2, 3))
        recorder.update([0], [0], [True])  # of an epoch that is given up
        recorder.rewind(1)
        run = open_run(tmp_path / "back")
        assert run.epochs.tolist() == [0] and run.snapshots.tolist() == [0]
        world.record(recorder, range(1, 5), snapshots=(1, 3))
    same(open_run(tmp_path / "whole"), open_run(tmp_path / "back"))


def test_a_finished_run_can_be_extended(tmp_path, world):
    with world.start(tmp_path / "run", num_epochs=2) as recorder:
        world.record(recorder, range(2))
    assert open_run(tmp_path / "run").finished
    with world.start(tmp_path / "run", num_epochs=4, resume=True) as recorder:
        world.record(recorder, range(2, 3))
    run = open_run(tmp_path / "run")
    assert (run.finished, run.total_epochs, len(run.epochs)) == (False, 4, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"true_labels": 1}, "of 60 true labels differ"),
        ({"true_labels": 2}, "60 unlabelled samples there, 59 here"),
        ({"test_labels": [1, 0]}, "1 of 2 test labels differ"),
        ({"test_labels": [0, 0, 0]}, "2 test samples there, 3 here"),
        ({"num_features": 7}, "features of width 6 there, 7 here"),
        ({"class_names": [*"abcd"]}, "class_names is"),
        ({"labelled_counts": [9, 8, 7, 6]}, r"labelled_counts is \[20, 10, 5, 2\] there, \[9, 8, 7, 6\] here"),
        ({"attrs": {"method": "fixmatch"}}, r"method is fixmatch\+daso there, fixmatch here"),
        ({"attrs": {"config": {"lr": 0.1}}}, "config.lr is 0.03 there, 0.1 here"),
        ({"attrs": {"fingerprint": "abc"}}, "fingerprint is None there, abc here"),
    ],
)
def test_another_run_is_not_resumed(tmp_path, world, change, message):
    from pldebias.runs import Recorder

    with world.start(tmp_path / "run", test_labels=[0, 0]) as recorder:
        world.record(recorder, range(1), snapshots=[0])
    arguments = {"true_labels": world.truth(), "labelled_counts": [20, 10, 5, 2], "class_names": world.names, "num_epochs": 5} | change
    if isinstance(arguments["true_labels"], int):
        arguments["true_labels"] = world.truth()[::-1] if arguments["true_labels"] == 1 else world.truth()[1:]
    with pytest.raises(RunError, match=message):
        Recorder(tmp_path / "run", **arguments, resume=True)
    assert len(open_run(tmp_path / "run").epochs) == 1
    world.start(tmp_path / "run", resume=True).close()  # the refusal left no lock


def test_a_directory_that_holds_something_else(tmp_path, world):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for resume in (False, True):
        with pytest.raises(RunError, match=r"holds something else \(thesis.tex\)"):
            world.start(tmp_path / "full", resume=resume)
        with pytest.raises(RunError, match=r"is a file"):
            world.start(tmp_path / "file", resume=resume)
    world.start(tmp_path / "empty").close()
    with pytest.raises(RunError, match=r"already holds a run with 0 epochs; pass resume=True"):
        world.start(tmp_path / "empty")
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr" / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    with pytest.raises(RunError, match=r"is no run"):
        world.start(tmp_path / "zarr", resume=True)


# -- two writers ----------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_refused(tmp_path, world):
    with world.start(tmp_path / "run"), pytest.raises(RunError, match=r"already open for writing in this process"):
        world.start(tmp_path / "run", resume=True)
    world.start(tmp_path / "run", resume=True).close()


def owner(**change):
    """A lock as 0.1 wrote it."""
    pid = os.getppid()
    return json.dumps({"pid": pid, "host": lock.socket.gethostname(), "started": "1"} | change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (owner(), "is being written by process"),
        (owner(host="elsewhere", pid=1), "written by process 1 on elsewhere; wait for it, or delete"),
        ("", "being opened for writing by another process"),
    ],
    ids=["alive", "other machine", "just created"],
)
def test_a_lock_that_is_respected(tmp_path, world, text, message):
    (tmp_path / "run.lock").write_text(text)
    with pytest.raises(RunError, match=message):
        world.start(tmp_path / "run")
    assert (tmp_path / "run.lock").read_text() == text and not (tmp_path / "run").exists()


def test_a_lock_left_behind_is_replaced(tmp_path, world):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old = time.time() - 60
    for text in (owner(pid=gone.pid), "", "not json", "[]", "[" * 5000, "\0" * 10**6):
        path = tmp_path / "run.lock"
        path.write_text(text)
        os.utime(path, (old, old))
        world.start(tmp_path / "run", resume=True).close()
        assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_lock_that_is_no_file(tmp_path, world, make):
    make(tmp_path / "run.lock")
    with pytest.raises(RunError, match=r"run.lock is no plain file"):
        world.start(tmp_path / "run")


@pytest.mark.parametrize("pid", [-1, 0, 10**30, "x", None])
def test_a_lock_of_no_process_is_respected(tmp_path, world, pid):
    """Nobody can tell who wrote it."""
    (tmp_path / "run.lock").write_text(owner(pid=pid))
    with pytest.raises(RunError, match=r"delete .*run.lock if that process is surely gone"):
        world.start(tmp_path / "run")


def test_a_lock_of_a_process_with_our_own_number_is_replaced(tmp_path, world, monkeypatch):
    """As that of the first process of a container that was started again, or one that lay on a disk which was gone for a while."""
    (tmp_path / "run.lock").write_text(owner(pid=os.getpid()))
    world.start(tmp_path / "run", resume=True).close()
    assert not list(tmp_path.glob("*.lock*"))
    recorder = world.start(tmp_path / "run", resume=True)
    text = (tmp_path / "run.lock").read_text()
    recorder.close()
    (tmp_path / "run.lock").write_text(text)
    world.start(tmp_path / "run", resume=True).close()
    assert not list(tmp_path.glob("*.lock*"))


HOLDER = """
import sys, time
from pldebias.runs import lock
lock.BEAT, lock.LEASE = 0.2, 1.0
held = lock.WriterLock(lock.Path(sys.argv[1]))
print("held", flush=True)
for line in sys.stdin:
    try:
        held.check()
        print("mine", flush=True)
    except lock.RunError as error:
        print(error, flush=True)
"""


@pytest.fixture
def on(tmp_path):
    """Start a process that holds the lock of a run, on a host of a name."""
    if subprocess.run(["unshare", "--uts", "--user", "--map-root-user", "true"], capture_output=True).returncode:
        pytest.skip("no host names of one's own here")
    begun = []

    def start(host):
        command = [
            "unshare",
            "--uts",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            f'hostname {host}; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            HOLDER,
        ]
        one = subprocess.Popen([*command, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
        begun.append(one)
        assert one.stdout.readline() == "held\n"
        return one

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def ask(one):
    one.stdin.write("?\n")
    one.stdin.flush()
    return one.stdout.readline()


def test_a_lease_between_hosts(tmp_path, world, monkeypatch, on):
    """A live owner on another host is respected; a killed one, and one that slept, is taken over when its lease has run out."""
    monkeypatch.setattr(lock, "BEAT", 0.2)
    monkeypatch.setattr(lock, "LEASE", 1.0)
    owner = on("nodeA")
    with pytest.raises(RunError, match=r"is being written by process \d+ on nodeA"):
        world.start(tmp_path / "run")
    assert ask(owner) == "mine\n"
    owner.send_signal(signal.SIGSTOP)  # as a machine that is paused
    with world.start(tmp_path / "run") as recorder:
        owner.send_signal(signal.SIGCONT)
        assert "was taken over by another process" in ask(owner)
        world.record(recorder, range(2))
    owner = on("nodeB")
    owner.kill()
    owner.wait()
    with world.start(tmp_path / "run", resume=True) as recorder:
        world.record(recorder, range(2, 5))
    assert open_run(tmp_path / "run").finished


def test_a_recorder_that_lost_its_lease_stops(tmp_path, world):
    """No epoch counts after another process has taken over."""
    recorder = world.start(tmp_path / "run")
    world.record(recorder, range(2))
    recorder.flush()
    (tmp_path / "run.lock").write_text("filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=0\nduration=180.0\n")
    with pytest.raises(RunError, match="was taken over by another process"):
        world.record(recorder, range(2, 3))
        recorder.flush()
    with pytest.raises(RunError, match="was taken over"):
        recorder.close()
    assert open_run(tmp_path / "run").epochs.tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_of_writers_that_come_at_once_one_is_taken(tmp_path, world):
    """Processes that race for a run: each is either the only one or refused, and every epoch is of one of them."""
    world.start(tmp_path / "run", num_epochs=None).close()
    children = []
    for _ in range(4):
        if not (child := os.fork()):
            turns = 0
            try:
                for _ in range(30):
                    try:
                        with world.start(tmp_path / "run", num_epochs=None, resume=True) as recorder:
                            recorder.end_epoch(iteration=recorder.epoch, scalars={"who": os.getpid()})
                            turns += 1
                    except RunError as error:
                        if not re.search("being (written|opened)", str(error)):
                            os._exit(100)
            finally:
                os._exit(turns)
        children.append(child)
    turns = {child: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    run = open_run(tmp_path / "run")
    assert run.dropped == {} and run.iterations.tolist() == list(range(sum(turns.values()))) and max(turns.values()) <= 30
    assert {child: n for child, n in turns.items() if n} == run.scalars.who.astype(int).value_counts().to_dict()


def test_an_interrupt_while_closing_leaves_no_lock(tmp_path, world, monkeypatch):
    recorder = world.start(tmp_path / "run")
    world.record(recorder, range(2))

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "join", interrupted)
        recorder.close()
    recorder.close()
    assert open_run(tmp_path / "run").epochs.tolist() == [0, 1] and not list(tmp_path.glob("*.lock"))
    world.start(tmp_path / "run", resume=True).close()


# -- a disk that does not take it -----------------------------------------------------------------------------------------


def full_disk(monkeypatch, after: int, code: int = errno.ENOSPC):
    """From the `after`-th file on, half of the bytes arrive and then the system refuses."""
    written = iter(range(10**9))

    class Half:
        def __init__(self, path, mode, **options):
            self.file = open(path, mode, **options)  # noqa: SIM115
            self.seek = self.file.seek

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            if next(written) >= after:
                self.file.write(bytes(data)[: len(data) // 2])
                raise OSError(code, os.strerror(code))
            return self.file.write(data)

    def half_open(path, mode="r", **options):
        return Half(path, mode, **options) if {"w", "+"} & set(mode) else open(path, mode, **options)

    for module in (_files, store):
        monkeypatch.setattr(module, "open", half_open, raising=False)


@pytest.mark.parametrize(
    ("after", "code"), [*((n, errno.ENOSPC) for n in (0, 5, 12, 22, 30)), (9, errno.EROFS), (17, errno.ESTALE), (25, errno.EIO)]
)
def test_a_disk_that_refuses_keeps_finished_epochs(tmp_path, world, monkeypatch, after, code):
    """Full, made read-only, a mount that is gone, or broken."""
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(1), snapshots=(0,))
    recorder = world.start(tmp_path / "run", resume=True)
    full_disk(monkeypatch, after, code)
    told = os.strerror(code)
    with pytest.raises(RunError, match=rf"cannot write epoch \d of .*run: {told}. Make .* then resume; finished epochs are safe"):
        world.record(recorder, range(1, 5), snapshots=range(5))
        recorder.flush()
    with pytest.raises(RunError):  # and at every call after it
        recorder.update([0], [0], [True])
    with pytest.raises(RunError, match=told):
        recorder.close()
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.partial"))
    whole, kept = tmp_path / "whole", open_run(tmp_path / "run")
    assert kept.dropped == {} and len(kept.epochs) >= 1
    with world.start(tmp_path / "run", resume=True) as recorder:
        world.record(recorder, range(recorder.epoch, 5), snapshots=range(5))
    with world.start(whole) as recorder:
        world.record(recorder, range(5), snapshots=range(5))
    same(open_run(whole), open_run(tmp_path / "run"))


def test_the_system_refuses_a_chunk(tmp_path, world):
    """The same with a limit that the operating system enforces: snapshots are larger than it, matrices are not."""
    recorder = world.start(tmp_path / "run")
    world.record(recorder, range(2))
    recorder.flush()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        with pytest.raises(RunError, match=r"cannot write epoch 2 of .*File too large"):
            world.record(recorder, range(2, 3), snapshots=(2,))
            recorder.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(RunError):
        recorder.close()
    run = open_run(tmp_path / "run")
    assert run.epochs.tolist() == [0, 1] and not list(tmp_path.rglob("*.partial"))


def test_no_room_is_found_before_training(tmp_path, world, monkeypatch):
    full_disk(monkeypatch, 0)
    with pytest.raises(RunError, match=r"cannot create a run at .*new: No space left"):
        world.start(tmp_path / "new")
    monkeypatch.undo()
    world.start(tmp_path / "run").close()
    full_disk(monkeypatch, 0)
    with pytest.raises(RunError, match=r"cannot write to .*run: No space left"):
        world.start(tmp_path / "run", resume=True)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.lock")) and not list(tmp_path.rglob("*probe*"))
    world.start(tmp_path / "new").close()  # what the failure left behind is no hindrance


def test_read_only_place(tmp_path, world, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write beside .*file/run: .*A file stands where a folder is needed"):
        world.start(tmp_path / "file" / "run")
    real = os.open

    def refuse(path, flags, *args, **kwargs):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, flags, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(RunError, match=r"Read-only file system"):
            world.start(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_read_only_runs_can_be_read(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(2))
    paths = [tmp_path / "run", *(tmp_path / "run").rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert open_run(tmp_path / "run").confusion().shape == (2, 4, 4)
    finally:
        for path in paths:
            path.chmod(0o755)


# -- damage ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(5), snapshots=(1, 3))
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["sweep/c.3.0.0", "visits_accepted/c.3.0.0", "history/c.3.0", "history_accepted/c.3.0", "logits/c.1.0.0"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_a_damaged_epoch_is_dropped_and_named(recorded, world, name, damage):
    path = recorded / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -3 if damage == "truncated" else 0])
    run = open_run(recorded)
    assert run.epochs.tolist() == [0, 1, 2, 4] and list(run.dropped) == [3] and name in run.dropped[3]
    assert len(run.confusion()) == 4 and not run.finished and 3 not in run.snapshots
    assert ("missing" if damage == "missing" else "bytes long instead of") in run.dropped[3]
    with pytest.raises(NotLogged, match=r"epoch 3 of .* is damaged"):
        run.confusion(epoch=3)
    with pytest.raises(NotLogged, match=r"epoch 3 of .* is damaged"):
        run.logits(3)
    assert "damaged" in repr(run)
    assert run.to_xarray().epoch.values.tolist() == [0, 1, 2, 4] and run.to_xarray().done.all()
    with world.start(recorded, resume=True) as recorder:  # records it again, and what followed
        world.record(recorder, range(3, 5), snapshots=(3,))
    assert open_run(recorded).dropped == {} and open_run(recorded).finished


def test_keeping_what_follows_a_damaged_epoch(recorded, world):
    (recorded / "test" / "c.1.0.0").unlink()
    with world.start(recorded, num_epochs=6, resume=True) as recorder:
        assert recorder.epoch == 1
        recorder.rewind(5)  # the checkpoint is past it
        world.record(recorder, range(5, 6))
    run = open_run(recorded)
    assert run.epochs.tolist() == [0, 2, 3, 4, 5] and list(run.dropped) == [1]


def test_a_half_overwritten_epoch_never_counts(recorded, world, monkeypatch):
    """Resuming below recorded epochs forgets them before the first byte of them is replaced."""
    (recorded / "visits" / "c.1.0.0").unlink()
    recorder = world.start(recorded, resume=True)
    full_disk(monkeypatch, 20)
    with pytest.raises(RunError):
        world.record(recorder, range(1, 4))
        recorder.flush()
    with pytest.raises(RunError):
        recorder.close()
    monkeypatch.undo()
    run = open_run(recorded)
    assert run.epochs.tolist() in ([0], [0, 1])


def test_damaged_bookkeeping(recorded, world):
    """`done` is rebuilt from `written`; what no record tells any more is dropped and named; a resumed run repairs its tables."""
    done = (recorded / "done" / "c.0").read_bytes()
    (recorded / "done" / "c.0").write_bytes(b"\1\1\1")
    run = open_run(recorded)
    assert run.epochs.tolist() == [0, 1, 2, 3, 4] and run.dropped == {} and run.finished
    text = (recorded / "scalars" / "c.0.0").read_bytes()
    (recorded / "scalars" / "c.0.0").write_bytes(b"\0")
    run = open_run(recorded)
    assert len(run.confusion()) == 5
    with pytest.raises(RunError, match=r"is damaged: scalars/c.0.0"):
        _ = run.scalars
    (recorded / "scalars" / "c.0.0").write_bytes(text)
    world.start(recorded, resume=True).close()
    assert (recorded / "done" / "c.0").read_bytes() == done and open_run(recorded).finished
    (recorded / "written" / "c.0.0").write_bytes(b"")
    run = open_run(recorded)
    assert len(run.epochs) == 0 and list(run.dropped) == [0, 1, 2, 3, 4] and "written/c.0.0" in repr(run)
    with pytest.raises(NotLogged, match=r"no 'sweep' matrices; it has none yet"):
        run.confusion()
    with world.start(recorded, resume=True) as recorder:
        world.record(recorder, range(5), snapshots=(1, 3))
    assert open_run(recorded).finished


def table(path, name, e):
    """Changes one byte in the row of epoch `e`."""
    file = next(iter(sorted((path / name).glob("c.*"))))
    data = bytearray(file.read_bytes())
    rows = 5  # each with its checksum, then 16 bytes each in the index and 4 of its own
    data[(len(data) - 16 * rows - 4) // rows * e] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["iteration", "written"])
def test_an_altered_row_costs_its_epoch(recorded, name):
    table(recorded, name, 2)
    run = open_run(recorded)
    assert run.epochs.tolist() == [0, 1, 3, 4] and f"{name}/c.0" in run.dropped[2] and "was altered at epoch 2" in run.dropped[2]


def test_an_altered_row_of_done_is_known_otherwise(recorded, world):
    table(recorded, "done", 2)
    assert open_run(recorded).epochs.tolist() == [0, 1, 2, 3, 4]
    world.start(recorded, resume=True).close()  # which repairs it
    import xarray

    assert xarray.open_zarr(recorded).done.values.all()


@pytest.mark.parametrize("name", ["scalars", "scheme/daso/class_dist"])
@pytest.mark.parametrize("cut", [True, False])
def test_what_a_resumed_run_has_lost_stays_lost(recorded, world, name, cut):
    """A table that is gone or cut off is made anew, and does not read as if nothing had been given."""
    path = recorded / name / "c.0.0"
    path.write_bytes(path.read_bytes()[:-7]) if cut else path.unlink()
    with world.start(recorded, num_epochs=6, resume=True) as recorder:
        world.record(recorder, range(5, 6))
    run = open_run(recorded)
    assert run.finished and run.epochs.tolist() == [*range(6)]
    with pytest.raises(RunError, match=f"{name}/c.0.0 was altered at epoch 0, 1, 2, 3, 4"):
        _ = run.scalars if name == "scalars" else run.state("daso/class_dist")


@pytest.mark.parametrize("name", ["scalars", "scheme/daso/class_dist"])
def test_an_altered_value_is_refused_when_it_is_read(recorded, name):
    table(recorded, name, 2)
    run = open_run(recorded)
    assert len(run.confusion()) == 5
    with pytest.raises(RunError, match=f"{name}/c.0.0 was altered at epoch 2"):
        _ = run.scalars if name == "scalars" else run.state("daso/class_dist")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("sweep/c.3.0.0", lambda run: run.confusion("sweep", epoch=3)),
        ("history/c.3.0", lambda run: run.history(3)),
        ("logits/c.1.0.0", lambda run: run.logits(3)),
        ("snapshot_state/daso/prototypes/c.1.0.0", lambda run: run.snapshot_state("daso/prototypes", 3)),
        ("true_labels/c.0", lambda run: run.true_labels),
    ],
)
def test_a_bit_that_flipped(recorded, name, read):
    data = bytearray((recorded / name).read_bytes())
    data[len(data) // 2] ^= 4
    (recorded / name).write_bytes(data)
    with pytest.raises(RunError, match=rf"is damaged: {name} was altered"):
        read(open_run(recorded))


def test_runs_without_checksums_can_be_read(recorded, world):
    """As after their attributes were changed on purpose."""
    root = json.loads((recorded / "zarr.json").read_text())
    root["attributes"]["note"] = "the one in the paper"
    (recorded / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(RunError, match=r"not those that were recorded. If you changed them on purpose, remove"):
        open_run(recorded)
    del root["attributes"]["checksum"]
    (recorded / "zarr.json").write_text(json.dumps(root))
    run = open_run(recorded)
    assert run.attrs["note"] and run.finished and len(run.confusion()) == 5 and len(run.logits(3)) == world.N and len(run.scalars) == 5
    with world.start(recorded, num_epochs=6, resume=True) as recorder:
        world.record(recorder, range(5, 6))
    assert open_run(recorded).finished


@pytest.mark.parametrize("text", ["", "{", "[]", '{"attributes": {}}'])
def test_damaged_metadata(recorded, text):
    (recorded / "zarr.json").write_text(text)
    with pytest.raises(RunError, match=r"is no run: its zarr.json is damaged"):
        open_run(recorded)


def test_a_newer_format_is_refused(recorded, world):
    root = json.loads((recorded / "zarr.json").read_text())
    root["attributes"]["pldebias_format"] = 99
    (recorded / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(RunError, match=r"store format 99; this pldebias reads up to 2. Upgrade pldebias"):
        open_run(recorded)
    with pytest.raises(RunError, match=r"store format 99"):
        world.start(recorded, resume=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_forces_its_own_files(tmp_path):
    """The threads that force files are kept, and a child process has none of its parent's: it would wait for them for ever."""
    code = (
        "import os, sys, pathlib\nfrom pldebias.runs.disk import force\n"
        "paths = [f'{sys.argv[1]}/{i}' for i in range(3)]\n[pathlib.Path(p).write_bytes(b'x') for p in paths]\n"
        "force(paths)\nchild = os.fork()\n"
        "if not child:\n    force(paths)\n    os._exit(7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    assert subprocess.run(command, timeout=100).returncode == 7
