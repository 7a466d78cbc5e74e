"""Interactive views of runs: one widget that scrubs through a training, in JupyterLab and in self-contained pages."""

from pldebias.optional import needed

needed("an interactive view", "lab", "anywidget", "ipywidgets", "rjsmin")

from pldebias.widgets.explorer import Explorer, explore  # noqa: E402  (after what it needs)

__all__ = ["Explorer", "explore"]
