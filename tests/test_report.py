"""The report command: what it refuses, how large a page gets."""

import subprocess
import sys

import numpy as np
import pytest
from made_runs import make_run

from pldebias.analysis.selection import Incomparable
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


def test_command(tmp_path):
    make_run(tmp_path / "runs" / "a", "fixmatch")
    make_run(tmp_path / "runs" / "b", "fixmatch+daso")
    code = "from pldebias.cli import main; main()"
    command = [sys.executable, "-c", code, "report", str(tmp_path / "runs"), "-o", str(tmp_path / "page.html"), "--baseline", "fixmatch"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"{tmp_path / 'page.html'}  "), done.stderr
    make_run(tmp_path / "runs" / "c", "fixmatch+la", names=list("uvwxyz"))
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.startswith("error: fixmatch/s0") and "class lists differ" in refused.stderr
    nothing = subprocess.run([*command[:4], str(tmp_path / "nowhere")], capture_output=True, text=True)
    assert nothing.returncode == 2 and nothing.stderr.startswith("error: no run at")


def test_too_many_are_refused(tmp_path):
    run = make_run(tmp_path / "a")
    with pytest.raises(Incomparable, match="9 methods are too many"):
        report({str(i): run for i in range(9)}, tmp_path / "r.html")
