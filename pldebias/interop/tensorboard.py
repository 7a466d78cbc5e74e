"""Scalars of runs as TensorBoard events, and those of any program read from them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.optional import needed
from pldebias.paths import local, output_folder
from pldebias.runs.run import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas

__all__ = ["read_tensorboard", "write_tensorboard"]


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
