"""Class counts and splits: index for index what the official codes gave."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pldebias.data import DataError, class_counts
from pldebias.data.longtail import cut_holdout, imbalance, split_daso, split_usb, split_validation
from pldebias.data.plan import plan_counts, resolve_order
from tests.golden_files import vectors

NAMES10 = tuple("abcdefghij")


def test_class_counts_equal_daso(golden):
    arrays, _ = golden("daso_seval/lt_counts_daso")
    for (k, n1, gamma, reverse), wanted, applied in zip(
        arrays["in_K_n1_gamma_rev"].tolist(), arrays["out_counts"], arrays["out_counts_make_imbalance"], strict=True
    ):
        counts = class_counts(n1, gamma, k, bool(reverse))
        assert counts == wanted[:k].tolist()
        if applied[0] >= 0:
            assert counts == applied[:k].tolist()


def test_class_counts_equal_darp(golden):
    arrays, _ = golden("daso_seval/lt_counts_darp")
    for (k, n1, gamma), wanted in zip(arrays["in_K_n1_gamma"].tolist(), arrays["out_counts"], strict=True):
        assert class_counts(n1, gamma, k) == wanted[:k].tolist()


def test_class_counts_equal_usb(golden):
    arrays, _ = golden("debiaspl_adello/longtail_counts_usb")
    assert len(arrays) > 1000
    for key, wanted in arrays.items():
        k, n1, gamma = map(int, re.fullmatch(r"usb_K(\d+)_N(\d+)_g(-?\d+)", key).groups())
        assert class_counts(n1, abs(gamma), k, gamma < 0) == wanted.tolist()


@pytest.mark.parametrize(
    ("n1", "gamma", "k", "total"),
    [(500, 100, 10, 1236), (1500, 150, 10, 3496), (4000, 100, 10, 9922), (50, 10, 100, 1911), (450, 10, 10, 1835), (3000, 1, 10, 30000)],
)
def test_published_totals(n1, gamma, k, total):
    assert sum(class_counts(n1, gamma, k)) == total


@settings(deadline=None)
@given(st.integers(1, 10000), st.floats(1, 1000), st.integers(1, 200))
def test_class_counts_fall_from_head_to_tail(head, gamma, k):
    counts = class_counts(head, gamma, k)
    assert counts[0] == head and counts == sorted(counts, reverse=True) and len(counts) == k
    assert class_counts(head, gamma, k, reverse=True) == counts[::-1]
    if k > 1:
        assert abs(counts[-1] - head / gamma) <= 1


@pytest.mark.parametrize("gamma", [0.5, 0, -10, float("nan"), float("inf")])
def test_gamma_below_one_is_refused_with_the_way_out(gamma):
    with pytest.raises(DataError, match="reverse_unlabelled=True"):
        class_counts(100, gamma, 10)


def test_no_class_is_refused():
    with pytest.raises(DataError, match="at least 1"):
        class_counts(0, 10, 10)


@vectors("daso_seval/split_K*")
def test_daso_split(vector, golden):
    arrays, meta = golden(vector)
    h, labels = meta["hyperparameters"], arrays["in_labels"]
    sizes = np.bincount(labels[arrays["out_train_idx"]]).tolist()
    k = len(sizes)
    rest, validation = split_validation(labels, h["num_valid"], k, h["seed"])
    assert np.array_equal(rest, arrays["out_train_idx"]) and np.array_equal(validation, arrays["out_valid_idx"])
    n, m = plan_counts(sizes, range(k), range(k), n1=h["N1"], m1=h["M1"], gamma_l=h["gamma_l"], gamma_u=h["gamma_u"], reverse=h["reverse"])
    kwargs = {"order": list(range(k)), "reverse": h["reverse"], "validation": h["num_valid"], "seed": h["seed"]}
    labelled, unlabelled, held = split_daso(labels, n, m, **kwargs)
    assert np.array_equal(labelled, arrays["out_labelled_idx"])
    assert np.array_equal(unlabelled, arrays["out_unlabelled_idx"])
    assert np.array_equal(held, arrays["out_valid_idx"])
    train, darp = cut_holdout(labels[labelled], 2, k)
    assert np.array_equal(labelled[train], arrays["out_holdout_train"])
    assert np.array_equal(labelled[darp], arrays["out_holdout_val"])


@pytest.mark.parametrize(("name", "seed"), [("cifar", None), ("aves", 79)])
def test_seval_holdout(golden, name, seed):
    arrays, _ = golden(f"daso_seval/seval_holdout_{name}")
    labels = arrays["in_labels"]
    train, held = cut_holdout(labels, 0.5, int(labels.max()) + 1, seed)
    assert np.array_equal(train, arrays["out_train"]) and np.array_equal(held, arrays["out_val"])


@vectors("debiaspl_adello/usb_split_cifar*")
def test_usb_split(vector, golden):
    arrays, _ = golden(vector)
    labels = arrays["targets"].astype(np.int64)
    k = int(labels.max()) + 1
    keys = [key.removesuffix("_ulb_idx") for key in arrays if key.endswith("_ulb_idx")]
    assert keys
    for key in keys:
        n1, m1, gamma_l, gamma_u, include = map(int, re.fullmatch(r"N(\d+)_M(\d+)_g(\d+)_(-?\d+)_inc(\d)", key).groups())
        m1 = m1 // k if gamma_u == 1 else m1  # USB counts a uniform set in total
        n, m = plan_counts(
            np.bincount(labels).tolist(), range(k), range(k), n1=n1, m1=m1, gamma_l=gamma_l, gamma_u=abs(gamma_u), reverse=gamma_u < 0
        )
        labelled, unlabelled, _ = split_usb(labels, n, m, seed=0)
        assert np.array_equal(labelled, arrays[f"{key}_lb_idx"]), key
        assert np.array_equal(np.concatenate([labelled, unlabelled]) if include else unlabelled, arrays[f"{key}_ulb_idx"]), key


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 20), st.integers(0, 20), st.integers(0, 5), st.booleans(), st.integers(0, 2**31), st.booleans())
def test_splits_are_disjoint_and_as_planned(k, n1, m1, validation, reverse, seed, usb):
    rng = np.random.RandomState(seed)
    labels = rng.permutation(np.repeat(np.arange(k), n1 + m1 + validation + rng.randint(0, 9, k)))
    sizes = np.bincount(labels) - validation
    order = rng.permutation(k).tolist()
    names = list(map(str, range(k)))
    gamma = min(3.0, n1)
    n, m = plan_counts(sizes.tolist(), names, order, n1=n1, m1=m1 or None, gamma_l=gamma, gamma_u=1, reverse=reverse)
    if usb:
        parts = split_usb(labels, n, m, validation=validation * k, seed=seed)
    else:
        parts = split_daso(labels, n, m, order=order, reverse=reverse, validation=validation * k, seed=seed)
    everything = np.concatenate(parts)
    assert len(np.unique(everything)) == len(everything)
    assert np.bincount(labels[parts[0]], minlength=k).tolist() == n
    assert np.bincount(labels[parts[1]], minlength=k).tolist() == m
    assert np.bincount(labels[parts[2]], minlength=k).tolist() == [validation] * k
    assert n[order[0]] == n1


def test_unequal_classes_may_give_less_than_both_pools():
    labels = np.repeat([0, 1, 2], [100, 30, 12])
    n, m = plan_counts([100, 30, 12], "abc", (0, 1, 2), n1=40, m1=60, gamma_l=10, gamma_u=10)
    labelled, unlabelled, _ = split_daso(labels, n, m, order=(0, 1, 2), seed=3)
    assert n == [40, 12, 4] and np.bincount(labels[labelled]).tolist() == n
    assert m == [60, 18, 6] and np.bincount(labels[unlabelled]).tolist() == m


def test_reversed_unlabelled_counts():
    n, m = plan_counts([500] * 10, NAMES10, range(10), n1=100, m1=400, gamma_l=10, gamma_u=100, reverse=True)
    assert n == class_counts(100, 10, 10) and m == class_counts(400, 100, 10)[::-1]


def test_none_takes_what_is_left():
    n, m = plan_counts([50, 40], "ab", (0, 1), n1=10, m1=None, gamma_l=2, gamma_u=1)
    assert (n, m) == ([10, 5], [40, 35])
    n, m = plan_counts([50, 40], "ab", (0, 1), n1=None, m1=30, gamma_l=1, gamma_u=1)
    assert (n, m) == ([20, 10], [30, 30])
    n, m = plan_counts([50, 40], "ab", (1, 0), n1=10, m1=None, gamma_l=1, gamma_u=3)
    assert (n, m) == ([10, 10], [10, 30])


def test_too_small_a_class_is_named():
    with pytest.raises(
        DataError, match=r"class 'c' has 100 images.*n1=60 and m1=60 ask for 60 labelled \+ 60 unlabelled = 120: lower n1 or m1 by 20"
    ):
        plan_counts([500, 500, 100], "abc", (2, 0, 1), n1=60, m1=60, gamma_l=2, gamma_u=2)


def test_a_class_without_labels_is_named():
    with pytest.raises(DataError, match=r"n1=5 with gamma_l=20 leaves class 'c' \(rank 2 .*raise n1 to at least 20"):
        plan_counts([500] * 3, "abc", (0, 1, 2), n1=5, m1=10, gamma_l=20, gamma_u=1)


def test_labelling_everything_is_refused():
    with pytest.raises(DataError, match="n1=None and m1=None"):
        plan_counts([5, 5], "ab", (0, 1), n1=None, m1=None, gamma_l=1, gamma_u=1)


def test_order_by_name_and_id():
    assert resolve_order(("c", 0, "1"), "abc", (0, 1, 2)) == (2, 0, 1)
    assert resolve_order(None, "abc", (1, 2, 0)) == (1, 2, 0)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (("a", "x", "c"), "'x' is no class"),
        ((0, 1, 7), "7 is no class"),
        ((0, 1), "lacks 'c'"),
        ((0, 1, 1), "repeats 'b'"),
        ((0, -1, 2), "-1"),
    ],
)
def test_bad_orders(order, message):
    with pytest.raises(DataError, match=message):
        resolve_order(order, "abc", (0, 1, 2))


def test_imbalance_follows_the_class_list():
    labels = np.array([0, 1, 2] * 5)
    kept = imbalance(labels, [1, 2, 3], (2, 1, 0), 0)
    assert labels[kept].tolist() == [2, 2, 2, 1, 1, 0]
