"""A run as a data frame, as a netCDF file and as TensorBoard scalars."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.optional import needed
from pldebias.paths import local, output, output_folder, replace
from pldebias.runs.layout import NotLogged
from pldebias.runs.run import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas


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
    partial = path.with_name(f"{path.name}.partial")
    try:
        data.to_netcdf(partial, engine="scipy", format="NETCDF3_64BIT")
        replace(partial, path)  # there is never half a file under its name
    finally:
        partial.unlink(missing_ok=True)
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


def _tensorboard():
    return needed("writing events of TensorBoard", "loggers", "tensorboard", "tensorboard:torch.utils.tensorboard")[1].SummaryWriter


def write_tensorboard(run: Run | str | Path, logdir) -> Path:
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
    run, logdir = as_run(run), output_folder(logdir)
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
    """Scalars that any program wrote for TensorBoard, in either form of its files.

    Parameters
    ----------
    logdir : str or Path
        Directory with event files, or one such file. Tags of files in a sub-directory begin with its name, as in TensorBoard.

    Returns
    -------
    DataFrame
        One column per tag, indexed by step; NaN where a tag has no value. TensorBoard keeps float32. Where a step was written more than
        once, as by a training that was resumed, the latest value stays.

    Warns
    -----
    UserWarning
        A step was written more than once with different values, or a file is cut off.

    Raises
    ------
    FileNotFoundError
        No event file there.
    ValueError
        A file cannot be read.
    """
    import pandas

    logdir = local(logdir)
    found = [logdir] if logdir.is_file() else [file for file in logdir.rglob("*tfevents*") if file.is_file()]
    # As they were written: their names end in the time and the number of the writer, of which 10 follows 9.
    files = sorted(found, key=lambda file: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(file))])
    if not files:
        raise FileNotFoundError(f"no TensorBoard events in {logdir}; give the directory that holds the events.out.tfevents file")
    _tensorboard()
    written: dict[str, dict[int, tuple[float, float]]] = {}
    again: set[str] = set()
    for file in files:
        folder = "" if file == logdir else file.parent.relative_to(logdir).as_posix()
        for tag, step, time, value in _scalars(file):
            values = written.setdefault(tag if folder in ("", ".") else f"{folder}/{tag}", {})
            before = values.setdefault(step, (time, value))
            if before[1] != value and (before[1] == before[1] or value == value):
                again.add(tag)
                values[step] = before if before[0] > time else (time, value)  # of equal times the one that was written later
    if again:
        warnings.warn(
            f"{logdir}: {', '.join(sorted(again)[:5])} has steps that were written more than once, of which the latest value is read; "
            "give every run a directory of its own",
            stacklevel=2,
        )
    columns = {tag: pandas.Series({step: value for step, (_, value) in values.items()}) for tag, values in written.items()}
    return pandas.DataFrame(columns, dtype=float).rename_axis("step").sort_index()


def _scalars(file: Path) -> Iterator[tuple[str, int, float, float]]:
    """Tag, step, time and value of each scalar in an event file."""
    needed("reading events of TensorBoard", "loggers", "tensorboard")
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.util import tensor_util

    plugins: dict[str, str] = {}  # a writer may tell the kind of a tag with its first value alone
    read = events = 0
    for record in RawEventFileLoader(str(file)).Load():
        try:
            event = Event.FromString(record)
        except DecodeError:
            break
        read, events = read + len(record) + 16, events + 1  # a record is framed by its length and two checksums
        for value in event.summary.value:
            plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            if value.HasField("simple_value"):
                yield value.tag, event.step, event.wall_time, value.simple_value
            elif value.HasField("tensor") and plugin == "scalars":
                try:
                    number = float(tensor_util.make_ndarray(value.tensor).item())
                except Exception as error:  # a text, several numbers, or a type that TensorFlow alone knows
                    raise ValueError(
                        f"{file}: tag {value.tag!r} at step {event.step} is marked as a scalar and holds no single number ({error}); "
                        "write scalars by add_scalar, texts by add_text, and several numbers as tags of their own"
                    ) from error
                yield value.tag, event.step, event.wall_time, number
    if read < (size := file.stat().st_size):
        if not events:
            raise ValueError(f"{file} holds no events of TensorBoard, or is damaged from its beginning")
        warnings.warn(f"{file} is cut off or damaged: {read} of its {size} bytes were read, {events} events", stacklevel=3)
