"""The course: sources and notebooks agree, every notebook runs, and its page works without a kernel."""

import ast
import os
import shutil
import sys
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pytest
from needs import missing

from pldebias.widgets.static import export_notebook

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
sys.path.insert(0, str(ROOT / "notebooks"))


def course_folder(folder):
    """A folder that looks to a notebook as the project does: itself in `notebooks`, runs beside it."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    return folder / "notebooks"


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_notebook_has_the_cells_of_its_source(source):
    from refresh import LARGEST, read

    ours, theirs = read(source), nbformat.read(source.with_suffix(".ipynb"), 4)
    assert [(cell.cell_type, cell.source, cell.id) for cell in ours.cells] == [(c.cell_type, c.source, c.id) for c in theirs.cells]
    assert theirs.metadata.kernelspec.name == "python3"  # without it JupyterLab asks which kernel to use
    nbformat.validate(theirs)
    assert not [out for c in theirs.cells for out in c.get("outputs", []) if out.output_type == "error"]
    assert any("image/png" in out.get("data", {}) for c in theirs.cells for out in c.get("outputs", []))
    assert source.with_suffix(".ipynb").stat().st_size < LARGEST


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_notebooks_call_and_define_nothing(source):
    tree = ast.parse("\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"))
    defined = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert not defined


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(source)` -> the page of a notebook, run on short trainings; once each, in one folder, where later ones find trainings."""
    course = course_folder(tmp_path_factory.mktemp("course"))

    @cache
    def export(source):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PLDEBIAS_FAST", "1")
            patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
            return export_notebook(shutil.copy(source, course), course.parent / "site" / f"{source.stem}.html", timeout=600)

    return export


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_notebook_runs(source, exported):
    """A cell that fails fails the test."""
    assert "widget-view+json" not in exported(source).read_text()  # nothing in the page asks for a kernel
    assert "PLDEBIAS_STATIC" not in os.environ


@pytest.mark.browser
@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_explorers_of_its_page_work_without_kernel_and_network(source, exported):
    from playwright.sync_api import Error, sync_playwright

    explorers = jupytext.read(source)
    explorers = sum("pld.explore(" in cell.source for cell in explorers.cells if cell.cell_type == "code")
    page_file = exported(source)
    saved = sorted((page_file.parent.parent / "runs" / "pages").glob("*.html"))
    with sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except Error as error:
            missing(f"Chromium ({str(error).splitlines()[0]})", "PATH")
        page = browser.new_context(offline=True, viewport={"width": 1300, "height": 1000}).new_page()
        page.goto(page_file.as_uri())
        frames = page.locator("iframe[srcdoc]")
        assert frames.count() >= explorers
        for number in range(frames.count()):
            frames.nth(number).scroll_into_view_if_needed()
            scrub(frames.nth(number).content_frame, page)
        for path in saved:
            page.goto(path.as_uri())
            scrub(page, page)
        browser.close()


def scrub(frame, page):
    """Press a key in an explorer (an embedding is not one), and see another epoch painted."""
    frame.locator(".pldebias[data-epoch], .pld-embedding").first.wait_for()
    if not frame.locator(".pldebias[data-epoch]").count():
        return
    explorer, pixels = frame.locator(".pldebias"), "all => all.map((canvas) => canvas.toDataURL()).join()"
    before, painted = explorer.get_attribute("data-epoch"), frame.locator("canvas").evaluate_all(pixels)
    explorer.locator("input[type=range]").first.focus()
    page.keyboard.press("Home")
    frame.locator(".pldebias[data-epoch='0']").wait_for()
    assert before != "0" and frame.locator("canvas").evaluate_all(pixels) != painted
