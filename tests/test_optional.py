"""Features without their packages say what to install; the core needs no extra, a reader of runs not even torch."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pldebias as pld
from pldebias import cli, metrics
from pldebias.analysis.embedding.frames import chain
from pldebias.data import parquet
from pldebias.interop.columns import read_table
from pldebias.interop.lightning import lightning_callback
from pldebias.interop.tensorboard import read_tensorboard, write_tensorboard
from pldebias.interop.usb import usb_hook
from pldebias.optional import needed
from pldebias.plots.embedding import embedding_slider
from pldebias.widgets.static import export_notebook


@pytest.fixture
def run(tmp_path):
    with pld.Recorder(tmp_path / "run", np.arange(6) % 3, [3, 2, 1], ["a", "b", "c"]) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0}, sweep=([0, 1, 2] * 2, [True] * 6))
    return pld.open_run(tmp_path / "run")


POINTS = SimpleNamespace(label=np.zeros((1, 1), int), true=np.zeros(1, int), groups=metrics.groups([3, 2, 1]))
UMAP = {"n_neighbors": 2, "min_dist": 0.1, "seed": 0}


def widgets_anew(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pldebias.widgets")]:
        monkeypatch.delitem(sys.modules, name)
    import_module("pldebias.widgets")


def lab(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["pldebias", "lab", str(tmp_path), "--debug"])
    cli.main()


FEATURES = {
    "lightning": ("pldebias[loggers]", ["lightning", "lightning.pytorch", "pytorch_lightning"], lambda run, *_: lightning_callback(None)),
    "tensorboard": ("pldebias[loggers]", ["tensorboard"], lambda run, *_: write_tensorboard(run, "x")),
    "events": ("pldebias[loggers]", ["tensorboard"], lambda run, path, _: read_tensorboard(path)),
    "jupytext": ("pldebias[notebooks]", ["jupytext"], lambda run, path, _: export_notebook("x.py", path / "x.html")),
    "nbconvert": ("pldebias[notebooks]", ["nbconvert"], lambda run, path, _: export_notebook("x.py", path / "x.html")),
    "jupyterlab": ("pldebias[lab]", ["jupyterlab"], lambda run, path, patch: lab(patch, path)),
    "anywidget": ("pldebias[lab]", ["anywidget"], lambda run, path, patch: widgets_anew(patch)),
    "plotly": ("pldebias[lab]", ["plotly", "plotly.graph_objects"], lambda *_: embedding_slider(POINTS)),
    "umap": ("pldebias[embed]", ["umap"], lambda *_: chain(np.eye(6, dtype="f4")[None], "umap", UMAP, None, None)),
    "parquet": ("pldebias[files]", ["pyarrow", "pyarrow.parquet"], lambda run, path, _: parquet._Table(path / "x.parquet")),
    "table": ("pldebias[files]", ["pyarrow"], lambda run, path, _: read_table(path / "x.csv", ["epoch"], [])),
    "http": ("pldebias[remote]", ["aiohttp"], lambda *_: pld.open_run("https://example.org/run")),
    "semilearn": ("semilearn", ["semilearn"], lambda run, *_: usb_hook(None)),
}


@pytest.mark.parametrize("name", FEATURES)
def test_what_to_install(name, run, tmp_path, monkeypatch):
    told, modules, work = FEATURES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tfevents.1").write_bytes(b"x")
    (tmp_path / "x.csv").write_text("epoch\n1\n")
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


# -- without any of them --------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MODULES = {"umap-learn": "umap"}
BLOCK = """
import importlib, pkgutil, sys
class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Absent)
import pldebias as pld
"""


def without(absent: set[str], code: str) -> str:
    """What `code` prints where the modules are not installed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCK.format(absent=absent) + code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def names(*extras: str) -> set[str]:
    """Modules of the packages of extras."""
    packages = [line.split(">=")[0] for extra in extras for line in EXTRAS[extra]]
    return {MODULES.get(name, name) for name in packages}


def test_the_core_needs_no_extra():
    """Every module can be imported, or says what to install."""
    code = """
for module in pkgutil.walk_packages(pld.__path__, "pldebias.", onerror=lambda name: None):
    try:
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    except ImportError as error:
        print(module.name, error)
"""
    absent = names("lab", "embed", "files", "remote", "loggers", "notebooks")
    for line in without(absent, code).splitlines():
        assert line.startswith(("pldebias.widgets", "pldebias.plots.on_plotly")) and "pip install 'pldebias[lab]'" in line, line


def test_a_reader_needs_no_torch():
    code = """
run = pld.open_run("data/gallery/consistent_fixmatch_s0.zip")
pld.metrics.recall(run.confusion("test", epoch=-1))
print(run.epochs[-1], len(pld.catalogue("data/gallery")))
pld.table([run]), pld.plots.confusion(run), pld.plots.training_curves(run), pld.explore(run)
"""
    assert without({"torch", "torchvision"}, code).split()[1] == "10"
