"""The views' JavaScript: its numbers are those of `pldebias.metrics`; its own tests run in Node.js, without a browser."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from needs import missing

from pldebias import metrics

HERE = Path(__file__).parent / "js"


def numbers(values):
    """Nested lists, with None for what is undefined and the largest number for what is infinite."""
    values = np.asarray(values, float)
    finite = np.where(np.isinf(values), np.copysign(1e308, values), values)
    return np.where(np.isnan(values), None, finite.astype(object)).tolist()


def fixtures(random):
    """Inputs, and what this package makes of them."""
    pairs = [(0, 0), (0, 5), (5, 5), *zip(random.integers(0, 40, 20).tolist(), random.integers(40, 90, 20).tolist(), strict=True)]
    wilson = [[k, n, *numbers(np.ravel(metrics.wilson(k, n)))] for k, n in pairs]
    newcombe = []
    for (k, n), (j, m) in zip(pairs[1:], reversed(pairs[1:]), strict=True):
        (pl, ph), (ql, qh) = metrics.wilson(k, n), metrics.wilson(j, m)
        p, q = k / n, j / m
        newcombe.append([k, n, j, m, float(p - q - np.hypot(p - pl, qh - q)), float(p - q + np.hypot(ph - p, q - ql))])
    lists = [random.random(size).round(3).tolist() for size in (1, 2, 5, 8)]
    matrices = []
    for classes in (3, 4, 10):
        matrix = random.integers(0, 9, (classes, classes)) * (random.random((classes, classes)) < 0.7)
        matrix[1], matrix[:, 2] = 0, 0  # a class without samples, and one without labels
        parts = metrics.groups(np.arange(classes, 0, -1))
        scores, truth, given = metrics.group(matrix, parts), matrix.sum(1), matrix.sum(0)
        with np.errstate(all="ignore"):
            shares = {
                "true": matrix / truth[:, None], "pred": matrix / given, "all": matrix / matrix.sum(),
                "prior": np.log2(matrix * matrix.sum() / np.outer(truth, given)),
            }  # fmt: skip
            ratio = [given[part].sum() / (truth[part].sum() or np.nan) for part in parts[:3]]
        matrices.append({
            "matrix": matrix.tolist(), "groups": [part.tolist() for part in parts[:3]], "recall": numbers(metrics.recall(matrix)),
            "precision": numbers(metrics.precision(matrix)), "balanced": numbers(metrics.balanced_accuracy(matrix)),
            "groupRecall": numbers(scores.recall), "groupRatio": numbers(ratio),
            "shares": {mode: numbers(values.ravel()) for mode, values in shares.items()},
        })  # fmt: skip
    values = [100 * k / n for n in range(1, 41) for k in range(n + 1)]
    return {
        "wilson": wilson,
        "newcombe": newcombe,
        "quantile": [[values, q, float(np.quantile(values, q))] for values in lists for q in (0, 0.1, 0.5, 0.9, 1)],
        "matrices": matrices,
        "fixed": [[v, digits, f"{v:.{digits}f}"] for v in values for digits in range(3)],
        "grouped": [[n, f"{n:,}"] for n in (0, 7, 999, 1000, 1234567)],
    }


def test_its_numbers_are_those_of_the_package(tmp_path):
    node = shutil.which("node")
    if node is None:
        missing("Node.js is not on PATH; install it (nodejs) to run the tests of the views' JavaScript")
    path = tmp_path / "fixtures.json"
    path.write_text(json.dumps(fixtures(np.random.default_rng(0))))
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap"],
        cwd=HERE,
        env=os.environ | {"PLDEBIAS_FIXTURES": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "# skipped 0" in done.stdout and "# pass 1" in done.stdout


@pytest.mark.parametrize("path", sorted((HERE.parents[1] / "pldebias/widgets/js").rglob("*.[jt]s")), ids=lambda path: path.stem)
def test_its_lines_are_short(path):
    assert max(map(len, path.read_text().splitlines())) <= 140
