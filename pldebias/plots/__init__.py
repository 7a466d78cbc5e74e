"""Figures: one function a file puts numbers of `pldebias.metrics` and `analysis` into marks, which matplotlib or plotly draws."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
