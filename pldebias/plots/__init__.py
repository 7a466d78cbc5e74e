"""Figures for papers and still images: one function a file, drawn with matplotlib from numbers of `pldebias.metrics`."""

from pldebias.plots.carpet import carpet
from pldebias.plots.confusion import confusion
from pldebias.plots.style import Drawn

__all__ = ["Drawn", "carpet", "confusion"]
