"""The command line: same names as the Python arguments, JSON for programs, one-line errors."""

import dataclasses
import errno
import io
import json
import subprocess
import sys

import numpy as np
import pytest

import pldebias as pld
from pldebias import cli
from pldebias.presets import Config
from pldebias.runs import NotLogged, Recorder

TINY = ["--steps", "20", "--snapshots", "1", "--m1", "100", "--gamma-u", "2"]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """`call("train", ...)` -> exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pldebias", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run


def test_train_then_runs(call):
    code, out, _ = call("train", "fixmatch", "supervised(augment=strong)", "--json", *TINY)
    assert code == 0
    made = json.loads(out)
    assert [run["path"] for run in made] == ["runs/glyphs-lt/fixmatch/s0", "runs/glyphs-lt/supervised_augment=strong/s0"]
    assert all(run["finished"] and run["epochs"] == 1 for run in made)
    code, out, _ = call("runs", "--json")
    listed = json.loads(out)
    assert {run["run"] for run in listed} == {run["name"] for run in made}
    assert all(0 <= run["bal. acc. last"] <= 100 for run in listed)
    code, out, _ = call("runs")
    assert code == 0
    assert all(name in out for name in ("fixmatch/s0", "post-hoc LA", "PL precision"))


def test_every_setting_is_an_option(call):
    _, out, _ = call("train", "--help")
    text = "".join(out.split())
    for field in dataclasses.fields(Config):
        if field.name not in ("method", "options", "plugins"):  # which is --plugin
            assert f"--{field.name.replace('_', '-')}"[:20] in text, field.name


def test_class_order_and_seeds(call):
    code, out, _ = call("train", "supervised", "--class-order", "5,8,P,F,G,O,C,E,S,B", "--seed", 0, "--seed", 1, "--json", *TINY)
    assert code == 0
    assert [run["path"][-2:] for run in json.loads(out)] == ["s0", "s1"]


def test_listings(call):
    code, out, _ = call("methods", "--json")
    listing = json.loads(out)
    assert {"fixmatch", "supervised", "usadtm"} <= {part["name"] for part in listing["learners"]}
    assert next(part for part in listing["schemes"] if part["name"] == "daso")["options"]["T"] == 1.5
    code, out, _ = call("data", "--json")
    assert json.loads(out)["presets"]["cifar10-lt"]["n1"] == 500
    code, out, _ = call("data", "glyphs-lt", "--json")
    assert json.loads(out)["network"] == "cnn_glyphs"
    for command in (["methods"], ["data"], ["data", "cifar10-lt"], ["doctor"]):
        code, out, _ = call(*command)
        assert code == 0
        assert len(out.splitlines()) > 5


def test_doctor_finds_what_is_here(call):
    _, out, _ = call("doctor", "--json")
    found = json.loads(out)
    assert found["torch"] == __import__("importlib.metadata").metadata.version("torch")
    assert "cores" in found["cpu"] and ("native" in found["bfloat16 on the cpu"] or "emulated" in found["bfloat16 on the cpu"])
    assert "/" in found["C++ compiler"] or "not found" in found["C++ compiler"]
    assert str(found["python"]).startswith(f"{sys.version_info.major}.{sys.version_info.minor}")


def test_no_runs_yet(call, tmp_path):
    (tmp_path / "runs").mkdir()
    code, out, _ = call("runs")
    assert code == 0
    assert "no runs under runs" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "fixmatsh"], "did you mean 'fixmatch'"),
        (["train", "fixmatch", "--data", "glyph-lt"], "did you mean 'glyphs-lt'"),
        (["train", "fixmatch", "--gamma-l", "0.5"], "gamma_l=0.5"),
        (["train", "fixmatch", "--jobs", "0"], "jobs=0 must be a whole number of at least 1"),
        (["train", "fixmatch", "--lr", "fast"], "invalid value for '--lr': 'fast' is no number"),
        (["train", "fixmatch", "--steps", "1.5"], "'1.5' is no whole number"),
        (["train", "fixmatch", "--seed", "x"], "'x' is no number"),
        (["train", "fixmatch", "--balanced", "maybe"], "balanced='maybe': give true or false or a finite number"),
        (["train", "fixmatch", "--graph", "perhaps"], "choose 'auto', true or false"),
        (["train", "fixmatch+la(tau=big)"], "la(tau='big'): give a finite number"),
        (["train", "fixmatch+daso(T=True)"], "daso(t=true): give a finite number"),
        (["train", "fixmatch+daso(queue=1.5)"], "daso(queue=1.5): give a whole number"),
        (["train", "fixmatch", "--out", ""], "'' is no path"),
        (["train", "fixmatch", "--out", "s3://b/x"], "s3://b/x is an address; give a path on this machine"),
        (["train", "fixmatch", "--device", "mps"], "choose auto, cpu, cuda or cuda:n"),
        (["runs", "s3://b/x"], "is an address"),
        (["runs", ""], "'' is no path"),
        (["lab", ".", "--port", "99999999"], "invalid value for '--port'"),
        (["runs", "nowhere"], "nowhere"),
        (["lab", "nowhere"], "nowhere is no folder"),
        (["data", "nothing"], "is no preset"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(call, arguments, message):
    code, _, err = call(*arguments)
    assert code == 2
    assert message.lower() in " ".join(err.lower().split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figures", "runs", "--format", "jpeg"], "'pdf', 'svg', 'png'; got 'jpeg'"),
        (["figures", "runs", "--width", "huge"], "huge"),
        (["report", "runs", "--baseline", "nobody"], "nobody"),
        (["train", "fixmatch", "--milestones", "10,twenty"], "milestones=10,twenty must be whole numbers"),
        (["report", "nowhere"], "nowhere"),
        (["report", "runs", "-o", "runs"], "runs is a folder; give the name of a file"),
        (["report", "runs", "-o", "runs/mine/zarr.json/x.html"], "zarr.json is a file, no folder; choose another folder"),
        (["figures", "runs", "--out", "runs/mine/zarr.json"], "zarr.json is a file, no folder"),
    ],
)
def test_slips_with_runs_are_one_line_too(call, tmp_path, arguments, message):
    attrs = {"method": "fixmatch", "seed": 0, "data": "d"}
    with Recorder(tmp_path / "runs/mine", np.arange(6) % 3, [5] * 3, [*"abc"], attrs=attrs) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0}, sweep=([0, 1, 2] * 2, [True] * 6), test=[[1, 0, 0]] * 3)
    code, _, err = call(*arguments)
    assert code == 2 and message in " ".join(err.split()) and "Traceback" not in err
    if arguments[0] != "train":
        assert err.startswith("error: ")
        with pytest.raises((ValueError, OSError)):
            call(*arguments, "--debug")


def test_a_fault_of_our_own_is_told_as_one(call, monkeypatch):
    monkeypatch.setattr("pldebias.analysis.comparing.compare.summary", lambda root: {}["columns"])
    code, _, err = call("runs")
    assert code == 1 and "fault of pldebias" in err and "--debug" in err and "Traceback" not in err


def test_numbers_of_options_are_numbers(call, monkeypatch):
    seen = {}
    monkeypatch.setattr("pldebias.training.sweep", lambda *a, **settings: seen.update(settings, seeds=a[2]) or [])
    options = {"--steps": "1e3", "--lr": ".1", "--balanced": "0.999", "--graph": "False", "--seed": "3", "--out": "~/x", "--stream": None}
    assert call("train", "fixmatch", *(part for pair in options.items() for part in pair if part is not None))[0] == 0
    wanted = {"steps": 1000, "lr": 0.1, "balanced": 0.999, "graph": False, "seeds": [3], "out": "~/x", "stream": True}
    assert {name: seen[name] for name in wanted} == wanted


class Full:
    """An output on a disk that is full."""

    encoding, isatty, write = "utf-8", lambda _: False, lambda _, text: len(text)

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_letters_that_the_output_lacks_are_escaped(call, monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("pldebias.presets.SOURCES", {"glyphs": "γ → ö"})
    monkeypatch.setattr(sys, "argv", ["pldebias", "data"])
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and rb"\u03b3" in out.buffer.getvalue()


def test_an_output_that_is_full_or_closed(call, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pldebias", "data"])
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and capsys.readouterr().err == "error: [Errno 28] No space left on device\n"
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    sys.stdout.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left", "x/y"),
            "x/y: No space left; free space there, or choose another place",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied; choose another place, or change its permissions"),
        (OSError(errno.EROFS, "Read-only file system", "x"), "x: Read-only file system; choose another place"),
        (OSError(errno.EIO, "Input/output error"), "[Errno 5] Input/output error"),
        (NotLogged("no logits"), "no logits"),
        (ImportError("pip install it"), "pip install it"),
    ],
)
def test_errors_of_the_system_say_what_and_what_to_do(call, monkeypatch, error, told):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("pldebias.analysis.comparing.compare.summary", fail)
    assert call("runs") == (2, "", f"error: {told}\n")


def test_a_pipe_that_is_closed_ends_quietly(tmp_path):
    (tmp_path / "runs").mkdir()
    code = "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); sys.argv = ['pldebias', 'methods'];" + (
        "from pldebias.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode and not done.stderr


@pytest.mark.parametrize("columns", [60, 80])
def test_names_of_runs_are_never_broken(call, tmp_path, monkeypatch, columns):
    name = "a-long/name-of-a-method+with+schemes/s0"
    with Recorder(tmp_path / "runs" / name, np.arange(6) % 3, [5] * 3, [*"abc"], attrs={"method": "fixmatch", "data": "d"}) as recorder:
        recorder.end_epoch(scalars={"balanced_accuracy": 0.5}, sweep=([0, 1, 2] * 2, [True] * 6))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = call("runs")
    shown = pld.open_run(tmp_path / "runs" / name).name
    assert out.count(shown) > 1 and max(map(len, out.splitlines())) <= max(columns, len(shown) + 25)


def test_every_option_has_a_help_text():
    import typer

    group = typer.main.get_command(cli.app)
    for command in [group, *group.commands.values()]:
        assert command is group or command.help
        assert not [parameter.name for parameter in command.params if not parameter.help and parameter.name != "help"]


def test_interrupt_says_how_to_go_on(call, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pldebias.training.sweep", interrupted)
    code, _, err = call("train", "fixmatch")
    assert code == 130
    assert "goes on from the last finished epoch" in err


def test_python_m_pldebias_is_the_command_line():
    done = subprocess.run([sys.executable, "-m", "pldebias", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2 and "python -m pldebias" in done.stderr and "nonsense" in done.stderr
