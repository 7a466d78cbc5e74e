"""Arguments of figures, tables and runs: any number type that holds an allowed value is taken, all else is refused by name."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

import pldebias as pld
from pldebias import plots
from pldebias.methods import build_method
from pldebias.runs import NotLogged

NONE = {"backend": "none"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    attrs = {"method": "fixmatch", "data": "d", "seed": 0}
    path = tmp_path_factory.mktemp("runs") / "one"
    with pld.Recorder(path, truth, [30, 20, 10], ["a", "b", "c"], attrs=attrs, num_features=4, snapshots=(0, 1), num_epochs=2) as recorder:
        for epoch in range(2):
            logits = rng.normal(size=(60, 3)).astype(np.float16)
            recorder.end_epoch(
                iteration=10 * epoch + 10,
                scalars={"balanced_accuracy": 0.5},
                sweep=(logits.argmax(1), rng.random(60) > 0.5),
                test=np.eye(3, dtype=int) * 5,
                logits=logits,
                features=rng.normal(size=(60, 4)).astype(np.float16),
            )
    return pld.open_run(path)


def whole(n):
    return [np.int8(n), np.int64(n), np.array(n), torch.tensor(n), torch.tensor(n, dtype=torch.uint8), float(n), np.float32(n), Decimal(n)]


def real(x):
    return [np.float32(x), np.array(x), torch.tensor(x), torch.tensor(x, dtype=torch.bfloat16), Decimal(str(x)), Fraction(x)]


WHOLE = [
    1.5,
    float("nan"),
    float("inf"),
    np.nan,
    True,
    np.True_,
    "x",
    b"x",
    [1],
    {},
    torch.tensor([1, 2]),
    np.datetime64("2020"),
    10**30,
    1j,
]
REAL = [float("nan"), float("inf"), True, "x", [0.5], torch.tensor([0.5, 0.5]), {}, pd.NA, datetime.date(2020, 1, 1)]
TEXT = ["nothing", "", 3, True, [], np.nan, b"x"]
SEVERAL = [
    [0, 1],
    (0, 1),
    range(2),
    np.array([0, 1]),
    torch.tensor([0, 1]),
    pd.Series([0, 1]),
    pd.Index([0, 1]),
    [np.int64(0)],
    np.uint8(1),
    1,
]
FEW = [[], [0.5], ["x"], "x", [True], [None], {}, [99]]
PAIRS = [(3, 2), [3, 2], np.array([3, 2]), torch.tensor([3, 2]), pd.Series([3, 2])]
EMBED = {"epochs": [1], "per_class": 3, "cache": False, "progress": False}

# The argument by its name, a call, what is taken, what is refused.
TABLE = [
    ("epoch", lambda r, v: plots.confusion(r, epoch=v), whole(1), [*WHOLE, 99, -99]),
    ("epoch", lambda r, v: plots.recall_precision(r, epoch=v, **NONE), whole(1), [*WHOLE, 99, None]),
    ("epoch", lambda r, v: r.logits(v), whole(1), [*WHOLE, 99, None]),
    ("epoch", lambda r, v: r.confusion(epoch=v), [*whole(1), *SEVERAL], [1.5, np.nan, True, "x", [0.5], [True], 10**30, 99, [99]]),
    ("start", lambda r, v: plots.flows(r, v), whole(0), WHOLE),
    ("epochs", lambda r, v: plots.confusion_epochs(r, v, **NONE), SEVERAL, FEW),
    ("epochs", lambda r, v: pld.embed(r, **{**EMBED, "epochs": v}), SEVERAL, FEW),
    ("seed", lambda r, v: pld.embed(r, seed=v, **EMBED), whole(3), [*WHOLE, -1, None]),
    ("per_class", lambda r, v: pld.embed(r, **{**EMBED, "per_class": v}), whole(3), [*WHOLE, 0, -1]),
    ("perplexity", lambda r, v: pld.embed(r, perplexity=v, **EMBED), real(0.5)[:0], [*REAL, None]),
    ("level", lambda r, v: plots.learning_order(r, level=v), real(0.5), [*REAL, 2, None]),
    ("level", lambda r, v: pld.table([r], level=v), real(0.5), [*REAL, 0, 1, None]),
    ("hold", lambda r, v: plots.learning_order(r, hold=v), whole(1), [*WHOLE, 0, None]),
    ("digits", lambda r, v: str(pld.table([r], digits=v)), whole(2), [*WHOLE, -1, None]),
    ("values", lambda r, v: pld.table([r], values=v), ["recall", ["recall"], ("recall",), np.array(["recall"])], [*TEXT, None]),
    ("value", lambda r, v: plots.accuracy_gamma([r], v, **NONE), [], [*TEXT, None, ["recall"]]),
    ("label", lambda r, v: pld.table([r]).to_latex(label=v), ["tab:a", np.str_("a"), None], [3, True, ["a"], b"x"]),
    ("statistic", lambda r, v: pld.table([r], statistic=v), ["last", np.str_("last")], TEXT),
    ("published", lambda r, v: pld.table([r], published=v), [np.False_, torch.tensor(False)], ["maybe", 3, None]),
    ("width", lambda r, v: plots.recall_precision(r, width=v, **NONE), [np.str_("single")], [*TEXT, None]),
    ("error", lambda r, v: plots.training_curves(r, "recall", error=v, **NONE), ["sd"], [*TEXT, None]),
    ("kind", lambda r, v: plots.confusion(r, kind=v), ["sweep"], [*TEXT, None]),
    ("scale", lambda r, v: plots.confusion(r, scale=v), ["log"], [*TEXT, None]),
    (
        "rule",
        lambda r, v: plots.recall_precision(r, groups=v, **NONE),
        PAIRS,
        [3, None, True, np.nan, (1,), (1, 2, 3), (np.nan, 1), ("a", "b")],
    ),
]


@pytest.mark.parametrize(("name", "call", "good", "bad"), TABLE, ids=[f"{name}{i}" for i, (name, *_) in enumerate(TABLE)])
def test_numbers_of_any_type(run, name, call, good, bad):
    for value in good:
        call(run, value)
    for value in bad:
        with pytest.raises((ValueError, NotLogged)) as error:
            call(run, value)
        assert "\n" not in str(error.value).strip() or "tensor" in str(error.value), value


@pytest.mark.parametrize("value", [None, 3, [], b"x", 1.5, True])
def test_what_is_no_run(value):
    for call in (pld.open_run, pld.what_if, pld.explore, pld.embed, pld.table):
        with pytest.raises((ValueError, OSError)):
            call(value)


def test_options_of_methods():
    build_method("fixmatch", {"fixmatch": {"threshold": np.float32(0.5), "views": torch.tensor(2)}})
    for option, wrong in (("threshold", "high"), ("threshold", True), ("views", 1.5), ("lambda_u", float("inf")), ("teacher", 3)):
        with pytest.raises(ValueError, match=rf"fixmatch\({option}=.*\): give "):
            build_method("fixmatch", {"fixmatch": {option: wrong}})
