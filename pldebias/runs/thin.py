"""A smaller copy of a run, to ship: fewer epochs, fewer snapshots, features in fewer dimensions, all in one file."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pldebias.runs.recorder import RESERVED, Recorder
from pldebias.runs.run import Run

LAST = 20
"""Epochs at the end that are always kept: what tables take the median of."""


def choose(count: int, kept: int) -> list[int]:
    """About `kept` of `count` positions, evenly spaced, first and last and the last `LAST` among them."""
    even = np.linspace(0, count - 1, max(min(kept, count), 1)).round().astype(int)
    return sorted({*even.tolist(), *range(max(count - LAST, 0), count)})


def thin(run: Run, path, *, epochs: int = 60, snapshots: Sequence[int] | int = 6, dimensions: int | None = 16) -> Path:
    """Copy a run into one zip file, which ``open_run("zip://::<path>")`` opens.

    Confusion matrices, labels of every sample, scalars and series of the epochs that stay are those of the run. Features and prototypes are
    projected onto the directions that carry most of the features' squares over all snapshots that stay, so that their angles change
    little; the attribute ``thinned`` says what was left out. Of paths among the settings (not in the options of a method) the last part
    stays: what lies where on one machine is nobody else's business. One that begins with an environment variable stays as it is.

    Parameters
    ----------
    run : Run
    path : path
        Of the zip file; one that exists is replaced.
    epochs : int, default 60
        About how many epochs stay; the last 20 always do.
    snapshots : int or sequence of int, default 6
        How many of the snapshots stay (the first and the last among them), or which epochs.
    dimensions : int or None, default 16
        Of the features; None keeps all.

    Returns
    -------
    Path
    """
    path = Path(path)
    every = [int(e) for e in run.snapshots]
    if isinstance(snapshots, int):
        spaced = np.linspace(0, len(every) - 1, min(snapshots, len(every))).round().astype(int) if every and snapshots else []
        snapshots = [every[i] for i in spaced]
    positions = {int(e): i for i, e in enumerate(run.epochs)}
    kept = sorted({*(int(run.epochs[i]) for i in choose(len(run.epochs), epochs)), *snapshots})
    basis = _basis(run, snapshots, dimensions)
    attrs = {name: value for name, value in run.attrs.items() if name not in RESERVED}
    attrs |= {name: _without_places(attrs[name]) for name in ("config", "machine") if isinstance(attrs.get(name), dict)}
    attrs["thinned"] = {"epochs": len(run.epochs), "snapshots": len(every), "features": None if basis is None else basis.shape[1]}
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            Path(folder) / "run",
            run.true_labels,
            run.labelled_counts,
            run.class_names,
            num_epochs=len(kept),
            attrs=attrs,
            snapshots=[kept.index(e) for e in snapshots],
        )
        with recorder:
            for epoch in kept:
                _copy(run, recorder, epoch, positions[epoch], epoch in snapshots, basis)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(p for p in recorder.path.rglob("*") if p.is_file()):
                # A fixed date: the same run gives the same file.
                info = zipfile.ZipInfo(file.relative_to(recorder.path).as_posix(), (1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, file.read_bytes())
        part.replace(path)
    return path


def _without_places(settings: dict) -> dict:
    """Settings whose absolute paths are cut to their last part."""

    def cut(value):
        kind, colon, path = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        return f"{kind}{colon}{Path(path).name}" if Path(path).expanduser().is_absolute() else value

    return {name: cut(value) for name, value in settings.items()}


def _copy(run: Run, recorder: Recorder, epoch: int, position: int, snapshot: bool, basis: np.ndarray | None) -> None:
    def has(name: str) -> bool:
        return epoch in run.logged(name)

    values: dict = {}
    if "visits" in run.kinds and has("visits"):
        _recount(run, recorder, epoch)
    if has("history"):
        values["sweep"] = run.history(epoch)
    if "test" in run.kinds and has("test"):
        values["test"] = run.confusion("test", epoch=epoch)
    if snapshot:
        for name in ("logits", "semantic", "features"):
            if has(name):
                values[name] = _project(getattr(run, name)(epoch), basis if name == "features" else None)
        states = [name for name in run.snapshot_states if has(f"snapshot_state/{name}")]
        values["snapshot"] = {name: _project(run.snapshot_state(name, epoch), basis) for name in states}
    recorder.end_epoch(
        iteration=int(run.iterations[position]),
        scalars={name: float(v) for name, v in run.scalars.iloc[position].items() if not np.isnan(v)},
        series={name: run.state(name)[position] for name in run.series},
        **values,
    )


def _recount(run: Run, recorder: Recorder, epoch: int) -> None:
    """Give the recorder labels that count up to the run's visits of an epoch."""
    sample = {int(k): int(np.flatnonzero(run.true_labels == k)[0]) for k in np.unique(run.true_labels)}
    for split, accepted in (("accepted", True), ("rejected", False)):
        counts = run.confusion("visits", split, epoch=epoch)
        blocks = [*enumerate(counts), (-1, run.unknown("visits", split, epoch=epoch))]
        for true, row in blocks:
            label = np.repeat(np.arange(run.num_classes), row)
            if len(label):
                recorder.update(np.full(len(label), sample[true]), label, np.full(len(label), accepted))


def _basis(run: Run, snapshots: Sequence[int], dimensions: int | None) -> np.ndarray | None:
    """Orthonormal rows ``[dimensions, D]`` that carry most of the features' squares; None where all dimensions stay."""
    with_features = [e for e in snapshots if e in run.logged("features")]
    if dimensions is None or not with_features:
        return None
    moment = sum(f.T.astype(np.float64) @ f for f in (run.features(e) for e in with_features))
    if len(moment) <= dimensions:
        return None
    vectors = np.linalg.eigh(moment)[1][:, ::-1][:, :dimensions].T
    signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])
    return vectors * signs[:, None]  # eigenvectors have no sign of their own


def _project(values: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """Vectors ``[..., D]`` in the basis; arrays whose last dimension is another stay as they are."""
    if basis is None or values.ndim < 2 or values.shape[-1] != basis.shape[1]:
        return values
    return (values @ basis.T).astype(values.dtype)
