"""A smaller copy of a run, to ship: fewer epochs, fewer snapshots, features in fewer dimensions, all in one file."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from pldebias._files import whole
from pldebias.paths import output
from pldebias.runs.recorder import RESERVED, Recorder
from pldebias.runs.run import Run, as_run
from pldebias.runs.schema import NotLogged
from pldebias.settings import Range, fitted, within

LAST = 20
"""Epochs at the end that are always kept: what tables take the median of."""
EXACT = "thinned"
"""Snapshot state under this name holds features and prototypes as relabelling needs them."""


def even(count: int, kept: int) -> list[int]:
    """`kept` of `count` positions, evenly spaced, first and last among them."""
    return np.linspace(0, count - 1, min(kept, count)).round().astype(int).tolist()


def choose(count: int, kept: int) -> list[int]:
    """About `kept` of `count` positions, evenly spaced, first and last and the last `LAST` among them."""
    return sorted({*even(count, max(kept, 1)), *range(max(count - LAST, 0), count)})


def thin(
    run: Run | str | Path,
    path,
    *,
    epochs: Annotated[int, Range("[0, inf)")] = 60,
    snapshots: tuple[int, ...] | Annotated[int, Range("[0, inf)")] = 6,
    dimensions: Annotated[int, Range("[1, inf)")] | None = 16,
    relabel: bool = True,
) -> Path:
    """Copy a run into one zip file, which ``open_run("zip://::<path>")`` opens.

    Confusion matrices, labels of every sample, scalars and series of the epochs that stay are those of the run, and so are the numbers of
    the epochs: epoch 29 of a copy is epoch 29 of the run, and those left out are missing. Features and prototypes are projected onto the
    directions that carry most of the features' squares over all snapshots that stay, so that their angles change little, which embeddings
    need. `pldebias.what_if` needs more: DASO and USADTM label by small differences of distances to class prototypes. So the copy also keeps
    the features in the space that the prototypes span (in float32), and labels stay the same. The attribute ``thinned`` says what was
    left out. Of paths among the settings (not in the options of a method) the last part stays: what lies where on one machine is
    nobody else's business. One that begins with an environment variable stays as it is.

    Parameters
    ----------
    run : Run or path
    path : path
        Of the zip file; one that exists is replaced.
    epochs : int, default 60
        About how many epochs stay; the last 20 always do.
    snapshots : int or sequence of int, default 6
        How many of the snapshots stay (the first and the last among them), or which epochs.
    dimensions : int or None, default 16
        Of the features; None keeps all.
    relabel : bool, default True
        Keep what relabelling needs of the features. Without it, a copy with fewer dimensions refuses to be relabelled by DASO and USADTM.

    Returns
    -------
    Path

    Raises
    ------
    NotLogged
        The run has no finished epoch, or no snapshot at an epoch of `snapshots`.
    ValueError
        An argument has no value of its type.
    """
    given = fitted(thin, {"epochs": epochs, "snapshots": snapshots, "dimensions": dimensions, "relabel": relabel}, "thin: {}")
    within(thin, given, "thin: {}")
    run, (epochs, snapshots, dimensions, relabel) = as_run(run), given.values()
    if not len(run.epochs):
        raise NotLogged(f"{run.name} has no finished epoch yet; wait for its first, and open it again")
    path = output(path)
    every = [int(e) for e in run.snapshots]
    if isinstance(snapshots, int):
        snapshots = tuple(every[i] for i in even(len(every), snapshots))
    if missing := sorted({*snapshots} - {*every}):
        raise NotLogged(f"{run.name} has no snapshot at epoch {missing[0]}; it has {', '.join(map(str, every)) or 'none'}")
    positions = {int(e): i for i, e in enumerate(run.epochs)}
    kept = sorted({*(int(run.epochs[i]) for i in choose(len(run.epochs), epochs)), *snapshots})
    basis = _basis(run, snapshots, dimensions)
    told = {"epochs": len(run.epochs), "snapshots": len(every), "features": None if basis is None else basis.shape[1]}
    before = run.attrs.get("thinned") or {}  # a copy of a copy tells of the run
    attrs = {name: value for name, value in run.attrs.items() if name not in RESERVED}
    attrs |= {name: _without_places(attrs[name]) for name in ("config", "machine") if isinstance(attrs.get(name), dict)}
    attrs["thinned"] = told | {name: value for name, value in before.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            Path(folder) / "run",
            run.true_labels,
            run.labelled_counts,
            run.class_names,
            num_epochs=run.attrs["num_epochs"],
            attrs=attrs,
            snapshots=snapshots,
        )
        with recorder:
            for epoch in kept:
                recorder.epoch = epoch
                _copy(run, recorder, epoch, positions[epoch], epoch in snapshots, basis, relabel)
            recorder.close(complete=run.finished)
        with whole(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(p for p in recorder.path.rglob("*") if p.is_file()):
                # A fixed date: the same run gives the same file.
                info = zipfile.ZipInfo(file.relative_to(recorder.path).as_posix(), (1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, file.read_bytes())
    return path


def _without_places(settings: dict) -> dict:
    """Settings whose absolute paths are cut to their last part."""

    def cut(value):
        kind, colon, path = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        return f"{kind}{colon}{Path(path).name}" if os.path.isabs(os.path.expanduser(path)) else value

    return {name: cut(value) for name, value in settings.items()}


def _copy(run: Run, recorder: Recorder, epoch: int, position: int, snapshot: bool, basis: np.ndarray | None, relabel: bool) -> None:
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
        states = [name for name in run.snapshot_states if has(f"snapshot_state/{name}") and not name.startswith(f"{EXACT}/")]
        values["snapshot"] = {name: _project(run.snapshot_state(name, epoch), basis) for name in states}
        if relabel:
            values["snapshot"] |= _kept(run, epoch) or ({} if basis is None else _exact(run, epoch))
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


def is_cut(run: Run, epoch: int) -> bool:
    """Whether the features of a thinned copy at `epoch` lack what relabelling needs of them."""
    return bool((run.attrs.get("thinned") or {}).get("features")) and epoch not in run.logged(f"snapshot_state/{EXACT}/features")


def _kept(run: Run, epoch: int) -> dict[str, np.ndarray]:
    """What a thinned copy kept for relabelling at `epoch`; empty if this is none."""
    names = [name for name in run.snapshot_states if name.startswith(f"{EXACT}/")]
    return {name: run.snapshot_state(name, epoch) for name in names if epoch in run.logged(f"snapshot_state/{name}")}


def exact_name(name: str) -> str:
    """Name under which a copy keeps ``features`` or a state such as ``daso/prototypes`` as relabelling needs it."""
    return f"{EXACT}/{name.replace('/', '.')}"


def _exact(run: Run, epoch: int) -> dict[str, np.ndarray]:
    """Features ``[N, R + 1]`` and prototypes ``[K, R + 1]`` in R dimensions that hold all prototypes of the epoch.

    The last column is the length of what lies outside of them, so that angles and distances to prototypes stay as they are. Where all
    dimensions in float16 take less room, those. Empty without prototypes: the copy then refuses what needs them.
    """
    if is_cut(run, epoch) or epoch not in run.logged("features"):
        return {}
    features = run.features(epoch)
    width = features.shape[1]
    names = [name for name in run.snapshot_states if name.endswith("/prototypes") and epoch in run.logged(f"snapshot_state/{name}")]
    states = {name: run.snapshot_state(name, epoch) for name in names}
    states = {name: values for name, values in states.items() if values.ndim == 2 and values.shape[1] == width}
    if not states:
        return {}
    stacked = np.concatenate(list(states.values())).astype(np.float64)
    if 2 * width <= 4 * (len(stacked) + 1) or not np.isfinite(stacked).all():
        found = {"features": features.astype(np.float16), **states}
    else:
        directions = np.linalg.svd(stacked, full_matrices=False)[2]
        inside = features.astype(np.float64) @ directions.T
        outside = np.sqrt(np.maximum(np.square(features, dtype=np.float64).sum(1) - np.square(inside).sum(1), 0))
        found = {"features": np.column_stack([inside, outside])}
        found |= {name: np.column_stack([values @ directions.T, np.zeros(len(values))]) for name, values in states.items()}
        found = {name: values.astype(np.float32) for name, values in found.items()}
    return {exact_name(name): values for name, values in found.items()}


def _project(values: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """Vectors ``[..., D]`` in the basis; arrays whose last dimension is another stay as they are."""
    if basis is None or values.ndim < 2 or values.shape[-1] != basis.shape[1]:
        return values
    return (values @ basis.T).astype(values.dtype)
