"""Train imbalanced semi-supervised learners, log what their pseudo-labels really were, and scrub through the training.

Names are loaded on first use, so that ``import pldebias`` costs milliseconds.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pldebias")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"

_EXPORTS = {
    "Config": "pldebias.presets",
    "Recorder": "pldebias.runs",
    "Run": "pldebias.runs",
    "analysis": "pldebias.analysis",
    "build_method": "pldebias.methods",
    "catalogue": "pldebias.runs",
    "embed": "pldebias.analysis.embedding",
    "embedding_view": "pldebias.widgets.embedding",
    "explore": "pldebias.widgets",
    "load_plugin": "pldebias.registry",
    "metrics": "pldebias.metrics",
    "open_run": "pldebias.runs",
    "plots": "pldebias.plots",
    "presets": "pldebias.presets",
    "register": "pldebias.plugins",
    "sweep": "pldebias.training",
    "table": "pldebias.analysis.comparing.tables",
    "train": "pldebias.training",
    "what_if": "pldebias.analysis.relabelling.whatif",
}

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'pldebias' has no attribute {name!r}; it offers {', '.join(__all__)}")
    module = import_module(_EXPORTS[name])
    value = module if _EXPORTS[name].rpartition(".")[2] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
