"""The course: sources and notebooks agree, every notebook runs, and its page works without a kernel."""

import ast
import os
import re
import shutil
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pytest
from chromium import opened
from filelock import FileLock

from pldebias.widgets.static import export_notebook

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
sys.path.insert(0, str(ROOT / "notebooks"))


def course_folder(folder):
    """A folder that looks to a notebook as the project does: itself in `notebooks`, runs and the gallery beside it."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "data" / "gallery", folder / "data" / "gallery", dirs_exist_ok=True)
    return folder / "notebooks"


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`with once(folder):` around a notebook gives its course what notebooks of any test process have trained, and them what it trains."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"

    def copy(source, target):
        return target if os.path.exists(target) else shutil.copy2(source, target)

    def add(source, target):
        with FileLock(f"{shared}.lock"):
            for part in ("runs", "notebooks/data"):
                if (source / part).exists():
                    shutil.copytree(source / part, target / part, copy_function=copy, dirs_exist_ok=True)

    @contextmanager
    def trained(folder):
        add(shared, folder)
        yield
        add(folder, shared)

    return trained


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
def exported(tmp_path_factory, once):
    """`exported(source)` -> the page of a notebook, run on short trainings; once each, in one folder, where later ones find trainings."""
    course = course_folder(tmp_path_factory.mktemp("course"))

    @cache
    def export(source):
        with pytest.MonkeyPatch.context() as patch, once(course.parent):
            patch.setenv("PLDEBIAS_FAST", "1")
            patch.delenv("PLDEBIAS_CIFAR10", raising=False)
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
    explorers = jupytext.read(source)
    explorers = sum("pld.explore(" in cell.source for cell in explorers.cells if cell.cell_type == "code")
    page_file = exported(source)
    with opened(page_file, lambda page: page.locator(".jp-Notebook").wait_for(), width=1300) as page:
        frames = page.locator("iframe[srcdoc]")
        assert frames.count() >= explorers
        for number in range(frames.count()):
            frames.nth(number).scroll_into_view_if_needed()
            scrub(frames.nth(number).content_frame, page)
    for name in re.findall(r'to_html\("\.\./(runs/pages/.+?)"', source.read_text()):
        with opened(page_file.parent.parent / name, lambda page: page.locator("body").wait_for()) as page:
            scrub(page, page)


@pytest.mark.browser
def test_linked_views_of_its_page_follow_each_other(exported):
    """Each view of an exported notebook is a frame of its own."""
    (source,) = (path for path in NOTEBOOKS if path.stem.startswith("03"))
    with opened(exported(source), lambda page: page.locator("iframe[srcdoc]").nth(1).wait_for(state="attached")) as page:
        frames = {}
        for number in range(page.locator("iframe[srcdoc]").count()):
            frame = page.locator("iframe[srcdoc]").nth(number)
            frame.scroll_into_view_if_needed()
            frame.content_frame.locator(".pldebias[data-epoch], .pld-embedding[data-epoch]").first.wait_for()
            kind = "explorer" if frame.content_frame.locator(".pldebias[data-epoch]").count() else "embedding"
            frames.setdefault(kind, frame.content_frame)
        explorer, embedding = frames["explorer"].locator(".pldebias"), frames["embedding"].locator(".pld-embedding")
        assert embedding.get_attribute("data-frame") != "0"
        explorer.locator("input[type=range]").first.focus()
        page.keyboard.press("Home")
        frames["embedding"].locator(".pld-embedding[data-frame='0']").wait_for()  # its first snapshot
        embedding.locator("input[type=range]").first.focus()
        page.keyboard.press("End")
        frames["explorer"].locator(".pldebias:not([data-epoch='0'])").wait_for()
        frames["embedding"].locator(".pld-embedding:not([data-frame='0'])").wait_for()


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
