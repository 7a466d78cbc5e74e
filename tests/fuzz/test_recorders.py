"""Recorders given anything at all: what was put in reads back exactly, or the call refuses it and nothing else is lost."""

import decimal
import fractions
import shutil
import tempfile
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas
import torch
from cases import bounded, fuzz
from hypothesis import given

import pldebias
from pldebias.runs import Recorder, RunError, open_run

ARRAYS = [*(np.dtype(t) for t in "?bBhHiIqQefdg"), np.dtype(">i4"), np.dtype(">f8"), np.dtype("O")]
TENSORS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint64]
TENSORS += [torch.float16, torch.bfloat16, torch.float32, torch.float64]
OTHERS = [
    list,
    tuple,
    decimal.Decimal,
    fractions.Fraction,
    "series",
    "Int64",
    "Float64",
    "boolean",
    "gradient",
    "strided",
    "sparse",
    "masked",
]
KINDS = [*ARRAYS, *TENSORS, *OTHERS]
TRUTHS = ("boolean", np.dtype("?"), torch.bool)
ODD = [0.5, float("nan"), float("inf"), -1, -2, 99, 255, 256, 2**15, 70_000, 2**53 + 1, 2**63, 2**70, 1e39, 1e300, -0.0, 1e-9]
ODD += [None, "1", "cat", b"x", 1j, ()]


def is_number(x) -> bool:
    return isinstance(x, int | float)


def are_whole(values: np.ndarray, low, high) -> bool:
    return all(is_number(x) and x == x and abs(x) != float("inf") and x == int(x) and low <= x <= high for x in values.flat)


def as_kind(values: np.ndarray, kind):
    """Numbers (an array of objects) as another type, or lists where it cannot hold them all."""
    numbers, plain = all(map(is_number, values.flat)), values.tolist()
    if kind is tuple:
        return tuple(plain)
    if kind in (list, "masked") or not numbers:
        return (
            np.ma.array(values.astype(float), mask=False) if kind == "masked" and numbers and alike(values.astype(float), values) else plain
        )
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if kind in (decimal.Decimal, fractions.Fraction):
                made = np.frompyfunc(lambda x: kind(x), 1, 1)(values)
                return np.asarray(made, object).reshape(values.shape)
            if kind in ("series", "Int64", "Float64", "boolean"):
                make = pandas.Series if values.ndim == 1 else pandas.DataFrame
                made = make(plain, dtype=None if kind == "series" else bool if kind == "boolean" else kind)
            elif isinstance(kind, torch.dtype):
                made = torch.tensor(plain, dtype=kind)
            elif kind == "gradient":
                made = torch.tensor(plain, dtype=torch.float64, requires_grad=True)
            elif kind == "strided":
                made = torch.tensor(plain, dtype=torch.float64).unsqueeze(-1).expand(*values.shape, 2)[..., 1]
            elif kind == "sparse":
                made = torch.tensor(plain, dtype=torch.float64).to_sparse()
            else:
                made = values.astype(kind)
            back = made.detach().to_dense() if isinstance(made, torch.Tensor) else np.asarray(made)
            back = back.double().numpy() if isinstance(back, torch.Tensor) and back.is_floating_point() else np.asarray(back)
            return made if back.shape == values.shape and alike(back, values) else plain
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return plain


def alike(found, expected: np.ndarray) -> bool:
    """Equal as the numbers of mathematics, NaN and NaN too."""
    pairs = zip(np.asarray(found).astype(object).flat, expected.flat, strict=True)
    return np.shape(found) == expected.shape and all(a == b or (a != a and b != b) for a, b in pairs)


def as_array(plain, shape=None) -> np.ndarray:
    made = np.empty(len(plain), object)
    made[:] = plain
    return made if shape is None else made.reshape(shape)


@st.composite
def filled(draw, shape, pool, odd=8):
    """Values from a pool, one in `odd` of them with something else at one place, or of another shape."""
    size = int(np.prod(shape))
    values = draw(st.lists(st.sampled_from(pool), min_size=size, max_size=size)) if pool else []
    values = as_array(values[:size], (len(values),) if len(values) != size else shape)
    if not draw(st.integers(0, odd - 1)):
        if draw(st.booleans()) and values.size:
            values.flat[draw(st.integers(0, values.size - 1))] = draw(st.sampled_from(ODD))
        else:
            values = draw(st.sampled_from([values[:-1] if values.ndim else values, values[None], values.reshape(-1)]))
    return values


NAMES = [
    "a/x",
    "b/x",
    "a/y",
    "a/x/y",
    "A/x",
    "a.x",
    "x",
    "a/x_1",
    "a.x_1",
    "x_1",
    "é/x",
    "e\u0301/x",
    "a//x",
    "/a",
    "a/..",
    "a/epoch",
    "klass",
]
NAMES += [
    "n" * 300,
    "a/" + "y" * 250,
    "類" * 90,
    "zarr.json/x",
    "zarr.json.partial/x",
    "c.0/x",
    "a b/x",
    "x\n",
    "",
    5,
    None,
    "con/x",
    "true/true",
]
SAFE = ("a/x", "b/x", "a/y")
SCALARS = [
    "loss",
    "a/b",
    "epoch",
    "iteration",
    "recall_sweep/head",
    "Epoch",
    "",
    " ",
    "x\ny",
    "=1",
    "é",
    "類" * 5,
    "a" * 1000,
    1,
    "1",
    None,
]
SCALARS += [("t", 1), "scalar", "loss ", "True", True, "\ud800"]
STATES = [0.0, 1.0, 0.5, -2.25, 3.0, 7.0]


@st.composite
def states(draw, k, root):
    made = {}
    for name in draw(st.lists(st.sampled_from(SAFE) if draw(st.booleans()) else st.sampled_from(NAMES) | st.text(max_size=5), max_size=2)):
        shape = (k,) if root == "series" else draw(st.sampled_from([(k, 4), (k, 5), (k,), (), (3,), (k, 0), (0,), (2, k), (k, 2, 2)]))
        values = draw(filled(shape, STATES if draw(st.booleans()) else [0.0, 1.0, 2.0]))
        made[name] = values, draw(st.sampled_from(KINDS))
    return made


@st.composite
def numbers(draw):
    """A scalar and what it must read as; None if it must be refused."""
    x = draw(st.sampled_from([0, 1, -3, 0.5, 0.1, float("nan"), float("inf"), 1e300, 2**53, 2**53 + 1, 2**63 - 1, 2**70, 10**400]))
    sound = isinstance(x, float) or (abs(x) < 2**1000 and int(float(x)) == x)
    kind = draw(
        st.sampled_from([None, None, *ARRAYS, *TENSORS, decimal.Decimal, fractions.Fraction, "one", "two", "text", "none", "complex"])
    )
    if kind is None:
        return x, x if sound else None
    if kind in ("two", "text", "none", "complex"):
        return {"two": [x, x], "text": str(x), "none": None, "complex": 1j}[kind], None
    if kind == "one":
        return [[x]], x if sound else None
    made = as_kind(as_array([x]), kind)
    return (x if isinstance(made, list) else made[0]), x if sound else None


@st.composite
def worlds(draw):
    """What a recorder is made of, whether it must be taken, and the truth."""
    k, n = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    truth = draw(filled((n,), [*range(k), -1] if draw(st.booleans()) else [*range(k)], 16))
    tests = draw(st.none() | filled((3,), [*range(k)], 16))
    counts = draw(filled((k,), [0, 1, 5, 2**40], 16))
    names = draw(st.sampled_from([["cat", "dog", "NA", "é"], ["0", "1", "2", "3"], [0, 1, 2, 3], ["3", "1.0", "a/b", "類"]]))[:k]
    sound = are_whole(truth, -1, k - 1) and truth.ndim == 1 and are_whole(counts, 0, 2**53) and counts.shape == (k,)
    sound = sound and (tests is None or (are_whole(tests, -1, k - 1) and tests.ndim == 1))
    attrs = draw(
        st.dictionaries(st.sampled_from(["method", "seed", "note", "1", "é", "config", "a b"]), st.sampled_from(ATTRS), max_size=2)
    )
    odd = draw(st.none() | st.sampled_from(OPTIONS)) if not draw(st.integers(0, 3)) else None
    if not draw(st.integers(0, 15)):
        wrong = [["cat"] * 2, ["x\ny"], [" ", "a"], [1, 0], {"cat"}, "cat", b"cat", None, 3, [0.5], [None], {"a": 1, "b": 0}, []]
        names = draw(st.sampled_from(wrong))
        k, sound = None, None
    if odd or attrs:
        sound = None if sound else sound
    return (k, truth, tests, counts, names, sound), (attrs, odd), draw(st.lists(st.sampled_from(KINDS), min_size=3, max_size=3))


ATTRS = [
    "x",
    "",
    "é\u0301",
    3,
    2**60,
    -1,
    0.5,
    1e300,
    float("nan"),
    True,
    None,
    [1, "a"],
    {"a": [1]},
    {1: 2},
    np.float32(0.5),
    np.arange(3),
]
ATTRS += [torch.arange(2), {1, 2}, Path("a"), object(), "x\ny", 1j, b"x", [], {}]
OPTIONS = [("num_epochs", x) for x in (0, 2, 1.0, 0.5, -1, "3", True, np.int64(2), 2**16, 2**24, 2**70, None)]
OPTIONS += [("num_features", x) for x in (0, 2, 1.5, "x", torch.tensor(2))] + [
    ("snapshots", x) for x in (None, 3, [0], [0.5], "ab", np.arange(2), [-1])
]
OPTIONS += [("num_unlabelled", x) for x in (0, 3, -1, "x", 0.5)] + [
    ("device", x) for x in ("cpu", "nothing", 5, object(), torch.device("cpu"))
]
OPTIONS += [("attrs", x) for x in (None, [], 3, {"finished": 1}, {None: 1})] + [("resume", True)]


@st.composite
def calls(draw):
    """Arguments of calls of one recorder; shapes are those that fit, most of the time."""
    made, extra, kinds = draw(worlds())
    k, n = made[0] or 1, len(made[1])
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        what = draw(st.sampled_from(["update", "update", "end", "end", "end", "rewind", "keep", "again"]))
        if what == "update":
            m = draw(st.integers(0, 4)) if n else 0
            label, accepted = draw(filled((m,), [*range(k), -1] if draw(st.booleans()) else [*range(k)])), draw(filled((m,), [0, 1]))
            values = draw(filled((m,), [*range(n)])), label, accepted
            steps.append((what, values, draw(st.lists(st.sampled_from(KINDS), min_size=3, max_size=3))))
        elif what == "end":
            steps.append((what, draw(ends(k, n)), None))
        else:
            steps.append((what, draw(st.sampled_from([0, 1, 2, 3, 5, 300, 2**16, 2**24, -1, 0.5, "x", None, np.int8(2), True])), None))
    return made, extra, kinds, steps


@st.composite
def ends(draw, k, n):
    chosen = draw(
        st.sets(
            st.sampled_from(["sweep", "test", "matrix", "logits", "semantic", "features", "series", "snapshot", "scalars", "iteration"])
        )
    )
    kind = st.sampled_from(KINDS)
    made = {}
    for name in sorted(chosen):
        if name == "sweep":
            made[name] = [
                (draw(filled((n,), [*range(k), -1] if draw(st.booleans()) else [*range(k)])), draw(kind)),
                (draw(filled((n,), [0, 1])), draw(kind)),
            ]
        elif name == "test":
            t = draw(st.integers(0, 3))
            made[name] = [(draw(filled((t,), [*range(k), -1])), draw(kind)), (draw(filled((t,), [*range(k)])), draw(kind))]
        elif name == "matrix":
            made[name] = draw(filled((k, k), [0, 1, 7, 2**32 - 1])), draw(kind)
        elif name in ("logits", "semantic", "features"):
            width = k if name != "features" else draw(st.sampled_from([2, 2, 3, 0]))
            made[name] = draw(filled((n, width), STATES)), draw(kind)
        elif name in ("series", "snapshot"):
            made[name] = draw(states(k, name))
        elif name == "scalars":
            made[name] = draw(st.dictionaries(st.sampled_from(SCALARS) | st.text(max_size=4), numbers(), max_size=3))
        else:
            made[name] = draw(
                st.sampled_from([None, 0, 3, 5, 5, 7, 100, -1, 0.5, 7.0, np.int32(9), torch.tensor(8), "x", True, 2**63, float("nan")])
            )
    return made


class Refused(Exception):
    """A call was refused, by an error of ours."""


OURS = str(Path(pldebias.__file__).parent)


@contextmanager
def ours(sound):
    """Only an error that we raise ourselves may come, and none where the call is `sound`."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "epoch .*hold NaN or infinity", RuntimeWarning)
            yield
    except (ValueError, TypeError, RunError, OverflowError, KeyError, AttributeError, IndexError, RuntimeError, OSError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        assert last.filename.startswith(OURS) and last.line.startswith("raise "), "a foreign error"
        assert isinstance(error, ValueError | RunError) and str(error) and "\n" not in str(error).strip() and len(str(error)) < 2000, error
        assert sound is not True, f"a sound call was refused: {error}"
        raise Refused from error
    assert sound is not False, "a call that means nothing was taken"


class Model:
    """What a recorder must hold."""

    def __init__(self, k, truth):
        self.k, self.truth = k, truth
        self.epoch, self.done, self.visits, self.counted = 0, {}, np.zeros((2, k + 1, k), int), False
        self.first, self.width = {}, None

    def update_is_sound(self, values, kinds):
        index, label, accepted = values
        if len({part.shape for part in values}) > 1 or index.ndim != 1:
            return False
        if not (are_whole(index, 0, len(self.truth) - 1) and are_whole(accepted, 0, 1) and self.are_labels(label, accepted)):
            return False
        return None if kinds[0] in TRUTHS else True

    def are_labels(self, label, accepted):
        return are_whole(label, -1, self.k - 1) and not any(c == -1 and used for c, used in zip(label, accepted, strict=True))

    def count(self, index, label, accepted):
        cells = np.zeros((2, self.k + 1, self.k), int)
        for i, c, used in zip(index, label, accepted, strict=True):
            if c >= 0:
                cells[int(used), int(self.truth[int(i)]), int(c)] += 1  # -1 addresses the last row
        return cells

    def end_is_sound(self, made):
        told = [self.part_is_sound(name, value) for name, value in made.items()]
        return False if False in told else None if None in told else True

    def part_is_sound(self, name, value):
        k, n = self.k, len(self.truth)
        if name == "sweep":
            (label, _), (accepted, _) = value
            return label.shape == accepted.shape == (n,) and are_whole(accepted, 0, 1) and self.are_labels(label, accepted)
        if name == "test":
            (true, _), (label, _) = value
            return true.shape == label.shape and true.ndim == 1 and are_whole(true, -1, k - 1) and are_whole(label, 0, k - 1)
        if name == "matrix":
            return value[0].shape == (k, k) and are_whole(value[0], 0, 2**32 - 1)
        if name in ("logits", "semantic", "features"):
            values = value[0]
            width = k if name != "features" else self.width or (values.shape[1] if values.ndim == 2 else 0)
            if values.shape != (n, width) or not width or not all(map(is_number, values.flat)):
                return False
            return None if not n or any(x in ODD for x in values.flat) else True
        if name in ("series", "snapshot"):
            return self.are_states(name, value)
        if name == "scalars":
            if any(expected is None for _, expected in value.values()):
                return False
            return True if {*value} <= {"loss", "a/b"} else None
        return None

    def are_states(self, root, made):
        told = []
        for name, (values, kind) in made.items():
            before = self.first.get((root, name), (values.shape, kind))
            shape = (self.k,) if root == "series" else before[0]
            if not all(map(is_number, values.flat)) or values.shape != shape or before[0] != shape or not values.size:
                told.append(False)
            else:
                simple = name in SAFE and not any(x in ODD or x != x for x in values.flat)
                same = before[1] == kind
                told.append(True if simple and same and all(other in SAFE for _, other in self.first) and {*made} <= {*SAFE} else None)
        return False if False in told else None if None in told else True


def as_given(made):
    """Arguments of `Recorder.end_epoch`."""
    options = {}
    for name, value in made.items():
        if name in ("sweep", "test"):
            options[name] = tuple(as_kind(*part) for part in value)
        elif name == "matrix":
            options["test"] = as_kind(*value)
        elif name in ("logits", "semantic", "features"):
            options[name] = as_kind(*value)
        elif name in ("series", "snapshot"):
            options[name] = {key: as_kind(*part) for key, part in value.items()}
        elif name == "scalars":
            options[name] = {key: x for key, (x, _) in value.items()}
        else:
            options[name] = value
    return options


def check(run, model):
    assert run.epochs.tolist() == sorted(model.done)
    assert run.dropped == {}
    assert alike(run.true_labels, model.truth)
    k = model.k
    for epoch, (visits, made, step) in model.done.items():
        compare_counts(run, "visits", epoch, visits)
        if "sweep" in made:
            (label, _), (accepted, _) = made["sweep"]
            if label.size:
                found = run.history(epoch)
                assert alike(found[0], label) and alike(found[1], accepted)
            compare_counts(run, "sweep", epoch, model.count(range(len(label)), label, accepted))
        else:
            compare_counts(run, "sweep", epoch, None)
        test = None
        if "matrix" in made:
            test = made["matrix"][0].astype(int)
        elif "test" in made:
            test = np.zeros((k, k), int)
            for true, label in zip(made["test"][0][0], made["test"][1][0], strict=True):
                if true >= 0:
                    test[int(true), int(label)] += 1
        if test is None:
            assert epoch not in run.logged("test")
        else:
            assert (run.confusion("test", epoch=epoch) == test).all()
        for name in ("logits", "semantic", "features"):
            if name in made and made[name][0].size:
                assert alike(
                    getattr(run, name)(epoch), made[name][0].astype(np.float64).astype(np.float16).astype(np.float64).astype(object)
                )
        for name, (values, _) in made.get("series", {}).items():
            assert alike(run.state(name)[run.epochs.tolist().index(epoch)], values)
        for name, (values, _) in made.get("snapshot", {}).items():
            assert alike(run.snapshot_state(name, epoch), values)
        row = run.scalars.loc[epoch]
        given_scalars = {str(name): x for name, (_, x) in made.get("scalars", {}).items()}
        assert all(alike(row[name], np.array(x, object)) for name, x in given_scalars.items())
        assert all(row[name] != row[name] for name in row.index if name not in given_scalars)
        if step is not None:
            assert run.iterations[run.epochs.tolist().index(epoch)] == step


def compare_counts(run, kind, epoch, expected):
    if expected is None:
        assert epoch not in run.logged(kind)
        return
    for split, cells in (("all", expected.sum(0)), ("accepted", expected[1])):
        assert (run.confusion(kind, split, epoch) == cells[:-1]).all()
        assert (run.unknown(kind, split, epoch) == cells[-1]).all()


def rewound(model, epoch):
    model.done = {e: made for e, made in model.done.items() if e < epoch}
    model.epoch, model.visits, model.counted = epoch, np.zeros_like(model.visits), False


def step(recorder, model, what, made, kinds):
    """One call of a recorder, and what it must have done."""
    if what == "update":
        with ours(model.update_is_sound(made, kinds)):
            recorder.update(*(as_kind(values, kind) for values, kind in zip(made, kinds, strict=True)))
        model.visits += model.count(*made)
        model.counted = True
    elif what == "end":
        if "matrix" in made:
            made.pop("test", None)
        before = [s for e, (_, _, s) in sorted(model.done.items()) if e < model.epoch and s is not None]
        iteration = made.get("iteration")
        with ours(model.end_is_sound(made)):
            recorder.end_epoch(**as_given(made))
        told = None if iteration is None or int(iteration) == -1 else int(iteration)
        assert told is None or not before or told >= before[-1]
        model.done[model.epoch] = model.visits.copy() if model.counted else None, made, told
        for root in ("series", "snapshot"):
            for name, (values, kind) in made.get(root, {}).items():
                model.first.setdefault((root, name), (values.shape, kind))
        if "features" in made:
            model.width = made["features"][0].shape[1]
        model.epoch, model.visits, model.counted = model.epoch + 1, np.zeros_like(model.visits), False
    elif what == "rewind":
        with ours(None):
            recorder.rewind(made)
        rewound(model, int(made))
    elif what == "keep":
        state = recorder.state_dict()
        with ours(True):
            recorder.load_state_dict(state)
        model.done = {e: values for e, values in model.done.items() if e < model.epoch}
    assert recorder.epoch == model.epoch


@fuzz(0.28)
@given(calls(), st.integers(0, 3))
def test_recorders(made, sample):
    """Each call is taken and reads back exactly, or refused by an error of ours, and what was recorded before stays."""
    (k, truth, tests, counts, names, sound), (attrs, odd), kinds, steps = made
    root = Path(tempfile.mkdtemp())
    try:
        with bounded("recorders"):
            follow(root / "run", k, truth, tests, counts, names, sound, attrs, odd, kinds, steps, sample)
    finally:
        shutil.rmtree(root)


def follow(path, k, truth, tests, counts, names, sound, attrs, odd, kinds, steps, sample):
    options = {"attrs": attrs} | ({odd[0]: odd[1]} if odd else {})
    parts = [as_kind(part, kind) for part, kind in zip((truth, counts, tests), kinds, strict=False) if part is not None]

    def start(**more):
        return Recorder(path, parts[0], parts[1], names, test_labels=parts[2] if tests is not None else None, **options | more)

    try:
        with ours(sound):
            recorder = start()
    except Refused:
        assert not path.exists() and not path.with_name("run.lock").exists()
        return
    k = recorder.num_classes
    model = Model(k, truth)
    model.width = recorder.num_features
    for what, values, their in steps:
        try:
            if what == "again":
                recorder.close()
                with ours(True):
                    recorder = start(resume=True)
                assert recorder.epoch <= model.epoch
                rewound(model, recorder.epoch)
            else:
                step(recorder, model, what, values, their)
        except Refused:
            pass
    recorder.close()
    run = open_run(path)
    check(run, model)
    data = run.to_xarray()
    for name in run.snapshot_states:
        assert f"snapshot_state/{name}" in data
    if not sample:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*beyond 2\\*\\*53, which are rounded")
            assert run.to_netcdf(path.with_name("run.nc")).stat().st_size
