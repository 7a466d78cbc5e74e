"""The explorer's message to the browser: raw counts as gzipped blocks, and a small description of them.

Rates are never sent: they are formed in the browser from whole rows and columns, by the formulas of `pldebias.metrics`.
"""

from __future__ import annotations

import gzip
import hashlib

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import clock, lengths_in_words, one_clock

__all__ = ["CELLS", "KEYS", "KINDS", "METRICS", "ORDERS", "SPLITS", "check_comparable", "orders", "pack"]

KINDS = {
    "visits": "Every pseudo-label that the loss saw during the epoch: a sample counts once for each visit.",
    "sweep": "One clean pass over the unlabelled set at the end of the epoch: a sample counts once.",
    "test": "Predictions on the test set at the end of the epoch: an image counts once.",
}
"""Kinds of matrices, and their meaning."""
SPLITS = {
    "all": "",
    "accepted": "Only those that were accepted for training.",
    "rejected": "Only those that were not accepted for training.",
}
"""Subsets of the counted samples."""
METRICS = {
    "recall": ("recall", "recall: share of a class's samples that carry its label"),
    "precision": ("precision", "precision: share of a label's bearers that truly belong to the class"),
    "ratio": ("log2(labels / true)", "log2(labels given / true count): above 0 the class receives too many"),
}
"""Values of a carpet: axis label and meaning."""
CELLS = {
    None: ("count", "count"),
    "true": ("by true (rows = recall)", "share of the true class (row)"),
    "pred": ("by predicted (columns = precision)", "share of the label's bearers (column)"),
    "all": ("joint (share of all)", "share of all"),
    "prior": ("versus prior (log2)", "log2(count / count expected from the margins alone)"),
}
"""Normalizations of a matrix: name and meaning."""
ORDERS = {
    "labelled": "labelled count, head to tail",
    "true": "true unlabelled count",
    "class": "class number",
    "recall": "last recall",
    "similar": "similarity",
}
"""Orders of rows and columns."""
KEYS = {
    "← →": "one epoch back, forward",
    "Shift + ← →": "ten epochs",
    "Home End": "first, last epoch",
    "Space": "play, pause",
    ", .": "slower, faster",
    "[ ]": "play from here, up to here (or Shift + drag over the curves)",
    "1 2 3 4 5": "cells: count, by true, by predicted, joint, versus prior",
    "s": "colour scale: linear, square root, log",
    "c": "carpet: recall, precision, labels/true",
    "o": "order of the classes",
    "g": "head, medium and tail as one row each",
    "m": "mute the diagonal",
    "x d": "swap the two runs; their difference",
    "/": "find a class",
    "Enter": "in the matrix: move a cell cursor with the arrow keys; again: its samples",
    "Esc": "leave the cursor, then the explorer",
    "?": "this list",
}
"""Keys of the explorer, while it has the focus."""


def _digest(labels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").tobytes()).hexdigest()[:12]


def check_comparable(a, b, kinds) -> None:
    """Refuse two runs whose matrices do not count the same thing.

    Parameters
    ----------
    a, b : Run
    kinds : sequence of str
        Kinds that are to be compared; ``("test",)`` needs no common unlabelled set.

    Raises
    ------
    ValueError
        The class lists, their order from head to tail, the true labels of the unlabelled set or the test set differ; the message says
        which and what to do.
    """
    names = f"{a.name} and {b.name} cannot be compared"
    classes = tuple(a.class_names), tuple(b.class_names)
    if classes[0] != classes[1]:
        if sorted(classes[0]) == sorted(classes[1]):
            raise ValueError(
                f"{names}: the same classes have other numbers (first difference: class "
                f"{next(i for i, (x, y) in enumerate(zip(*classes, strict=True)) if x != y)}). Record both with one class_names list."
            )
        only = [sorted(set(x) - set(y))[:5] for x, y in (classes, classes[::-1])]
        raise ValueError(
            f"{names}: their class lists differ ({len(classes[0])} and {len(classes[1])} classes; only in the first: {only[0]}, "
            f"only in the second: {only[1]}). Choose two runs on the same data, or open each in its own explorer."
        )
    orders = [metrics.groups(run.labelled_counts).order for run in (a, b)]
    if not np.array_equal(*orders):
        row = int(np.flatnonzero(orders[0] != orders[1])[0])
        raise ValueError(
            f"{names}: their labelled counts order the classes differently from head to tail (row {row} is "
            f"{a.class_names[orders[0][row]]!r} in the first, {a.class_names[orders[1][row]]!r} in the second), so head and tail are not "
            "the same classes. Choose runs with one class order, or open each in its own explorer."
        )
    if set(kinds) & {"visits", "sweep"} and not np.array_equal(a.true_labels, b.true_labels):
        raise ValueError(
            f"{names}: the true labels of their unlabelled sets differ ({len(a.true_labels)} samples, hash {_digest(a.true_labels)}; "
            f"{len(b.true_labels)} samples, hash {_digest(b.true_labels)}), as with two seeds or two splits. "
            "Choose runs with the same data and seed, or compare them on the test set: pld.explore(a, b, kinds=('test',))."
        )
    if "test" in kinds and "test" in a.kinds and "test" in b.kinds:
        support = [metrics.support(run.confusion("test", epoch=-1)) for run in (a, b)]
        if not np.array_equal(*support):
            raise ValueError(
                f"{names}: their test sets differ ({int(support[0].sum())} and {int(support[1].sum())} images, or other class counts). "
                "Compare their pseudo-labels alone: pld.explore(a, b, kinds=('visits', 'sweep'))."
            )


def orders(run, groups="tertiles") -> dict[str, list[int]]:
    """Classes in every order that the explorer offers; those that need true classes of unlabelled samples only where they are known.

    Parameters
    ----------
    run : Run
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.

    Returns
    -------
    dict
        ``labelled``: by labelled count, descending, ties by number. ``class``: by number. ``true``: by true unlabelled count,
        descending. ``recall``: of the last recorded matrix, descending, undefined last. ``similar``: classes confused with each other in
        that matrix stand together (reverse Cuthill-McKee on the symmetric share of each true class).
    """
    found = {"labelled": metrics.groups(run.labelled_counts, groups).order, "class": np.arange(run.num_classes)}
    kind = next((kind for kind in ("sweep", "visits", "test") if kind in run.kinds and len(run.logged(kind))), None)
    if kind is not None:
        matrix = np.asarray(run.confusion(kind, epoch=int(run.logged(kind)[-1])))
        if matrix.sum():
            recall = metrics.recall(matrix)
            found["recall"] = np.lexsort((found["class"], -np.where(np.isnan(recall), -1, recall)))
            found["similar"] = _seriate(matrix)
    if run.unlabelled_counts is not None:
        found["true"] = np.argsort(-np.asarray(run.unlabelled_counts), kind="stable")
    return {name: np.asarray(found[name]).tolist() for name in ORDERS if name in found}


def _seriate(matrix: np.ndarray) -> np.ndarray:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    # Every class has confusions with most others; only the stronger ones say who is alike.
    links = np.triu(share + share.T, 1)
    strong = links >= max(np.quantile(links[links > 0], 0.75), 1e-12) if (links > 0).any() else links > 0
    return reverse_cuthill_mckee(csr_array((strong | strong.T).astype(np.int8)), symmetric_mode=True)


def _compress(counts: np.ndarray) -> tuple[bytes, str]:
    # Counts of visits may pass 65,535 in a cell; everything else fits two bytes, which halves what the browser must unpack.
    kind = "uint16" if counts.max(initial=0) <= np.iinfo(np.uint16).max else "uint32"
    cells = counts.astype(np.dtype(kind).newbyteorder("<")).reshape(len(counts), -1).T
    # A cell's epochs side by side pack to half of what its neighbours of one epoch do, in a third of the time; higher levels gain 1 %.
    return gzip.compress(np.ascontiguousarray(cells).tobytes(), compresslevel=1, mtime=0), kind


def _places(run, lead, unit: str) -> list[int | None]:
    """Places of the epochs of `run` among those of `lead`: at their iterations, if an epoch of one number ends at different ones.

    None for an epoch that has no place of its own, because another one is nearer to it.
    """
    epochs = run.epochs.tolist()
    if unit == "epoch" or one_clock([lead, run]):
        return epochs
    steps, numbers = lead.iterations, lead.epochs
    per_epoch = (steps[-1] - steps[0]) / (numbers[-1] - numbers[0]) if len(steps) > 1 else steps[0] / (numbers[0] + 1)
    beyond = np.where(run.iterations > steps[-1], run.iterations - steps[-1], np.minimum(run.iterations - steps[0], 0)) / per_epoch
    exact = np.interp(run.iterations, steps, numbers) + beyond
    found: list[int | None] = [max(place, 0) for place in exact.round().astype(int).tolist()]
    nearest: dict[int | None, int] = {}
    for i, place in enumerate(found):
        if place not in nearest or abs(exact[i] - place) < abs(exact[nearest[place]] - place):
            nearest[place] = i
    return [place if nearest[place] == i else None for i, place in enumerate(found)]


def _describe(run, kinds, blocks: list[bytes], lead, unit: str) -> dict:
    truth = np.asarray(run.true_labels)
    unknown = int((truth < 0).sum())
    description = {
        "name": run.name,
        "epochs": [int(e) for e in run.epochs],
        "places": _places(run, lead, unit),
        "iterations": [int(i) for i in run.iterations],
        "blocks": {},
        "missing": {},
        "note": "",
    }
    if description["places"] != description["epochs"]:
        description["note"] = f"{run.name} has longer or shorter epochs than {lead.name}; beside it they stand at their iterations. "
    if 0 < unknown < len(truth):
        description["note"] += f"In {run.name}, {unknown:,} of {len(truth):,} unlabelled samples have no known class and are in no matrix."
    for kind in KINDS:
        if kind not in kinds:
            description["missing"][kind] = f"{kind} was left out of this comparison (kinds={tuple(kinds)})"
        elif kind != "test" and unknown == len(truth):
            description["missing"][kind] = f"{run.name}: the true classes of the unlabelled samples are unknown, so {kind} has no rows"
        elif kind not in run.kinds:
            description["missing"][kind] = f"{run.name} recorded no {kind}"
        else:
            description["blocks"][kind] = {}
            for split in ("all",) if kind == "test" else ("all", "accepted"):
                data, dtype = _compress(np.asarray(run.confusion(kind, split)))
                description["blocks"][kind][split] = [sum(map(len, blocks)), len(data), dtype]
                blocks.append(data)
    for split in ("accepted", "rejected"):
        description["missing"][f"test/{split}"] = "test predictions pass no threshold, so none is accepted or rejected"
    return description


def pack(runs, kinds=tuple(KINDS), groups="tertiles") -> tuple[dict, bytes]:
    """Everything the browser needs to draw `runs` at any epoch.

    Parameters
    ----------
    runs : sequence of Run
        One, or several that `check_comparable` accepts.
    kinds : sequence of str
        Of ``"visits"``, ``"sweep"``, ``"test"``; fewer make a smaller page.
    groups : "tertiles" or (int, int)
        Rule for head, medium and tail, as in `pldebias.metrics.groups`.

    Returns
    -------
    meta : dict
        JSON-able: class names, orders, groups with their rule, words, and for each run its epochs and, per kind and split, offset, length
        and type of a block; ``missing`` gives the reason for every kind, or kind and split, that cannot be shown.
    data : bytes
        The blocks, one after another; each is a gzipped ``[K, K, E]`` array of counts, rows true class.
    """
    first = runs[0]
    parts = metrics.groups(first.labelled_counts, groups)
    blocks: list[bytes] = []
    named: dict[str, list] = {}
    for run in runs:
        named.setdefault(run.name, []).append(run)
    meta = {
        "classes": [str(name) for name in first.class_names],
        "orders": orders(first, groups),
        "groups": [{"name": n, "classes": c.tolist()} for n, c in zip(("head", "medium", "tail"), parts, strict=False)],
        "rule": f"Groups: {parts.rule}.",
        "words": {
            "metrics": [[name, *words] for name, words in METRICS.items()],
            "cells": [[mode, *words] for mode, words in CELLS.items()],
            "orders": list(map(list, ORDERS.items())),
            "keys": list(map(list, KEYS.items())),
        },
        "kinds": KINDS,
        "splits": SPLITS,
        "lengths": lengths_in_words(named),
        "runs": [_describe(run, kinds, blocks, first, clock(runs)) for run in runs],
    }
    return meta, b"".join(blocks)
