"""The explorer without a kernel: as a self-contained page, in a frame of an exported notebook, and a command that exports one.

python -m pldebias.widgets.static notebooks/01_scrub_through_training.py -o site/01_scrub_through_training.html
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
from pathlib import Path

import numpy as np

from pldebias._files import put
from pldebias.optional import needed
from pldebias.paths import local, output
from pldebias.settings import some_of
from pldebias.widgets.module import module, style
from pldebias.widgets.page import Piece
from pldebias.widgets.payload import pack

__all__ = ["export_notebook", "piece"]

MOST_COUNTS = 1_500_000
"""Bytes of counts in a page that was not asked for all kinds."""
MOST_BYTES = 600_000
"""Of one run's labels in a page that was not asked for them."""
MOST_PICTURES = 400
"""Of one tail class; fewer where they are large."""


def _samples(view, wanted: bool | str, offset: int) -> tuple[dict, bytes]:
    """Data that stand in for the kernel when a cell is opened: every label of every sample, and pictures of tail samples.

    Returns what the module Answers reads, and its bytes, which lie `offset` bytes into the page's data.
    """
    from pldebias.analysis.samples import images_of
    from pldebias.widgets.followed import sheet

    blocks: list[bytes] = []

    def keep(data: bytes) -> list[int]:
        blocks.append(data)
        return [offset + sum(map(len, blocks[:-1])), len(data)]

    runs, tile = [], [0, 0]
    tail = view.meta["groups"][-1]["classes"]
    for number, run in enumerate(view.runs):
        told = {"name": run.name, "true": [], "epochs": [], "pictured": [], "problem": ""}
        runs.append(told)
        if wanted is False or number not in view.shown:
            told["problem"] = "This page carries no single samples: open the run in a notebook, or write the page with samples=True."
            continue
        epochs, labels, accepted = view._history(number)
        if not len(epochs):
            told["problem"] = f"{run.name} kept no labels of single samples; record a sweep to follow them."
            continue
        rows = labels.astype("<i2").T, accepted.astype(np.uint8).T  # a sample's epochs side by side
        packed = [gzip.compress(np.ascontiguousarray(a).tobytes(), 5, mtime=0) for a in rows]
        if wanted == "auto" and sum(map(len, packed)) > MOST_BYTES:
            size = sum(map(len, packed)) / 1e6
            told["problem"] = (
                f"This page carries no single samples ({size:.1f} MB): open the run in a notebook, or write it with samples=True."
            )
            continue
        true = np.asarray(run.true_labels)
        told |= {"true": true.tolist(), "epochs": [int(e) for e in epochs], "labels": keep(packed[0]), "accepted": keep(packed[1])}
        each = MOST_PICTURES
        while each:
            index = np.concatenate([np.flatnonzero(true == c)[:each] for c in tail]) if tail else np.zeros(0, int)
            png, size = sheet(images_of(run, index)[0] if len(index) else None)
            if wanted is True or len(png) <= MOST_BYTES:
                break
            each //= 2
        if each and png:
            told |= {"pictured": index.tolist(), "sheet": keep(png)}
            tile = size
    return {"runs": runs, "tile": tile, "pictures": "The page carries pictures of tail samples only." if tile[0] else ""}, b"".join(blocks)


ANSWERS = """const answers = new module.Answers(state.samples, state.data, state.meta.classes);
model.send = async (question) => {
  const [reply, buffers] = await answers.reply(question);
  for (const f of listeners["msg:custom"] ?? []) f({ request: question.request, ...reply }, buffers);
};"""


def piece(view, still: bool = True, samples: bool | str = "auto", kinds="auto") -> Piece:
    """An explorer in its current state, for a `page`.

    Parameters
    ----------
    view : Explorer
    still : bool
        Carry a still image for readers without scripts.
    samples : bool or "auto"
    kinds : sequence of str or "auto"
        As in `Explorer.to_html`.
    """
    if samples not in (True, False, "auto"):
        raise ValueError(f"samples must be True, False or 'auto'; got {samples!r}")
    if isinstance(kinds, str) and kinds == "auto":
        kinds = view.kinds if len(view.data) <= MOST_COUNTS else (view.kind,)
    kinds = some_of("kinds", kinds, view.kinds)
    if view.kind not in kinds:
        raise ValueError(f"kinds must hold {view.kind!r}, which the view shows; got {kinds}")
    meta, data = (view.meta, view.data) if kinds == view.kinds else pack(view.runs, kinds, view.groups)
    store, more = _samples(view, samples, len(data))
    state = {key: value for key, value in view.state.items() if key not in ("kinds", "groups")} | {"meta": meta, "samples": store}
    source = module("explorer", "answers") + "\nexport { Answers };"
    title = " and ".join(view.runs[number].name for number in view.shown)
    return Piece(source, style("explorer"), state, data + more, title, view.png() if still else b"", ANSWERS)


ALONE = """{% extends "lab/index.html.j2" %}
{% block html_head_js_requirejs %}{% endblock %}
{% block html_head_js_mathjax %}{% if resources.formulas %}{{ super() }}{% endif %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}"""
"""JupyterLab's page without what it loads from elsewhere; MathJax alone stays, where there are formulas to set."""


def export_notebook(notebook, out, timeout: int = 600) -> Path:
    """Execute a notebook and write it as a page in which every explorer still scrubs.

    Parameters
    ----------
    notebook : str or PathLike
        ``.py`` (percent format) or ``.ipynb``; it runs in its own folder.
    out : str or PathLike
        HTML file.
    timeout : int
        Seconds allowed for one cell.

    Returns
    -------
    Path
        Of the file.
    """
    jupytext, client, nbconvert, jinja2 = needed("exporting a notebook", "notebooks", "jupytext", "nbclient", "nbconvert", "jinja2")
    notebook, out = local(notebook), output(out)
    document = jupytext.read(notebook)
    resources = {"metadata": {"path": str(notebook.parent.resolve()), "name": notebook.stem}}
    before = os.environ.get("PLDEBIAS_STATIC")
    os.environ["PLDEBIAS_STATIC"] = "1"
    try:
        client.NotebookClient(document, timeout=timeout, kernel_name="python3", resources=resources, store_widget_state=False).execute()
    finally:
        os.environ.pop("PLDEBIAS_STATIC")
        if before is not None:
            os.environ["PLDEBIAS_STATIC"] = before
    resources["formulas"] = any(cell.cell_type == "markdown" and re.search(r"\$|\\\\[\[(]", cell.source) for cell in document.cells)
    exporter = nbconvert.HTMLExporter(
        template_name="lab", template_file="alone.html.j2", extra_loaders=[jinja2.DictLoader({"alone.html.j2": ALONE})]
    )
    body, _ = exporter.from_notebook_node(document, resources)
    put(out, body.encode())
    return out


def main(argv=None) -> None:
    """Command line of `export_notebook`."""
    about = "Execute a notebook and write it as a page whose explorers work."
    parser = argparse.ArgumentParser(prog="python -m pldebias.widgets.static", description=about)
    parser.add_argument("notebook", help=".py (percent format) or .ipynb")
    parser.add_argument("-o", "--out", required=True, help="HTML file to write")
    parser.add_argument("--timeout", type=int, default=600, help="seconds allowed for one cell")
    options = parser.parse_args(argv)
    out = export_notebook(options.notebook, options.out, options.timeout)
    print(f"{out}  {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
