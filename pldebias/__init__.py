"""Train imbalanced semi-supervised learners, log what their pseudo-labels really were, and scrub through the training.

Names are loaded on first use, so that ``import pldebias`` costs milliseconds.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

try:
    __version__ = version("pldebias")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
