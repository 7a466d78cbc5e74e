"""The report command: what it refuses, how large a page gets."""

import sys

import numpy as np
import pytest
from made_runs import make_run

from pldebias.analysis.comparing.selection import Incomparable
from pldebias.cli import main
from pldebias.report import report
from pldebias.runs import Recorder


def test_four_runs_of_500_epochs_stay_below_5_mb(tmp_path):
    r = np.random.default_rng(0)
    truth = np.sort(r.integers(0, 10, 1000))
    for method in ("fixmatch", "fixmatch+daso", "fixmatch+la", "fixmatch+abc"):
        with Recorder(tmp_path / method, truth, range(100, 0, -10), [f"class {i}" for i in range(10)], num_epochs=500,
                      attrs={"method": method, "seed": 0}) as recorder:  # fmt: skip
            for epoch in range(500):
                label = np.where(r.random(1000) < epoch / 500, truth, r.integers(0, 10, 1000))
                recorder.update(np.arange(1000), label, label == truth)
                recorder.end_epoch(sweep=(label, label == truth), test=(truth, label), iteration=epoch, scalars={"ece": r.random()})
    path = report(tmp_path, tmp_path / "r.html")
    text = path.read_text()
    assert path.stat().st_size < 5e6
    assert "Content-Security-Policy" in text and 'src="http' not in text and "url(http" not in text


def test_command(tmp_path, monkeypatch, capsys):
    def call(*arguments):
        """Exit code of the command, and what it printed to both streams."""
        monkeypatch.setattr(sys, "argv", ["pldebias", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        return done.value.code, *capsys.readouterr()

    make_run(tmp_path / "runs" / "a", "fixmatch")
    make_run(tmp_path / "runs" / "b", "fixmatch+daso")
    command = [tmp_path / "runs", "-o", tmp_path / "page.html", "--baseline", "fixmatch"]
    code, out, _ = call(*command)
    assert code == 0 and out.startswith(f"{tmp_path / 'page.html'}  ")
    make_run(tmp_path / "runs" / "c", "fixmatch+la", names=list("uvwxyz"))
    code, _, told = call(*command)
    assert code == 2 and told.startswith("error: fixmatch/s0") and "class lists differ" in told
    code, _, told = call(tmp_path / "nowhere")
    assert code == 2 and told.startswith("error: no run at")


def test_too_many_are_refused(tmp_path):
    run = make_run(tmp_path / "a")
    with pytest.raises(Incomparable, match="9 methods are too many"):
        report({str(i): run for i in range(9)}, tmp_path / "r.html")
