"""Runs on disk: `Recorder` writes one, `open_run` reads one, `catalogue` lists them.

`Recorder` needs torch and is loaded on first use; reading needs numpy alone.
"""

from pldebias._deprecate import moved
from pldebias.runs.catalogue import catalogue, find_runs
from pldebias.runs.run import NotLogged, Run, RunError, open_run

__all__ = ["NotLogged", "Recorder", "Run", "RunError", "catalogue", "find_runs", "open_run"]


def _recorder(name: str):
    if name != "Recorder":
        raise AttributeError(f"module 'pldebias.runs' has no attribute {name!r}; it offers {', '.join(__all__)}")
    from pldebias.runs.recorder import Recorder

    globals()[name] = Recorder
    return Recorder


_MOVED = {
    "adapters": "pldebias.interop",
    "columns": "pldebias.interop.columns",
    "exchange": "pldebias.interop",
    "importers": "pldebias.interop",
    "thin": "pldebias.interop.thin",
}
__getattr__ = moved(__name__, _MOVED, _recorder)
