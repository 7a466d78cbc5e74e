"""The figures command: one call makes what a paper needs, says what it cannot make, and the files fit into LaTeX."""

import re
import shutil
import subprocess
import sys

import pytest
from made_runs import HOSTILE, make_run
from pylatexenc.latexwalker import LatexWalker

import pldebias as pld
from pldebias import cli
from pldebias.analysis.comparing.selection import Incomparable
from pldebias.figures import figures
from pldebias.plots.collection import collection

A, B = (18, 16, 12, 9, 5, 2), (18, 16, 12, 9, 8, 8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        make_run(root / f"f{seed}", "fixmatch", seed, A, series=False)
        make_run(root / f"d{seed}", "fixmatch+daso", seed, B, outputs=True)
    return root


def test_one_command_makes_everything(runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "paper"
    arguments = [
        str(runs),
        "-o",
        str(out),
        "--baseline",
        "fixmatch",
        "--width",
        "single",
        "--error",
        "sd",
        "--format",
        "pdf",
        "--format",
        "png",
    ]
    monkeypatch.setattr(sys, "argv", ["pldebias", "figures", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    names = {"recall_precision", "training_curves", "carpet", "label_distribution", "confusion_epochs",
             "confusion_difference_fixmatch+daso", "blending_fixmatch+daso", "learned_state_adello+seval", "estimated_prior"}  # fmt: skip
    expected = {f"{name}.{ending}" for name in names for ending in ("pdf", "png")} | {"table.tex", "table.md", "table.csv", "captions.md"}
    assert {path.name for path in out.iterdir()} == expected
    assert {line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()} == expected
    pdf = (out / "recall_precision.pdf").read_bytes()
    assert b"/FontFile2" in pdf and f"/MediaBox [ 0 0 {72 * 3.5:g}".encode() in pdf
    captions = (out / "captions.md").read_text()
    assert set(re.findall(r"^\*\*(.+?)\*\*", captions, re.M)) == names | {"table"} and "mean over 2 seeds with one standard" in captions
    assert (out / "table.tex").read_text() == pld.table(
        runs, values=("balanced_accuracy", "recall", "pl_recall"), baseline="fixmatch"
    ).to_latex()
    LatexWalker((out / "table.tex").read_text(), tolerant_parsing=False).get_latex_nodes()


def test_what_cannot_be_drawn_is_said(tmp_path):
    blind = make_run(tmp_path / "u", unknown=True)
    written = figures(blind, tmp_path / "out")
    assert {path.name for path in written} == {"learned_state_adello+seval.pdf", "table.tex", "table.md", "table.csv", "captions.md"}
    told = written[-1].read_text().partition("Not drawn:")[2]
    assert told.count("true classes of its unlabelled samples are not known") == 6 and "* Over the training: fixmatch/s0" in told


def test_what_cannot_stand_in_one_table_is_refused(tmp_path, runs):
    other = make_run(tmp_path / "o", "fixmatch+la", gamma_u=1.0)
    with pytest.raises(Incomparable, match="saw different data: gamma_u"):
        figures([runs, other], tmp_path / "out")
    for options, message in (
        ({"formats": ("pdf", "eps")}, "formats must be some of 'pdf', 'svg', 'png'; got 'eps'"),
        ({"formats": "PDF"}, r"got 'PDF' \(did you mean 'pdf'"),
        ({"formats": []}, "formats is empty"),
        ({"formats": 3}, "formats=3 must be a text or a list"),
        ({"values": "x"}, "no measure 'x'"),
        ({"withd": "single"}, r"styled by width, error, groups, font; got 'withd' \(did you mean 'width'"),
        ({"font": "No Such Font"}, "no font 'No Such Font'"),
        ({"width": [1]}, "width="),
        ({"error": "sem"}, "'interval', 'sd'"),
    ):
        with pytest.raises(ValueError, match=message):
            figures(runs, tmp_path / "out", **options)
    with pytest.raises(ValueError, match="baseline must be one of"):
        figures(runs, tmp_path / "out", baseline="mixmatch")
    assert not (tmp_path / "out").exists()  # nothing half-made


def test_names_fit_for_files(tmp_path):
    labels = ("../etc", "a b", "a_b", "a/b", "猫")
    runs = {label: make_run(tmp_path / str(i), f"m{i}", names=HOSTILE) for i, label in enumerate(labels)}
    names = [made.name for made in collection(runs, backend="none")]
    assert len(names) == len(set(names)) and all(re.fullmatch(r"[\w+=.-]+", name) and not name.startswith(".") for name in names)


def test_the_table_is_as_wide_as_the_figures(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("pldebias.plots.collection.collection", lambda *args, **style: [])
    for width, environment in (("single", "table"), ("double", "table*")):
        figures(runs, tmp_path / width, width=width, formats="pdf")
        nodes = LatexWalker((tmp_path / width / "table.tex").read_text(), tolerant_parsing=False).get_latex_nodes()[0]
        assert [node.environmentname for node in nodes if hasattr(node, "environmentname")] == [environment]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here; the table goes through a parser above")
def test_latex_takes_the_files(runs, tmp_path):
    written = figures(runs, tmp_path, baseline="fixmatch", width="single")
    pages = "".join(f"\\includegraphics{{{path.name}}}\n\n" for path in written if path.suffix == ".pdf")
    preamble = r"\documentclass[twocolumn]{article}\usepackage{booktabs,graphicx}\usepackage[T1]{fontenc}\begin{document}"
    (tmp_path / "page.tex").write_text(f"{preamble}\n{pages}\\input{{table.tex}}\n\\end{{document}}")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
