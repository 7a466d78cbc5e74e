"""The site, by `make site`: guide, course, gallery, API reference and live pages; Sphinx reads the whole clone, so that links hold."""

import inspect
import shutil
import sys
from importlib import import_module
from operator import attrgetter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sphinx.util.nodes import make_refnode  # noqa: E402

import pldebias as pld  # noqa: E402

project = "pldebias"
author = copyright = "The pldebias authors"
release = version = pld.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc", "myst_nb", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/**",
    "notebooks/*.ipynb",
    "data/README.md",
    "data/gallery/README.md",
    "benchmarks/RESULTS.md",
]
exclude_patterns = ["docs/templates/**"]
templates_path = ["templates"]
default_role = "py:obj"  # in docstrings, names in single backticks are links
nitpicky = True  # and one that leads nowhere fails the build
nb_execution_mode = "off"  # the notebooks hold what whole trainings gave
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]
autodoc_typehints = "none"  # numpydoc tells types
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
html_theme = "pydata_sphinx_theme"
html_title = "pldebias"
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}
html_show_sourcelink = False
html_show_search_summary = False  # it is fetched, which a page opened from disk may not
html_context = {"default_mode": "auto"}
html_static_path = ["static"]
html_css_files = ["site.css"]

MODULES = {
    "pldebias": "Train, record, open, compare and explore",
    "pldebias.plots": "Figures",
    "pldebias.metrics": "Measures of counts",
    "pldebias.runs": "Recorded runs",
    "pldebias.interop": "Runs for and from other programs",
    "pldebias.schemes": "Schemes",
    "pldebias.learners": "Learners",
    "pldebias.methods": "Method strings",
    "pldebias.presets": "Settings",
    "pldebias.data": "Data sets and splits",
    "pldebias.nets": "Networks",
    "pldebias.widgets": "Views",
}
"""Modules of the reference, in its order."""
MORE = {
    "pldebias": [
        "analysis.comparing.tables.Table",
        "analysis.relabelling.relabelled.WhatIf",
        "analysis.embedding.embedding.Embedding",
        "widgets.embedding.EmbeddingView",
    ],
    "pldebias.schemes": ["part.Part"],
    "pldebias.presets": ["LIKE"],
}
"""More names, by module: results that functions return, and base classes."""
LIVE = {"matrices": ["consistent_fixmatch_s0.zip", "consistent_fixmatch+daso_s0.zip"]}
"""Live pages of shipped runs."""


def public(module):
    """Public names that a module offers, without those that it only takes from another module of the reference."""
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    return sorted(name for name in names if not name.startswith("_") and not inspect.ismodule(getattr(module, name)))


def write_reference():
    """One page a module, from its public names."""
    folder = ROOT / "docs" / "api"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "index.md").write_text("\n".join(["# Reference", "", "```{toctree}", ":maxdepth: 1", "", *MODULES, "```", ""]))
    seen = set()
    for name, title in MODULES.items():
        module = import_module(name)
        lines = [f"{title}: {name}", "=" * (len(title) + len(name) + 2), "", (inspect.getdoc(module) or "").strip(), ""]
        for each in dict.fromkeys([*public(module), *MORE.get(name, ())]):
            value = attrgetter(each)(module)
            kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
            options = ["   :members:"] if kind == "class" else []
            if kind == "class" and value in seen:
                options.append("   :no-index:")
            seen.update([value] if kind == "class" else [])
            title = each.rpartition(".")[2]
            lines += [title, "-" * len(title), "", f".. auto{kind}:: {name}.{each}", *options, ""]
        (folder / f"{name}.rst").write_text("\n".join(lines))


def resolve(app, env, node, contnode):
    """Link a name in backticks to the one documented thing that ends with it; parameters and other words stay words."""
    target, domain = node["reftarget"], env.domains.python_domain
    if found := sorted((name for name in domain.objects if f".{name}".endswith(f".{target}")), key=len):
        entry = domain.objects[found[0]]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, found[0])
    owner, _, attribute = target.rpartition(".")
    for name in sorted((name for name in domain.objects if owner and f".{name}".endswith(f".{owner}")), key=len):
        if exists(f"{name}.{attribute}"):
            entry = domain.objects[name]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)
    return contnode if "." not in target or exists(target) else None


def exists(name):
    """Tell whether a dotted name leads to something in the package."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            if not hasattr(value, part) and part not in getattr(value, "__annotations__", ()):
                return False
            value = getattr(value, part, None)
        return True
    return False


def write_live_pages(app, error):
    """Explorers of shipped runs, as pages that need no kernel, beside the pages that show them."""
    if error is not None or app.builder.format != "html":
        return
    for name, runs in LIVE.items():
        target = Path(app.outdir) / "live" / f"{name}.html"
        target.parent.mkdir(exist_ok=True)
        pld.explore(*(ROOT / "data" / "gallery" / run for run in runs)).to_html(target)
    (Path(app.outdir) / "index.html").write_text(
        '<!DOCTYPE html><meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">pldebias</a>\n'
    )


def setup(app):
    write_reference()
    app.connect("missing-reference", resolve)
    app.connect("build-finished", write_live_pages)
