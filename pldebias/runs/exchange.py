"""A run as a data frame, as a netCDF file and as TensorBoard scalars."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.paths import local, output
from pldebias.runs.layout import NotLogged

if TYPE_CHECKING:
    import pandas

    from pldebias.runs.run import Run

__all__ = ["read_tensorboard", "to_dataframe", "to_netcdf", "write_tensorboard"]

FRAMES = ("classes", "confusion", "history", "scalars")


def _name_columns(run: Run, frame: pandas.DataFrame, columns) -> pandas.DataFrame:
    import pandas

    for column in columns:
        frame[column] = pandas.Categorical.from_codes(frame[column].to_numpy(), list(run.class_names))
    return frame


def _classes(run: Run) -> pandas.DataFrame:
    import pandas

    k, frames = run.num_classes, []
    for kind in run.kinds:
        epochs = run.logged(kind)
        for split in ("all",) if kind == "test" else ("all", "accepted"):
            counts = run.confusion(kind, split, epoch=epochs)
            frames.append(
                pandas.DataFrame(
                    {
                        "epoch": np.repeat(epochs, k),
                        "kind": kind,
                        "split": split,
                        "class": np.tile(np.arange(k), len(epochs)),
                        "true": counts.sum(-1).ravel(),
                        "given": counts.sum(-2).ravel(),
                        "hits": np.diagonal(counts, axis1=-2, axis2=-1).ravel(),
                        "recall": metrics.recall(counts).ravel(),
                        "precision": metrics.precision(counts).ravel(),
                    }
                )
            )
    if not frames:
        raise NotLogged(f"{run.name} has no matrices; to_dataframe('scalars') gives what it has")
    return _name_columns(run, pandas.concat(frames, ignore_index=True), ["class"])


def _confusion(run: Run) -> pandas.DataFrame:
    import pandas

    frames = []
    for kind in run.kinds:
        for split in ("all",) if kind == "test" else ("accepted", "rejected"):
            epochs = run.logged(kind)
            counts = run.confusion(kind, split, epoch=epochs)
            row, true, label = np.nonzero(counts)
            cells = {"epoch": epochs[row], "kind": kind, "split": split, "true": true, "label": label, "count": counts[row, true, label]}
            frames.append(pandas.DataFrame(cells))
    if not frames:
        raise NotLogged(f"{run.name} has no matrices; to_dataframe('scalars') gives what it has")
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
    64-bit integers: counts become int32, float16 becomes float32, flags become int8. Slashes in names become dots
    (``scheme.daso.class_dist``). Epochs that were not finished are left out.
    """
    import json

    data = run.to_xarray().isel(epoch=run.epochs)
    data = data.drop_vars([name for name in ("done", "written") if name in data])
    data = data.rename({name: str(name).replace("/", ".") for name in data.variables if "/" in str(name)})
    for name, variable in data.variables.items():
        kind, size = variable.dtype.kind, variable.dtype.itemsize
        if kind == "f" and size == 2:
            data[name] = variable.astype(np.float32)
        elif kind == "b":
            data[name] = variable.astype(np.int8)
        elif kind in "iu" and (kind == "u" or size == 8):
            if variable.size and int(variable.max()) > np.iinfo(np.int32).max:
                data[name] = variable.astype(np.float64)
            else:
                data[name] = variable.astype(np.int32)
        data[name].attrs, data[name].encoding = {}, {}
    told = {
        key: value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False) for key, value in run.attrs.items()
    }
    data.attrs = {key: int(value) if isinstance(value, bool) else value for key, value in told.items()}
    path = output(path)
    partial = path.with_name(f"{path.name}.partial")
    try:
        data.to_netcdf(partial, engine="scipy", format="NETCDF3_64BIT")
        os.replace(partial, path)  # there is never half a file under its name
    finally:
        partial.unlink(missing_ok=True)
    return path


def _tensorboard():
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is not installed: pip install 'pldebias[loggers]', or pip install tensorboard") from error
    return SummaryWriter


def write_tensorboard(run: Run, logdir) -> Path:
    """Write the scalars of a run, and the recall of head, medium and tail, as TensorBoard events.

    Parameters
    ----------
    run : Run
    logdir : str or Path
        Directory of the events; give each run its own.

    Returns
    -------
    Path
        Of the directory. Steps are iterations, or epochs where the recorder was not told.
    """
    logdir = local(logdir)
    writer = _tensorboard()(str(logdir))
    steps = np.where(run.iterations >= 0, run.iterations, run.epochs)
    series = {name: run.scalars[name].to_numpy() for name in run.scalars}
    groups = metrics.groups(run.labelled_counts)
    for kind in run.kinds:
        scores = metrics.group(run.confusion(kind, epoch=run.logged(kind)), groups).recall
        rows = np.searchsorted(run.epochs, run.logged(kind))
        for i, name in enumerate(("head", "medium", "tail")):
            values = np.full(len(run.epochs), np.nan)
            values[rows] = scores[:, i]
            series[f"recall_{kind}/{name}"] = values
    try:
        for name, values in series.items():
            for step, value in zip(steps.tolist(), values.tolist(), strict=True):
                if value == value:  # undefined has no place in TensorBoard, and is not zero
                    writer.add_scalar(name, value, step)
    finally:
        writer.close()
    return logdir


def read_tensorboard(logdir) -> pandas.DataFrame:
    """Scalars that any program wrote for TensorBoard.

    Parameters
    ----------
    logdir : str or Path
        Directory with event files.

    Returns
    -------
    DataFrame
        One column per tag, indexed by step; NaN where a tag has no value. TensorBoard keeps float32.

    Raises
    ------
    FileNotFoundError
        No event file there.
    """
    import pandas

    logdir = local(logdir)
    if not list(logdir.glob("*tfevents*")):
        raise FileNotFoundError(f"no TensorBoard events in {logdir}; give the directory that holds the events.out.tfevents file")
    _tensorboard()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logdir), size_guidance={"scalars": 0})
    events.Reload()
    columns = {tag: pandas.Series({event.step: event.value for event in events.Scalars(tag)}) for tag in events.Tags()["scalars"]}
    return pandas.DataFrame(columns).rename_axis("step").sort_index()
