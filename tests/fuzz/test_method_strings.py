"""Method strings and configurations given anything at all: they work, or say what is wrong by our own errors."""

import inspect
import string

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from cases import bounded, fuzz
from hypothesis import given

import pldebias
from pldebias.data import DataError, SplitSpec, build
from pldebias.methods import LEARNERS, SCHEMES, Method, MethodError, build_method, parse, slug
from pldebias.presets import PRESETS, Config, ConfigError, resolve
from pldebias.registry import PluginError
from pldebias.runs import open_run
from pldebias.schemes import Problem
from pldebias.training import TrainingError
from pldebias.training.train import configure

PARTS = {**LEARNERS, **SCHEMES}
ODD = st.one_of(
    st.sampled_from([0, -1, 1, 2, 0.5, 1e300, float("inf"), float("nan"), -0.0, 2**70, True, None]),
    st.sampled_from(["", "x", "all", (), (1, 2), [], {}, b"x"]),
    st.floats(),
    st.integers(-(2**40), 2**40),
    st.text(max_size=5),
)
LITERALS = st.one_of(
    ODD.map(repr), st.sampled_from(["{1, 2}", "1j", "...", "lambda: 0", "__import__('os')", "x.y", "[1]*10**9", "9**9**9", "-" * 200 + "1"])
)


MODEST = ODD.filter(lambda value: not isinstance(value, (int, float)) or not 500 < abs(value) < float("inf"))
"""Without what asks for more memory than there is, or for a training of weeks."""


def options_of(name):
    known = [p for p in inspect.signature(PARTS[name]).parameters.values() if p.kind is not p.VAR_KEYWORD]
    return st.sampled_from([p.name for p in known] or ["x"])


@st.composite
def parts(draw):
    name = draw(st.one_of(st.sampled_from(sorted(PARTS)), st.sampled_from(["", "fixmatsh", "a.b", "fixmatch()", "1", "class"])))
    if name not in PARTS or draw(st.booleans()):
        return name
    given = draw(st.lists(st.tuples(options_of(name), LITERALS), max_size=2))
    return f"{name}({', '.join(f'{k}={v}' for k, v in given)})"


METHODS = st.one_of(
    st.text(alphabet=string.printable + "é∑\x00", max_size=30),
    st.lists(parts(), min_size=1, max_size=4).map("+".join),
    st.tuples(st.sampled_from(sorted(LEARNERS)), st.lists(parts(), max_size=3)).map(lambda m: "+".join((m[0], *m[1]))),
)


@fuzz(30)
@given(METHODS)
def test_method_strings(method):
    with bounded("method strings"):
        try:
            built = build_method(method)
        except MethodError as error:
            assert str(error)
            return
        assert isinstance(built, Method) and slug(method) and "/" not in slug(method)
        assert str(build_method(built.spelling).spelling) == built.spelling and [p.name for p in parse(built.spelling)]


ENDLESS = ["+" * 50_000, "(" * 5_000, "fixmatch" + "+la" * 20_000, "fixmatch(threshold=" + "9" * 5_000 + ")", "x" * 10**6, "\x00", ""]


@pytest.mark.parametrize("method", ENDLESS, ids=range(len(ENDLESS)))
def test_endless_method_strings(method):
    with bounded("method strings"), pytest.raises(MethodError) as refused:
        build_method(method)
    assert len(str(refused.value)) < 5_000


@fuzz(2)
@given(METHODS, st.integers(2, 12), st.integers(0, 10**6))
def test_methods_that_can_be_built_can_be_set_up(method, k, seed):
    """And label what they are given: in 0..K-1, with a finite mask."""
    with bounded("methods set up"):
        r = np.random.default_rng(seed)
        try:
            built = build_method(method)
            counts = torch.tensor(np.sort(r.integers(1, 50, k))[::-1].copy())
            built.setup(Problem(k, counts, 20, 100, 10, 8, unlabelled_counts=counts))
        except MethodError as error:
            assert str(error)


FIELDS = [*(name for name in Config.__dataclass_fields__ if name not in ("method", "data")), "colour"]
DATA = st.one_of(st.sampled_from([*PRESETS, "cifar10", "imagefolder:", "parquet:/none", ""]), st.text(max_size=8))


@fuzz(15)
@given(DATA, st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=3))
def test_configurations(data, settings):
    with bounded("configurations"):
        try:
            config = resolve("fixmatch", data, **settings)
            configure("fixmatch+daso", data, **settings)
        except (ConfigError, MethodError, DataError, PluginError) as error:
            assert str(error)
            return
        assert config.epochs >= 1


SPLITS = st.fixed_dictionaries(
    {},
    optional={
        "n1": st.integers(-2, 80) | st.none(),
        "m1": st.integers(-2, 80) | st.none(),
        "gamma_l": st.floats(0.5, 200) | ODD,
        "gamma_u": st.floats(0.5, 200) | ODD,
        "reverse_unlabelled": st.booleans(),
        "class_order": st.lists(st.integers(-1, 10), max_size=10) | st.permutations(range(10)) | ODD,
        "protocol": st.sampled_from(["daso", "usb", "x"]) | ODD,
        "validation": st.integers(-1, 300) | ODD,
        "holdout": st.floats(-1, 3) | st.integers(-1, 20) | ODD,
        "include_labelled": st.booleans(),
        "unknown_labels": st.booleans(),
        "relevance": st.floats(-0.5, 1.5) | ODD,
        "distractors": st.sampled_from(["digits", "none", ""]) | ODD,
        "image_size": st.sampled_from([1, 2, 8, 16, 0, -1]) | MODEST,
        "source": st.sampled_from(["digits", "nothing", ""]) | ODD,
    },
)


@fuzz(3)
@given(SPLITS)
def test_splits(tmp_path_factory, split):
    """Of the digits: a data set whose counts are those of its labels, or a DataError."""
    with bounded("splits"):
        root = str(tmp_path_factory.getbasetemp() / "none")
        try:
            made = build(SplitSpec(**{"source": "digits", "n1": 20, "m1": 20, "root": root} | split), 0)
        except DataError as error:
            assert str(error)
            return
        assert torch.equal(torch.bincount(made.labelled.labels, minlength=10), made.labelled_counts) and (made.labelled_counts > 0).all()
        counted = made.unlabelled_counts
        assert counted is None or torch.equal(torch.bincount(made.unlabelled.labels, minlength=10), counted)


TRAINED = [name for name in FIELDS if name not in ("seed", "source", "root", "device", "threads", "stream", "init", "options", "colour")]


@fuzz(0.4)
@given(
    st.sampled_from(["fixmatch", "supervised", "fixmatch+daso", "fixmatch+la+debiaspl"]),
    st.dictionaries(st.sampled_from(TRAINED), MODEST, max_size=1),
)
def test_trainings(tmp_path_factory, method, settings):
    """One step of a training with any setting: it runs or is refused, and a refusal leaves nothing behind."""
    out = tmp_path_factory.mktemp("train")
    with bounded("trainings"):
        try:
            settings = {"n1": 20, "m1": 20, "steps": 1, "steps_per_epoch": 1, "batch_size": 4, "progress": False} | settings
            run = pldebias.train(method, "digits-lt", out=out, **settings)
        except (ConfigError, MethodError, DataError, PluginError, TrainingError) as error:
            assert str(error)
            assert isinstance(error, TrainingError) or not list(out.rglob("zarr.json"))
            return
        assert open_run(run.path).finished
