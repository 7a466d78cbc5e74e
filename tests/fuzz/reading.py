"""Everything that can be read of a run, as arrays by name and epoch; what the run refuses is left out."""

from __future__ import annotations

import gzip

import numpy as np

from pldebias.runs import NotLogged, RunError, catalogue, open_run

REFUSALS = (RunError, NotLogged)


def everything(path) -> dict:
    """Reads all of a run. Only our own errors are expected; any other one comes through."""
    seen: dict = {}

    def read(name, call):
        try:
            seen[name] = call()
        except REFUSALS as error:
            assert str(error)

    run = open_run(path)
    repr(run), run._repr_html_(), run.name, run.finished, run.total_epochs
    seen["classes"] = (run.class_names, run.labelled_counts.tolist(), run.unlabelled_counts is None or run.unlabelled_counts.tolist())
    seen["settings"] = (run.method, run.data, run.seed, run.config, run.fingerprint)
    seen["epochs"] = run.epochs.tolist()
    read("true_labels", lambda: run.true_labels)
    read("scalars", lambda: run.scalars)
    for name in run.series:
        read(f"state {name}", lambda name=name: run.state(name))
    for kind in run.kinds:
        for split in ("all", "accepted", "rejected"):
            if kind != "test" or split == "all":
                read(f"{kind} {split}", lambda kind=kind, split=split: run.confusion(kind, split))
                for e in run.epochs.tolist():
                    read((kind, split, e), lambda kind=kind, split=split, e=e: run.confusion(kind, split, e))
        if kind != "test":
            read(f"{kind} pseudo", lambda kind=kind: run.pseudo_counts(kind))
    read("history", lambda: run.history())
    for e in run.epochs.tolist():
        seen["iteration", e] = int(run.iterations[run.epochs.tolist().index(e)])
        read(("history", e), lambda e=e: run.history(e))
    for e in run.snapshots.tolist():
        read(("logits", e), lambda e=e: run.logits(e))
        read(("features", e), lambda e=e: run.features(e))
        for name in run.snapshot_states:
            read((f"snapshot_state {name}", e), lambda name=name, e=e: run.snapshot_state(name, e))
    return seen


def explored(path) -> dict:
    """The matrices as the explorer's page gets them; empty if it is refused."""
    from pldebias.widgets.payload import pack

    run = open_run(path)
    if not len(run.epochs):
        return {}
    try:
        meta, data = pack([run])
    except REFUSALS:
        return {}
    (told,), k = meta["runs"], len(meta["classes"])
    blocks = {}
    for kind, splits in told["blocks"].items():
        for split, (start, size, dtype) in splits.items():
            counts = np.frombuffer(gzip.decompress(data[start : start + size]), np.dtype(dtype).newbyteorder("<"))
            counts = counts.reshape(k, k, -1).transpose(2, 0, 1)
            blocks |= {(kind, split, e): counts[i] for i, e in enumerate(told["epochs"])}
    return blocks


def listed(root, path) -> dict:
    """The run's row in the catalogue."""
    table = catalogue(root)
    rows = table[table.path == str(path)]
    return rows.iloc[0].dropna().to_dict() if len(rows) else {}


def agrees(ours, theirs) -> bool:
    if hasattr(ours, "columns"):
        common = ours.index.intersection(theirs.index)
        return list(ours.columns) == list(theirs.columns) and ours.loc[common].equals(theirs.loc[common]) and len(common) == len(ours)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(agrees, ours, theirs))
    if isinstance(ours, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")
    return ours == theirs


def wrong(seen: dict, truth: dict) -> list:
    """What was read and is not what was recorded. Stacks of epochs are compared where both hold the same epochs."""
    whole = seen["epochs"] == truth["epochs"]
    stacked = [name for name in seen if isinstance(name, str) and name not in ("classes", "settings", "epochs", "true_labels", "scalars")]
    names = [name for name in seen if whole or name not in stacked]
    lost = set(seen["epochs"]) - set(truth["epochs"])
    return [name for name in names if name != "epochs" and (name not in truth or not agrees(seen[name], truth[name]))] + sorted(lost)
