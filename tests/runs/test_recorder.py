"""What goes in comes out: through `open_run` and through plain xarray, from numpy and from torch."""

import gc
import time

import numpy as np
import pytest
import torch
import xarray as xr
from fake_cuda import Leaves, watched
from on_cuda import capture, no_waiting

from pldebias import metrics
from pldebias.runs import NotLogged, Recorder, RunError, open_run


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
    assert tree["snapshot_state/daso/prototypes"].dims == ("snapshot", "klass", "prototypes_1")
    merged = run.to_xarray()
    np.testing.assert_array_equal(merged["scheme/daso/class_dist"][:3].values, run.state("daso/class_dist"))
    np.testing.assert_array_equal(merged["snapshot_state/daso/prototypes"][0].values, run.snapshot_state("daso/prototypes"))


def test_zarr_itself_agrees(tmp_path, world):
    """Metadata and chunks are written by hand; the library must see the same arrays, with and without the consolidated copy."""
    import zarr

    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(2), snapshots=(0,))
    group = zarr.open_group(str(tmp_path / "run"), mode="r", use_consolidated=False)
    held = {name: array for name, array in group.members(max_depth=None) if isinstance(array, zarr.Array)}
    consolidated = zarr.open_group(str(tmp_path / "run"), mode="r")
    assert {"visits", "history", "scheme/daso/class_dist", "snapshot_state/daso/prototypes", "klass", "scalars"} <= set(held)
    archive = open_run(tmp_path / "run")._archive
    assert set(held) == set(archive.arrays)
    for name, array in held.items():
        np.testing.assert_array_equal(array[:], consolidated[name][:])
        mine = archive.read(name, fill=True)
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
    with Recorder(tmp_path / "run", None, [2, 2], "ab", num_unlabelled=3, num_epochs=1) as recorder:
        recorder.update([0, 2], [1, 1], [True, False])
        recorder.end_epoch(sweep=([0, 1, 1], [True, True, False]))
    run = open_run(tmp_path / "run")
    assert run.confusion(epoch=0).sum() == 0 and run.unknown(epoch=0).tolist() == [1, 2]
    assert np.isnan(metrics.recall(run.confusion())).all()
    with pytest.raises(ValueError, match=r"num_unlabelled"):
        Recorder(tmp_path / "other", None, [2, 2], "ab")


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
    with Recorder(tmp_path / "run", [0, 1], [1, 1], "ab", num_epochs=300) as recorder:
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
        recorder._writer.put(lambda store: time.sleep(0.1))
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


def bad(world, path, **options):
    arguments = {"true_labels": [0, 1], "labelled_counts": [1, 1], "class_names": "ab"} | options
    return Recorder(path, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"true_labels": [0, 2]}, "true_labels must lie in 0..1, or be -1"),
        ({"true_labels": [0.5, 1]}, "whole numbers"),
        ({"labelled_counts": [1, 1, 1]}, r"shape \[2\]; got \[3\]"),
        ({"class_names": []}, "1 to 32767 classes"),
        ({"attrs": {"finished": True}}, "attrs must not set finished"),
        ({"attrs": {"config": {"f": print}}}, r"attrs\['config'\] cannot be kept as JSON"),
        ({"path": "s3://bucket/run"}, "local directory"),
    ],
)
def test_constructor_says_what_is_wrong(tmp_path, world, options, message):
    with pytest.raises(ValueError, match=message):
        bad(world, options.pop("path", tmp_path / "run"), **options)
    assert not list(tmp_path.iterdir())


def test_calls_say_what_is_wrong(tmp_path, world):
    with world.start(tmp_path / "run", num_epochs=2, num_features=world.D) as recorder:
        for call, message in (
            (lambda: recorder.update([0, 1], [1], [True]), r"one shape \[M\]; got \[2\], \[1\], \[1\]"),
            (lambda: (recorder.update([0], [9], [True]), recorder.end_epoch()), "labels must lie in 0..3; got 9..9"),
            (lambda: (recorder.update([60], [1], [True]), recorder.end_epoch()), "index must lie in 0..59; got 60..60"),
            (lambda: (recorder.update([-1], [1], [True]), recorder.end_epoch()), "index must lie in 0..59; got -1..-1"),
            (lambda: recorder.end_epoch(sweep=([0], [True])), r"sweep labels must have shape \[60\]; got \[1\]"),
            (lambda: recorder.end_epoch(logits=np.zeros((3, 4))), r"logits must have shape \[60, 4\]"),
            (lambda: recorder.end_epoch(features=np.zeros((60, 9))), r"features must have shape \[60, 6\]"),
            (lambda: recorder.end_epoch(series={"a/b": [1]}), r"series 'a/b' must have shape \[4\]"),
            (lambda: recorder.end_epoch(series={"../b": [1, 2, 3, 4]}), "named 'scheme/name'"),
            (lambda: recorder.end_epoch(test=[0, 1]), "needs test_labels"),
            (lambda: recorder.end_epoch(test=np.zeros((3, 3))), r"test matrix must have shape \[4, 4\]"),
        ):
            with pytest.raises(ValueError, match=message):
                call()
        assert recorder.epoch == 0 and "next epoch 0 of 2" in repr(recorder)
        recorder.rewind(0)
        world.record(recorder, range(2))
    np.testing.assert_array_equal(open_run(tmp_path / "run").confusion("visits", epoch=0), visits_of(world, 0)[0][:-1])
    with pytest.raises(ValueError, match=r"is closed"):
        recorder.update([0], [0], [True])
    recorder.close()  # twice does no harm


def test_a_forgotten_recorder_writes_what_it_was_given(tmp_path, world):
    recorder = world.start(tmp_path / "run")
    world.record(recorder, range(2))
    del recorder
    gc.collect()
    assert len(open_run(tmp_path / "run").epochs) == 2
    world.start(tmp_path / "run", resume=True).close()


def test_shape_of_state_may_not_change(tmp_path, world):
    with pytest.raises(RunError, match=r"a/b has shape \[4, 3\], but \[4, 2\]"), world.start(tmp_path / "run") as recorder:
        recorder.end_epoch(snapshot={"a/b": np.zeros((4, 2))})
        recorder.end_epoch(snapshot={"a/b": np.zeros((4, 3))})
    assert len(open_run(tmp_path / "run").epochs) == 1


def test_both_ways_of_counting_agree(world):
    """The operations that count on a CUDA device, run here on the CPU, against those that count on the CPU."""
    from pldebias.runs.counts import Counter, matrices

    counter = Counter(world.truth(unknown=True), world.K)
    for e in range(3):
        label, accepted = (torch.as_tensor(part) for part in world.epoch(e).values["sweep"])
        true = torch.as_tensor(np.where(world.truth(unknown=True) < 0, world.K, world.truth(unknown=True)))
        for mask in (accepted, accepted.float(), accepted.to(torch.uint8)):
            np.testing.assert_array_equal(counter._on_device(true * world.K, label, mask), counter.sweep(label, accepted))
        arrays = matrices("sweep", counter.sweep(label, accepted).numpy(), world.K, unknown=True)
        assert sum(arrays[name].sum() for name in ("sweep", "sweep_unknown")) == world.N


def test_rows_that_wait_are_counted_before_they_are_many(world, monkeypatch):
    from pldebias.runs import counts

    steps = [tuple(map(torch.as_tensor, step)) for step in world.epoch(0).steps] * 40
    monkeypatch.setattr(counts, "ROWS", 5 * len(steps[0][0]))
    counter = counts.Counter(world.truth(), world.K)
    waiting = []
    for step in steps:
        counter.update(*step)
        waiting.append(len(counter._waiting))
    assert max(waiting) == 63 and max(waiting[64:]) == 4  # once it is known how many rows a step has
    found = counter.take(None).numpy().reshape(2, world.K + 1, world.K).sum(0)
    np.testing.assert_array_equal(found, 40 * visits_of(world, 0)[0])
    assert not counter.used and not counter.take(None).any()


def test_one_bad_step_does_not_cost_the_others(world):
    from pldebias.runs import counts

    counter = counts.Counter(world.truth(), world.K)
    good, ones = world.epoch(0).steps, torch.ones(3, dtype=torch.int64)
    for bad, message in (
        ((ones, ones[:2], ones), r"one shape \[M\]; got \[3\], \[2\], \[3\] \(step 2 of the last"),
        ((ones.float(), ones, ones), "index and label must be whole numbers"),
        ((ones + 999, ones, ones), "index must lie in 0..59; got"),
        ((ones, ones - 2, ones), "labels must lie in 0..3; got -1"),
    ):
        for step in (good[0], bad, *good[1:]):
            counter.update(*map(torch.as_tensor, step))
        with pytest.raises(ValueError, match=message):
            counter.take(None)
        found = counter.take(None).numpy().reshape(2, world.K + 1, world.K).sum(0)
        np.testing.assert_array_equal(found, visits_of(world, 0)[0])


def test_the_rows_of_a_step_are_its_own(world):
    """A loop may use its buffers again, and weights that a gradient could reach do not keep their step in memory."""
    from pldebias.runs import counts

    counter = counts.Counter(world.truth(), world.K)
    index, label, mask = torch.tensor([0]), torch.tensor([1]), torch.ones(1, requires_grad=True)
    counter.update(index, label, mask * 2)
    assert not counter._waiting[0][2].requires_grad
    index += 70
    label += 70
    found = counter.take(None).numpy().reshape(2, world.K + 1, world.K)
    assert found.sum() == 1 and found[1, world.truth()[0], 1] == 1


def test_a_step_on_a_gpu_waits_for_nothing(world):
    """On a GPU that need not be there: whatever copied to the host or asked for a value would raise."""
    from pldebias.runs.counts import Counter

    counter = Counter(world.truth(), world.K)
    step = [torch.as_tensor(part) for part in world.epoch(0).steps[0]]
    tables = torch.zeros(world.N, dtype=torch.int64), torch.zeros(counter._size, dtype=torch.int64)
    with watched(*step, *tables) as (index, label, accepted, counter._base, counter._there):
        counter.update(index, label, accepted)
        counter.update(index, label, accepted.float())
        assert counter._there.is_cuda and not counter._waiting
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
