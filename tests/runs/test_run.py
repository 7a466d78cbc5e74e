"""Reading: errors that list what exists, runs in the making, remote runs, the catalogue."""

import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pldebias.runs import NotLogged, Run, RunError, catalogue, find_runs, open_run


@pytest.fixture
def recorded(tmp_path, world):
    with world.start(tmp_path / "runs" / "glyphs" / "run") as recorder:
        world.record(recorder, range(5), snapshots=(1, 3))
    return tmp_path / "runs" / "glyphs" / "run"


def test_errors_list_what_exists(recorded):
    run = open_run(recorded)
    for call, error, message in (
        (lambda: run.confusion("last"), ValueError, "kind must be one of visits, sweep, test; got 'last'"),
        (lambda: run.confusion("sweep", "some"), ValueError, "split must be one of all, accepted, rejected; got 'some'"),
        (lambda: run.confusion("test", "accepted"), ValueError, "not accepted or rejected"),
        (lambda: run.confusion(epoch=9), NotLogged, "fixmatch.daso/s3 has no 'sweep' at epoch 9; it has 0..4"),
        (lambda: run.confusion(epoch=-2), NotLogged, "no 'sweep' at epoch -2"),
        (lambda: run.logits(2), NotLogged, "has logits at the epochs 1, 3; not at 2"),
        (lambda: run.semantic(1), NotLogged, "has no semantic; its snapshots hold logits, features"),
        (lambda: run.state("la/prior"), NotLogged, "no state 'la/prior'; it has daso/class_dist"),
        (lambda: run.snapshot_state("la/prior", 1), NotLogged, "no snapshot_state/la/prior; its snapshots hold logits"),
        (lambda: run.test_labels, NotLogged, "was given no test_labels"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert issubclass(NotLogged, KeyError)


def test_opening_what_is_no_run(recorded, tmp_path):
    for path, message in (
        (tmp_path / "nothing", "no such directory"),
        (tmp_path / "runs", "there are runs inside it: glyphs/run"),
        (tmp_path / "runs" / "glyphs", "there are runs inside it: run"),
        (recorded / "zarr.json", "is no run: a file lies"),
        ("memory://nowhere", "no run at memory://nowhere"),
    ):
        with pytest.raises(RunError, match=message):
            open_run(path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    meta = {"zarr_format": 3, "node_type": "group", "attributes": {}, "consolidated_metadata": {"metadata": {}}}
    (foreign / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(RunError, match="a Zarr group, but no run of pldebias"):
        open_run(foreign)
    run = open_run(recorded)
    assert open_run(run) is run and open_run(str(recorded)).path == str(recorded) and isinstance(run, Run)
    assert open_run(f"file://{recorded}").epochs.tolist() == [0, 1, 2, 3, 4]


def test_a_name_is_always_there(tmp_path, world):
    for attrs, name in (
        ({}, "run"),
        ({"method": "daso"}, "daso"),
        ({"method": "daso", "seed": 0}, "daso/s0"),
        ({"method": "selftraining(base='../runs/a/crt/s0',weight=0.5)", "seed": 1}, "selftraining(base='…/crt/s0',weight=0.5)/s1"),
        ({"method": "selftraining(base='crt/s0')+la", "seed": 1}, "selftraining(base='crt/s0')+la/s1"),
    ):
        world.start(tmp_path / "run", attrs=attrs).close()
        run = open_run(tmp_path / "run")
        assert run.name == name and run.config == {} and run.fingerprint is None
        shutil.rmtree(tmp_path / "run")


def test_shown_in_console_and_notebook(recorded, tmp_path, world):
    text = repr(open_run(recorded))
    assert "fixmatch+daso/s3" in text and "5 of 5, finished" in text and "visits, sweep, test" in text and "(epochs 1, 3)" in text
    world.start(tmp_path / "evil", attrs={"method": "<script>", "data": "<i>"}).close()
    page = open_run(tmp_path / "evil")._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<i>" not in page and "0 of 5, unfinished" in page


def test_matrices_given_out_cannot_spoil_the_run(recorded):
    run = open_run(recorded)
    before = run.confusion().copy()
    run.confusion()[:] = 0
    np.testing.assert_array_equal(run.confusion(), before)
    with pytest.raises(ValueError, match="read-only"):
        run.history()[0][:] = 0


def test_a_run_in_the_making(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        run = open_run(tmp_path / "run")
        assert len(run.epochs) == 0 and run.kinds == () and not run.finished and run.scalars.empty and len(run.snapshots) == 0
        with pytest.raises(NotLogged, match="it has none yet"):
            run.confusion()
        world.record(recorder, range(2))
        recorder.flush()
        assert len(run.epochs) == 0  # what was read stays as it was
        assert run.refresh() is run and run.epochs.tolist() == [0, 1]
        first, table = run.confusion(), run.scalars
        world.record(recorder, range(2, 4), snapshots=(3,))
        recorder.flush()
        assert len(run.confusion()) == 2
        assert run.refresh().epochs.tolist() == [0, 1, 2, 3] and run.snapshots.tolist() == [3]
        assert len(run.confusion()) == 4
        np.testing.assert_array_equal(run.confusion()[:2], first)
        assert len(run.scalars) == 4 and run.scalars[:2].equals(table)
    assert not run.refresh().finished


def test_reading_needs_neither_torch_nor_zarr():
    heavy = "torch", "zarr", "xarray", "pandas", "fsspec"
    code = f"import sys; from pldebias.runs import open_run, catalogue; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"


# -- remote ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def same(here, there):
    assert there.epochs.tolist() == here.epochs.tolist() and there.finished
    for kind in here.kinds:
        np.testing.assert_array_equal(there.confusion(kind), here.confusion(kind))
        np.testing.assert_array_equal(there.confusion(kind, epoch=2), here.confusion(kind, epoch=2))
    np.testing.assert_array_equal(there.logits(3), here.logits(3))
    np.testing.assert_array_equal(there.history(-1)[0], here.history(4)[0])
    np.testing.assert_array_equal(there.true_labels, here.true_labels)
    np.testing.assert_array_equal(there.state("daso/class_dist"), here.state("daso/class_dist"))
    assert there.scalars.equals(here.scalars)
    for name, variable in here.to_xarray().variables.items():
        np.testing.assert_array_equal(there.to_xarray().variables[name].values, variable.values)


def test_in_memory(recorded):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(recorded), "/published/run", recursive=True)
    try:
        same(open_run(recorded), open_run("memory://published/run"))
        memory.rm("/published/run/sweep/c.2.0.0")
        with pytest.raises(RunError, match=r"is damaged: sweep/c.2.0.0 is missing"):
            open_run("memory://published/run").confusion(epoch=2)
    finally:
        memory.rm("/published", recursive=True)


def test_over_http(recorded):
    with served(recorded.parent) as address:
        same(open_run(recorded), open_run(f"{address}/run"))
        (recorded / "sweep" / "c.2.0.0").unlink()  # a chunk that is gone must not read as zeros
        with pytest.raises(RunError, match=r"is damaged: sweep/c.2.0.0 is missing"):
            open_run(f"{address}/run").confusion()
        with pytest.raises(RunError, match="no run at"):
            open_run(f"{address}/other")


# -- catalogue ------------------------------------------------------------------------------------------------------------


def test_catalogue(tmp_path, world, recorded):
    root = tmp_path / "runs"
    with world.start(root / "glyphs" / "short", attrs={"method": "supervised", "config": {"lr": 0.1, "net": {"width": 2}}}) as recorder:
        world.record(recorder, range(2))
    world.start(root / "new", num_epochs=None).close()
    (root / "new.init").mkdir()
    (root / "new.init" / "zarr.json").write_text("half a run")
    (root / "broken").mkdir()
    (root / "broken" / "zarr.json").write_text("{")
    (root / "damaged").mkdir()
    shutil.copytree(recorded, root / "damaged" / "run")
    (root / "damaged" / "run" / "test" / "c.4.0.0").unlink()
    (root / "notes.txt").touch()
    assert len(find_runs(root)) == 5
    table = catalogue(root).set_index("path")
    table.index = [path.removeprefix(f"{root}/") for path in table.index]
    assert table.index.tolist() == ["broken", "damaged/run", "glyphs/run", "glyphs/short", "new"]
    assert table.epochs.tolist() == [0, 4, 5, 2, 0] and table.finished.tolist() == [False, False, True, False, False]
    assert table.total_epochs.tolist() == [0, 5, 5, 5, 0]
    assert table.name.tolist() == ["broken", "fixmatch+daso/s3", "fixmatch+daso/s3", "supervised", "fixmatch+daso/s3"]
    assert "zarr.json is damaged" in table.problem["broken"] and "epoch 4: test/c.4.0.0 is missing" in table.problem["damaged/run"]
    assert table.problem[["glyphs/run", "glyphs/short", "new"]].isna().all()
    assert table["config.lr"]["glyphs/short"] == 0.1 and table["config.net.width"]["glyphs/short"] == 2
    assert catalogue(root, check=False).epochs.tolist() == [0, 5, 5, 2, 0]  # takes the damaged run's word for it
    run = open_run(recorded)
    assert table["final.test_accuracy"]["glyphs/run"] == run.scalars["test_accuracy"].iloc[-1]
    assert table["median20.test_accuracy"]["glyphs/run"] == run.scalars["test_accuracy"].median()
    assert np.isnan(table["final.loss"]["new"])


def test_catalogue_without_runs(tmp_path):
    table = catalogue(tmp_path)
    assert len(table) == 0 and {"path", "method", "finished", "problem"} <= set(table)
    with pytest.raises(RunError, match="no directory"):
        catalogue(tmp_path / "nowhere")


def test_opening_is_quick(tmp_path):
    """The limit is 100 ms for 500 epochs of 10,000 samples; processor time, so that a busy machine does not matter, best of three."""
    from pldebias.runs import Recorder

    r = np.random.default_rng(0)
    with Recorder(tmp_path / "run", r.integers(0, 10, 10_000), [1] * 10, [*"abcdefghij"], num_epochs=500) as recorder:
        label = r.integers(0, 10, 10_000)
        for e in range(500):
            recorder.end_epoch(sweep=(label, label < 5), test=(label, label), scalars={"e": e})
    times = []
    for _ in range(3):
        start = time.process_time()
        assert open_run(tmp_path / "run").confusion(epoch=250).sum() == 10_000
        times.append(time.process_time() - start)
    assert min(times) < 0.1
