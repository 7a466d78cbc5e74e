"""Tables: the numbers in them, what they refuse, and that LaTeX, Markdown and HTML survive any name."""

import csv
import html.parser
import io
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from made_runs import DATA, HOSTILE, make_run
from pylatexenc.latexwalker import LatexWalker

import pldebias as pld
from pldebias.analysis.comparing.measures import expand, names
from pldebias.analysis.comparing.published import PROTOCOLS, SOURCES, lookup, published, settings_of
from pldebias.analysis.comparing.selection import Incomparable, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.data.sources import KNOWN
from pldebias.runs import Recorder, catalogue

GOOD, BETTER = (18, 16, 12, 9, 5, 2), (18, 16, 13, 10, 8, 5)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three seeds of FixMatch, two of FixMatch+DASO that gain 5 and 7.5 points of balanced accuracy."""
    root = tmp_path_factory.mktemp("runs")
    for seed, right in enumerate([GOOD, (18, 16, 12, 9, 5, 8), (20, 16, 12, 9, 5, 0)]):
        make_run(root / f"f{seed}", "fixmatch", seed, right)
    for seed, right in enumerate([(18, 16, 12, 9, 8, 5), (18, 16, 12, 9, 8, 14)]):
        make_run(root / f"d{seed}", "fixmatch+daso", seed, right)
    return root


# ---- numbers -----------------------------------------------------------------------------------------------------------


def test_mean_and_deviation_over_seeds():
    spread = over_seeds([[1.0, np.nan], [3.0, 5.0], [2.0, np.nan]])
    assert spread.mean.tolist() == [2, 5] and spread.sd[0] == pytest.approx(1) and spread.n.tolist() == [3, 1]
    half = 4.302652729911275 / math.sqrt(3)  # Student, 2 degrees of freedom
    assert (spread.low[0], spread.high[0]) == pytest.approx((2 - half, 2 + half))
    assert np.isnan([spread.sd[1], spread.low[1], spread.high[1]]).all()  # one seed: no interval is invented
    with pytest.raises(ValueError, match="level"):
        over_seeds([1, 2], level=95)


def test_cells_hold_what_the_matrices_say(root):
    made = pld.table(root, values=("balanced_accuracy", "recall", "pl_recall_tail", "ece"))
    assert made.rows == ("fixmatch+daso", "fixmatch")
    assert [one.name for _, one in made.columns][:3] == ["balanced_accuracy", "recall_head", "recall_medium"]
    cell = made.cells[1, 0]
    per_seed = [100 * sum(right) / 120 for right in (GOOD, (18, 16, 12, 9, 5, 8), (20, 16, 12, 9, 5, 0))]
    assert cell.values == pytest.approx(per_seed) and cell.n == 3
    assert (cell.mean, cell.sd) == pytest.approx((np.mean(per_seed), np.std(per_seed, ddof=1)))
    head, tail = made.cells[1, 1], made.cells[1, 3]
    assert head.mean == pytest.approx(100 * np.mean([34, 34, 36]) / 40) and tail.mean == pytest.approx(100 * np.mean([7, 13, 5]) / 40)
    assert made.cells[1, 4].mean == tail.mean  # these runs label the unlabelled set as they classify the test set
    assert made.cells[1, 5].mean == pytest.approx(15)  # ECE, a logged share
    assert made.cells[0, 0].best and not cell.best and made.cells[1, 5].best and made.cells[0, 5].best  # equal as printed: both


def test_median_of_the_last_20(tmp_path):
    run = make_run(tmp_path / "r", epochs=30)
    value = pld.table(run, values="accuracy", statistic="median20").cells[0, 0].mean
    assert value == pytest.approx(100 * np.median([np.trace(run.confusion("test", epoch=e)) / 120 for e in range(10, 30)]))
    assert pld.table(run, statistic="median20").notes[0].startswith("Median of the last 20 epochs;")
    both = {"long": run, "short": make_run(tmp_path / "short", epochs=2)}
    notes = pld.table(both, statistic="median20").notes
    assert notes[0].startswith("Median of the last 2 to 20 epochs;")
    assert notes[1] == "The runs differ in length and end at different points: short at iteration 20; long at iteration 300."
    with pytest.raises(ValueError, match="'last' or 'median20'"):
        pld.table(run, statistic="best")


def test_differences_are_paired_by_seed(root):
    made = pld.table(root, values=("balanced_accuracy", "recall"), baseline="fixmatch")
    mean, low, high, pairs = made.cells[0, 0].difference
    gains = [100 * 6 / 120, 100 * 9 / 120]
    half = 12.706204736432095 * np.std(gains, ddof=1) / math.sqrt(2)
    assert (mean, low, high, pairs) == pytest.approx((np.mean(gains), np.mean(gains) - half, np.mean(gains) + half, 2))
    assert made.cells[1, 0].difference is None and made.cells[0, 1].difference is None  # of the first measure alone
    every = pld.table(root, baseline="fixmatch", differences=("balanced_accuracy", "recall"))
    assert every.cells[0, 1].difference is not None and every.to_markdown().count("Δ") == 4
    with pytest.raises(ValueError, match="one of the rows"):
        pld.table(root, baseline="mixmatch")
    with pytest.raises(ValueError, match="must name some of the values"):
        pld.table(root, baseline="fixmatch", differences="ece")
    with pytest.raises(ValueError, match=r"give baseline=, one of fixmatch"):
        pld.table(root, differences="recall")


def test_one_seed_gets_no_interval(root):
    made = pld.table({"A": root / "f0", "B": root / "d0"}, values="accuracy", baseline="A")
    assert "±" not in made.to_markdown().splitlines()[2] and "one seed, so there is no deviation" in made.notes[0]
    assert made.cells[1, 0].difference[0] == pytest.approx(5) and np.isnan(made.cells[1, 0].difference[1])
    assert "[" not in made.to_latex().split(r"\midrule")[1].split(r"\bottomrule")[0]


def test_numbers_of_seeds_are_shown(root):
    assert [line.split("|")[2].strip() for line in pld.table(root, values="accuracy").to_markdown().splitlines()[2:4]] == ["2", "3"]
    assert "n = 2 to 3 seeds" in pld.table(root).notes[0]


def test_columns_missing_cells_and_undefined_ones(tmp_path):
    for gamma in (100.0, 1.0, 10.0):
        make_run(tmp_path / f"f{gamma}", "fixmatch", gamma_u=gamma)
    make_run(tmp_path / "d", "fixmatch+daso", gamma_u=100.0)
    make_run(tmp_path / "u", "supervised", gamma_u=100.0, unknown=True)
    made = pld.table(tmp_path, rows="method", cols="gamma_u", values=("accuracy", "pl_recall_tail"))
    assert [condition for condition, _ in made.columns][::2] == ["gamma_u=1", "gamma_u=10", "gamma_u=100"]  # by value, not by text
    row = made.rows.index("fixmatch+daso")
    assert made.cells[row, 0] is None and made.cells[row, 4] is not None
    assert made.cells[made.rows.index("supervised"), 5].n == 0
    text = made.to_markdown()
    assert text.count("—") == 8 + 1 and text.count("n/d") == 1 + 1 and "no run" in text  # in the cells, and explained once
    frame = made.to_frame()
    assert (~frame["run"]).sum() == 8 and frame.loc[~frame["run"], "mean"].isna().all()


def test_an_empty_group_is_undefined(root):
    made = pld.table(root, values="recall", groups=(1000, 500))
    assert made.cells[0, 0].n == 0 and "n/d" in made.to_markdown() and "head: more than 1000" in " ".join(made.notes)


def test_unfinished_runs_and_differing_settings_are_told(tmp_path):
    make_run(tmp_path / "a", "fixmatch", num_epochs=9)
    make_run(tmp_path / "b", "fixmatch+daso", lr=0.1)
    notes = " ".join(pld.table(tmp_path).notes)
    assert "Unfinished: fixmatch/s0 (4 of 9 epochs)" in notes and "differ between runs: lr" in notes


def test_csv_has_every_number(root):
    rows = list(csv.DictReader(io.StringIO(pld.table(root, values="accuracy", baseline="fixmatch").to_csv())))
    assert [row["row"] for row in rows] == ["fixmatch+daso", "fixmatch"] and float(rows[0]["difference"]) == pytest.approx(6.25)
    assert len(rows[1]["values"].split()) == 3 and rows[0]["pairs"] == "2"


def test_every_measure_is_defined_for_a_complete_run(root):
    made = pld.table(root / "f0", values=[*names(), "loss/labelled"])
    assert len(made.columns) == len(expand(names())) + 1
    assert all(np.isfinite(cell.mean) for (_, c), cell in made.cells.items() if made.columns[c][1].name != "pl_kl")
    with pytest.raises(ValueError, match=r"no measure 'f1'; there are accuracy, .* the scalars of fixmatch/s0: ece"):
        pld.table(root / "f0", values="f1")


# ---- what is refused ------------------------------------------------------------------------------------------------------


def test_other_data_are_refused_by_name(tmp_path):
    a, b = make_run(tmp_path / "a", gamma_u=100.0), make_run(tmp_path / "b", "fixmatch+daso", gamma_u=1.0)
    with pytest.raises(Incomparable, match=r"fixmatch/s0 .* and fixmatch\+daso/s0 .* saw different data: gamma_u is 100.0 in .*, 1.0"):
        pld.table({"A": a, "B": b})
    assert pld.table([a, b], cols="gamma_u").columns[0][0] == "gamma_u=1"


def test_other_classes_are_refused_by_name(tmp_path):
    a = make_run(tmp_path / "a")
    b = make_run(tmp_path / "b", names=["class 0", "class 1", "class 2", "class 3", "class 4", "owl"])
    c = make_run(tmp_path / "c", labelled=(3, 9, 20, 40, 60, 90))
    with pytest.raises(Incomparable, match="'class 5', 'owl'"):
        pld.table({"A": a, "B": b})
    with pytest.raises(Incomparable, match="head is class 0, class 1 in the first, class 5, class 4 in the second"):
        pld.table({"A": a, "C": c})


def test_what_are_no_seeds_is_refused(tmp_path, root):
    other = make_run(tmp_path / "lr", lr=0.1, seed=5)
    with pytest.raises(Incomparable, match=r"lr is 0.03 in .*, 0.1 in"):
        pld.table({"A": [root / "f0", other]})
    with pytest.raises(Incomparable, match=r"mixes methods \(fixmatch, fixmatch\+daso\)"):
        pld.table({"A": [root / "f0", root / "d1"]})
    shutil.copytree(root / "f0", tmp_path / "copy")
    with pytest.raises(Incomparable, match="holds seed 0 twice"):
        pld.table({"A": [root / "f0", tmp_path / "copy"]})


def test_seeds_on_other_splits_make_no_pair(tmp_path):
    make_run(tmp_path / "a", "fixmatch")
    make_run(tmp_path / "b", "fixmatch+daso", attrs={"fingerprint": "another split"})
    assert len(pld.table(tmp_path).rows) == 2
    with pytest.raises(Incomparable, match=r"seed 0 of .* saw different data"):
        pld.table(tmp_path, baseline="fixmatch")


def test_a_method_may_use_the_same_images_otherwise(tmp_path):
    """ADELLO has the labelled images in its unlabelled set; the split behind it is the same."""
    make_run(tmp_path / "a", "fixmatch", include_labelled=False)
    make_run(tmp_path / "b", "fixmatch+adello", include_labelled=True, attrs={"fingerprint": "with the labelled ones"})
    made = pld.table(tmp_path, baseline="fixmatch")
    assert made.cells[made.rows.index("fixmatch+adello"), 0].difference[3] == 1 and "include_labelled" in " ".join(made.notes)


def test_nothing_and_nonsense_are_refused(tmp_path):
    for wrong, message in (({}, "no runs were selected"), ({"A": []}, "for 'A'"), (3, "got int"), ({"A": {"B": []}}, "one level")):
        with pytest.raises(Incomparable, match=message):
            select(wrong)
    with pytest.raises(OSError, match="no runs under"):
        select(tmp_path)
    make_run(tmp_path / "r", epochs=0, num_epochs=3)
    with pytest.raises(Incomparable, match="no finished epoch yet"):
        select(tmp_path)


def test_a_catalogue_selection_and_its_broken_run(root, tmp_path):
    runs = catalogue(root)
    assert set(pld.table(runs[runs.method == "fixmatch"]).rows) == {"fixmatch"}
    shutil.copytree(root / "f0", tmp_path / "f0")
    (tmp_path / "f0" / "test" / "c.1.0.0").unlink()
    with pytest.raises(Incomparable, match=r"cannot be read whole: .*f0"):
        pld.table(catalogue(tmp_path))


def test_settings_tell_runs_of_one_method_apart(tmp_path):
    make_run(tmp_path / "a", lr=0.03)
    make_run(tmp_path / "b", lr=0.1)
    assert pld.table(tmp_path).rows == ("fixmatch (lr=0.03)", "fixmatch (lr=0.1)")


# ---- published numbers ----------------------------------------------------------------------------------------------------


def test_published_numbers():
    frame = published()
    assert list(frame["source"].unique()) == list(SOURCES) and frame["value"].between(20, 95).all()
    told = frame.groupby("source", sort=False)["value"].agg(["count", "sum"]).round(2).to_numpy().tolist()
    assert told == [
        *([96, 5779.3], [40, 2879.3], [24, 1572.0], [40, 2263.8], [36, 2399.7]),
        *([6, 506.1], [99, 6502.27], [12, 520.9], [21, 1081.7], [9, 658.2]),
    ]
    assert (frame["sd"].count(), frame["sd"].sum()) == (57, pytest.approx(53.02))
    assert SOURCES["DASO T2"].endswith("Table 2 (mean and deviation of 3 runs, median of the last 20 evaluations)")
    assert PROTOCOLS["DASO T3"] == {"network": "wrn28_2", "steps": 250_000, "protocol": "daso"} and PROTOCOLS["ADELLO"] == {
        "network": "resnet50"
    }
    assert not frame.duplicated(["source", "method", "data", "n1", "m1", "gamma_l", "gamma_u", "reverse_unlabelled"]).any()
    setting = {"source": "cifar10", "n1": 500, "m1": 4000, "gamma_l": 100.0, "gamma_u": 100.0}
    found = lookup("fixmatch+daso", setting, ["DASO T1"])
    assert found[["value", "sd"]].to_numpy().tolist() == [[76.0, 0.37]]
    assert lookup("fixmatch+seval", setting)["value"].tolist() == [82.8]
    assert lookup("fixmatch+daso", setting | {"reverse_unlabelled": True})["value"].tolist() == [71.0, 69.16]
    assert lookup("remixmatch+daso", {"source": "stl10", "n1": 450, "m1": None, "gamma_l": 10, "gamma_u": 1})["value"].tolist() == [80.9]
    assert lookup("fixmatch", setting | {"n1": 400}).empty
    with pytest.raises(ValueError, match="no source LAMDA"):
        lookup("fixmatch", setting, ["LAMDA"])


@pytest.mark.parametrize(
    ("changed", "values", "differing"),
    [
        ({}, [67.8, 72.41], {"", "steps 250000, not 262144; protocol daso, not usb"}),
        ({"network": "tiny_resnet", "steps": 10}, [67.8, 72.41], None),
        ({"relevance": 0.5}, [67.8, 72.41], None),
        ({"m1": 4500, "steps": 393_216}, [66.2], {""}),  # CReST
        ({"m1": 4500}, [66.2], {"steps 250000, not 393216"}),
        ({"gamma_u": 1.0}, [73.0], {""}),
        ({"reverse_unlabelled": True}, [62.5, 62.1], {"", "steps 250000, not 262144; protocol daso, not usb"}),
        ({"n1": 400}, [], set()),
        ({"source": "svhn"}, [], set()),
    ],
)
def test_the_whole_protocol_is_compared(changed, values, differing):
    config = DATA | {"network": "wrn28_2", "steps": 250_000, "protocol": "daso"} | changed
    found = lookup("fixmatch", config)
    assert found["value"].tolist() == values
    assert set(found["differs"]) == differing if differing is not None else found["differs"].astype(bool).all()


def test_adello_rows_are_found():
    long = {"network": "wrn28_2", "steps": 262_144, "protocol": "usb"}
    figure = {"source": "cifar100", "n1": 150, "m1": 300, "gamma_l": 50.0, "gamma_u": 50.0} | long
    assert lookup("fixmatch+adello", figure)[["value", "differs"]].to_numpy().tolist() == [[49.2, ""]]
    whole = {"source": "imagenet127-64", "gamma_l": 286.0, "gamma_u": 286.0, "network": "resnet50"}
    assert lookup("fixmatch+adello", whole)[["value", "differs"]].to_numpy().tolist() == [[58.0, ""]]


def test_a_copy_in_files_is_known_by_its_classes_and_test_set(tmp_path):
    names, source = KNOWN["cifar10"].class_names, "parquet:$PLDEBIAS_CIFAR10"
    for tests, wanted in ((10_000, "cifar10"), (90_000, source)):  # CINIC-10 has the same classes
        with Recorder(tmp_path / str(tests), np.arange(10), range(10), names, attrs={"config": DATA | {"source": source}}) as recorder:
            recorder.end_epoch(test=np.eye(10, dtype=int) * (tests // 10))
        assert settings_of(pld.open_run(tmp_path / str(tests)))["source"] == wanted


def test_published_numbers_stand_beside(root, tmp_path):
    made = pld.table(root, values=("balanced_accuracy", "recall"), published=["DASO T1"])
    assert made.cells[1, 0].published[0][:3] == (67.8, 1.13, "DASO T1") and made.cells[1, 1].published == ()
    assert r"67.8 $\pm$ 1.13 (DASO T1, other protocol)" in made.to_latex() and "Oh, Kim and Kweon, CVPR 2022, Table 1" in made.notes[-1]
    assert "Other protocol: network not told, not wrn28_2; steps 40, not 250000; protocol not told, not daso" in made.notes[-2]
    whole = {"network": "wrn28_2", "steps": 250_000, "protocol": "daso"}
    make_run(tmp_path / "whole", **whole)
    made = pld.table(tmp_path / "whole", values="balanced_accuracy", published=True)
    assert [str(one) for one in made.cells[0, 0].published] == ["67.8 ± 1.13 (DASO T1)", "72.41 (USB, other protocol)"]
    assert "67.8 ± 1.13 (DASO T1); 72.41 (USB, other protocol)" in made.to_csv() and "protocol daso, not usb" in made.notes[-2]
    make_run(tmp_path / "r", n1=77)
    assert "No published numbers" in pld.table(tmp_path / "r", published=True).notes[-1]
    make_run(tmp_path / "daso", "fixmatch+daso(T=1.5)")
    assert pld.table(tmp_path / "daso", published=["DASO T1"]).cells[0, 0].published  # options do not hide the method


# ---- forms ------------------------------------------------------------------------------------------------------------------


def test_a_name_that_looks_like_code_is_only_a_name(tmp_path):
    labels = [*HOSTILE, "[bracket]", "two\nlines", r"\\ & \end{tabular}", "猫"]
    runs = {label: make_run(tmp_path / str(i), f"m{i}", names=HOSTILE) for i, label in enumerate(labels)}
    made = pld.table(runs, baseline=HOSTILE[0])

    latex = made.to_latex(label="tab:names")
    nodes, _, _ = LatexWalker(latex, tolerant_parsing=False).get_latex_nodes()
    assert [node.environmentname for node in nodes if hasattr(node, "environmentname")] == ["table"]
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = body.strip().splitlines()
    columns = latex.split(r"{tabular}{l")[1].split("}")[0].count("r")
    assert len(lines) == len(labels) and {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns}
    assert r"a\&b\_\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}c" in body and "XeLaTeX" in latex

    class Reader(html.parser.HTMLParser):
        tags, text = set(), ""

        def handle_starttag(self, tag, attrs):
            self.tags.add(tag)

        def handle_data(self, data):
            self.text += data

    reader = Reader()
    reader.feed(made.to_html())
    assert reader.tags == {"table", "thead", "tbody", "tr", "th", "td", "p"} and "<script>alert(1)</script>" in reader.text

    markdown = [line for line in made.to_markdown().splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown}) == 1 and r"\|pipe\| \*star\*" in markdown[4]
    assert made.to_frame()["row"].drop_duplicates().tolist() == labels


def test_written_files_are_what_is_returned(root, tmp_path):
    made = pld.table(root)
    assert made.to_latex(tmp_path / "new" / "t.tex") == (tmp_path / "new" / "t.tex").read_text()
    assert made.to_markdown(tmp_path / "t.md") == (tmp_path / "t.md").read_text() == repr(made)
    made.to_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == made.to_csv() and made._repr_html_() == made.to_html()


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here; the parser test above checks the same source")
def test_latex_compiles(root, tmp_path):
    runs = {name: make_run(tmp_path / str(i), f"m{i}", names=HOSTILE) for i, name in enumerate([*HOSTILE, "[x]"])}
    source = pld.table(runs, baseline=HOSTILE[0], published=True).to_latex(label="a")
    wide = pld.table(root, values=("balanced_accuracy", "recall", "pl_recall"), baseline="fixmatch", published=["DASO T1"]).to_latex()
    preamble = r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}"
    page = [preamble, r"\begin{document}", source, wide, r"\end{document}"]
    (tmp_path / "page.tex").write_text("\n".join(page))
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
