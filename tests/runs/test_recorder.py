"""What goes in comes out: through `open_run` and through plain xarray, from numpy and from torch."""

import gc
import re
import time

import numpy as np
import pandas
import pytest
import torch
import xarray as xr
from fake_cuda import Leaves, watched
from on_cuda import capture, no_waiting

from pldebias import metrics
from pldebias.runs import NotLogged, Recorder, open_run


def visits_of(world, e, unknown=False):
    """Counts by a plain loop."""
    every, accepted = np.zeros((2, world.K + 1, world.K), int)
    for index, label, ok in world.epoch(e).steps:
        for i, k, a in zip(index, label, ok, strict=True):
            every[world.truth(unknown)[i], k] += 1  # -1 addresses the last row
            accepted[world.truth(unknown)[i], k] += a
    return every, accepted


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_round_trip(tmp_path, world, convert):
    with world.start(tmp_path / "run", snapshots=(0, 3)) as recorder:
        world.record(recorder, range(5), snapshots=(0, 3), convert=convert)
    run = open_run(tmp_path / "run")
    assert run.finished and run.dropped == {} and run.kinds == ("visits", "sweep", "test")
    assert run.epochs.tolist() == [0, 1, 2, 3, 4] and run.iterations.tolist() == [3, 6, 9, 12, 15] and run.total_epochs == 5
    assert (run.name, run.method, run.seed, run.data) == ("fixmatch+daso/s3", "fixmatch+daso", 3, "glyphs")
    assert run.class_names == world.names and run.num_classes == world.K and run.config == {"lr": 0.03}
    np.testing.assert_array_equal(run.true_labels, world.truth())
    np.testing.assert_array_equal(run.unlabelled_counts, np.bincount(world.truth(), minlength=world.K))
    np.testing.assert_array_equal(run.labelled_counts, [20, 10, 5, 2])
    for e in range(5):
        made = world.epoch(e, e in (0, 3)).values
        every, accepted = visits_of(world, e)
        np.testing.assert_array_equal(run.confusion("visits", epoch=e), every[:-1])
        np.testing.assert_array_equal(run.confusion("visits", "accepted", e), accepted[:-1])
        np.testing.assert_array_equal(run.confusion("visits", "rejected", e), (every - accepted)[:-1])
        label, accepted = made["sweep"]
        np.testing.assert_array_equal(run.confusion(epoch=e), metrics.confusion_matrix(world.truth(), label, world.K))
        np.testing.assert_array_equal(
            run.confusion("sweep", "accepted", e), metrics.confusion_matrix(world.truth(), label, world.K, where=accepted)
        )
        np.testing.assert_array_equal(run.confusion("test", epoch=e), metrics.confusion_matrix(*made["test"], world.K))
        for found, expected in zip(run.history(e), made["sweep"], strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(run.state("daso/class_dist")[e], made["series"]["daso/class_dist"])
        assert dict(run.scalars.loc[e]) == made["scalars"]
    assert run.snapshots.tolist() == [0, 3]
    for e in (0, 3):
        made = world.epoch(e, True).values
        np.testing.assert_array_equal(run.logits(e), made["logits"])
        np.testing.assert_array_equal(run.features(e), made["features"].astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(run.snapshot_state("daso/prototypes", e), made["snapshot"]["daso/prototypes"])
        # The promise that relabelling rests on.
        np.testing.assert_array_equal(run.logits(e).argmax(1), run.history(e)[0])
    assert run.logits().dtype == run.features().dtype == np.float32
    assert run.confusion().dtype == np.int64 and run.confusion().shape == (5, world.K, world.K)
    np.testing.assert_array_equal(run.confusion(epoch=-1), run.confusion()[4])
    np.testing.assert_array_equal(run.confusion(epoch=[3, 1]), run.confusion()[[3, 1]])
    assert run.history()[0].shape == run.history()[1].shape == (5, world.N)


def test_plain_xarray_reads_everything_without_a_warning(tmp_path, world):
    with world.start(tmp_path / "run", test_labels=[0, 1, 3]) as recorder:
        world.record(recorder, range(3), snapshots=(1,))
    run, ds = open_run(tmp_path / "run"), xr.open_zarr(tmp_path / "run")  # warnings are errors here
    assert ds.done.values.tolist() == [True] * 3 + [False] * 2
    dims = {name: ds[name].dims for name in ("visits", "sweep_accepted", "test", "history", "logits", "features", "scalars", "true_labels")}
    assert dims == {
        "visits": ("epoch", "true", "pseudo"),
        "sweep_accepted": ("epoch", "true", "pseudo"),
        "test": ("epoch", "true", "pred"),
        "history": ("epoch", "sample"),
        "logits": ("snapshot", "sample", "klass"),
        "features": ("snapshot", "sample", "feature"),
        "scalars": ("epoch", "scalar"),
        "true_labels": ("sample",),
    }
    assert ds.visits.dtype == np.uint32 and ds.history.dtype == np.int16 and ds.logits.dtype == np.float16
    ready = ds.isel(epoch=ds.done.values)
    for kind in run.kinds:
        np.testing.assert_array_equal(ready[kind].values, run.confusion(kind))
    for found, name in zip(run.history(), ("history", "history_accepted"), strict=True):
        np.testing.assert_array_equal(ready[name].values, found)
    np.testing.assert_array_equal(ds.logits.sel(snapshot=1).values, run.logits(1))
    np.testing.assert_array_equal(ready.scalars.sel(scalar="loss").values, run.scalars["loss"])
    np.testing.assert_array_equal(ready.iteration.values, run.iterations)
    np.testing.assert_array_equal(ready.sweep.sel(true="cat", pseudo="naïve fox").values, run.confusion()[:, 0, 3])
    np.testing.assert_array_equal(run.test_labels, ds.test_labels.values)
    assert ds.attrs["class_names"] == list(world.names)
    state = xr.open_zarr(tmp_path / "run", group="scheme/daso").class_dist
    assert state.dims == ("epoch", "klass")
    np.testing.assert_array_equal(state[:3].values, run.state("daso/class_dist"))
    tree = xr.open_datatree(tmp_path / "run", engine="zarr")
    assert tree["snapshot_state/daso/prototypes"].dims == ("snapshot", "klass", "daso.prototypes_1")
    merged = run.to_xarray()
    np.testing.assert_array_equal(merged["scheme/daso/class_dist"][:3].values, run.state("daso/class_dist"))
    np.testing.assert_array_equal(merged["snapshot_state/daso/prototypes"][0].values, run.snapshot_state("daso/prototypes"))


def test_zarr_itself_agrees(tmp_path, world):
    """Rows of tables are set by hand, and chunks read; the library must see the same arrays, with and without the consolidated copy."""
    import zarr

    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(2), snapshots=(0,))
    group = zarr.open_group(str(tmp_path / "run"), mode="r", use_consolidated=False)
    held = {name: array for name, array in group.members(max_depth=None) if isinstance(array, zarr.Array)}
    consolidated = zarr.open_group(str(tmp_path / "run"), mode="r")
    assert {"visits", "history", "scheme/daso/class_dist", "snapshot_state/daso/prototypes", "klass", "scalars"} <= set(held)
    archive = open_run(tmp_path / "run")._reader
    assert set(held) == set(archive.arrays)
    for name, array in held.items():
        np.testing.assert_array_equal(array[:], consolidated[name][:])
        mine = archive.read(name, damaged={})  # epochs to come have no chunks
        np.testing.assert_array_equal(array[:].astype(object) if mine.dtype == object else array[:], mine)
        assert mine.dtype in (object, array.dtype)
    # Nothing that Zarr would not know lies inside: this warns otherwise.
    assert xr.open_zarr(tmp_path / "run", consolidated=False).sizes["epoch"] == 5


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_unknown_truth_is_counted_apart(tmp_path, world, convert):
    with world.start(tmp_path / "run", unknown=True) as recorder:
        world.record(recorder, range(2), convert=convert)
    run = open_run(tmp_path / "run")
    every, accepted = visits_of(world, 1, unknown=True)
    assert every[-1].sum() > 0
    np.testing.assert_array_equal(run.confusion("visits", epoch=1), every[:-1])
    np.testing.assert_array_equal(run.unknown("visits", epoch=1), every[-1])
    np.testing.assert_array_equal(run.unknown("visits", "accepted", 1), accepted[-1])
    np.testing.assert_array_equal(run.unknown("visits", "rejected", 1), (every - accepted)[-1])
    np.testing.assert_array_equal(run.pseudo_counts("sweep", epoch=1), np.bincount(run.history(1)[0], minlength=world.K))
    assert run.pseudo_counts().shape == (2, world.K)
    assert run.unlabelled_counts is None and (run.true_labels == -1).sum() == 20
    assert "true class known for 40" in repr(run)
    assert "sweep_unknown" in xr.open_zarr(tmp_path / "run")


def test_known_truth_has_no_unknown_arrays(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(1))
    assert not [name for name in xr.open_zarr(tmp_path / "run") if "unknown" in name]
    np.testing.assert_array_equal(open_run(tmp_path / "run").unknown(epoch=0), [0] * world.K)


def test_truth_unknown_altogether(tmp_path, world):
    with Recorder(tmp_path / "run", None, [2, 2], [*"ab"], num_unlabelled=3, num_epochs=1) as recorder:
        recorder.update([0, 2], [1, 1], [True, False])
        recorder.end_epoch(sweep=([0, 1, 1], [True, True, False]))
    run = open_run(tmp_path / "run")
    assert run.confusion(epoch=0).sum() == 0 and run.unknown(epoch=0).tolist() == [1, 2]
    assert np.isnan(metrics.recall(run.confusion())).all()
    with pytest.raises(ValueError, match=r"num_unlabelled"):
        Recorder(tmp_path / "other", None, [2, 2], [*"ab"])


def test_without_unlabelled_loss_there_are_no_visits(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(2), visits=False)
    run = open_run(tmp_path / "run")
    assert run.kinds == ("sweep", "test") and "visits" not in xr.open_zarr(tmp_path / "run")
    with pytest.raises(NotLogged, match=r"has no 'visits' matrices; it has sweep, test"):
        run.confusion("visits")


def test_nothing_unlabelled_at_all(tmp_path):
    with Recorder(tmp_path / "run", [], [5, 5], ["a", "b"], num_epochs=1) as recorder:
        recorder.end_epoch(test=[[3, 1], [0, 4]], scalars={"loss": 1})
    run = open_run(tmp_path / "run")
    assert run.kinds == ("test",) and run.confusion("test", epoch=0).tolist() == [[3, 1], [0, 4]]
    assert run.true_labels.shape == (0,) and run.unlabelled_counts.tolist() == [0, 0]
    assert xr.open_zarr(tmp_path / "run").true_labels.shape == (0,)


def test_what_an_epoch_lacks_is_said_not_filled(tmp_path, world):
    with world.start(tmp_path / "run", num_epochs=4) as recorder:
        for e in range(4):
            values = world.epoch(e).values
            recorder.end_epoch(
                sweep=values["sweep"] if e % 2 else None, scalars={"a": 1} if e < 2 else {"b": 2}, iteration=None if e else 7
            )
    run = open_run(tmp_path / "run")
    assert run.logged("sweep").tolist() == [1, 3] and run.logged("test").tolist() == []
    with pytest.raises(NotLogged, match=r"at 2 of 4 epochs; pass epoch=run.logged\('sweep'\)"):
        run.confusion("sweep")
    assert run.confusion("sweep", epoch=run.logged("sweep")).shape == (2, world.K, world.K)
    np.testing.assert_array_equal(run.confusion("sweep", epoch=-1), run.confusion("sweep", epoch=3))
    with pytest.raises(NotLogged, match=r"no 'sweep' at epoch 2; it has 1, 3"):
        run.confusion("sweep", epoch=2)
    np.testing.assert_array_equal(run.scalars["a"], [1, 1, np.nan, np.nan])
    np.testing.assert_array_equal(run.scalars["b"], [np.nan, np.nan, 2, 2])
    assert run.iterations.tolist() == [7, -1, -1, -1]


@pytest.mark.parametrize("num_epochs", [None, 3])
def test_grows_beyond_its_length(tmp_path, world, num_epochs):
    with world.start(tmp_path / "run", num_epochs=num_epochs, snapshots=(0,)) as recorder:
        world.record(recorder, range(70), snapshots=range(0, 70, 9))
        recorder.flush()
        assert num_epochs or open_run(tmp_path / "run").finished is False
    run = open_run(tmp_path / "run")
    assert run.finished and run.total_epochs == 70 and len(run.confusion()) == 70
    assert run.snapshots.tolist() == list(range(0, 70, 9))
    ds = xr.open_zarr(tmp_path / "run")
    assert ds.done.values[:70].all() and ds.sizes["snapshot"] == 8
    assert num_epochs or ds.sizes["epoch"] == 70
    np.testing.assert_array_equal(ds.sweep[:70].values, run.confusion())


def test_many_epochs_and_scalars_cross_the_chunks_of_tables(tmp_path):
    with Recorder(tmp_path / "run", [0, 1], [1, 1], [*"ab"], num_epochs=300) as recorder:
        for e in range(300):
            recorder.end_epoch(scalars={f"s{i}": e + i / 100 for i in range(40 if e < 10 else 90)}, series={"x/prior": [e, 1]})
    run = open_run(tmp_path / "run")
    assert run.scalars.shape == (300, 90) and run.scalars["s80"].isna().sum() == 10
    np.testing.assert_allclose(run.scalars["s39"], np.arange(300) + 0.39)
    np.testing.assert_array_equal(run.state("x/prior")[:, 0], np.arange(300))
    ds = xr.open_zarr(tmp_path / "run")
    np.testing.assert_array_equal(ds.scalars.sel(scalar="s89").values, run.scalars["s89"])


def test_a_stopped_run_is_unfinished(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(2))
    assert not open_run(tmp_path / "run").finished
    with pytest.raises(KeyboardInterrupt), world.start(tmp_path / "open", num_epochs=None) as recorder:
        world.record(recorder, range(2))
        raise KeyboardInterrupt
    run = open_run(tmp_path / "open")
    assert not run.finished and len(run.epochs) == 2


def test_update_does_not_keep_the_callers_memory(tmp_path, world):
    """Training overwrites its tensors while the writer is still busy."""
    with world.start(tmp_path / "run", num_epochs=1) as recorder:
        label, logits = torch.zeros(world.N, dtype=torch.int16), torch.zeros(world.N, world.K, dtype=torch.float16)
        recorder.update(torch.arange(world.N), label, label == 0)
        recorder._writer.put(lambda: time.sleep(0.1))
        state = torch.zeros(world.K)
        recorder.end_epoch(sweep=(label, label == 0), logits=logits, series={"a/b": state}, snapshot={"a/b": state})
        for tensor in (label, logits, state):
            tensor.fill_(1)
    run = open_run(tmp_path / "run")
    assert run.confusion("visits", "accepted", 0)[:, 0].sum() == world.N
    assert not run.history(0)[0].any() and not run.logits(0).any() and not run.state("a/b").any() and not run.snapshot_state("a/b").any()


def test_masks_of_any_type_count_alike(tmp_path, world):
    with world.start(tmp_path / "run", num_epochs=4) as recorder:
        for dtype in (torch.bool, torch.float32, torch.int64, torch.uint8):
            recorder.update(torch.arange(4, dtype=torch.int32), torch.tensor([0, 1, 1, 3]), torch.tensor([1, 0, 1, 0]).to(dtype))
            recorder.end_epoch()
    run = open_run(tmp_path / "run")
    assert run.confusion("visits", "accepted").sum((1, 2)).tolist() == [2] * 4
    assert (run.confusion("visits", "accepted") == run.confusion("visits", "accepted", 0)).all()


def test_state_of_any_type(tmp_path, world):
    with world.start(tmp_path / "run", num_epochs=1) as recorder:
        exact = torch.rand(world.K, dtype=torch.float64)
        recorder.end_epoch(
            series={"a/exact": exact, "a/count": torch.arange(world.K), "a/half": exact.bfloat16()},
            snapshot={"a/odd": torch.arange(3), "a/half": exact.bfloat16(), "a/full": np.eye(world.K) > 0},
        )
    run = open_run(tmp_path / "run")
    assert run.series == ("a/count", "a/exact", "a/half") and run.snapshot_states == ("a/full", "a/half", "a/odd")
    np.testing.assert_array_equal(run.state("a/exact")[0], exact)
    np.testing.assert_array_equal(run.state("a/count")[0], range(world.K))
    np.testing.assert_array_equal(run.state("a/half")[0], exact.bfloat16().float())
    np.testing.assert_array_equal(run.snapshot_state("a/half"), exact.bfloat16().float())
    np.testing.assert_array_equal(run.snapshot_state("a/odd"), range(3))
    assert run.snapshot_state("a/full").dtype == bool


def test_test_predictions_three_ways(tmp_path, world):
    true, predicted = np.array([0, 1, 1, 3, -1]), np.array([0, 1, 2, 3, 3])
    with world.start(tmp_path / "run", num_epochs=3, test_labels=true) as recorder:
        recorder.end_epoch(test=predicted)
        recorder.end_epoch(test=(torch.as_tensor(true), torch.as_tensor(predicted)))
        recorder.end_epoch(test=metrics.confusion_matrix(true, predicted, world.K))
    matrices = open_run(tmp_path / "run").confusion("test")
    assert matrices[0].sum() == 4 and (matrices == matrices[0]).all()


def endless():
    values = []
    values.append(values)
    return values


def bad(world, path, **options):
    arguments = {"true_labels": [0, 1], "labelled_counts": [1, 1], "class_names": [*"ab"]} | options
    return Recorder(path, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"true_labels": [0, 2]}, r"true_labels must lie in -1..1; got 0..2; -1 alone means unknown"),
        ({"true_labels": [0, -100]}, "true_labels must lie in -1..1; got -100..0"),
        ({"true_labels": [0.5, 1]}, "true_labels must be whole numbers; got 0.5"),
        ({"true_labels": [0, np.nan]}, "true_labels must be whole numbers; got nan"),
        ({"true_labels": ["a", "b"]}, "true_labels must be real numbers; got texts"),
        ({"true_labels": [0, None]}, "true_labels must be real numbers; got missing values"),
        ({"true_labels": [[0, 1]]}, r"shape \[N\]; got shape \[1, 2\]"),
        ({"true_labels": pandas.Categorical(["a", "z"])}, "the category 'z' is no class"),
        ({"true_labels": np.ma.masked_equal([0, 1], 1)}, "some of them are masked"),
        ({"test_labels": [0, 2**40]}, "test_labels must lie in -1..1; got 0..1099511627776"),
        ({"num_unlabelled": 3}, "true_labels has 2 entries, but num_unlabelled is 3"),
        ({"num_unlabelled": 2.5}, "num_unlabelled must be whole numbers; got 2.5"),
        ({"labelled_counts": [1, 1, 1]}, r"shape \[2\]; got \[3\]"),
        ({"labelled_counts": [0.7, 0.3]}, "labelled_counts must be whole numbers; got 0.7"),
        ({"labelled_counts": [3, -1]}, "labelled_counts must be 0 or more; got -1..3"),
        ({"labelled_counts": [3, np.inf]}, "labelled_counts must be whole numbers; got inf"),
        ({"labelled_counts": {"a": 3, "z": 1}}, "one entry per class, by its name or number, is needed; 'z' is no class"),
        ({"class_names": []}, "1 to 32767 classes"),
        ({"class_names": ["a", "a"]}, "class_names must differ; 'a' is there twice"),
        ({"class_names": [1, "1"]}, "class_names must be texts; got 1"),
        ({"class_names": [b"a", b"b"]}, "class_names must be texts; got b'a'"),
        ({"class_names": {"a", "b"}}, "class_names must be a list of texts; got {"),
        ({"class_names": {"a": 0, "b": 2}}, r"class_names as a dict needs the numbers 0..1"),
        ({"class_names": ["a", "b\n"]}, "without control characters"),
        ({"num_epochs": 2.5}, "num_epochs must be whole numbers"),
        ({"num_epochs": -1}, "num_epochs must lie in 0..2097152; got -1..-1"),
        ({"num_epochs": True}, "num_epochs must be a whole number; got True"),
        ({"snapshots": [0.5]}, "snapshots must be whole numbers"),
        ({"snapshots": 3}, "snapshots must be a list of epochs; got 3"),
        ({"device": "cude"}, "device='cude' cannot be used here"),
        ({"attrs": {"finished": True}}, "attrs must not set finished"),
        ({"attrs": {"config": {"f": print}}}, r"attrs\['config'\]\['f'\] cannot be kept as JSON"),
        ({"attrs": {"config": {"lr": np.float32("nan")}}}, r"attrs\['config'\]\['lr'\] is nan, which JSON does not have"),
        ({"attrs": {"note": [1, (2, float("inf"))]}}, r"attrs\['note'\]\[1\]\[1\] is inf"),
        ({"attrs": {"note": torch.tensor([1.0, torch.nan])}}, r"attrs\['note'\]\[1\] is nan"),
        ({"attrs": {"config": {1: 2, "1": 3}}}, r"attrs\['config'\] cannot be kept as JSON: two of its keys are '1'"),
        ({"attrs": {"config": {(1, 2): 3}}}, r"its key \(1, 2\) is no text"),
        ({"attrs": ["config"]}, "attrs must be a dict; got list"),
        ({"attrs": {"seed": "one"}}, "seed must be a whole number"),
        ({"attrs": {"bytes": b"x"}}, r"attrs\['bytes'\] cannot be kept as JSON"),
        ({"attrs": {"loop": endless()}}, "nested too deeply, or holds itself"),
        ({"path": "s3://bucket/run"}, "local directory"),
    ],
)
def test_constructor_says_what_is_wrong(tmp_path, world, options, message):
    with pytest.raises(ValueError, match=message):
        bad(world, options.pop("path", tmp_path / "run"), **options)
    assert not list(tmp_path.iterdir())


WRONG_STEPS = [
    (([0, 1], [1], [True]), r"one shape \[M\]; got \[2\], \[1\], \[1\]"),
    ((0, 1, True), r"one shape \[M\]; got \[\], \[\], \[\]"),
    (([0], [9], [True]), "labels must lie in 0..3; got 9..9"),
    (([0, 1], [0, -1], [True, True]), "labels must lie in 0..3; got -1..0; -1 marks a row without a label, which must not be accepted"),
    (([0], [-100], [False]), "labels must lie in 0..3; got -100..-100"),
    (([60], [1], [True]), "index must lie in 0..59; got 60..60"),
    (([-1], [1], [True]), "index must lie in 0..59; got -1..-1"),
    (([0.5], [1], [True]), "index must be whole numbers; got 0.5"),
    (([0], [np.nan], [True]), "labels must be whole numbers; got nan"),
    (([0], [1 + 1j], [True]), r"labels must be real numbers; got complex"),
    (([0], ["cat"], [True]), "labels must be real numbers; got texts"),
    (([True, False], [1, 1], [True, True]), "index must be positions in the unlabelled set; of a mask"),
    (([0, 1], [1, 1], [0.001, 1]), "accepted must be a mask of 0 and 1, or of bool; got 0.001. Of weights"),
    (([0, 1], [1, 1], [np.nan, 1]), "accepted must be a mask of 0 and 1"),
    (([0, 1], [1, 1], [2, 1]), "accepted must be a mask of 0 and 1, or of bool; got 2"),
    (([0, 1], [1, 1], ["yes", "no"]), "accepted must be real numbers; got texts"),
    (([0, 2**63], [1, 1], [True, True]), "index must lie in 0..59; got 0..9.*"),
]
N, K = 60, 4
SWEEP = ([0] * N, [True] * N)
WRONG_ENDS = [
    ({"sweep": ([0], [True])}, r"sweep labels must have shape \[60\]; got \[1\]"),
    ({"sweep": (np.zeros((N, 1), int), SWEEP[1])}, r"sweep labels must have shape \[60\]; got \[60, 1\]"),
    ({"sweep": SWEEP[0]}, "sweep must be a pair .*; got 60 parts"),
    ({"sweep": np.zeros((2, N))}, "sweep must be a pair .*; got ndarray"),
    ({"sweep": ([4] * N, SWEEP[1])}, "sweep labels must lie in 0..3; got 4..4"),
    ({"sweep": ([-1] * N, SWEEP[1])}, "must not be accepted"),
    ({"sweep": (SWEEP[0], [0.5] * N)}, "the sweep's mask must be a mask of 0 and 1"),
    ({"test": [0, 1, 2]}, "needs test_labels"),
    ({"test": np.zeros((3, 3))}, r"test matrix must have shape \[4, 4\]"),
    ({"test": np.full((4, 4), 0.5)}, "test matrix must be whole numbers; got 0.5; it holds counts"),
    ({"test": np.full((4, 4), -1)}, "test matrix must lie in 0..4294967295; got -1..-1"),
    ({"test": np.full((4, 4), 2**32)}, "test matrix must lie in 0..4294967295"),
    ({"test": ([0, 4], [0, 1])}, "true classes of the test set must lie in -1..3; got 0..4; -1 alone means unknown"),
    ({"test": ([0, -100], [0, 1])}, "true classes of the test set must lie in -1..3; got -100..0"),
    ({"test": ([0, 1], [0, 4])}, "predicted classes of the test set must lie in 0..3; got 0..4"),
    ({"test": ([-1, 1], [4, 0])}, "predicted classes of the test set must lie in 0..3; got 0..4"),
    ({"test": ([0, 1], [0, -1])}, "predicted classes of the test set must lie in 0..3"),
    ({"test": ([0, 1], [0.2, 0.8])}, "predicted classes of the test set must be whole numbers; got 0.2"),
    ({"test": [[0, 1], [0, 1, 2]]}, r"need one shape \[T\]; got \[2\] and \[3\]"),
    ({"test": ([0, 1], [0, 1], [1, 1])}, "test must be a pair .*; got 3 parts"),
    ({"logits": np.zeros((3, 4))}, r"logits must have shape \[60, 4\]; got \[3, 4\]"),
    ({"logits": np.full((N, K), 7e4)}, "logits is kept as float16, which holds -65504..65504; 240 values lie beyond"),
    ({"semantic": np.full((N, K), -(10**6))}, "semantic is kept as float16"),
    ({"features": torch.full((N, 6), 1e6, dtype=torch.bfloat16)}, "features is kept as float16"),
    ({"features": np.zeros((N, 9))}, r"features must have shape \[60, 6\]; got \[60, 9\]"),
    ({"features": np.zeros((N, 6), complex)}, "features must be real numbers; got complex128"),
    ({"series": {"a/b": [1]}}, r"series 'a/b' must have shape \[4\]"),
    ({"series": {"a/b": [1j] * 4}}, "series 'a/b' must be real numbers"),
    ({"series": {"a/b": [2**53 + 1] * 4}}, "series 'a/b' is kept as float64, which cannot hold 9007199254740993"),
    ({"series": {"../b": [1, 2, 3, 4]}}, "named 'scheme/name'"),
    ({"series": {7: [1, 2, 3, 4]}}, "named 'scheme/name'"),
    ({"series": [1, 2, 3, 4]}, "series must be a dict"),
    ({"series": {"a/epoch": [1, 2, 3, 4]}}, "the name is not epoch, snapshot or klass"),
    ({"snapshot": {"a/klass": [1, 2, 3, 4]}}, "the name is not epoch, snapshot or klass"),
    ({"snapshot": {"a/b": np.fft.fft(np.arange(3.0))}}, "snapshot 'a/b' must be real numbers; got complex128"),
    ({"snapshot": {"a/b": np.array([{}, []], object)}}, "snapshot 'a/b' must be real numbers; got objects"),
    ({"snapshot": {"a/b": ["x"]}}, "snapshot 'a/b' must be real numbers; got texts"),
    ({"snapshot": {"a/b": np.array(["2026-01-01"], "M8[D]")}}, "snapshot 'a/b' must be real numbers; got datetime64"),
    ({"snapshot": {"a/b": [[1], [2, 3]]}}, "snapshot 'a/b' must be a tensor or an array of numbers"),
    ({"snapshot": {"a/b": 1, "a/b/c": 2}}, "lies inside another array or around it"),
    ({"snapshot": {"a/b/c": 1, "a/b": 2}}, "lies inside another array or around it"),
    ({"series": {"a/b": [1] * 4, "a/B": [2] * 4}}, "cannot be told from 'scheme/a/b'"),
    ({"scalars": {"epoch": 1}}, "a scalar is named .*; got 'epoch'"),
    ({"scalars": {"iteration": 1}}, "columns of our own; got 'iteration'"),
    ({"scalars": {"recall_sweep/tail": 1}}, "columns of our own; got 'recall_sweep/tail'"),
    ({"scalars": {"a\nb": 1}}, "one line of text"),
    *(({"scalars": {name: 1}}, "a scalar is named by one line of text") for name in ("", " ", 1, None, ("a",))),
    ({"scalars": [("a", 1)]}, "scalars must be a dict"),
    ({"scalars": {"a": None}}, r"scalars\['a'\] must be a tensor or an array|scalars\['a'\] must be one number.*; got None"),
    ({"scalars": {"a": "0.5"}}, r"scalars\['a'\] must be one number.*; got '0.5'"),
    ({"scalars": {"a": 1j}}, r"scalars\['a'\] must be one number"),
    ({"scalars": {"a": [1, 2]}}, r"scalars\['a'\] must be one number; got 2 of shape \[2\]"),
    ({"scalars": {"a": 10**400}}, r"scalars\['a'\] must be one number"),
    ({"scalars": {"a": 10**5000}}, r"scalars\['a'\] must be one number that float64 holds; got a number of thousands of digits"),
    (
        {"scalars": {"a": torch.tensor(2**53 + 1)}},
        r"scalars\['a'\] must be one number that float64 holds, which rounds .*; got tensor\(9007",
    ),
    ({"snapshot": {"a/b": np.zeros((4, 0))}}, r"snapshot 'a/b' is empty, of shape \[4, 0\]; leave it out"),
    ({"snapshot": {"a/" + "b" * 300: 1}}, "as folders can be on any system"),
    ({"snapshot": {"a/Con.x": 1}}, "as folders can be on any system"),
    ({"snapshot": {"zarr.json.partial/b": 1}}, "as folders can be on any system"),
    ({"features": np.zeros((N, 0))}, r"features must have shape \[N, D\], with D of 1 or more; got \[60, 0\]"),
    ({"iteration": 2**63}, "iteration must be -1 or more; got"),
    ({"iteration": 1.5}, "iteration must be whole numbers; got 1.5"),
    ({"iteration": np.nan}, "iteration must be whole numbers; got nan"),
    ({"iteration": -5}, "iteration must lie in|iteration must be -1 or more"),
    ({"iteration": True}, "iteration must be a whole number; got True"),
    ({"iteration": 2**70}, "iteration must"),
]


@pytest.fixture
def going(tmp_path, world):
    """A recorder in its second epoch."""
    with world.start(tmp_path / "run", num_epochs=3, num_features=world.D) as recorder:
        yield world.record(recorder, [0])


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, lambda part: part], ids=["numpy", "torch", "lists"])
def test_wrong_steps_are_refused_in_the_call(going, world, convert):
    first, *rest = world.epoch(1).steps
    going.update(*first)
    for step, message in WRONG_STEPS:
        try:
            step = [convert(part) for part in step]
        except (TypeError, RuntimeError, ValueError):
            continue  # there is no such tensor
        with pytest.raises(ValueError, match=message):
            going.update(*step)
    for sound in rest:
        going.update(*sound)
    going.end_epoch()
    going.flush()
    for e in (0, 1):
        np.testing.assert_array_equal(open_run(going.path).confusion("visits", epoch=e), visits_of(world, e)[0][:-1])


def test_wrong_ends_of_an_epoch_are_refused_in_the_call(going, world):
    made = world.epoch(1, snapshot=True)
    for step in made.steps:
        going.update(*step)
    for values, message in WRONG_ENDS:
        with pytest.raises(ValueError, match=message) as caught:
            going.end_epoch(**made.values | values)
        assert "\n" not in str(caught.value) and going.epoch == 1
    going.end_epoch(**made.values)
    going.flush()
    run = open_run(going.path)
    assert run.epochs.tolist() == [0, 1] and not run.dropped
    for e in (0, 1):
        np.testing.assert_array_equal(run.confusion("visits", epoch=e), visits_of(world, e)[0][:-1])
    assert run.series == ("daso/class_dist",) and run.snapshot_states == ("daso/prototypes",)
    assert {"scheme/daso/class_dist", "snapshot_state/daso/prototypes"} <= set(run.to_xarray())


def test_iterations_do_not_go_back(going):
    with pytest.raises(ValueError, match="3 at epoch 0; it cannot go back to 2"):
        going.end_epoch(iteration=2)
    going.end_epoch(iteration=np.float32(3))
    going.rewind(0)
    going.end_epoch(iteration=1)


def test_a_closed_recorder_says_so(going):
    going.close()
    with pytest.raises(ValueError, match=r"is closed"):
        going.update([0], [0], [True])
    going.close()  # twice does no harm


KINDS = {
    **{
        kind: lambda x, kind=kind: np.asarray(x).astype(kind)
        for kind in ("int8", "uint8", "int32", "uint32", "uint64", "float16", "float32")
    },
    **{
        f"torch {kind}": lambda x, kind=kind: torch.tensor(x).to(kind) for kind in (torch.uint8, torch.int16, torch.float16, torch.bfloat16)
    },
    "big endian": lambda x: np.asarray(x, ">i4"),
    "long double": lambda x: np.asarray(x, np.longdouble),
    "objects": lambda x: np.asarray(x, object),
    "list": lambda x: x,
    "tuple": tuple,
    "Series": pandas.Series,
    "nullable Series": lambda x: pandas.Series(x, dtype="Int64"),
    "read only": lambda x: np.broadcast_to(np.asarray(x), (2, len(x)))[0],
    "every second": lambda x: torch.tensor(x).repeat_interleave(2)[::2],
    "gradient": lambda x: torch.tensor(x, dtype=torch.float32, requires_grad=True),
    "numpy numbers": lambda x: [np.int16(part) for part in x],
}


@pytest.mark.parametrize("convert", KINDS.values(), ids=KINDS)
def test_numbers_of_any_type_are_taken_everywhere(tmp_path, convert):
    unsigned = "uint" in str(getattr(convert([1]), "dtype", ""))
    index, label, mask, true = [0, 1, 2, 5], [0, 1, 1, 2], [1, 0, 1, 0], [0, 1, 2, 0, 1, 2]
    options = {"labelled_counts": convert([3, 2, 1]), "class_names": [*"abc"], "test_labels": convert(true), "num_epochs": convert([2])[0]}
    with Recorder(tmp_path / "run", convert(true), snapshots=convert([0]), **options) as recorder:
        recorder.update(convert(index), convert(label), convert(mask))
        recorder.end_epoch(
            iteration=convert([4])[0],
            sweep=[convert(true if unsigned else [0, 1, -1, 0, 1, 2]), convert([0] * 6)],
            test=convert([0, 1, 1, 0, 1, 2]),
            series={"a/b": convert([1, 2, 3])},
            snapshot={"a/b": convert([1, 2, 3])},
            scalars={"loss": convert([5])[0]},
        )
        recorder.end_epoch(test=[convert(true), convert([0, 1, 1, 0, 1, 2])], logits=torch.stack([torch.tensor(range(6))] * 3, 1))
    run = open_run(tmp_path / "run")
    assert run.confusion("visits", epoch=0).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert run.confusion("visits", "accepted", epoch=0).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert (run.confusion("test") == [[2, 0, 0], [0, 2, 0], [0, 1, 1]]).all()
    assert run.state("a/b")[0].tolist() == run.snapshot_state("a/b").tolist() == [1, 2, 3]
    assert run.true_labels.tolist() == true and run.labelled_counts.tolist() == [3, 2, 1] and run.iterations.tolist() == [4, -1]
    assert run.scalars["loss"][0] == 5 and run.finished and run.logits()[5].tolist() == [5, 5, 5]


@pytest.mark.parametrize(
    "kind", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "float16"]
)
def test_counts_of_any_type(tmp_path, kind):
    matrix = np.array([[3, 1], [0, 4]]).astype(kind)
    with Recorder(tmp_path / "run", [0, 1], {"b": matrix[0, 1], "a": matrix[0, 0]}, ["a", "b"]) as recorder:
        for given in (matrix, matrix.T.copy().T, matrix.tolist(), torch.tensor(matrix.astype(float)).bfloat16(), pandas.DataFrame(matrix)):
            recorder.end_epoch(test=given)
    run = open_run(tmp_path / "run")
    assert (run.confusion("test") == [[3, 1], [0, 4]]).all() and run.labelled_counts.tolist() == [3, 1]


def test_classes_by_name(tmp_path):
    """Categories of pandas are the classes of those names, in whatever order they are; a dict of names is in the order of its numbers."""
    true = pandas.Categorical(["dog", "cat", None], categories=["dog", "owl", "cat"])
    with Recorder(tmp_path / "run", true, [1, 1, 1], {"cat": 0, "owl": 2, "dog": 1}) as recorder:
        recorder.update([0, 1, 2], pandas.Series(true).fillna("owl"), [True] * 3)
        recorder.end_epoch()
    run = open_run(tmp_path / "run")
    assert run.class_names == ("cat", "dog", "owl") and run.true_labels.tolist() == [1, 0, -1]
    assert run.confusion("visits", epoch=0).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert run.unknown("visits", epoch=0).tolist() == [0, 0, 1]


def test_rows_without_a_label_are_left_out(going, world):
    label, accepted = np.arange(N) % K, np.arange(N) % 3 == 0
    label[1::3] = -1
    for convert in (np.asarray, torch.as_tensor):
        going.update(convert(np.arange(N)), convert(label), convert(accepted))
    going.end_epoch(sweep=(label, accepted))
    going.flush()
    run = open_run(going.path)
    assert run.confusion("sweep", epoch=1).sum() == 40 and run.confusion("visits", epoch=1).sum() == 80
    np.testing.assert_array_equal(run.history(1)[0], label)
    assert run.to_dataframe("history")["label"].isna().sum() == 20


def test_attributes_come_back_as_json_has_them(tmp_path):
    """And equal themselves when the run is resumed."""
    import enum
    import pathlib
    from datetime import date

    day = date(2026, 1, 2)
    config = {
        "lr": np.float32(0.5), "sizes": (1, np.int8(2)), "path": pathlib.PurePosixPath("a/b"), 3: torch.float16, None: {"x"}, "day": day,
        "mode": enum.Enum("Mode", "fast").fast, "weights": torch.tensor([1, 2]), "array": np.eye(2, dtype=bool), "flag": np.bool_(True),
    }  # fmt: skip
    options = {"labelled_counts": [1], "class_names": ["a"], "attrs": {"config": config, "seed": np.int64(3)}}
    for resume in (False, True):
        with Recorder(tmp_path / "run", [0], resume=resume, **options) as recorder:
            recorder.end_epoch()
    run = open_run(tmp_path / "run")
    assert run.seed == 3 and run.config == {
        "lr": 0.5, "sizes": [1, 2], "path": "a/b", "3": "torch.float16", "None": ["x"], "day": "2026-01-02",
        "mode": 1, "weights": [1, 2], "array": [[True, False], [False, True]], "flag": True,
    }  # fmt: skip


def test_outputs_that_are_not_finite_are_kept_and_told(going, world):
    features = world.epoch(1, snapshot=True).values["features"]
    features[3, 0], features[4] = np.nan, np.inf
    with pytest.warns(RuntimeWarning, match="epoch 1: features of 2 of 60 samples hold NaN or infinity"):
        going.end_epoch(features=torch.as_tensor(features))
    going.flush()
    np.testing.assert_array_equal(open_run(going.path).features(1), features.astype(np.float16))


def test_a_recording_that_begins_late(tmp_path, world):
    with world.start(tmp_path / "run", num_epochs=8) as recorder:
        recorder.rewind(5)
        world.record(recorder, [5, 6])
    run = open_run(tmp_path / "run")
    assert run.epochs.tolist() == [5, 6] and not run.finished and not run.dropped
    np.testing.assert_array_equal(run.confusion("visits", epoch=5), visits_of(world, 5)[0][:-1])
    with world.start(tmp_path / "run", num_epochs=8, resume=True) as recorder:
        assert (recorder.epoch, recorder.end) == (7, 7)
        world.record(recorder, [7])
    assert run.refresh().epochs.tolist() == [5, 6, 7] and run.finished
    with pytest.raises(ValueError, match="epoch must lie in 0"):
        world.start(tmp_path / "run", num_epochs=8, resume=True).rewind(-1)


def test_an_epoch_goes_on_from_a_checkpoint_in_the_middle_of_it(tmp_path, world):
    """Its counts are those of all its steps."""
    steps = world.epoch(1).steps
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, [0])
        recorder.update(*steps[0])
        state = recorder.state_dict()
        recorder.update(*steps[1])
    with world.start(tmp_path / "run", resume=True) as recorder:
        recorder.load_state_dict(state)
        for step in steps[1:]:
            recorder.update(*step)
        recorder.end_epoch()
        assert recorder.state_dict() == {"epoch": 2, "visits": None}
    run = open_run(tmp_path / "run")
    for e in (0, 1):
        np.testing.assert_array_equal(run.confusion("visits", epoch=e), visits_of(world, e)[0][:-1])


def test_a_forgotten_recorder_writes_what_it_was_given(tmp_path, world):
    recorder = world.start(tmp_path / "run")
    world.record(recorder, range(2))
    del recorder
    gc.collect()
    assert len(open_run(tmp_path / "run").epochs) == 2
    world.start(tmp_path / "run", resume=True).close()


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), r"has shape \[4, 3\], but \[4, 2\]"),
        (np.zeros(4), np.float64(0), r"has shape \[\], but \[4\]"),
        (np.zeros(4, np.float32), np.full(4, 0.1), r"is kept as float32, which cannot hold 0.1 \(float64\)"),
        (np.zeros(4, np.int8), np.full(4, 200), r"is kept as int8, which cannot hold 200 \(int64\)"),
        (np.zeros(4, np.uint8), np.full(4, -1), r"is kept as uint8, which cannot hold -1"),
        (np.zeros(4, np.int64), np.full(4, np.nan), r"is kept as int64, which cannot hold nan"),
        (np.zeros(4, bool), np.full(4, 2), r"is kept as bool, which cannot hold 2"),
        (np.zeros(4, np.float16), np.full(4, 1e5), r"is kept as float16, which cannot hold 100000"),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_state_may_not_change(tmp_path, world, first, then, message, resumed):
    recorder = world.start(tmp_path / "run")
    recorder.end_epoch(snapshot={"a/b": first})
    if resumed:
        recorder.close()
        recorder = world.start(tmp_path / "run", resume=True)
    with recorder:
        with pytest.raises(ValueError, match=f"snapshot 'a/b' {message}"):
            recorder.end_epoch(snapshot={"a/b": then})
        recorder.end_epoch(snapshot={"a/b": torch.as_tensor(first).double()})  # what the type holds is taken
    run = open_run(tmp_path / "run")
    assert run.epochs.tolist() == [0, 1] and (run.snapshot_state("a/b") == first).all()


def test_state_of_several_widths(tmp_path, world):
    """Arrays of one name in several groups, also where the runs of older versions gave their dimensions one name."""
    states = {"a/x": np.ones((4, 2)), "b/x": np.ones((4, 3)), "a/c/x": np.ones((4, 5)), "a/x_1": np.ones(3)}
    with world.start(tmp_path / "run", num_epochs=1) as recorder:
        recorder.end_epoch(snapshot=states)
    run, older = open_run(tmp_path / "run"), tmp_path / "run" / "zarr.json"
    assert len(xr.open_datatree(tmp_path / "run", engine="zarr")["snapshot_state"].leaves) == 2
    for _ in range(2):
        data = run.to_xarray()
        assert all((data[f"snapshot_state/{name}"][0] == values).all() for name, values in states.items())
        assert run.to_netcdf(tmp_path / "run.nc").stat().st_size
        older.write_text(re.sub(r'"(a|b|a\.c)\.x_1"', '"x_1"', older.read_text()))
        run = open_run(tmp_path / "run")


def test_more_epochs_and_names_than_can_be_read_again(tmp_path, world, monkeypatch):
    monkeypatch.setattr("pldebias.runs.schema.TABLE", 2**20)
    with world.start(tmp_path / "run", num_epochs=None) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0})
        recorder.rewind(2000)
        with pytest.raises(ValueError, match=r"epoch 2000 of 101 scalars makes a table of more than 1 MB"):
            recorder.end_epoch(scalars={f"scalar {i}": i for i in range(100)})
        recorder.end_epoch(scalars={"loss": 2.0})
        with pytest.raises(ValueError, match="epoch must lie in"):
            recorder.rewind(2**21)
    assert open_run(tmp_path / "run").scalars["loss"].to_dict() == {0: 1.0, 2000: 2.0}


def test_kept_counts_are_checked(going):
    for state in (None, {}, {"epoch": 1}, {"epoch": 1, "visits": [1]}, {"epoch": 0.5, "visits": None}, {"epoch": 1, "visits": "x"}):
        with pytest.raises(ValueError, match=r"state must be what state_dict\(\) gave|visits must|epoch must"):
            going.load_state_dict(state)
    going.load_state_dict({"epoch": 1, "visits": np.full((2, 5, 4), 2**31)})
    with pytest.raises(ValueError, match=r"visits of one epoch are kept as counts up to 2\*\*32 - 1; got 4294967296"):
        going.end_epoch()
    going.rewind(1)
    going.end_epoch()


def test_both_ways_of_counting_agree(world):
    """The operations that count on a CUDA device, run here on the CPU, against those that count on the CPU."""
    from pldebias.runs import counts

    here, there = (counts.Counter(world.truth(unknown=True), world.K) for _ in range(2))
    there._there = torch.zeros(3 * there._strides[0], dtype=torch.int64)
    there._base = torch.as_tensor(np.append(there._row, world.K + 1) * there._strides[1] + 2)
    there._one = torch.ones((), dtype=torch.int64)
    there.to = lambda device: None
    for e in range(3):
        for step in world.epoch(e).steps:
            step[1][::5], step[2][::5] = -1, False
            index, label, accepted = map(torch.as_tensor, step)
            for mask in (accepted, accepted.float(), accepted.to(torch.uint8)):
                here.update(index, label, mask)
                there._on_device(torch.device("cpu"), index.int(), label.float(), mask)
    wanted = here.peek().sum()[0]
    found, fault = there.peek().sum()
    np.testing.assert_array_equal(found, wanted)
    assert fault is None
    for parts in (
        ([60, -1], [0, 0], [1, 1]),
        ([0, 0.5], [0, 0], [1, 1]),
        ([0, 0, 0, 0], [4, -2, -1, 0.5], [1, 0, 1, 0]),
        ([0], [0], [0.5]),
    ):
        there._on_device(torch.device("cpu"), *(torch.tensor(part) for part in parts))
    found, fault = there.peek().sum()
    np.testing.assert_array_equal(found.sum(), wanted.sum() + 1)
    assert fault == (
        "3 rows with an index outside the unlabelled set, 4 rows with a label outside 0..3, "
        "1 rows with an entry in the mask that is neither 0 nor 1"
    )


def test_what_is_wrong_on_a_device_is_said_at_the_end_of_the_epoch(going, world, monkeypatch):
    """It names the rows; the others are recorded by the next call."""
    from pldebias.runs import counts

    for step in world.epoch(1).steps:
        going.update(*step)
    peek = counts.Counter.peek
    k = world.K
    there = torch.zeros(3, k + 2, k + 3, dtype=torch.int64)
    there[0, k + 1, 2] = 5
    monkeypatch.setattr(counts.Counter, "peek", lambda counter: peek(counter)._replace(there=there))
    with pytest.raises(ValueError, match=r"5 rows with an index outside the unlabelled set in epoch 1. Call end_epoch again"):
        going.end_epoch()
    monkeypatch.undo()
    going.end_epoch()
    going.flush()
    np.testing.assert_array_equal(open_run(going.path).confusion("visits", epoch=1), visits_of(world, 1)[0][:-1])


def test_rows_that_wait_are_counted_before_they_are_many(world, monkeypatch):
    from pldebias.runs import counts

    steps = [tuple(map(torch.as_tensor, step)) for step in world.epoch(0).steps] * 40
    monkeypatch.setattr(counts, "ROWS", 5 * len(steps[0][0]))
    counter = counts.Counter(world.truth(), world.K)
    waiting = []
    for step in steps:
        counter.update(*step)
        waiting.append(len(counter._waiting))
    assert max(waiting) == 4
    np.testing.assert_array_equal(counter.peek().here.sum(0), 40 * visits_of(world, 0)[0])
    counter.reset()
    assert not counter.used and not counter.peek().here.any()


def test_the_rows_of_a_step_are_its_own(world):
    """A loop may use its buffers again, and weights that a gradient could reach do not keep their step in memory."""
    from pldebias.runs import counts

    counter = counts.Counter(world.truth(), world.K)
    index, label, mask = torch.tensor([0]), torch.tensor([1]), torch.ones(1, requires_grad=True)
    counter.update(index, label, mask * 1)
    index += 70
    label += 70
    found = counter.peek().here
    assert found.sum() == 1 and found[1, world.truth()[0], 1] == 1


def test_a_step_on_a_gpu_waits_for_nothing(world):
    """On a GPU that need not be there: whatever copied to the host or asked for a value would raise."""
    from pldebias.runs.counts import Counter

    counter = Counter(world.truth(), world.K)
    step = [torch.as_tensor(part) for part in world.epoch(0).steps[0]]
    tables = (
        torch.zeros(world.N + 1, dtype=torch.int64),
        torch.zeros(3 * counter._strides[0], dtype=torch.int64),
        torch.ones((), dtype=torch.int64),
    )
    with watched(*step, *tables) as (index, label, accepted, counter._base, counter._there, counter._one):
        counter.update(index, label, accepted)
        counter.update(index.int(), label.to(torch.uint8), accepted.to(torch.bfloat16))
        assert counter._there.is_cuda and not counter._waiting
        with pytest.raises(ValueError, match=r"one shape"):
            counter.update(index[:1], label, accepted)
        with pytest.raises(ValueError, match=r"labels must be real numbers; got torch\.complex64"):
            counter.update(index, label.to(torch.complex64), accepted)
        with pytest.raises(Leaves):
            counter.update(index, label, accepted.cpu())


@pytest.mark.gpu
def test_counts_on_the_device_without_waiting(tmp_path, world):
    made = world.epoch(0)
    steps = [[torch.as_tensor(part, device="cuda") for part in step] for step in made.steps]
    with world.start(tmp_path / "run", num_epochs=2, device="cuda") as recorder:
        recorder.update(*steps[0])
        recorder._counter.reset()
        swept = [torch.as_tensor(part, device="cuda") for part in made.values["sweep"]]
        with no_waiting():
            for step in steps:
                recorder.update(*step)
        recorder.end_epoch(sweep=swept)
        graph = torch.cuda.CUDAGraph()
        with capture(graph):
            recorder.update(*steps[0])
        recorder._counter.reset()
        graph.replay()
        graph.replay()
        recorder.end_epoch()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.confusion("visits", epoch=0), visits_of(world, 0)[0][:-1])
    np.testing.assert_array_equal(run.history(0)[0], made.values["sweep"][0])
    index, label, _ = made.steps[0]
    np.testing.assert_array_equal(run.confusion("visits", epoch=1), 2 * metrics.confusion_matrix(world.truth()[index], label, world.K))
