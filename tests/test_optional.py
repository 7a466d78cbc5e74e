"""Features asked for without their packages: one message that says what to install."""

import sys

import numpy as np
import pytest

import pldebias as pld
from pldebias import cli
from pldebias.interop.columns import read_table
from pldebias.interop.lightning import lightning_callback
from pldebias.interop.tensorboard import read_tensorboard, write_tensorboard
from pldebias.interop.usb import usb_hook
from pldebias.optional import needed
from pldebias.widgets.static import export_notebook


@pytest.fixture
def run(tmp_path):
    with pld.Recorder(tmp_path / "run", np.arange(6) % 3, [3, 2, 1], ["a", "b", "c"]) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0}, sweep=([0, 1, 2] * 2, [True] * 6))
    return pld.open_run(tmp_path / "run")


def lab(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["pldebias", "lab", str(tmp_path), "--debug"])
    cli.main()


FEATURES = {
    "lightning": ("pldebias[loggers]", ["lightning", "lightning.pytorch", "pytorch_lightning"], lambda run, *_: lightning_callback(None)),
    "tensorboard": ("pldebias[loggers]", ["tensorboard"], lambda run, *_: write_tensorboard(run, "x")),
    "events": ("pldebias[loggers]", ["tensorboard"], lambda run, path, _: read_tensorboard(path)),
    "jupytext": ("pldebias[notebooks]", ["jupytext"], lambda run, path, _: export_notebook("x.py", path / "x.html")),
    "nbconvert": ("pldebias[notebooks]", ["nbconvert"], lambda run, path, _: export_notebook("x.py", path / "x.html")),
    "jupyterlab": ("pip install jupyterlab", ["jupyterlab"], lambda run, path, patch: lab(patch, path)),
    "semilearn": ("semilearn", ["semilearn"], lambda run, *_: usb_hook(None)),
}


@pytest.mark.parametrize("name", FEATURES)
def test_what_to_install(name, run, tmp_path, monkeypatch):
    told, modules, work = FEATURES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tfevents.1").write_bytes(b"x")
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    if name == "lightning":
        monkeypatch.delitem(sys.modules, "lightning.pytorch")
        monkeypatch.delitem(sys.modules, "pytorch_lightning")
    with pytest.raises(ImportError) as error:
        work(run, tmp_path, monkeypatch)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_package_that_is_broken(tmp_path, monkeypatch):
    (tmp_path / "halfway.py").write_text("import a_part_that_is_gone")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ImportError, match=r"^drawing needs half-way, which cannot be loaded \(No module named 'a_part_that_is_gone'\): pip"
    ):
        needed("drawing", "x", "half-way:halfway")
    with pytest.raises(
        ImportError, match=r"^drawing needs gone, which is not installed: pip install 'pldebias\[x\]', or pip install gone$"
    ):
        needed("drawing", "x", "gone.inner")
    assert needed("drawing", None, "json", "os:os.path")[0].loads("1") == 1


def test_a_kind_of_compression_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("fsspec.utils.infer_compression", lambda _: None)
    (tmp_path / "x.csv.zst").write_bytes(b"x")
    with pytest.raises(ValueError, match="unpack it, or pip install zstandard"):
        read_table(tmp_path / "x.csv.zst", ["epoch"], [])
