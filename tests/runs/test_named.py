"""Classes by name and by number: one rule, wherever lists of names, tables and mappings by class are taken."""

import collections
import io

import numpy as np
import pandas
import pytest
import torch
import xarray

from pldebias.interop.importers import from_confusionflow, from_csv, from_numpy
from pldebias.runs import Recorder, open_run
from pldebias.runs.named import by_class, in_rows, mapping, names_of, order_of

ABC, DIGITS = ("a", "b", "c"), ("2", "1", "0")
E_ONE, E_TWO = "\u00e9", "e\u0301"
CBA = list("cba")
SQUARE = pandas.DataFrame(np.arange(9).reshape(3, 3), CBA, CBA)


@pytest.mark.parametrize(
    "given",
    [("a", "b"), np.array(["a", "b"]), np.array(["a", "b"], object), pandas.Index(["a", "b"]), pandas.Series(["a", "b"], [7, 4]),
     pandas.Series(["b", "a"], [1, 0]), pandas.Series([1, 0], ["b", "a"]), pandas.Categorical(["a", "b"]), {"a": 1, "b": 2}.keys(),
     {"b": 1, "a": 0}, {1: "b", 0: "a"}, {0: "a", 1: "b"}.values(), iter("ab"), collections.deque("ab")],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_names_of_any_type_that_has_an_order(given):
    assert names_of(given) == ("a", "b")


@pytest.mark.parametrize("given", [range(3), [0, 1, 2], np.arange(3), torch.arange(3), ["0", "1", "2"]])
def test_numbers_are_names_only_where_both_are_one(given):
    assert names_of(given) == ("0", "1", "2")


WRONG_NAMES = [
    ("ab", "must be a list of texts; got one text, 'ab'"),
    (b"ab", "must be a list of texts; got one text"),
    (None, "must be a list of texts; got None"),
    (2, "must be a list of texts; got 2"),
    ({"a", "b"}, "must be a list of texts"),
    (np.array("ab"), "must be a list of texts"),
    (pandas.DataFrame({"a": [1]}), r"must be a list of texts; got DataFrame of shape \[1, 1\]"),
    ([2, 1, 0], r"got the numbers \[2, 1, 0\], which could be names or class numbers: write names as texts, such as '2'"),
    ([1, 2], "could be names or class numbers"),
    ([True, False], "must be texts; got True"),
    ([0.0, 1.0], "must be texts; got 0.0"),
    (["a", None], "must be texts; got None"),
    (["a", 1], "must be texts; got 1"),
    (["a", " "], "texts that can be seen; got ' '"),
    ([E_ONE, E_TWO], r"two encodings of the same letters: '\\xe9', 'e\\u0301'"),
]


@pytest.mark.parametrize(("given", "message"), WRONG_NAMES)
def test_names_that_are_refused_everywhere(tmp_path, given, message):
    rest = {"labelled_counts": [1, 1], "class_names": given}
    for call in (
        lambda: Recorder(tmp_path / "run", [0, 1], **rest),
        lambda: from_csv(tmp_path / "run", io.StringIO("epoch,index,label\n0,0,a\n"), **rest),
        lambda: from_numpy(tmp_path / "run", [[0, 1]], true_labels=None, **rest),
    ):
        with pytest.raises(ValueError, match=f"class_names .*{message}"):
            call()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("attrs", [[1], [], 0, "x", ()])
def test_attributes_are_a_dict_everywhere(tmp_path, attrs):
    rest = {"labelled_counts": [1, 1], "class_names": ["a", "b"], "attrs": attrs}
    for call in (
        lambda: Recorder(tmp_path / "run", [0, 1], **rest),
        lambda: from_csv(tmp_path / "run", io.StringIO("epoch,index,label\n0,0,a\n"), **rest),
        lambda: from_numpy(tmp_path / "run", [[0, 1]], true_labels=None, **rest),
    ):
        with pytest.raises(ValueError, match="attrs must be a dict"):
            call()


@pytest.mark.parametrize(
    ("keys", "names", "order"),
    [(CBA, ABC, [2, 1, 0]), ([2, 0, 1], ABC, [1, 2, 0]), ([2.0, 0.0, 1.0], ABC, [1, 2, 0]), (["2", "0", "1"], ABC, [1, 2, 0]),
     (["0", "1", "2"], DIGITS, [2, 1, 0]), ([0, 1, 2], ("0", "1", "2"), [0, 1, 2]), ([1, 0], ("10", "20"), [1, 0]),
     (["20", "10"], ("10", "20"), [1, 0]), ([E_TWO, "b"], ("b", E_ONE), [1, 0]), ([False, True], ("a", "b"), [0, 1])],
)  # fmt: skip
def test_keys_are_names_or_numbers(keys, names, order):
    assert order_of("counts", keys, names) == order
    values = np.arange(len(keys))
    for given in (dict(zip(keys, values, strict=True)), pandas.Series(values, keys)):
        assert [int(value) for value in by_class("counts", given, names)] == order


@pytest.mark.parametrize(
    ("keys", "names", "message"),
    [([0, 1, 2], DIGITS, "the number 2 could be the class named '2' or the class at position 2, '0'; give names as texts"),
     ([0, 1, 2], ("1", "2", "3"), "the number 1 could be the class named '1'"), ([0, 1], ("0", "00"), "could be the class named '00'"),
     ([False, True], ("True", "False"), "truth values could be names"), (["a", "b"], ABC, "'c' is missing"),
     (["a", "b", "b"], ABC, "'b' is there twice"), (["a", "b", "C"], ABC, "'C' is no class; .*did you mean 'c'"),
     (["a", "b", 2], ABC, "by its name or number, is needed; got both"), ([1, 2, 3], ABC, "3 is no class: numbers of classes are 0..2"),
     ([0, 1, 2.5], ABC, "2.5 is no class"), (["10", "20"], ABC, "'10' is no class"), ([], ABC, "'a' is missing"),
     (["a", "b", "\u0441"], ABC, "no class")],
)  # fmt: skip
def test_keys_that_are_refused(keys, names, message):
    with pytest.raises(ValueError, match=f"counts: .*{message}"):
        order_of("counts", keys, names)
    if len({*keys}) == len(keys):
        with pytest.raises(ValueError, match=message):
            by_class("counts", dict.fromkeys(keys, 1), names)


def recorded(path, **values):
    with Recorder(path, [0, 1, 2], [1, 2, 3], ABC, num_epochs=1) as recorder:
        recorder.end_epoch(**values)
    return open_run(path)


@pytest.mark.parametrize(
    ("given", "found"),
    [(SQUARE, [[8, 7, 6], [5, 4, 3], [2, 1, 0]]), (pandas.DataFrame(SQUARE.to_numpy()), SQUARE.to_numpy().tolist()),
     (xarray.DataArray(SQUARE), [[8, 7, 6], [5, 4, 3], [2, 1, 0]]),
     (pandas.DataFrame(SQUARE.to_numpy(), [2, 1, 0], [2, 1, 0]), [[8, 7, 6], [5, 4, 3], [2, 1, 0]]),
     (pandas.crosstab(pandas.Series(["c", "a", "b"]), pandas.Series(["a", "c", "b"])), [[0, 0, 1], [0, 1, 0], [1, 0, 0]])],
    ids=["names", "none", "xarray", "numbers", "crosstab"],
)  # fmt: skip
def test_tables_are_put_in_the_order_of_the_classes(tmp_path, given, found):
    assert recorded(tmp_path / "one", test=given).confusion("test", epoch=0).tolist() == found
    more = {"true_labels": [0, 1], "labelled_counts": dict(zip(CBA, (3, 2, 1), strict=True)), "class_names": ABC}
    run = from_numpy(tmp_path / "two", [[0, 1]] * 2, test=[given] * 2, **more)
    assert run.confusion("test").tolist() == [found] * 2 and run.labelled_counts.tolist() == [1, 2, 3]


def test_state_and_outputs_are_put_in_order_too(tmp_path):
    outputs = pandas.DataFrame([[1.0, 2, 3]] * 3, columns=CBA)
    series = {"m/x": pandas.Series([1.0, 2, 3], CBA), "m/y": {"c": 1.0, "b": 2.0, "a": 3.0}}
    run = recorded(tmp_path / "run", logits=outputs, semantic=outputs, series=series, snapshot={"m/s": SQUARE, "m/t": SQUARE.T})
    for found in (run.logits(), run.semantic(), run.state("m/x"), run.state("m/y")):
        assert np.unique(found, axis=0).tolist() == [[3, 2, 1]]
    assert run.snapshot_state("m/s").tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]] == run.snapshot_state("m/t").T.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [({"test": SQUARE.drop(columns="b")}, "columns of the test matrix: .*'b' is missing"),
     ({"test": SQUARE.rename(index={"a": "x"})}, "rows of the test matrix: .*'x' is no class"),
     ({"test": pandas.crosstab(pandas.Series(["c", "a"]), pandas.Series(["a", "c"]), margins=True)}, "'b' is missing|'All' is no class"),
     ({"logits": pandas.DataFrame([[1, 2, 3]] * 3, columns=["p_a", "p_b", "p_c"])}, "columns of logits: .*'p_a' is no class"),
     ({"series": {"m/x": pandas.Series([1, 2], ["a", "b"])}}, "series 'm/x': .*'c' is missing"),
     ({"sweep": (pandas.Series([0, 1, 2], [2, 0, 1]), [1, 1, 1])}, "sweep labels: it is numbered 2, 0, 1, not in order; .*sort_index")],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        recorded(tmp_path / "run", **values)


def test_two_readings_of_arrays(tmp_path):
    more = {"true_labels": None, "labelled_counts": [1, 1, 1], "class_names": DIGITS}
    assert from_numpy(tmp_path / "texts", [["0", "1", "2"]], **more).history(0)[0].tolist() == [2, 1, 0]
    for label in ([[0, 1, 2]], np.array([[0, 1, 2]], np.uint8), torch.tensor([[0.0, 1.0]]), pandas.DataFrame([[0, 1]])):
        with pytest.raises(ValueError, match="label: the number 2 could be the class named '2'"):
            from_numpy(tmp_path / "run", label, **more)
    unlabelled = from_numpy(tmp_path / "none", [[-1, -1]], accepted=[[0, 0]], **more)
    assert unlabelled.history(0)[0].tolist() == [-1, -1]
    with Recorder(tmp_path / "own", [0, 1, 2], [1, 1, 1], DIGITS) as recorder:  # what a network says are positions
        recorder.update([0, 1], np.array([0, 2]), [1, 1])
        recorder.end_epoch()
    assert open_run(tmp_path / "own").pseudo_counts("visits", epoch=0).tolist() == [1, 0, 1]


# -- missing --------------------------------------------------------------------------------------------------------------

LABELS, NONE = np.array([[0, 1, 2], [2, 1, 0]]), np.array([[1, 0, 0], [0, 0, 1]], bool)
MASKED = np.ma.masked_array(LABELS, NONE)
KNOWN = {"true_labels": [0, 1, 2], "labelled_counts": [1, 1, 1], "class_names": ABC}


@pytest.mark.parametrize(
    "label",
    [MASKED, list(MASKED), MASKED.astype(float), pandas.DataFrame(LABELS).astype("Int64").mask(NONE), np.where(NONE, None, LABELS),
     np.where(NONE, np.nan, LABELS), pandas.DataFrame(np.array(ABC)[LABELS], dtype="string").mask(NONE),
     np.ma.masked_array(np.array(ABC)[LABELS], NONE), np.where(NONE, pandas.NA, np.array(ABC, object)[LABELS])],
    ids=["masked", "rows", "floats", "Int64", "None", "NaN", "string", "texts", "NA"],
)  # fmt: skip
def test_a_missing_or_masked_label_is_no_label(tmp_path, label):
    run = from_numpy(tmp_path / "run", label, accepted=~NONE, **KNOWN)
    np.testing.assert_array_equal(run.history()[0], np.where(NONE, -1, LABELS))
    with pytest.raises(ValueError, match="epoch 0, sample 0 has no label, but counts as accepted"):
        from_numpy(tmp_path / "all", label, **KNOWN)


def test_a_class_may_be_named_as_missing_values_are_shown(tmp_path):
    run = from_numpy(tmp_path / "run", [["<NA>", "NaT"]], true_labels=None, labelled_counts=[1, 1], class_names=["<NA>", "NaT"])
    assert run.history(0)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"accepted": np.ma.masked_array(~NONE, NONE)}, r"accepted nan \(epoch 0, sample 0\)"),
     ({"iterations": np.ma.masked_array([1, 2], [0, 1])}, r"iterations nan \(epoch 1\)"),
     ({"scalars": {"x": np.ma.masked_array([1, 2], [0, 1])}}, r"scalars\['x'\] must be one number"),
     ({"test": [np.ma.masked_array(np.eye(3), np.eye(3))] * 2}, "masked"), ({"test": np.ma.masked_array([np.eye(3)] * 2, True)}, "masked"),
     ({"labelled_counts": np.ma.masked_array([1, 2, 3], [0, 0, 1])}, "masked"), ({"labelled_counts": [1, 2, None]}, "missing values"),
     *(({"iterations": wrong}, "iterations must be a list of one entry for each of the 2 epochs") for wrong in
       (100, "12", {1, 2}, {0: 1, 1: 2}, torch.tensor(3))),
     *(({"scalars": wrong}, "scalars must be a dict from names to lists; got") for wrong in ("x", [{"loss": 1}] * 2, 1)),
     *(({"scalars": {"loss": wrong}}, "scalar 'loss' must be a list of one entry") for wrong in (1, None, "ab", {1, 2})),
     ({"scalars": pandas.Series({"loss": 1.0})}, "scalar 'loss' must be a list"),
     *(({"scalars": {name: [1, 2]}}, "a scalar is named by one line of text") for name in ("", 3, None, ("a",))),
     *(({"test": wrong}, "test must be a list of one entry") for wrong in (5, "ab", {0: 1, 1: 2})),
     *(({"epochs": wrong}, "epochs must") for wrong in ([1, 0], [1, 1], 3, "01", [0, 2**21])), ({"epochs": [0]}, "epochs needs one entry"),
     ({"epochs": [0.5, 1]}, "epochs 0.5"), ({"true_labels": pandas.Series([0, 1, 2], [1, 0, 2])}, "true_labels: it is numbered 1, 0, 2"),
     *(({"label": wrong}, f"label must be an array of numbers or names; got {shown}") for wrong, shown in
       (({0: [0, 1]}, "dict"), (LABELS + 0j, "complex128 such as"), ({0}, "set"))),
     ({"label": pandas.DataFrame(LABELS, columns=[2, 1, 0])}, "columns of label: it is numbered 2, 1, 0"),
     ({"label": pandas.DataFrame(LABELS, [5, 3])}, "epochs must ascend"),
     ({"label": pandas.DataFrame(LABELS, [3, 5]), "accepted": pandas.DataFrame(NONE, [5, 3])}, "tables whose rows have other names")],
)  # fmt: skip
def test_arrays_that_are_refused_in_our_words(tmp_path, values, message):
    given = {"label": LABELS} | KNOWN | values
    with pytest.raises(ValueError, match=message):
        from_numpy(tmp_path / "runs" / "run", given.pop("label"), **given)
    assert not [*tmp_path.iterdir()]


# -- epochs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [[0, 2], [1, 2], [5, 9], [0, 70_000]])
def test_epochs_keep_their_numbers(tmp_path, epochs):
    rows = "".join(f"{e},{i},{'abc'[c]}\n" for e, row in zip(epochs, LABELS, strict=True) for i, c in enumerate(row))
    matrices = [np.eye(3, dtype=int) * e for e in (1, 2)]
    scalars = pandas.DataFrame({"loss": [2.0, 1.0]}, epochs[::-1])
    runs = [
        from_csv(tmp_path / "csv", io.StringIO(f"epoch,index,label\n{rows}"), labelled_counts=[1, 1, 1], class_names=ABC),
        from_numpy(tmp_path / "numpy", LABELS, epochs=epochs, test=matrices, scalars=scalars, **KNOWN),
        from_numpy(tmp_path / "frame", pandas.DataFrame(LABELS, epochs), iterations=pandas.Series([7, 8], epochs), **KNOWN),
    ]
    for run in runs:
        assert run.epochs.tolist() == epochs and run.finished and run.total_epochs == epochs[1] + 1
        np.testing.assert_array_equal(run.history()[0], LABELS)
        assert run.to_dataframe("history").epoch.unique().tolist() == epochs
    assert runs[1].confusion("test", epoch=epochs[1]).trace() == 6 and runs[1].scalars["loss"].to_dict() == {epochs[0]: 1.0, epochs[1]: 2.0}
    assert runs[2].iterations.tolist() == [7, 8]
    with xarray.open_dataset(runs[1].to_netcdf(tmp_path / "run.nc"), engine="scipy") as data:
        assert data.epoch.values.tolist() == epochs and data.test.sel(epoch=epochs[1]).values.trace() == 6
    again = xarray.DataArray(LABELS, {"epoch": epochs}, ["epoch", "sample"])
    assert from_numpy(tmp_path / "xarray", again, **KNOWN).epochs.tolist() == epochs


def test_epochs_of_confusionflow_keep_their_numbers(tmp_path):
    (tmp_path / "foldlogdata").mkdir()
    (tmp_path / "foldlogdata" / "net_test_data.json").write_text(
        '{"epochdata": [{"epochId": 3, "confmat": [1, 0, 0, 2]}, {"epochId": 1, "confmat": [1, 0, 1, 1]}]}'
    )
    run = from_confusionflow(tmp_path / "run", tmp_path, "net", "test", labelled_counts=[1, 1])
    assert run.epochs.tolist() == run.iterations.tolist() == [1, 3] and run.confusion("test", epoch=3).tolist() == [[1, 0], [0, 2]]
    with pytest.raises(ValueError, match="attrs must be a dict"):
        from_confusionflow(tmp_path / "other", tmp_path, "net", "test", labelled_counts=[1, 1], attrs=[1])


def test_steps_as_epochs_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"epoch must be a number below 2097152; got 9000000. If it counts steps, number the epochs"):
        from_csv(tmp_path / "run", io.StringIO("epoch,index,label\n9000000,0,a\n"), labelled_counts=[1], class_names=["a"])


@pytest.mark.parametrize("text", [E_TWO, E_ONE, f" {E_TWO} "])
def test_letters_in_either_encoding_are_the_same_name(tmp_path, text):
    more = {"labelled_counts": {E_TWO: 2, "b": 3}, "class_names": ["b", E_ONE]}
    table = io.StringIO(f"epoch,index,label\n0,0,{text}\n0,1,b\n")
    runs = from_csv(tmp_path / "a", table, **more), from_numpy(tmp_path / "b", [[text, "b"]], true_labels=None, **more)
    for run in runs:
        assert run.history(0)[0].tolist() == [1, 0] and run.labelled_counts.tolist() == [3, 2] and run.class_names == ("b", E_ONE)
    for names, resume in ((["b", E_ONE], False), (["b", E_TWO], True)):
        with Recorder(tmp_path / "c", pandas.Categorical([E_TWO, "b"]), more["labelled_counts"], names, resume=resume) as recorder:
            recorder.end_epoch()
    assert open_run(tmp_path / "c").true_labels.tolist() == [1, 0] and len(open_run(tmp_path / "c").epochs) == 2


def test_letters_that_look_alike_are_spelled_out(tmp_path):
    for field, shown in (("\ufb01sh", r"\\ufb01sh"), ("f\u0456sh", r"f\\u0456sh")):
        with pytest.raises(ValueError, match=f"did you mean 'fish' \\('fish', not '{shown}'\\)"):
            from_csv(tmp_path / "run", io.StringIO(f"epoch,index,label\n0,0,{field}\n"), labelled_counts=[1], class_names=["fish"])


def test_what_can_only_be_iterated(tmp_path):
    run = from_numpy(tmp_path / "run", map(list, LABELS), true_labels=iter([0, 1, 2]), labelled_counts=range(3), class_names=iter(ABC),
                     iterations=(i for i in (1, 2)), scalars={"x": {"a": 1, "b": 2}.values()})  # fmt: skip
    np.testing.assert_array_equal(run.history()[0], LABELS)
    assert (run.true_labels.tolist(), run.iterations.tolist(), run.scalars["x"].tolist()) == ([0, 1, 2], [1, 2], [1, 2])


def test_rows_and_mappings():
    for values in (pandas.Series([1, 2], [0, 1]), pandas.Series([1, 2], [9, 3]), [1, 2], pandas.Series([1, 2], ["b", "a"]), np.eye(2)):
        assert in_rows("x", values) is values
    assert mapping("x", None, "") == {} and mapping("x", pandas.Series({"a": 1}), "") == {"a": 1}
    with pytest.raises(ValueError, match="two columns of the table have one name"):
        mapping("scalars", pandas.DataFrame([[1, 2]], columns=["a", "a"]), "")
