"""One run, one set of numbers: tables, LaTeX, report, command line, catalogue, figures, exports and explorer say what `metrics` says.

Counts are compared exactly. Figures computed from them are compared within `RTOL`: the same mean, summed in another order, differs in its
last bits, and the counts that a training ends with depend on the CPU. The explorer's page is compared in tests/browser.
"""

import html
import json
import re
import sys

import numpy as np
import pytest

import pldebias as pld
from pldebias import cli, metrics
from pldebias.analysis.comparing.measures import GROUPS
from pldebias.interop.frames import to_dataframe
from pldebias.interop.tensorboard import read_tensorboard, write_tensorboard
from pldebias.report import VALUES, report
from pldebias.widgets.payload import pack

RTOL = 1e-12
TINY = {"n1": 20, "gamma_l": 4.0, "m1": 40, "gamma_u": 4.0, "batch_size": 8, "steps": 60, "steps_per_epoch": 20, "snapshots": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    pld.train("fixmatch(threshold=0.3)+daso(start=20)", "digits-lt", out=root, progress=False, **TINY)
    return root


@pytest.fixture(scope="module")
def run(root):
    (path,) = pld.catalogue(root).path
    return pld.open_run(path)


@pytest.fixture(scope="module")
def expected(run) -> dict[str, float]:
    """Measures of the last epoch, straight from its matrices; shares in percent."""
    parts, test, sweep = metrics.groups(run.labelled_counts), run.confusion("test", epoch=-1), run.confusion("sweep", epoch=-1)
    accepted = run.confusion("sweep", "accepted", epoch=-1)
    told = {name: 100 * getattr(metrics, name)(test) for name in ("accuracy", "balanced_accuracy", "g_mean")}
    told |= {"acceptance": 100 * accepted.sum() / sweep.sum()}
    for prefix, matrix in (("", test), ("pl_", sweep)):
        scores = metrics.group(matrix, parts)
        for i, group in enumerate(GROUPS):
            told |= {f"{prefix}recall_{group}": 100 * scores.recall[i], f"{prefix}precision_{group}": 100 * scores.precision[i]}
    for name, members in zip(GROUPS, parts[:3], strict=True):
        told[f"pl_ratio_{name}"] = sweep[:, members].sum() / sweep[members].sum()
    bias = metrics.bias_indices(sweep, parts)
    return told | {"pl_kl": bias.kl, "pl_tv": 100 * bias.tv, "tail_to_head": 100 * bias.tail_to_head}


def assert_close(found, expected, **options):
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=RTOL, **options)


def assert_printed(cells: list[str], values, digits: int):
    """Each cell is its value with `digits` decimals; the last digit may go either way where the value is halfway between two."""
    assert len(cells) == len(values)
    for cell, value in zip(cells, values, strict=True):
        if np.isnan(value):
            assert cell == "n/d"
        else:
            assert re.fullmatch(rf"\d+\.\d{{{digits}}}", cell) and abs(float(cell) - value) <= 0.5 * 10**-digits + 1e-9, (cell, value)


def numbers(cells: list[str], count: int) -> list[str]:
    """The last `count` cells of a row, without the seeds that are told where columns differ in them."""
    return [re.sub(r" \(n=\d+\)$", "", cell.strip(" \\|*")) for cell in cells[-count:]]


def texts(page: str) -> list[str]:
    """Cells of the HTML tables of a page."""
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page, re.S)
    return [html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in cells]


@pytest.mark.parametrize("digits", [1, 2, 4])
def test_tables(run, expected, digits):
    """The cells, and LaTeX, Markdown and HTML to the last digit."""
    made = pld.table({"ours": run}, values=list(expected), digits=digits)
    assert [one.name for _, one in made.columns] == list(expected)
    wanted = list(expected.values())
    assert_close([made.cells[0, c].mean for c in range(len(expected))], wanted)
    assert_close(made.to_frame()["mean"], wanted)
    row = next(line for line in made.to_latex().splitlines() if line.startswith("ours"))
    assert_printed(numbers(row.split("&"), len(wanted)), wanted, digits)
    row = next(line for line in made.to_markdown().splitlines() if line.startswith("| ours"))
    assert_printed(numbers(row.split(" | "), len(wanted)), wanted, digits)
    assert_printed(numbers(texts(made.to_html()), len(wanted)), wanted, digits)


def test_report(run, expected, tmp_path):
    page = report(run, tmp_path / "r.html").read_text()
    cells = texts(page[page.index('<section id="results">') : page.index('<section id="explorer">')])
    asked = [one.name for _, one in pld.table(run, values=VALUES).columns]
    assert_printed(numbers(cells, len(asked)), [expected[name] for name in asked], 1)


def test_command_line_and_catalogue(root, run, expected, monkeypatch, capsys):
    outputs = []
    for options in (["--json"], []):
        monkeypatch.setattr(sys, "argv", ["pldebias", "runs", str(root), *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        outputs.append(capsys.readouterr().out)
    (row,) = json.loads(outputs[0])
    columns = {
        "bal. acc. last": ("balanced_accuracy", 1),
        "PL recall head": ("pl_recall_head", 1),
        "PL recall tail": ("pl_recall_tail", 1),
        "PL precision tail": ("pl_precision_tail", 1),
        "tail PL / true": ("pl_ratio_tail", 2),
    }
    for column, (name, digits) in columns.items():
        told = np.nan if row[column] is None else row[column]
        np.testing.assert_allclose(told, expected[name], rtol=0, atol=0.5 * 10**-digits + 1e-9, err_msg=column)
        assert np.isnan(told) or str(told) in outputs[1], column
    (listed,) = pld.catalogue(root).to_dict("records")
    for column, name in (("balanced_accuracy", "balanced_accuracy"), ("test_accuracy", "accuracy"), ("g_mean", "g_mean")):
        assert_close(100 * listed[f"final.{column}"], expected[name])


def test_logged_scalars_are_those_of_the_matrices(run):
    test = run.confusion("test")
    for name, formula in (
        ("test_accuracy", metrics.accuracy),
        ("balanced_accuracy", metrics.balanced_accuracy),
        ("g_mean", metrics.g_mean),
    ):
        assert_close(run.scalars[name], formula(test))


def test_arrays_of_figures(run, expected):
    shown, sweep = metrics.groups(run.labelled_counts), run.confusion("sweep", epoch=-1)
    drawn = pld.plots.recall_precision(run, backend="none").values["runs"]
    (spread,) = drawn.values()
    assert_close(spread["recall"].mean, 100 * metrics.recall(sweep))
    assert_close(spread["precision"].mean, 100 * metrics.precision(sweep))
    (curves,) = pld.plots.training_curves(run, list(expected), backend="none").values["runs"].values()
    for name, value in expected.items():
        assert_close(curves[name].mean[-1], value, err_msg=name)
    (given,) = pld.plots.label_distribution(run, backend="none").values["runs"].values()
    assert_close([given["tv"].mean, given["kl"].mean], [expected["pl_tv"], expected["pl_kl"]])
    assert_close(given["share"].mean, 100 * sweep.sum(0) / sweep.sum())
    for name, formula in (("recall", metrics.recall), ("precision", metrics.precision)):
        (carpet,) = pld.plots.carpet(run, metric=name, backend="none").values["runs"].values()
        assert_close(carpet["spread"].mean[:, -1], formula(sweep))
    matrix = pld.plots.confusion(run)
    assert_close(np.diag(matrix.values["values"]), metrics.recall(sweep)[shown.order])


def test_explorer_gets_the_counts_themselves(run, expected):
    import gzip

    meta, data = pack([run])
    k, parts = len(meta["classes"]), metrics.groups(run.labelled_counts)
    assert [part["classes"] for part in meta["groups"]] == [part.tolist() for part in parts[:3]]
    for kind, splits in meta["runs"][0]["blocks"].items():
        for split, (start, size, dtype) in splits.items():
            counts = np.frombuffer(gzip.decompress(data[start : start + size]), np.dtype(dtype).newbyteorder("<"))
            counts = counts.reshape(k, k, -1).transpose(2, 0, 1)
            np.testing.assert_array_equal(counts, run.confusion(kind, split))
            if (kind, split) == ("test", "all"):
                assert_close(100 * metrics.balanced_accuracy(counts[-1]), expected["balanced_accuracy"])


def test_what_if_and_exports(run, expected, tmp_path):
    """Relabelling with the method itself, data frames and TensorBoard (which keeps float32)."""
    table = pld.what_if(run, run.method, epoch=int(run.snapshots[-1])).table
    for group in GROUPS:
        for kind in ("logged", "what if"):
            assert_close(table.loc[group, ("recall %", kind)], expected[f"pl_recall_{group}"])
            assert_close(table.loc[group, ("labels/true", kind)], expected[f"pl_ratio_{group}"])
    frame = to_dataframe(run).query("kind == 'sweep' and split == 'all'")
    frame = frame[frame.epoch == run.epochs[-1]]
    assert_close(frame.recall, metrics.recall(run.confusion("sweep", epoch=-1)))
    there = read_tensorboard(write_tensorboard(run, tmp_path / "events"))
    for group in GROUPS:
        np.testing.assert_allclose(100 * there[f"recall_sweep/{group}"].iloc[-1], expected[f"pl_recall_{group}"], rtol=1e-6)
