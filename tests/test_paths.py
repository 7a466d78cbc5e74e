"""Paths that users give: ``~``, variables, ``::`` and names that a system reserves mean one thing wherever a path is taken."""

from pathlib import Path

import numpy as np
import pytest

import pldebias as pld
from pldebias import paths
from pldebias.analysis.embedding.frames import cache_folder
from pldebias.data.sources import data_root
from pldebias.interop.importers import from_csv, from_numpy
from pldebias.interop.tensorboard import read_tensorboard, write_tensorboard
from pldebias.interop.thin import thin
from pldebias.paths import PathError, is_address, local, portable
from pldebias.schemes.seval import load_curve, save_curve
from pldebias.training.train import run_folder

CLASSES = {"labelled_counts": [3, 2, 1], "class_names": ["a", "b", "c"]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder; the working folder, which must stay empty, is another, and $PLACE a third."""
    for name in ("home", "work", "place"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("PLACE", str(tmp_path / "place"))
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def recorded(path):
    with pld.Recorder(path, np.arange(6) % 3, **CLASSES) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0}, sweep=([0, 1, 2] * 2, [True] * 6), test=np.eye(3, dtype=int))
    return pld.open_run(path)


def csv(path):
    local(path).write_text("epoch,index,label\n0,0,a\n0,1,b\n")
    return path


WRITERS = {
    "Recorder": recorded,
    "from_numpy": lambda path: from_numpy(path, np.zeros((1, 2), int), true_labels=None, **CLASSES),
    "from_csv": lambda path: from_csv(path, csv(f"{path}.csv"), **CLASSES),
    "thin": lambda path: thin(recorded(f"{path}.run"), f"{path}.zip"),
    "to_netcdf": lambda path: recorded(f"{path}.run").to_netcdf(f"{path}.nc"),
    "write_tensorboard": lambda path: read_tensorboard(write_tensorboard(recorded(f"{path}.run"), path)).loss.item() == 1,
    "to_html": lambda path: pld.explore(recorded(f"{path}.run")).to_html(f"{path}.html"),
    "csv": lambda path: pld.table(recorded(f"{path}.run")).to_csv(f"{path}.csv"),
    "latex": lambda path: pld.table(recorded(f"{path}.run")).to_latex(f"{path}.tex"),
    "figure": lambda path: pld.plots.confusion(recorded(f"{path}.run")).save(f"{path}.svg"),
    "curve": lambda path: (save_curve(f"{path}.npz", np.ones((2, 3)), np.ones((2, 3))), load_curve(f"{path}.npz")),
    "cache": lambda path: cache_folder(None, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_home_and_variables_wherever_something_is_written(name, home):
    for start, place in (("~", home), ("$PLACE", home.parent / "place")):
        WRITERS[name](f"{start}/new/it" if name not in ("from_csv", "cache") else f"{start}/it")
        assert list(place.rglob("it*")) and not list(Path.cwd().iterdir())


def test_home_and_variables_wherever_something_is_read(home):
    run = recorded("~/runs/one")
    assert run.path == str(home / "runs" / "one")
    for start in ("~/runs", Path("~/runs"), "$PLACE/../home/runs", f"file://{home}/runs"):
        assert len(pld.catalogue(start)) == len(pld.table(start).rows) == 1
    assert run_folder("fixmatch", "glyphs-lt", 0, "~/runs").is_relative_to(home)
    assert data_root("$PLACE/data") == home.parent / "place" / "data"
    with pytest.raises(pld.data.DataError, match=r"imagefolder:\$NOWHERE/x: the environment variable NOWHERE is not set"):
        pld.data.load_source("imagefolder:$NOWHERE/x")
    with pytest.raises(pld.runs.RunError, match="NOWHERE is not set"):
        pld.open_run("$NOWHERE/x")


def test_a_folder_that_really_has_such_a_name(home):
    for name in ("a$NOWHERE", "~nobody-here"):
        Path(name).mkdir()
        assert local(f"{name}/x") == Path(name, "x")
    recorded("./~/run")
    assert pld.catalogue(".").epochs.tolist() == [1]


@pytest.mark.parametrize("wrong", ["", " ", "a\0b", 3, None, "s3://bucket/x", "$NOWHERE/x", "${NOWHERE}", "~nobody-here/x", "é" * 130])
def test_what_is_no_path_here(wrong, home):
    with pytest.raises(PathError):
        local(wrong)
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("name", ["thin", "to_netcdf", "write_tensorboard", "to_html", "csv", "latex", "figure", "curve"])
def test_a_file_where_a_folder_is_needed(name, home):
    Path("file").touch()
    made = recorded(home / "run")
    writers = {
        "thin": lambda path: thin(made, path),
        "to_netcdf": made.to_netcdf,
        "write_tensorboard": lambda path: write_tensorboard(made, path),
        "to_html": pld.explore(made).to_html,
        "csv": pld.table(made).to_csv,
        "latex": pld.table(made).to_latex,
        "figure": pld.plots.confusion(made).save,
        "curve": lambda path: save_curve(path, np.ones((2, 3)), np.ones((2, 3))),
    }
    with pytest.raises(PathError, match="file is a file, no folder; choose another folder"):
        writers[name]("file/new/it.svg")
    with pytest.raises(pld.runs.RunError, match="A file stands where a folder is needed"):
        recorded("file/run")


@pytest.mark.parametrize(
    ("text", "elsewhere"),
    [("fixmatch::lr0.1", False), ("C://runs", False), ("file:///x::y", False), ("a:b/c", False)]
    + [(text, True) for text in ("https://x/y", "memory://x", "zip://::https://x/a.zip", "simplecache::s3://x")],
)
def test_addresses_are_told_from_names(text, elsewhere):
    assert is_address(text) == elsewhere


def test_the_working_folder_may_change(tmp_path, monkeypatch, home):
    recorder = pld.Recorder("one", np.arange(6) % 3, **CLASSES)
    recorder.end_epoch(sweep=([0, 1, 2] * 2, [True] * 6))
    recorder.flush()
    run = pld.open_run("one")
    monkeypatch.chdir(tmp_path)
    recorder.end_epoch(sweep=([0, 1, 2] * 2, [True] * 6))
    recorder.close()
    assert run.refresh().confusion().sum() == 12 and run.to_xarray().sizes["epoch"] == 2


def test_colons_in_a_folder_and_in_a_zip_file(tmp_path):
    run = recorded(tmp_path / "fixmatch::lr0.1")
    small = pld.open_run(thin(run, tmp_path / "x::y.zip"))
    for one in (run, small, pld.open_run(f"zip://::{small.path}")):
        assert one.path in (run.path, small.path)
        np.testing.assert_array_equal(one.to_xarray()["sweep"], run.confusion())
        assert one.to_netcdf(tmp_path / "a.nc").stat().st_size


def test_names_that_windows_reserves(monkeypatch):
    names = ("con", "NUL.tar.gz", "a.", "", "...", "a:b", 'x"y', "x/y", "é" * 300, "console", "parquet_x")
    made = [portable(name) for name in names]
    assert all(paths.is_portable(name) and name and len(name) <= 200 for name in made)
    assert made[-2:] == ["console", "parquet_x"]
    assert run_folder("fixmatch", "con", 0).parts[1] == "_con"
    monkeypatch.setattr(paths, "WINDOWS", True)
    for name in ("runs/aux/x", "runs/a::b", "what?", "runs./x"):
        with pytest.raises(PathError, match="Windows takes no file or folder named"):
            local(name)
    assert local("../runs/x") == Path("../runs/x")
