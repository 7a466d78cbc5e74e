"""The gallery: every script runs, and the page shows the lines of the scripts and images that are there."""

import importlib.util
import re
from pathlib import Path

import pytest
from made_runs import make_run

import pldebias as pld

DOCS = Path(__file__).parents[1] / "docs"
_spec = importlib.util.spec_from_file_location("gallery_refresh", DOCS / "gallery" / "refresh.py")
refresh = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(refresh)
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders laid out as the page says, with small made runs."""
    root = tmp_path_factory.mktemp("gallery")
    for seed in (0, 1):
        for method in ("fixmatch", "fixmatch+daso", "fixmatch+debiaspl", "fixmatch+seval", "fixmatch+adello"):
            make_run(root / "glyphs-lt" / method / f"s{seed}", method, seed, epochs=12, outputs=True)
        for gamma in (1.0, 25.0):
            for method in ("supervised", "fixmatch", "fixmatch+daso"):
                make_run(root / "ratios" / f"{gamma:g}" / method / f"s{seed}", method, seed, gamma_u=gamma)
    return root


ONE_RUN = {"embedding", "flows", "learning_order", "reliability", "samples", "threshold_sweep", "what_if"}
"""They need outputs and images of a training, which made runs do not have."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    settings = {"steps": 40, "steps_per_epoch": 10, "snapshots": 2, "m1": 200, "gamma_u": 5.0, "options": {"fixmatch": {"threshold": 0.5}}}
    pld.train("fixmatch", out=root, progress=False, **settings)
    return root


@pytest.mark.parametrize("script", refresh.scripts(), ids=lambda path: path.stem)
def test_script(script, runs, trained, tmp_path):
    told = refresh.execute(script, trained if script.stem in ONE_RUN else runs, tmp_path)
    assert told.strip() and list(tmp_path.iterdir()), "a script prints its caption and writes its image"
    headline, explanation, code = refresh.lines(script)
    assert f"## {headline}\n\n{explanation}\n\n```python\n{code}\n```" in PAGE, "run docs/gallery/refresh.py"
    assert 12 <= len(script.read_text().splitlines()) <= 25


def test_every_figure_is_in_the_gallery():
    figures = set(pld.plots.__all__) - {"Drawn", "PaperFigure", "embedding_slider"}  # the slider lives in a page, not in an image
    assert figures <= {script.stem for script in refresh.scripts()}


def test_images_are_there_and_small():
    named = set(re.findall(r"\(images/(\S+)\)", PAGE))
    others = {"explorer.png"}  # shown by the README
    assert named | others == {path.name for path in (DOCS / "images").glob("*.png")} and len(named) >= 11
    assert all((DOCS / "images" / name).stat().st_size < 80_000 for name in named)
