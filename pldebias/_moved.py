"""Modules under their former names, for one minor release."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec

_RELABELLING = ("blending", "changes", "confidence", "counterpart", "estimate", "outputs", "relabelled", "whatif")

MOVED = {f"pldebias.analysis.{name}": f"pldebias.analysis.relabelling.{name}" for name in _RELABELLING}
"""Former name of a module: its present name."""


class _Former:
    """Finder and loader of `MOVED`: importing a former name warns and gives the module itself."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MOVED:
            warnings.warn(f"{name} is now {MOVED[name]}; the old name goes in the next minor release", DeprecationWarning, stacklevel=2)
            return ModuleSpec(name, cls)

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        sys.modules[module.__name__] = import_module(MOVED[module.__name__])


def install() -> None:
    """Let former names be imported."""
    if _Former not in sys.meta_path:
        sys.meta_path.append(_Former)
