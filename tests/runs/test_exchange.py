"""Runs in other forms: data frames, netCDF, TensorBoard; other programs' logs as runs."""

import json
import sys

import numpy as np
import pandas
import pytest
import xarray

from pldebias import metrics
from pldebias.runs import NotLogged, open_run
from pldebias.runs.exchange import read_tensorboard, write_tensorboard
from pldebias.runs.importers import from_confusionflow, from_csv, from_numpy

LABELS, NAMES, COUNTS = np.array([[0, 1, 2, 2, 0], [0, 1, 1, 2, 0]]), ("cat", "dog", "owl"), [9, 4, 1]
TRUE = np.array([0, 1, 1, 2, 2])


@pytest.fixture
def run(tmp_path, world):
    world.record(world.start(tmp_path / "run"), range(5), snapshots=(1, 3)).close()
    return open_run(tmp_path / "run")


# ---- out ---------------------------------------------------------------------------------------------------------------------


def test_data_frames(run):
    frame = run.to_dataframe()
    assert len(frame) == 5 * run.num_classes * 5 and list(frame["class"].cat.categories) == list(run.class_names)
    part = frame[(frame.kind == "sweep") & (frame.split == "accepted") & (frame.epoch == 2)]
    confusion = run.confusion("sweep", "accepted", epoch=2)
    np.testing.assert_array_equal(part["given"], confusion.sum(0))
    np.testing.assert_array_equal(part["recall"], metrics.recall(confusion))

    cells = run.to_dataframe("confusion")
    back = cells[(cells.kind == "visits") & (cells.epoch == 1)].pivot_table("count", "true", "label", "sum", observed=False)
    np.testing.assert_array_equal(back, run.confusion("visits", epoch=1))

    history = run.to_dataframe("history")
    assert len(history) == 5 * run.num_unlabelled
    codes = history["label"].cat.codes.to_numpy().reshape(5, -1)
    np.testing.assert_array_equal(codes, run.history()[0])
    scalars = run.to_dataframe("scalars")
    assert scalars["iteration"].tolist() == run.iterations.tolist() and scalars["loss"].equals(run.scalars["loss"].reset_index(drop=True))
    with pytest.raises(ValueError, match="'classes', 'confusion'"):
        run.to_dataframe("samples")


def test_unknown_classes_are_missing_in_the_frame(tmp_path, world):
    world.record(world.start(tmp_path / "u", unknown=True), range(2)).close()
    history = open_run(tmp_path / "u").to_dataframe("history")
    assert history["true"].isna().sum() == 2 * 20 and history["label"].notna().all()
    world.start(tmp_path / "n", num_epochs=None).close()
    with pytest.raises(NotLogged, match="no matrices"):
        open_run(tmp_path / "n").to_dataframe()


def test_netcdf(run, tmp_path):
    path = run.to_netcdf(tmp_path / "new" / "run.nc")
    with xarray.open_dataset(path, engine="scipy") as data:
        np.testing.assert_array_equal(data["sweep"], run.confusion("sweep"))
        np.testing.assert_array_equal(data["history"], run.history()[0])
        np.testing.assert_allclose(data["scheme.daso.class_dist"], run.state("daso/class_dist"))
        np.testing.assert_allclose(data["logits"].isel(snapshot=0), run.logits(1))
        assert [str(name) for name in data["true"].values] == list(run.class_names)
        assert data.attrs["method"] == "fixmatch+daso" and json.loads(data.attrs["config"]) == run.config


def test_netcdf_of_an_unfinished_run_has_its_epochs(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        world.record(recorder, range(2))
    with xarray.open_dataset(open_run(tmp_path / "run").to_netcdf(tmp_path / "r.nc"), engine="scipy") as data:
        assert data.sizes["epoch"] == 2


def test_tensorboard_there_and_back(run, tmp_path):
    frame = read_tensorboard(write_tensorboard(run, tmp_path / "events"))
    assert frame.index.tolist() == run.iterations.tolist()
    np.testing.assert_allclose(frame["loss"], run.scalars["loss"], rtol=1e-6)
    expected = metrics.group(run.confusion("sweep"), metrics.groups(run.labelled_counts)).recall[:, 0]
    np.testing.assert_allclose(frame["recall_sweep/head"], expected, rtol=1e-6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no TensorBoard events"):
        read_tensorboard(tmp_path / "empty")


def events(folder, *written, suffix=""):
    """An event file of (step, summary); a number is one in the first form of TensorBoard's files."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder), filename_suffix=suffix)
    for time, (step, value) in enumerate(written):
        value = value if isinstance(value, Summary) else Summary(value=[Summary.Value(tag="loss", simple_value=value)])
        writer.add_event(Event(step=step, wall_time=float(time) + 100 * len(suffix), summary=value))
    writer.close()


def test_tensorboard_files_of_both_kinds_in_several_files_and_folders(tmp_path):
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    bare = [scalar_pb("accuracy", 0.25 * step) for step in range(3)]
    for later in bare[1:]:
        later.value[0].ClearField("metadata")  # told once for every tag
    events(tmp_path / "logs", *enumerate(bare))
    events(tmp_path / "logs", (0, 3.0), (1, 2.0), suffix=".a")
    events(tmp_path / "logs" / "train", (1, 1.0))
    frame = read_tensorboard(tmp_path / "logs")
    assert frame["accuracy"].tolist() == [0, 0.25, 0.5] and frame["loss"].tolist()[:2] == [3, 2] and frame["train/loss"].tolist()[1] == 1
    events(tmp_path / "logs", (1, 7.0), (5, 1.0), suffix=".bb")
    with pytest.warns(UserWarning, match="loss has steps that were written more than once"):
        assert read_tensorboard(tmp_path / "logs")["loss"].dropna().to_dict() == {0: 3, 1: 7, 5: 1}


def test_tensorboard_files_that_are_damaged(tmp_path):
    events(tmp_path, *enumerate([1.0, 2.0, 3.0]))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    with pytest.warns(UserWarning, match=rf"is cut off or damaged: \d+ of its {len(whole) - 5} bytes"):
        assert read_tensorboard(file)["loss"].tolist() == [1, 2]
    file.write_bytes(b"no events" * 9)
    with pytest.raises(ValueError, match="holds no events of TensorBoard"):
        read_tensorboard(tmp_path)


def test_undefined_scalars_are_not_written(tmp_path, world):
    with world.start(tmp_path / "run") as recorder:
        recorder.end_epoch(scalars={"loss": 1.0, "mask_rate": float("nan")})
        recorder.end_epoch(scalars={"loss": 0.5})
    frame = read_tensorboard(write_tensorboard(open_run(tmp_path / "run"), tmp_path / "events"))
    assert list(frame) == ["loss"] and frame.index.tolist() == [0, 1]


def test_without_tensorboard_the_message_says_how_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'pldebias\[loggers\]'"):
        write_tensorboard(run, tmp_path / "events")


# ---- in ----------------------------------------------------------------------------------------------------------------------


def test_from_numpy(tmp_path):
    accepted = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 0]], bool)
    test = [[[3, 0, 0], [1, 2, 0], [0, 0, 3]], [[3, 0, 0], [0, 3, 0], [0, 0, 3]]]
    run = from_numpy(tmp_path / "run", LABELS, true_labels=TRUE, labelled_counts=COUNTS, class_names=NAMES, accepted=accepted, test=test,
                     scalars={"loss": [2.0, 1.0]}, iterations=[10, 20], attrs={"method": "mine", "seed": 4})  # fmt: skip
    assert run.finished and run.name == "mine/s4" and run.iterations.tolist() == [10, 20]
    np.testing.assert_array_equal(run.confusion("sweep", epoch=0), metrics.confusion_matrix(TRUE, LABELS[0], 3))
    np.testing.assert_array_equal(run.history()[1], accepted)
    np.testing.assert_array_equal(run.confusion("test"), test)
    predicted = from_numpy(
        tmp_path / "p", LABELS, true_labels=None, labelled_counts=COUNTS, class_names=NAMES, test=LABELS, test_labels=TRUE
    )
    assert predicted.unlabelled_counts is None and predicted.confusion("test", epoch=1)[2].tolist() == [1, 0, 1]


def test_read_only_arrays_are_taken(tmp_path):
    """As JAX gives them; torch would warn."""
    label = LABELS.copy()
    label.flags.writeable = False
    assert from_numpy(tmp_path / "run", label, true_labels=TRUE, labelled_counts=COUNTS, class_names=NAMES).finished


def test_from_numpy_refuses_what_does_not_fit(tmp_path):
    known = {"true_labels": TRUE, "labelled_counts": COUNTS, "class_names": NAMES}
    for options, message in (
        ({"accepted": np.ones((2, 4))}, "shape of label"),
        ({"scalars": {"loss": [1.0]}}, "scalar 'loss' needs one entry for each of the 2 epochs"),
        ({"test": np.zeros((3, 3, 3))}, "test needs one entry"),
    ):
        with pytest.raises(ValueError, match=message):
            from_numpy(tmp_path / "run", LABELS, **known, **options)
    with pytest.raises(ValueError, match=r"shape \[E, N\]"):
        from_numpy(tmp_path / "run", LABELS[0], **known)


def rows(**more) -> pandas.DataFrame:
    frame = pandas.DataFrame(
        {"epoch": np.repeat([5, 9], 5), "index": np.tile(np.arange(5), 2), "label": [NAMES[c] for c in LABELS.ravel()]}
    )
    return frame.assign(**more).sample(frac=1, random_state=0)


def test_from_csv(tmp_path):
    truth = [NAMES[c] for c in TRUE]
    truth[4] = None
    rows(true=truth * 2, accepted=LABELS.ravel() > 0).to_csv(tmp_path / "log.csv", index=False)
    run = from_csv(tmp_path / "run", tmp_path / "log.csv", labelled_counts=COUNTS, class_names=NAMES, attrs={"method": "mine"})
    np.testing.assert_array_equal(run.history()[0], LABELS)
    np.testing.assert_array_equal(run.history()[1], LABELS > 0)
    assert run.true_labels.tolist() == [0, 1, 1, 2, -1] and run.attrs["epochs in the file"] == [5, 9]


def test_from_csv_refuses_what_it_cannot_read(tmp_path):
    file, options = tmp_path / "log.csv", {"labelled_counts": COUNTS, "class_names": NAMES}
    for frame, message in (
        (rows().drop(columns="label"), "has no column label; it has epoch, index"),
        (rows().iloc[1:], "needs one row in every epoch"),
        (rows().replace({"index": {4: 7}}), r"without gaps; got 0\.\.7"),
        (rows().replace({"label": {"owl": "bat"}}), r"label 'bat' \(row 2\) is no class; class_names has cat, dog, owl"),
        (rows(true=[0, 1, 1, 2, 2, 0, 1, 1, 2, 0]), "true class of sample 4 changes"),
    ):
        frame.to_csv(file, index=False)
        with pytest.raises(ValueError, match=message):
            from_csv(tmp_path / "run", file, **options)


def confusionflow(root):
    """Files as ConfusionFlow 0.1 exports them."""
    for folder in ("runs", "foldlogdata", "datasets"):
        (root / folder).mkdir(parents=True)
    epochs = [{"epochId": e, "confmat": [3 - e, e, 0, 2 * e]} for e in (1, 0)]
    (root / "foldlogdata" / "net_pets_test_data.json").write_text(
        json.dumps({"foldlogId": "net_pets_test", "numepochs": 2, "epochdata": epochs})
    )
    (root / "runs" / "net.json").write_text(json.dumps({"runId": "net", "trainfoldId": "pets_train", "foldlogs": []}))
    folds = [{"foldId": f"pets_{name}", "classcounts": [{"classname": "cat", "instancecount": n}, {"classname": "dog", "instancecount": 4}]}
             for name, n in (("train", 30), ("test", 3))]  # fmt: skip
    (root / "datasets" / "pets.json").write_text(json.dumps({"datasetId": "pets", "classes": ["cat", "dog"], "folds": folds}))


def test_from_confusionflow(tmp_path):
    confusionflow(tmp_path / "log")
    run = from_confusionflow(tmp_path / "run", tmp_path / "log", "net", "pets_test")
    assert run.class_names == ("cat", "dog") and run.labelled_counts.tolist() == [30, 4] and run.kinds == ("test",)
    assert run.confusion("test").tolist() == [[[3, 0], [0, 0]], [[2, 1], [0, 2]]] and run.iterations.tolist() == [0, 1]
    with pytest.raises(ValueError, match="has logs of net_pets_test"):
        from_confusionflow(tmp_path / "b", tmp_path / "log", "net", "pets_train")
    (tmp_path / "log" / "runs" / "net.json").unlink()
    with pytest.raises(ValueError, match="give labelled_counts"):
        from_confusionflow(tmp_path / "c", tmp_path / "log", "net", "pets_test")
    assert from_confusionflow(tmp_path / "d", tmp_path / "log", "net", "pets_test", labelled_counts=[5, 1]).labelled_counts.tolist() == [
        5,
        1,
    ]
