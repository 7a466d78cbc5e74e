"""Execute the course's notebooks and write each beside its source.

    python notebooks/refresh.py            # all of them
    python notebooks/refresh.py 01 04      # those whose names start so

The source is the .py file (percent format); the .ipynb carries its outputs, so that they can be read where nothing runs. Widgets are
kept as their still images and not as state, which would weigh megabytes and need the network to come alive again.
"""

import argparse
import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
LARGEST = 1_000_000  # bytes of an .ipynb
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET, PLOTLY = "application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json"


def read(source) -> nbformat.NotebookNode:
    """The notebook that `source` describes, without outputs; kernel and cell ids do not depend on the machine."""
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.from_dict({"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": KERNEL})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"c{number:02d}"
    return notebook


def execute(notebook, folder, timeout: int = 600) -> nbformat.NotebookNode:
    """Run all cells in `folder`, in place."""
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,
    )
    return client.execute()


def tidy(notebook) -> None:
    """Leave only what shows without a kernel."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = nbformat.from_dict({"name": "python"})
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop(WIDGET, None) is not None and not set(data) - {"text/plain"}:
                continue  # a progress bar, say: nothing is left of it but its class name
            if PLOTLY in data:
                data.pop("text/html", None)  # it carries the whole library
            kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept


def refresh(source, folder=None) -> Path:
    """Execute `source` and write the .ipynb beside it.

    Raises
    ------
    SystemExit
        The result is too large for a repository, or names a folder of this machine.
    """
    source = Path(source)
    notebook = read(source)
    execute(notebook, folder or source.parent)
    tidy(notebook)
    text = nbformat.writes(notebook) + "\n"
    if len(text) > LARGEST:
        sys.exit(f"{source.name}: {len(text):,} bytes with its outputs, over {LARGEST:,}; draw fewer or smaller figures")
    for private in {str(HERE.parent), str(Path.home())} - {"/"}:
        if private + "/" in text:
            sys.exit(f"{source.name}: an output names {private}; print run names or relative paths")
    out = source.with_suffix(".ipynb")
    out.write_text(text, encoding="utf-8")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="how the names of the notebooks start; all if none is given")
    options = parser.parse_args()
    known = sorted(HERE.glob("[0-9]*.py"))
    sources = [path for path in known if path.name.startswith(tuple(options.names or [""]))]
    if not sources:
        sys.exit(f"no notebook starts with {' or '.join(options.names)}; there are {', '.join(path.name for path in known)}")
    os.environ.pop("PLDEBIAS_FAST", None)  # what is committed comes from whole trainings
    for source in sources:
        out = refresh(source)
        print(f"{out.name}  {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
