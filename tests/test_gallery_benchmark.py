"""One command trains, tells and ships: proven with the small network, a few steps and drawn pictures in CIFAR-10's place."""

import ast
import re
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

import pldebias as pld
from pldebias import metrics

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import gallery
from benchmarks.conventional import photographs
from pldebias.analysis.comparing.published import lookup
from pldebias.analysis.samples import _LAST, images_of
from pldebias.interop.thin import thin
from pldebias.methods import build_method
from pldebias.presets import resolve

SHORT = ["steps=6", "steps_per_epoch=2", "n1=20", "m1=20", "gamma_l=4.0", "gamma_u=4.0", "batch_size=8", "validation=0", "snapshots=2"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of images in ten classes, 40 to train and 4 to test of each."""
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    images = iter(photographs(440).permute(0, 2, 3, 1).numpy())
    for k in range(10):
        for part, count in (("train", 40), ("test", 4)):
            (root / part / f"class{k}").mkdir(parents=True)
            for i in range(count):
                Image.fromarray(next(images)).save(root / part / f"class{k}" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def made(pictures, tmp_path_factory):
    root = tmp_path_factory.mktemp("gallery")
    command = ["--size", "small", "--jobs", "1", "--methods", "supervised", "fixmatch+daso", "--seeds", "0", "1", "--quiet"]
    command += ["--source", f"imagefolder:{pictures}"]
    command += ["--out", str(root / "runs"), "--to", str(root / "data"), "--set", *SHORT, f"root={str(root / 'cache')!r}"]
    assert gallery.main(command) == 0
    return root, command


def test_the_table_is_written(made, capsys):
    root, command = made
    text = (root / "data" / "README.md").read_text()
    assert re.search(r"\| consistent, fixmatch\+daso +\| +2 \| +\d+\.\d ± \d+\.\d \|", text)
    assert "not comparable with published" in text and "imagefolder files" in text
    before = {path: path.stat().st_mtime_ns for path in (root / "runs").rglob("zarr.json")}
    assert gallery.main(command) == 0  # nothing is trained twice, and the copies are the same
    assert {path: path.stat().st_mtime_ns for path in (root / "runs").rglob("zarr.json")} == before
    assert capsys.readouterr().out.strip() == (root / "data" / "README.md").read_text().strip()


def test_a_notebook_opens_what_was_shipped(made):
    root, _ = made
    found = sorted(path.name for path in (root / "data").glob("*.zip"))
    assert found == ["consistent_fixmatch+daso_s0.zip", "consistent_supervised_s0.zip"]
    run = pld.open_run(f"zip://::{root / 'data' / found[0]}")
    assert run.finished and run.method == "fixmatch+daso" and run.kinds == ("visits", "sweep", "test")
    assert all((root / "data" / name).stat().st_size < gallery.RUN_LIMIT for name in found)
    assert pld.explore(run) is not None


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "data" / "gallery").glob("*.zip")), ids=lambda path: path.stem)
def test_the_copies_that_come_with_the_package(path):
    """They count epochs as their trainings did, and are relabelled as those were."""
    run = pld.open_run(path)
    assert run.finished and run.total_epochs == 40 and (run.iterations == 100 * (run.epochs + 1)).all()
    for epoch in run.snapshots:
        assert pld.what_if(run, epoch=int(epoch)).reproduces
    if run.method == "fixmatch+daso":
        shown = pld.plots.blending(run, backend="none").values["runs"][run.method]["blended"]["recall"].mean
        assert_allclose(shown, 100 * metrics.recall(run.confusion("sweep", epoch=-1)))
    if run.method == "fixmatch":
        assert pld.what_if(run, "daso").reproduces


def test_a_page_without_copies_lists_none(made, tmp_path, capsys):
    root, command = made
    again = [str(tmp_path) if part == str(root / "data") else part for part in command]
    assert gallery.main([*again, "--ship"]) == 0
    assert not list(tmp_path.glob("*.zip"))
    text = (tmp_path / "README.md").read_text()
    assert "consistent, fixmatch+daso" in text and "No runs lie beside" in text and "bytes" not in text and text in capsys.readouterr().out


def test_what_was_shipped_names_no_folder_of_the_machine(made, pictures):
    """And tells where its images were only to a machine that has them in a place of the same name."""
    root, _ = made
    run = pld.open_run(f"zip://::{next((root / 'data').glob('*.zip'))}")
    assert run.config["source"] == f"imagefolder:{pictures.name}"
    assert str(root) not in str(run.attrs) and str(pictures) not in str(run.attrs)
    assert run.attrs["machine"]["root"] == "cache"
    images, problem = images_of(run, [0])
    assert images is None and f"imagefolder:{pictures.name}: there is no such folder" in problem


def test_images_that_a_variable_leads_to_are_found_again(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES", str(pictures))
    short = {name: ast.literal_eval(value) for name, value in (pair.split("=") for pair in SHORT)}
    settings = {"root": str(tmp_path), "network": "tiny_resnet", "out": tmp_path, "progress": False, **short}
    run = pld.train("supervised", "imagefolder:$PICTURES", **settings)
    path = thin(run, tmp_path / "copy.zip")
    copy = pld.open_run(f"zip://::{path}")
    assert copy.config["source"] == "imagefolder:$PICTURES"
    images, problem = images_of(copy, [0, 1])
    assert images.shape == (2, 32, 32, 3) and not problem
    monkeypatch.delenv("PICTURES")
    _LAST.clear()
    assert "PICTURES" in images_of(copy, [0])[1]  # named as the variable that is not set


def test_rows_are_papers_rows():
    """Every method exists, and the settings are those under which papers published numbers."""
    for method in gallery.METHODS:
        build_method(method)
    for name, settings in gallery.SETTINGS.items():
        config = resolve("fixmatch", gallery.SIZES["full"][0], **settings)
        assert config.steps == 250_000 and config.steps_per_epoch == 500 and config.gamma_l == 100
        values = lookup("fixmatch+daso", vars(config))
        assert "DASO T1" in set(values.source) or "DASO T2" in set(values.source), name


def test_a_row_that_fails_leaves_the_others(made, monkeypatch, capsys):
    _, command = made
    sweep = gallery.sweep

    def failing(methods, *args, **options):
        if methods == ["supervised"]:
            raise gallery.TrainingError("supervised: it diverged")
        return sweep(methods, *args, **options)

    monkeypatch.setattr(gallery, "sweep", failing)
    assert gallery.main(command) == 1
    printed = capsys.readouterr()
    assert "consistent, supervised failed: supervised: it diverged" in printed.err and "consistent, fixmatch+daso" in printed.out


def test_every_row_gets_its_share_of_the_bytes(made, tmp_path, monkeypatch, capsys):
    """Copies are thinned further until they fit; one that never does is left out, and said."""
    root, _ = made
    run, tried = pld.open_run(f"zip://::{next((root / 'data').glob('*.zip'))}"), []

    def sized(run, path, *, snapshots, **kept):
        tried.append(snapshots)
        path.write_bytes(bytes(1000 * snapshots + (9000 if "big" in path.name else 0)))
        return path

    monkeypatch.setattr(gallery, "thin", sized)
    assert gallery.ship({"a": {"fixmatch": [run]}, "big": {"fixmatch": [run]}}, tmp_path, 8000) == {"a_fixmatch_s0.zip": 4000}
    assert tried == [8, 5, 4, 8, 5, 4, 3, 2, 1] and [p.name for p in tmp_path.iterdir()] == ["a_fixmatch_s0.zip"]
    assert "big_fixmatch_s0.zip is left out: 10,000 bytes, where 4,000 are its share" in capsys.readouterr().err
