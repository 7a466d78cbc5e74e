"""Figures for papers and still images: one function a file, drawn with matplotlib from numbers of `pldebias.metrics` and `analysis`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
