"""Metrics of pseudo-labels under their public name; the formulas live in `pldebias.metrics`, which training uses too."""

from pldebias.metrics import *  # noqa: F403 - its public name
from pldebias.metrics import __all__ as __all__
