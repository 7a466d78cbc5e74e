"""Interactive views of runs: one widget that scrubs through a training, in JupyterLab and in self-contained pages."""

from pldebias.widgets.explorer import Explorer, explore

__all__ = ["Explorer", "explore"]
