"""Runs in other forms: data frames, netCDF, TensorBoard; other programs' logs as runs."""

import gzip
import importlib
import io
import json
import sys

import numpy as np
import pandas
import pytest
import torch
import xarray

from pldebias import metrics
from pldebias.interop.importers import from_confusionflow, from_csv, from_numpy
from pldebias.interop.tensorboard import read_tensorboard, write_tensorboard
from pldebias.interop.thin import thin
from pldebias.runs import NotLogged, Recorder, RunError, open_run

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


def test_netcdf_takes_any_name_and_number(tmp_path, world):
    config = {"seed": 2**40, "note": "größe 類", "none": None}
    with world.start(tmp_path / "run", attrs={"config": config}) as recorder:
        for epoch in range(2):
            series = {name: torch.full((world.K,), epoch + 0.5) for name in ("größe/類", "a/b c", "a/b_c", "a/int", "a/-x")}
            recorder.end_epoch(iteration=2**40 + epoch, series=series)
    with xarray.open_dataset(open_run(tmp_path / "run").to_netcdf(tmp_path / "r.nc"), engine="scipy") as data:
        state = sorted(str(name) for name in data if str(name).startswith("scheme."))
        assert len(state) == 5 and "scheme.a.b_c" in state and all(data[name].values[1, 0] == 1.5 for name in state)
        assert data["iteration"].values.tolist() == [2**40, 2**40 + 1] and json.loads(data.attrs["config"]) == config


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


def test_tensors_that_are_no_scalars_are_told(tmp_path):
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.util import tensor_util

    for folder, value in (("text", b"x"), ("two", [1.0, 2.0])):
        tensor = tensor_util.make_tensor_proto(value)
        events(tmp_path / folder, (3, Summary(value=[Summary.Value(tag="loss", metadata=create_summary_metadata("", ""), tensor=tensor)])))
        with pytest.raises(ValueError, match=r"tfevents.*tag 'loss' at step 3 is marked as a scalar and holds no single number"):
            read_tensorboard(tmp_path / folder)


def test_of_values_written_at_the_same_time_the_later_one_is_read(tmp_path):
    events(tmp_path, (1, 5.0), suffix=".a")
    events(tmp_path, (1, 7.0), suffix=".b")
    for suffix, number in (("a", 9), ("b", 10)):
        next(tmp_path.glob(f"*.{suffix}")).rename(tmp_path / f"events.out.tfevents.1700000000.host.1.{number}")
    with pytest.warns(UserWarning, match="of which the latest value is read"):
        assert read_tensorboard(tmp_path)["loss"].tolist() == [7]


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
    assert run.true_labels.tolist() == [0, 1, 1, 2, -1] and run.epochs.tolist() == [5, 9]


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


def read(tmp_path, text, names=("cat", "dog"), **options):
    (tmp_path / "log.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return from_csv(tmp_path / "runs" / "new", tmp_path / "log.csv", labelled_counts=[3] * len(names), class_names=names, **options)


@pytest.mark.parametrize(
    ("names", "fields", "classes"),
    [
        *(((name, "x"), (name, "x", ""), [0, 1, -1]) for name in ("NA", "None", "nan", "null", "NaN", "True", "1e3", "<NA>")),
        (("2", "1", "0"), ("0", "1", "2", "", "-1"), [2, 1, 0, -1, -1]),
        (("1", "2", "3"), ("1", "2.0", "2"), [0, 1, 1]),  # a float column, as pandas writes one with gaps
        (("007", "7"), ("7", "007"), [1, 0]),
        (("a ", "a"), ("a", "a "), [1, 0]),
        (("cat", "dog"), (" dog", "cat "), [1, 0]),
        (("cat", "dog"), ("1", "0", "1.0", "-1"), [1, 0, 1, -1]),
        (("caf\u00e9", "b"), ("cafe\u0301", "b"), [0, 1]),
    ],
)
def test_what_a_word_in_a_table_means(tmp_path, names, fields, classes):
    first = names[0]
    rows = "".join(f"0,{i},{first},{field}\n" for i, field in enumerate(fields))
    if fields[0] in ("1",) and names[0] == "cat":
        rows = rows.replace(",cat,", ",0,")
    assert read(tmp_path, f"epoch,index,label,true\n{rows}", names).true_labels.tolist() == classes


@pytest.mark.parametrize("yes, no", [("yes", "no"), ("Y", "n"), ("TRUE", "False"), ("accepted", "Rejected"), ("1.0", "0.0"), ("t", "f")])
@pytest.mark.parametrize("separator", ",;\t|")
def test_accepted_in_words_and_other_separators(tmp_path, yes, no, separator):
    text = f"Epoch, INDEX ,label,accepted\r\n0,0,cat,{yes}\r\n0,1,dog,{no}\r\n".replace(",", separator)
    assert read(tmp_path, text.encode("utf-8-sig")).history()[1].tolist() == [[True, False]]


HEAD = "epoch,index,label,true,accepted\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"log.csv holds no rows; its first row must be the heading, with epoch, index, label"),
        (HEAD, "log.csv holds no rows, only the heading"),
        ("epoch,index\n", "has no column label; it has epoch, index"),
        (HEAD.replace("accepted", "acepted"), "did you mean accepted by acepted"),
        ("epoch,index,Label,label\n0,0,cat,cat\n", "has 2 columns label"),
        (HEAD + "0,0,cat,cat,yes\n0,1,cat\n", "cannot be read as a table separated by ','.*Row #3: Expected 5 columns, got 3"),
        (HEAD + '0,0,"cat,cat,yes\n', "cannot be read as a table"),
        (HEAD.encode("utf-16") + b"\xff", "no text in UTF-8"),
        (HEAD.encode() + "0,0,küche,cat,1\n".encode("latin-1"), r"no text in UTF-8 \(line 2 is not\)"),
        (HEAD + "0,0,cat,\0,1\n", "null characters"),
        (HEAD + "0,0,cat,cat,maybe\n", r"accepted 'maybe' \(row 2\) is neither yes nor no"),
        (HEAD + "0,0,cat,cat,\n", r"accepted '' \(row 2\)"),
        (HEAD + "0,0,0.93,1,1\n", r"label '0.93' \(row 2\) is no whole number"),
        (HEAD + "0,0,0,nan,1\n", r"true class 'nan' \(row 2\) is no whole number"),
        (HEAD + "0,0,1,1,1\n0,1,2,1,1\n", r"label '2' \(row 3\) is no class: .* 0..1; they seem to be counted from 1"),
        (HEAD + "0,0,-2,1,1\n", "label '-2'"),
        (HEAD + "0,0,99999999999999999999999,1,1\n", "label '9+' .*is no whole number"),
        (HEAD + "0,0,Dog,1,1\n", r"label 'Dog' \(row 2\) is no class; .*did you mean 'dog'"),
        (HEAD + "0,0,cat,cat,1\n0,1,1,cat,1\n", r"label '1' \(row 3\) is no class; class_names has cat, dog"),
        (HEAD + "0,0,cat,cat,1\n0,1,,cat,1\n", "row 3 has no label, but counts as accepted"),
        (HEAD + "0.5,0,cat,cat,1\n", r"epoch '0.5' \(row 2\) is no whole number from 0 on"),
        (HEAD + "0,one,cat,cat,1\n", r"index 'one' \(row 2\)"),
        (HEAD + "0,-1,cat,cat,1\n", "index '-1'"),
        (HEAD + "0,1,cat,cat,1\n0,2,cat,cat,1\n", r"without gaps; got 1..2 with 2 values, and it counts from 0"),
        (HEAD + "0,0,cat,cat,1\n0,0,cat,cat,1\n", r"epoch 0 has 2 rows for 1 samples, sample 0 again in row 3"),
        (HEAD + "0,0,cat,cat,1\n0,1,cat,cat,1\n3,1,cat,cat,1\n", "epoch 3 has 1 rows for 1 samples"),
    ],
)
def test_tables_that_are_refused_leave_nothing_and_can_be_repaired(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as refused:
        read(tmp_path, text)
    assert "log.csv" in str(refused.value) and [path.name for path in tmp_path.iterdir()] == ["log.csv"]
    assert read(tmp_path, HEAD + "7,0,dog,cat,no\n").confusion("sweep", "rejected")[0].tolist() == [[0, 1], [0, 0]]


def test_columns_that_are_not_read_are_said(tmp_path):
    with pytest.warns(UserWarning, match="the columns confidence, step are not read, only epoch, index, label, true, accepted"):
        read(tmp_path, ",epoch,index,label,confidence,step\n0,0,0,cat,0.5,1\n")


def test_files_of_other_kinds(tmp_path):
    text = "epoch,index,label\n0,0,dog\n"
    with gzip.open(tmp_path / "log.csv.gz", "wt") as file:
        file.write(text)
    sources = tmp_path / "log.csv.gz", io.StringIO(text), io.BytesIO(text.encode()), io.StringIO("\n\n" + text)
    for name, source in zip("abcd", sources, strict=True):
        run = from_csv(tmp_path / name, source, labelled_counts=[1, 1], class_names=["cat", "dog"])
        assert run.history()[0].tolist() == [[1]]
    (tmp_path / "bad.gz").write_bytes(b"no gz")
    for source in (tmp_path / "no.csv", tmp_path, tmp_path / "bad.gz", 3):
        with pytest.raises((ValueError, FileNotFoundError), match=r"no file|cannot read|got '3'"):
            from_csv(tmp_path / "none", source, labelled_counts=[1, 1], class_names=["cat", "dog"])


KNOWN = {"true_labels": TRUE, "labelled_counts": COUNTS, "class_names": NAMES}


@pytest.mark.parametrize("kind", ["u1", "f4", object, "names", "bfloat16", "frame"])
def test_arrays_of_any_type(tmp_path, kind):
    label = {
        "names": lambda: np.array(NAMES)[LABELS],
        "bfloat16": lambda: torch.tensor(LABELS, dtype=torch.bfloat16),
        "frame": lambda: pandas.DataFrame(LABELS, dtype="Int64"),
    }.get(kind, lambda: LABELS.astype(kind))()
    run = from_numpy(tmp_path / "run", label, **KNOWN, accepted=(LABELS > 0).astype(float), iterations=np.array([3.0, 6.0]))
    np.testing.assert_array_equal(run.history()[0], LABELS)
    np.testing.assert_array_equal(run.history()[1], LABELS > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"label": wrong}, rf"label {shown} \(epoch 1, sample 2\) is no") for wrong, shown in
          ((0.5, "0.5"), (np.inf, "inf"), (-2, "-2"), (3, "3"), (2.0**62, r"4\.61169e\+18"), ("bat", "'bat'"))),
        ({"label": np.nan}, "epoch 1, sample 2 has no label, but counts as accepted"),
        ({"accepted": 0.5}, r"accepted 0.5 \(epoch 1, sample 2\) is neither 0 nor 1"),
        ({"iterations": [20, 10]}, "iterations must ascend: epoch 1 ends at 10, epoch 0 ends at 20 before it"),
        ({"iterations": [10, 10]}, "iterations must ascend"),
        ({"iterations": [1, 1.5]}, r"iterations 1.5 \(epoch 1\) is no whole number"),
        ({"iterations": [1]}, "iterations needs one entry for each of the 2 epochs"),
        ({"true_labels": [0, 1, 1, 2, 3]}, r"true label 3 \(sample 4\) is no class"),
        ({"true_labels": [0, 1, 1, 2]}, "one class for each of the 5 samples"),
        ({"label": np.zeros((0, 5))}, "holds no epoch"),
        ({"label": np.zeros((2, 0))}, "holds no sample"),
        ({"label": [[0, 1], [0]]}, "rows of one length"),
        ({"test": [np.eye(3), np.eye(4)]}, "test"),
        ({"scalars": {"loss": [1.0, "x"]}}, "scalars"),
    ],
)  # fmt: skip
def test_arrays_that_are_refused_leave_nothing_and_can_be_repaired(tmp_path, change, message):
    given = KNOWN | {"label": LABELS, "accepted": np.ones((2, 5))} | change
    for name, value in change.items():
        if name in ("label", "accepted") and np.isscalar(value):
            given[name] = np.array((LABELS if name == "label" else np.ones((2, 5))).tolist(), object)
            given[name][1, 2] = value
            if isinstance(value, str):
                given[name] = np.where(given[name] == value, value, np.array(NAMES, object)[LABELS])
    with pytest.raises(ValueError, match=message):
        from_numpy(tmp_path / "runs" / "run", given.pop("label"), **given)
    assert not list(tmp_path.iterdir())
    assert from_numpy(tmp_path / "runs" / "run", LABELS, **KNOWN).finished


def test_a_failed_import_spares_what_was_there(tmp_path):
    (tmp_path / "empty").mkdir()
    wrong = {"scalars": {"loss": [1.0, "x"]}}
    with pytest.raises(ValueError, match="scalars"):
        from_numpy(tmp_path / "empty", LABELS, **KNOWN, **wrong)
    assert (tmp_path / "empty").is_dir() and not list((tmp_path / "empty").iterdir())
    from_numpy(tmp_path / "run", LABELS, **KNOWN)
    with pytest.raises(RunError, match="already holds a run"):
        from_numpy(tmp_path / "run", LABELS, **KNOWN, **wrong)
    assert open_run(tmp_path / "run").finished


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


def test_logs_of_confusionflow_that_are_refused(tmp_path):
    confusionflow(tmp_path / "log")
    file = tmp_path / "log" / "foldlogdata" / "net_pets_test_data.json"
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "needs a list epochdata"),
        ('{"epochdata": [{"epochId": 1}]}', "entries have epochId, confmat"),
        ('{"epochdata": [{"epochId": 1, "confmat": [1, 2, 3]}]}', "has 3 cells; it must be square"),
        ('{"epochdata": [{"epochId": 1, "confmat": [1, 2, 3, 0.5]}]}', r"confmat 0.5 \(epoch 1, cell 3\) is no whole number"),
        ('{"epochdata": [{"epochId": 1, "confmat": [1]}, {"epochId": 1, "confmat": [1]}]}', "epochId must ascend"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            from_confusionflow(tmp_path / "run", tmp_path / "log", "net", "pets_test")
        assert not (tmp_path / "run").exists()


def test_epochs_keep_their_numbers_wherever_a_late_recording_goes(tmp_path):
    with Recorder(tmp_path / "run", [0, 1, 1], [2, 1], ["a", "b"]) as recorder:
        recorder.rewind(3)
        for _ in range(2):
            recorder.end_epoch(sweep=([0, 1, 0], [True, True, False]))
    run = open_run(tmp_path / "run")
    with xarray.open_dataset(run.to_netcdf(tmp_path / "run.nc")) as file:
        for data in (run.to_xarray(), file):
            assert data.epoch.values.tolist() == [3, 4] and data["sweep"].sum(("true", "pseudo")).values.tolist() == [3, 3]
    assert run.to_dataframe("confusion").epoch.unique().tolist() == [3, 4]


def test_a_path_stands_for_its_run(tmp_path):
    with Recorder(tmp_path / "run", [0, 1, 1], [2, 1], ["a", "b"]) as recorder:
        recorder.end_epoch(sweep=([0, 1, 0], [True, True, False]), scalars={"loss": 1.0})
    path = str(tmp_path / "run")
    assert read_tensorboard(write_tensorboard(path, tmp_path / "events")).loss.item() == 1
    assert open_run(thin(path, tmp_path / "copy")).epochs.tolist() == [0]  # a zip file whatever its name
    for wrong in ({"epochs": "x"}, {"epochs": -1}, {"snapshots": -1}, {"dimensions": 0}, {"relabel": "no"}):
        with pytest.raises(ValueError, match=f"thin: {next(iter(wrong))}="):
            thin(path, tmp_path / "no.zip", **wrong)
    with pytest.raises(NotLogged, match="no snapshot at epoch 9; it has none"):
        thin(path, tmp_path / "no.zip", snapshots=[9])
    assert not (tmp_path / "no.zip").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("exchange", "to_netcdf"), ("importers", "from_csv"), ("adapters", "usb_hook"), ("thin", "thin")],
)
def test_former_places_work(module, name, monkeypatch):
    monkeypatch.delitem(sys.modules, f"pldebias.runs.{module}", raising=False)
    with pytest.warns(DeprecationWarning, match=rf"pldebias\.runs\.{module} is deprecated .* use pldebias\.interop"):
        assert callable(getattr(importlib.import_module(f"pldebias.runs.{module}"), name))
