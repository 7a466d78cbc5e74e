"""A run as a data frame and as a netCDF file."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias._files import whole
from pldebias.paths import output
from pldebias.runs.run import Run
from pldebias.runs.schema import NotLogged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas


__all__ = ["to_dataframe", "to_netcdf"]

FRAMES = ("classes", "confusion", "history", "scalars")


def _name_columns(run: Run, frame: pandas.DataFrame, columns) -> pandas.DataFrame:
    import pandas

    for column in columns:
        frame[column] = pandas.Categorical.from_codes(frame[column].to_numpy(), list(run.class_names))
    return frame


def _matrices(run: Run, *splits: str) -> Iterator[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    """Kind and split, epochs ``[E]`` and matrices ``[E, K, K]`` of everything that a run counted; a test has no splits."""
    if not run.kinds:
        raise NotLogged(f"{run.name} has no matrices; to_dataframe('scalars') gives what it has")
    for kind in run.kinds:
        epochs = run.logged(kind)
        for split in ("all",) if kind == "test" else splits:
            yield {"kind": kind, "split": split}, epochs, run.confusion(kind, split, epoch=epochs)


def _classes(run: Run) -> pandas.DataFrame:
    import pandas

    k = run.num_classes
    frames = [
        pandas.DataFrame(
            {
                "epoch": np.repeat(epochs, k),
                **of,
                "class": np.tile(np.arange(k), len(epochs)),
                "true": counts.sum(-1).ravel(),
                "given": counts.sum(-2).ravel(),
                "hits": np.diagonal(counts, axis1=-2, axis2=-1).ravel(),
                "recall": metrics.recall(counts).ravel(),
                "precision": metrics.precision(counts).ravel(),
            }
        )
        for of, epochs, counts in _matrices(run, "all", "accepted")
    ]
    return _name_columns(run, pandas.concat(frames, ignore_index=True), ["class"])


def _confusion(run: Run) -> pandas.DataFrame:
    import pandas

    frames = []
    for of, epochs, counts in _matrices(run, "accepted", "rejected"):
        row, true, label = np.nonzero(counts)
        frames.append(pandas.DataFrame({"epoch": epochs[row], **of, "true": true, "label": label, "count": counts[row, true, label]}))
    return _name_columns(run, pandas.concat(frames, ignore_index=True), ["true", "label"])


def _history(run: Run) -> pandas.DataFrame:
    import pandas

    epochs = run.logged("history")
    label, accepted = run.history(epochs)
    columns = {"epoch": np.repeat(epochs, run.num_unlabelled), "index": np.tile(np.arange(run.num_unlabelled), len(epochs))}
    frame = pandas.DataFrame(
        columns | {"true": np.tile(run.true_labels, len(epochs)), "label": label.ravel(), "accepted": accepted.ravel()}
    )
    return _name_columns(run, frame, ["true", "label"])


def to_dataframe(run: Run, what: str = "classes") -> pandas.DataFrame:
    """A run in long form, for pandas, seaborn, R or a spreadsheet.

    Parameters
    ----------
    run : Run
    what : {"classes", "confusion", "history", "scalars"}
        ``"classes"``: one row per epoch, kind, split and class with ``true`` (samples), ``given`` (labels), ``hits``, ``recall`` and
        ``precision`` (NaN where undefined). ``"confusion"``: one row per non-zero cell; accepted and rejected add up to all.
        ``"history"``: one row per epoch and unlabelled sample. ``"scalars"``: `Run.scalars` with the iteration.

    Returns
    -------
    DataFrame
        Classes are categories in the order of ``run.class_names``; an unknown true class is missing.
    """
    if what not in FRAMES:
        raise ValueError(f"what must be one of {', '.join(map(repr, FRAMES))}; got {what!r}")
    if what == "scalars":
        return run.scalars.assign(iteration=run.iterations).reset_index()
    return {"classes": _classes, "confusion": _confusion, "history": _history}[what](run)


def to_netcdf(run: Run, path) -> Path:
    """Write all arrays of a run into one netCDF file, which R, Julia, MATLAB and ncdump read.

    Parameters
    ----------
    run : Run
    path : str or Path
        File, usually ``.nc``.

    Returns
    -------
    Path

    Notes
    -----
    The format is netCDF 3 with 64-bit offsets, written by SciPy, so that nothing else must be installed. It has no unsigned, half and
    64-bit integers: counts become int32 (float64 where they do not fit), float16 becomes float32, flags become int8. Slashes in names
    become dots (``scheme.daso.class_dist``), characters other than ASCII letters, digits and ``.@+-`` become underscores.
    Attributes other than texts and small numbers become JSON. Arrays without entries are left out. The
    coordinate ``epoch`` numbers the epochs.
    """
    data = run.to_xarray()
    data = data.drop_vars([name for name in ("done", "written") if name in data])
    data = data.drop_dims([dim for dim, length in data.sizes.items() if not length])  # SciPy reads a length of 0 as unlimited
    data = data.rename(_plain_names([*data.variables, *(dim for dim in data.dims if dim not in data.variables)]))
    for name, variable in data.variables.items():
        kind, size = variable.dtype.kind, variable.dtype.itemsize
        if kind == "f" and size == 2:
            data[name] = variable.astype(np.float32)
        elif kind == "b":
            data[name] = variable.astype(np.int8)
        elif kind in "iu" and (kind == "u" or size == 8):
            if variable.size and not -(2**31) <= int(variable.min()) <= int(variable.max()) < 2**31:
                data[name] = variable.astype(np.float64)
                if not (data[name].astype(variable.dtype) == variable).all():
                    warnings.warn(f"{name} has numbers beyond 2**53, which are rounded", stacklevel=2)
            else:
                data[name] = variable.astype(np.int32)
        data[name].attrs, data[name].encoding = {}, {}
    names = _plain_names(run.attrs)
    data.attrs = {names[key]: _attribute(value) for key, value in run.attrs.items()}
    path = output(path)
    with whole(path) as partial:
        data.to_netcdf(partial, engine="scipy", format="NETCDF3_64BIT")
    return path


_RESERVED = {"byte", "char", "short", "ushort", "int", "uint", "int64", "uint64", "float", "real", "double", "bool", "string"}


def _plain_names(names: Iterable) -> dict:
    """Names that netCDF allows, by those that there are; no two are alike. ASCII alone, as SciPy cannot write all other letters."""
    given: dict = {}
    for name in names:
        plain = re.sub(r"[^\w.@+-]", "_", str(name).replace("/", "."), flags=re.ASCII)[:200]
        if plain in _RESERVED or not re.match(r"\w", plain, re.ASCII):
            plain = f"_{plain}"
        while plain in given.values():
            plain += "_"
        given[name] = plain
    return given


def _attribute(value):
    if isinstance(value, bool):
        return int(value)
    fits = isinstance(value, str | float) or (isinstance(value, int) and -(2**31) <= value < 2**31)
    return value if fits else json.dumps(value, ensure_ascii=False)
