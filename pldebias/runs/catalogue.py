"""Lists runs as a table."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from pldebias.metrics import last_and_median
from pldebias.paths import local
from pldebias.runs.display import problems
from pldebias.runs.run import Run
from pldebias.runs.schema import RunError

if TYPE_CHECKING:
    import pandas


def find_runs(root) -> list[Path]:
    """Directories under `root` that hold a run or a broken one, and zip files of runs, sorted; runs are not searched for runs in them."""
    found = []
    for folder, inner, files in os.walk(local(root)):
        if "zarr.json" in files:
            found.append(Path(folder))
            inner.clear()
        else:
            found += [path for name in files if name.endswith(".zip") and _holds_a_run(path := Path(folder, name))]
            # A name.init is a run whose creation was cut short.
            inner[:] = [name for name in inner if not name.startswith(".") and not name.endswith(".init")]
    # A folder "~" below "." is not the home folder.
    return sorted(path.absolute() if str(path)[0] == "~" else path for path in found)


def _holds_a_run(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "zarr.json" in archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError):  # no zip file, whatever its name says
        return False


def catalogue(root="runs", check: bool = True) -> pandas.DataFrame:
    """One row per run below `root`.

    Parameters
    ----------
    root : str or Path
        A directory of runs, at any depth.
    check : bool
        Look whether all chunks of all epochs are there: 0.01 ms per epoch. False takes the run's word for it. Whether they are whole
        is seen when a run is opened.

    Returns
    -------
    DataFrame
        ``path``, ``name``, ``method``, ``data``, ``seed``, ``epochs`` (readable ones), ``total_epochs``, ``finished``, ``problem``
        (None, or why the run or some of its epochs cannot be read), one column ``config.<setting>`` per setting, and for every scalar
        ``final.<scalar>``, its last value, and ``median20.<scalar>``, the median of its last 20 values. Empty if there are no runs.

    Raises
    ------
    RunError
        `root` does not exist.
    """
    import pandas

    if not local(root).is_dir():
        raise RunError(f"no directory {root}; give the folder that holds your runs")
    rows = [_row(path, check) for path in find_runs(root)]
    leading = ["path", "name", "method", "data", "seed", "epochs", "total_epochs", "finished", "problem"]
    names = {name: None for row in rows for name in row}
    rest = [name for prefix in ("config.", "final.", "median20.") for name in names if name.startswith(prefix)]
    return pandas.DataFrame(rows, columns=leading + rest)


def _row(path: Path, check: bool) -> dict:
    try:
        run = Run(path, "names" if check else "")
        row = {
            "path": str(path),
            "name": run.name,
            "method": run.method,
            "data": run.data,
            "seed": run.seed,
            "epochs": len(run.epochs),
            "total_epochs": run.total_epochs,
            "finished": run.finished,
            "problem": problems(run.dropped) or None,
        }
        row |= {f"config.{key}": value for key, value in _flat(run.config).items()}
        names = run._reader.arrays["scalars"]["attributes"]["names"]
        if len(run.epochs):
            last, median = last_and_median(run._reader.read("scalars", run.epochs).T)
            row |= {f"final.{name}": value for name, value in zip(names, last.tolist(), strict=True)}
            row |= {f"median20.{name}": value for name, value in zip(names, median.tolist(), strict=True)}
    except Exception as error:  # a broken run is listed, whatever broke it; one must not hide the others
        return {"path": str(path), "name": path.name, "epochs": 0, "total_epochs": 0, "finished": False, "problem": str(error)}
    return row


def _flat(config: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
