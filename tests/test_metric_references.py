"""Every metric against plain Python that goes through the samples one by one, and what must hold of each of them."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import SOAK

from pldebias import metrics as m

nan = float("nan")
often = settings(max_examples=3000 if SOAK else 60, deadline=None, derandomize=not SOAK)
SAMPLE = st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans())
"""True class, label, whether it was accepted; of five classes some are often missing."""
SAMPLES = st.lists(SAMPLE, max_size=40)
COUNTS = st.lists(st.integers(0, 30), min_size=5, max_size=5)
K = 5


def over(numerator, denominator):
    return numerator / denominator if denominator else nan


def mean(values):
    values = [value for value in values if value == value]
    return sum(values) / len(values) if values else nan


# -- one reference for each; arguments are samples (true, label, accepted) and labelled counts ------------------------------------------


def count(samples, true=None, label=None, accepted=None):
    return sum((true is None or t == true) and (label is None or c == label) and (accepted is None or a == accepted) for t, c, a in samples)


def recalls(samples):
    return [over(count(samples, k, k), count(samples, k)) for k in range(K)]


def precisions(samples):
    return [over(count(samples, k, k), count(samples, label=k)) for k in range(K)]


def f1s(samples):
    return [over(2 * count(samples, k, k), count(samples, k) + count(samples, label=k)) for k in range(K)]


def g_mean(samples):
    defined = [r for r in recalls(samples) if r == r]
    return math.prod(defined) ** (1 / len(defined)) if defined else nan


def tertiles(counts):
    order = sorted(range(K), key=lambda k: (-counts[k], k))
    return order[:1], order[1:4], order[4:]


def group(samples, counts):
    r, p = recalls(samples), precisions(samples)
    return [[mean(r[k] for k in part) for part in tertiles(counts)], [mean(p[k] for k in part) for part in tertiles(counts)]]


def ratio(counts):
    return nan if not any(counts) else math.inf if not all(counts) else max(counts) / min(counts)


def bias(samples, counts):
    n = len(samples)
    if not n:
        return [nan] * 5
    p, q = ([part / n for part in side] for side in (numbers(samples, 0), numbers(samples, 1)))
    kl = sum(0 if b == 0 else math.inf if a == 0 else b * math.log(b / a) for a, b in zip(p, q, strict=True))
    (head,), _, (tail,) = tertiles(counts)
    return [
        max(kl, 0),
        sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2,
        ratio(numbers(samples, 1)),
        over(count(samples, tail, head), count(samples, tail)),
        over(count(samples, head, tail), count(samples, head)),
    ]


def numbers(samples, side):
    return [sum(sample[side] == k for sample in samples) for k in range(K)]


def correctness(samples, counts):
    weight = [1 / (n + 1) for n in counts]
    right = sum(weight[t] for t, c, a in samples if a and t == c)
    return over(over(right**2, sum(weight[t] for t, *_ in samples)), sum(weight[t] for t, _, a in samples if a))


def matrix(samples, accepted=None):
    found = np.zeros((K, K), int)
    for t, c, a in samples:
        if accepted is None or a == accepted:
            found[t, c] += 1
    return found


def wilson(k, n, z=1.959963984540054):
    """Its two ends solve ``(p - k/n)**2 = z**2 p (1 - p) / n``."""
    if not n:
        return nan, nan
    a, b, c = 1 + z * z / n, -(2 * k / n + z * z / n), (k / n) ** 2
    root = math.sqrt(max(b * b - 4 * a * c, 0))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def ours(name, samples, counts):
    """What `metrics` says."""
    every, some, function = matrix(samples), matrix(samples, True), getattr(m, name)
    return {
        "confusion_matrix": lambda: function([t for t, *_ in samples], [c for _, c, _ in samples], K),
        "group": lambda: [*function(every, m.groups(counts))[:2]],
        "groups": lambda: np.concatenate(function(counts)[:3]),
        "bias_indices": lambda: [*function(every, m.groups(counts))],
        "acceptance": lambda: function(every, some),
        "utilisation": lambda: function(every, some),
        "correctness": lambda: function(every, some, np.add(counts, 1)),
        "imbalance_ratio": lambda: function(counts),
        "macro": lambda: function(m.recall(every)),
        "wilson": lambda: function(np.diag(every), every.sum(1)),
    }.get(name, lambda: function(every))()


PLAIN = {
    "acceptance": lambda s, n: [over(count(s, label=k, accepted=True), count(s, label=k)) for k in range(K)],
    "accuracy": lambda s, n: over(sum(t == c for t, c, _ in s), len(s)),
    "balanced_accuracy": lambda s, n: mean(recalls(s)),
    "bias_indices": bias,
    "confusion_matrix": lambda s, n: matrix(s),
    "correctness": correctness,
    "f1": lambda s, n: f1s(s),
    "g_mean": lambda s, n: g_mean(s),
    "gain": lambda s, n: [over(count(s, label=k), count(s, k)) for k in range(K)],
    "group": group,
    "groups": lambda s, n: [k for part in tertiles(n) for k in part],
    "imbalance_ratio": lambda s, n: ratio(n),
    "macro": lambda s, n: mean(recalls(s)),
    "precision": lambda s, n: precisions(s),
    "recall": lambda s, n: recalls(s),
    "support": lambda s, n: numbers(s, 0),
    "utilisation": lambda s, n: [over(count(s, k, accepted=True), count(s, k)) for k in range(K)],
    "wilson": lambda s, n: [*zip(*(wilson(count(s, k, k), count(s, k)) for k in range(K)), strict=True)],
}
PER_CLASS = ("acceptance", "f1", "gain", "precision", "recall", "support", "utilisation")
WHOLE = ("accuracy", "balanced_accuracy", "g_mean", "macro", "correctness", "imbalance_ratio", "bias_indices", "group")
OF_SERIES = ("ece", "mce", "last_and_median")


def test_no_metric_is_forgotten():
    assert {*PLAIN, *OF_SERIES} == set(m.__all__) - {"Bias", "Groups", "GroupScores"}
    assert {*PER_CLASS, *WHOLE, "confusion_matrix", "groups", "wilson"} == set(PLAIN)


@pytest.mark.parametrize("name", PLAIN)
@often
@given(SAMPLES, COUNTS)
def test_it_is_what_plain_python_counts(name, samples, counts):
    """Also where it is undefined: NaN at the same places."""
    np.testing.assert_allclose(
        ours(name, samples, counts), PLAIN[name](samples, counts), rtol=1e-9, atol=1e-7 if name == "wilson" else 1e-12
    )


@pytest.mark.parametrize("name", (*PER_CLASS, *WHOLE))
@often
@given(SAMPLES, st.permutations([3, 7, 12, 20, 31]), st.permutations(range(K)))
def test_renaming_classes_renames_it(name, samples, counts, names):
    """Class k becomes names[k]; labelled counts differ, so that no tie of head and tail can turn."""
    renamed = [(names[t], names[c], a) for t, c, a in samples]
    before, after = ours(name, samples, counts), ours(name, renamed, [counts[names.index(k)] for k in range(K)])
    np.testing.assert_allclose(np.asarray(after)[names] if name in PER_CLASS else after, before, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted({*PER_CLASS, *WHOLE} - {"support"}))
@often
@given(SAMPLES, COUNTS, st.integers(2, 5))
def test_every_sample_several_times_changes_nothing(name, samples, counts, times):
    before, after = ours(name, samples, counts), ours(name, samples * times, counts)
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-12)


@often
@given(SAMPLES, SAMPLES, COUNTS)
def test_batches_can_be_merged(first, second, counts):
    """Matrices add up, and a rate of both is the mean of the two rates by what each is a share of."""
    both = first + second
    np.testing.assert_array_equal(ours("confusion_matrix", both, counts), matrix(first) + matrix(second))
    for name, shares in (
        ("recall", lambda s: numbers(s, 0)),
        ("precision", lambda s: numbers(s, 1)),
        ("acceptance", lambda s: numbers(s, 1)),
        ("utilisation", lambda s: numbers(s, 0)),
        ("accuracy", lambda s: [len(s)]),
    ):
        n = [np.asarray(shares(part), float) for part in (first, second)]
        parts = [np.nan_to_num(ours(name, part, counts)) for part in (first, second)]
        with np.errstate(invalid="ignore"):
            expected = (n[0] * parts[0] + n[1] * parts[1]) / (n[0] + n[1])
        np.testing.assert_allclose(np.atleast_1d(ours(name, both, counts)), expected, rtol=1e-9, atol=1e-12)


# -- calibration and series --------------------------------------------------------------------------------------------------------------

EIGHTH = st.integers(0, 64).map(lambda i: i / 64)  # exact in float32, and often on the edge of a bin


def gaps(confidence, correct, bins):
    """``(samples, |accuracy - confidence|)`` of every bin with samples; bins are closed on the left."""
    edges = [np.float32(edge) for edge in np.linspace(0, 1, bins + 1, dtype=np.float32)]
    found = {}
    for c, right in zip(confidence, correct, strict=True):
        found.setdefault(sum(c >= edge for edge in edges), []).append(right - c)
    return [(len(part), abs(sum(part)) / len(part)) for part in found.values()]


@often
@given(st.lists(st.tuples(EIGHTH, st.booleans()), max_size=60), st.integers(1, 20), st.randoms(use_true_random=False))
def test_calibration_is_what_plain_python_counts(rows, bins, random):
    confidence, correct = [c for c, _ in rows], [right for _, right in rows]
    parts = gaps(confidence, correct, bins)
    expected = sum(n * gap for n, gap in parts) / len(rows) if rows else nan
    assert m.ece(confidence, correct, bins) == pytest.approx(expected, abs=1e-7, nan_ok=True)
    assert m.mce(confidence, correct, bins) == pytest.approx(max((gap for _, gap in parts), default=nan), abs=1e-7, nan_ok=True)
    shuffled = random.sample(rows, len(rows)) * 2
    assert m.ece([c for c, _ in shuffled], [right for _, right in shuffled], bins) == pytest.approx(expected, abs=1e-7, nan_ok=True)
    if rows:
        assert 0 <= m.ece(confidence, correct, bins) <= m.mce(confidence, correct, bins) + 1e-7 <= 1 + 1e-6


@often
@given(st.lists(st.lists(st.floats(0, 1) | st.just(nan), min_size=7, max_size=7), min_size=1, max_size=3), st.integers(1, 9))
def test_last_and_median_are_what_plain_python_finds(rows, n):
    for row, last, median in zip(rows, *m.last_and_median(rows, n), strict=True):
        defined = [value for value in row if value == value]
        assert last == pytest.approx(defined[-1] if defined else nan, nan_ok=True)
        assert median == pytest.approx(statistics.median(defined[-n:]) if defined else nan, nan_ok=True)


@often
@given(st.integers(1, 500), st.data())
def test_wilson_is_scipys(n, data):
    from scipy import stats

    k = data.draw(st.integers(0, n))
    interval = stats.binomtest(k, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(m.wilson(k, n), (interval.low, interval.high), rtol=1e-9, atol=1e-12)
