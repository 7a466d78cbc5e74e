"""What the explorer sends to the browser: raw counts as gzipped blocks, and a small description of them.

Rates are never sent: they are formed in the browser from whole rows and columns, by the formulas of `pldebias.metrics`.
"""

from __future__ import annotations

import gzip
import hashlib

import numpy as np

from pldebias import metrics

__all__ = ["KINDS", "SPLITS", "check_comparable", "pack"]

KINDS = {
    "visits": "Every pseudo-label that the loss saw during the epoch: a sample counts once for each visit.",
    "sweep": "One clean pass over the unlabelled set at the end of the epoch: a sample counts once.",
    "test": "Predictions on the test set at the end of the epoch: an image counts once.",
}
"""What a matrix of each kind counts."""
SPLITS = {
    "all": "",
    "accepted": "Only those that were accepted for training.",
    "rejected": "Only those that were not accepted for training.",
}
"""Which of them."""


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


def _compress(counts: np.ndarray) -> tuple[bytes, str]:
    # Counts of visits may pass 65,535 in a cell; everything else fits two bytes, which halves what the browser must unpack.
    kind = "uint16" if counts.max(initial=0) <= np.iinfo(np.uint16).max else "uint32"
    raw = np.ascontiguousarray(counts, dtype=np.dtype(kind).newbyteorder("<")).tobytes()
    return gzip.compress(raw, compresslevel=5, mtime=0), kind


def _describe(run, kinds, blocks: list[bytes]) -> dict:
    truth = np.asarray(run.true_labels)
    unknown = int((truth < 0).sum())
    description = {
        "name": run.name,
        "epochs": [int(e) for e in run.epochs],
        "iterations": [int(i) for i in run.iterations],
        "blocks": {},
        "missing": {},
        "note": "",
    }
    if 0 < unknown < len(truth):
        description["note"] = f"In {run.name}, {unknown:,} of {len(truth):,} unlabelled samples have no known class and are in no matrix."
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
    return description


def pack(runs, kinds=tuple(KINDS), groups="tertiles") -> tuple[dict, bytes]:
    """Everything the browser needs to draw `runs` at any epoch.

    Parameters
    ----------
    runs : sequence of Run
        One, or two that `check_comparable` accepts.
    kinds : sequence of str
        Of ``"visits"``, ``"sweep"``, ``"test"``; fewer make a smaller page.
    groups : "tertiles" or (int, int)
        Rule for head, medium and tail, as in `pldebias.metrics.groups`.

    Returns
    -------
    meta : dict
        JSON-able: class names, order, groups with their rule, and for each run its epochs and, per kind and split, offset, length
        and type of a block; ``missing`` gives the reason for every kind that cannot be shown.
    data : bytes
        The blocks, one after another; each is a gzipped ``[E, K, K]`` array of counts, rows true class.
    """
    first = runs[0]
    parts = metrics.groups(first.labelled_counts, groups)
    blocks: list[bytes] = []
    meta = {
        "classes": [str(name) for name in first.class_names],
        "order": parts.order.tolist(),
        "groups": [{"name": n, "classes": c.tolist()} for n, c in zip(("head", "medium", "tail"), parts, strict=False)],
        "rule": f"Rows run from head to tail by labelled count; groups: {parts.rule}.",
        "kinds": KINDS,
        "splits": SPLITS,
        "runs": [_describe(run, kinds, blocks) for run in runs],
    }
    return meta, b"".join(blocks)
