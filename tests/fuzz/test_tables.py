"""Tables and arrays of other programs: what goes in comes out, or is refused with nothing left behind."""

import csv
import io
import shutil
import tempfile
import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas
import torch
from cases import bounded, fuzz
from hypothesis import given

from pldebias.interop.importers import from_csv, from_numpy

WORDS = ["NA", "N/A", "None", "nan", "null", "inf", "True", "False", "yes", "no", "1e3", "007", "7", "0", "1", "2", "-1", "1.0", "<NA>"]
WORDS += ["cat", "Cat", "a b", " a", "a,b", "a;b", 'q"u', "it's", "ünïcode", "類", "#x", "=1+1", "epoch", "-", "|", "a\\", "a/b"]
ACCEPTED = [("1", "0"), ("yes", "no"), ("Y", "N"), ("True", "False"), ("accepted", "rejected"), ("1.0", "0.0"), (" TRUE", "false ")]
EXTRA = [b"", b"\n", b'"', b",", b";", b"\xff", b"\0", b"nan", b"-1", b"9", b"0.5", b"1e999", b"\r", b"0,0,cat\n", b"epoch", b" "]


@st.composite
def tables(draw):
    """A table, the options of its import, and what must come out."""
    names = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5, unique=True))
    k, e, n = len(names), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    numbers = st.integers(0, k - 1)
    label = draw(st.lists(numbers, min_size=e * n, max_size=e * n))
    truth = draw(st.none() | st.lists(st.integers(-1, k - 1), min_size=n, max_size=n))
    mask = draw(st.none() | st.lists(st.booleans(), min_size=e * n, max_size=e * n))
    by_name, words = draw(st.booleans()) or any(str(c) in names for c in range(k)), draw(st.sampled_from(ACCEPTED))
    epochs = sorted(draw(st.sets(st.integers(0, 999), min_size=e, max_size=e)))

    def field(c):
        return "" if c < 0 else names[c] if by_name else str(c)

    columns = {"epoch": [epochs[i // n] for i in range(e * n)], "index": [i % n for i in range(e * n)], "label": [field(c) for c in label]}
    if truth is not None:
        columns["true"] = [field(truth[i % n]) for i in range(e * n)]
    if mask is not None:
        columns["accepted"] = [words[0] if m else words[1] for m in mask]
    headings = draw(st.permutations(list(columns)))
    rows = draw(st.permutations(range(e * n)))
    text = io.StringIO()
    options = {"delimiter": draw(st.sampled_from(",;\t|")), "lineterminator": draw(st.sampled_from(["\n", "\r\n"]))}
    writer = csv.writer(text, quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])), **options)
    writer.writerow([draw(st.sampled_from([h, h.upper(), f" {h.title()} "])) for h in headings])
    writer.writerows([columns[h][i] for h in headings] for i in rows)
    data = text.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    spoilt = draw(st.none() | st.tuples(st.integers(0, len(data)), st.integers(0, 3), st.sampled_from(EXTRA)))
    if spoilt:
        data = data[: spoilt[0]] + spoilt[2] + data[spoilt[0] + spoilt[1] :]
    return data, names, by_name, spoilt is not None, epochs, np.reshape(label, (e, n)), truth, mask and np.reshape(mask, (e, n))


def check(made, epochs, label, truth, mask):
    assert made.epochs.tolist() == [*epochs]
    found = made.history()
    np.testing.assert_array_equal(found[0], label)
    np.testing.assert_array_equal(found[1], np.ones_like(label) if mask is None else mask)
    assert made.true_labels.tolist() == [-1] * label.shape[1] if truth is None else list(truth)


def attempt(what, call):
    """What `call(place)` makes, or None if it was refused; then nothing may be left."""
    root = Path(tempfile.mkdtemp())
    try:
        with bounded(what), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                return call(root / "new" / "run"), root
            except ValueError as error:
                assert str(error) and "\n" not in str(error), error
                assert [*root.iterdir()] in ([], [root / "table.csv"]), [*root.rglob("*")]
                return None, root
    except BaseException:
        shutil.rmtree(root)
        raise


@fuzz(0.2)
@given(tables())
def test_text_tables(made):
    data, names, by_name, spoilt, epochs, label, truth, mask = made

    def read(place):
        (place.parents[1] / "table.csv").write_bytes(data)
        return from_csv(place, place.parents[1] / "table.csv", labelled_counts=[1] * len(names), class_names=names)

    run, root = attempt("text tables", read)
    try:
        if spoilt:
            if run is not None:
                compare(run, data, names)
        elif run is None:
            assert not by_name, "a sound table was refused"  # numbers have two readings where names are numbers
        else:
            check(run, epochs, label, truth, mask)
    finally:
        shutil.rmtree(root)


def compare(run, data, names):
    """Every row of a damaged table that was taken is found in the run, read once more in the plainest way."""
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    heading = next(line for line in text.splitlines() if line.strip())
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=heading.count)))
    heading, *rows = [[field.strip() for field in row] for row in rows if row]
    position = {name.lower(): i for i, name in enumerate(heading)}
    assert len(rows) == len(run.epochs) * run.num_unlabelled
    for row in rows:
        e, i = int(float(row[position["epoch"]])), int(float(row[position["index"]]))
        true = row[position["true"]] if "true" in position else ""
        for field, c in ((row[position["label"]], run.history(e)[0][i]), (true, run.true_labels[i])):
            told = {"": -1, **{name.strip(): c for c, name in enumerate(names)}}.get(field)
            assert c == told if told is not None else c == float(field), (field, c)


KINDS = [np.int8, np.int32, np.uint8, np.uint64, np.float16, np.float64, bool, object, str, list, "tensor", "bfloat16", "frame"]
WRONG = [0.5, float("nan"), float("inf"), -2, 99, 2**40, -(2**70), 1e300, "cat?", None]


@st.composite
def arrays(draw):
    k = draw(st.integers(2, 4))
    e, n = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    label = np.array(draw(st.lists(st.integers(0, k - 1), min_size=e * n, max_size=e * n))).reshape(e, n)
    kind, wrong = draw(st.sampled_from(KINDS)), draw(st.none() | st.sampled_from(WRONG))
    label = label % 2 if kind is bool else label
    spot = draw(st.integers(0, e * n - 1))
    return k, label, kind, wrong, spot, draw(st.booleans())


def as_kind(label, kind, names):
    if kind is str:
        return np.array(names)[label]
    if kind is list:
        return label.tolist()
    if kind == "frame":
        return pandas.DataFrame(label)
    if kind in ("tensor", "bfloat16"):
        return torch.tensor(label, dtype=torch.int64 if kind == "tensor" else torch.bfloat16)
    return label.astype(kind)


@fuzz(0.12)
@given(arrays())
def test_arrays(made):
    k, label, kind, wrong, spot, named = made
    names = ["NA", "None", "b,c", "d"][:k] if named else ["a", "b", "c", "d"][:k]
    options = {"true_labels": label[0], "labelled_counts": [1] * k, "class_names": names, "iterations": np.arange(1, len(label) + 1)}
    given_label = as_kind(label, kind, names)
    run, root = attempt("arrays", lambda place: from_numpy(place, given_label, **options))
    try:
        check(run, range(len(label)), label, label[0], None)
        if wrong is not None:
            spoilt = np.array(given_label.tolist() if isinstance(given_label, torch.Tensor) else given_label, dtype=object)
            spoilt[divmod(spot, label.shape[1])] = wrong
            refused, empty = attempt("arrays", lambda place: from_numpy(place, spoilt, **options))
            shutil.rmtree(empty)
            assert refused is None, wrong
    finally:
        shutil.rmtree(root)
