"""The course: sources and notebooks agree, and every notebook runs."""

import ast
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
sys.path.insert(0, str(ROOT / "notebooks"))


def course_folder(folder):
    """A folder that looks to a notebook as the project does: itself in `notebooks`, runs beside it."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    return folder / "notebooks"


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_notebook_has_the_cells_of_its_source(source):
    from refresh import read

    ours, theirs = read(source), nbformat.read(source.with_suffix(".ipynb"), 4)
    assert [(cell.cell_type, cell.source, cell.id) for cell in ours.cells] == [(c.cell_type, c.source, c.id) for c in theirs.cells]
    assert theirs.metadata.kernelspec.name == "python3"  # without it JupyterLab asks which kernel to use
    nbformat.validate(theirs)
    assert not [out for c in theirs.cells for out in c.get("outputs", []) if out.output_type == "error"]
    assert any("image/png" in out.get("data", {}) for c in theirs.cells for out in c.get("outputs", []))


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_notebooks_call_and_define_nothing(source):
    tree = ast.parse("\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"))
    defined = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert not defined


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """One folder for all notebooks, so that later ones find the trainings of earlier ones."""
    return course_folder(tmp_path_factory.mktemp("course"))


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_notebook_runs(source, course, monkeypatch):
    """On short trainings; a cell that fails fails the test."""
    from refresh import execute, read

    monkeypatch.setenv("PLDEBIAS_FAST", "1")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = execute(read(source), course, timeout=300)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip())
