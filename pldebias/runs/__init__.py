"""Runs on disk: `Recorder` writes one, `open_run` reads one, `catalogue` lists them.

`Recorder` needs torch and is loaded on first use; reading needs numpy alone.
"""

import lazy_loader

from pldebias._deprecate import moved

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_MOVED = {
    "adapters": "pldebias.interop",
    "columns": "pldebias.interop.columns",
    "exchange": "pldebias.interop",
    "importers": "pldebias.interop",
    "thin": "pldebias.interop.thin",
}
__getattr__ = moved(__name__, _MOVED, _find)
