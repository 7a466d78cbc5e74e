"""The samples behind a cell of the explorer: who they are, what they were called at every epoch, what they look like."""

from __future__ import annotations

import io

import numpy as np

from pldebias.analysis.samples import images_of

__all__ = ["followed", "sheet"]

MOST = 24  # strips that fit on a screen


def sheet(images: np.ndarray | None) -> tuple[bytes, list[int]]:
    """Pictures side by side as one PNG, and width and height of each; empty without pictures."""
    if images is None or not len(images):
        return b"", [0, 0]
    from PIL import Image

    height, width = images.shape[1:3]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(images), axis=1)).save(buffer, "PNG")
    return buffer.getvalue(), [width, height]


def followed(
    run, history, epoch: int, *, kind: str = "sweep", split: str = "all", cell=(), ids=(), most: int = MOST, pictures: bool = True
):
    """Samples of a cell at an epoch, with their labels over all epochs.

    Parameters
    ----------
    run : Run
    history : tuple of ndarray
        Recorded epochs ``[E]``, labels ``[E, N]`` and acceptance ``[E, N]`` of `run.history`.
    epoch : int
        Recorded epoch.
    kind, split : str
        As of the matrix; a cell of "visits" is answered by the sweep at the end of that epoch.
    cell : (int, int)
        True class and label; those longest with this label come first.
    ids : sequence of int
        Or these samples of the unlabelled set, in this order.
    most : int
        At most so many.
    pictures : bool
        Make the images again from the run's configuration.

    Returns
    -------
    reply : dict
        ``ids``, ``true`` (class of each), ``chosen`` (label of the cell, -1 without one), ``epochs``, ``total``, ``tiles`` (place
        of each in the picture, -1 without one), ``tile`` (its width and height), ``title``, and ``problem``: why something is missing.
    buffers : list of bytes
        Labels int16 ``[n, E]``, acceptance uint8 ``[n, E]``, one PNG.
    """
    empty = {"ids": [], "true": [], "chosen": -1, "epochs": [], "total": 0, "tiles": [], "tile": [0, 0], "title": "", "problem": ""}
    epochs, labels, accepted = history
    if kind == "test":
        return empty | {"problem": "Test images are not followed over the epochs: choose sweep to see the unlabelled samples of a cell."}, [
            b""
        ] * 3
    where = np.flatnonzero(np.asarray(epochs) == epoch)
    if not len(where):
        return empty | {"problem": f"{run.name} kept no labels of single samples at epoch {epoch}; record a sweep to follow them."}, [
            b""
        ] * 3
    now, true, names = int(where[0]), run.true_labels, run.class_names
    if len(ids):
        index = np.asarray(ids, np.int64)
        if index.min() < 0 or index.max() >= run.num_unlabelled:
            problem = f"Samples are numbered 0 to {run.num_unlabelled - 1} in {run.name}; got {index.min()} to {index.max()}."
            return empty | {"problem": problem}, [b""] * 3
        chosen, what, order = -1, "chosen samples", ""
    else:
        t, chosen = (int(c) for c in cell)
        member = (true == t) & (labels[now] == chosen)
        if split != "all":
            member &= accepted[now] == (split == "accepted")
        index = np.flatnonzero(member)
        index = index[np.argsort(-(labels[:, index] == chosen).sum(0), kind="stable")]
        what = f"samples of true class {names[t]} with pseudo-label {names[chosen]}" + ("" if split == "all" else f", {split},")
        order = "; those longest with this label first" if len(index) > 1 else ""
    total, index = len(index), index[:most]
    title = (
        f"{len(index)} of {total} {what} in the sweep of epoch {epoch}{order}." if total else f"No {what} in the sweep of epoch {epoch}."
    )
    images, problem = images_of(run, index) if pictures and total else (None, "")
    png, tile = sheet(images)
    reply = {
        "ids": index.tolist(), "true": true[index].tolist(), "chosen": chosen, "epochs": [int(e) for e in epochs], "total": total,
        "tiles": list(range(len(index))) if png else [-1] * len(index), "tile": tile, "title": title,
        "problem": f"No pictures: {problem}." if problem else "",
    }  # fmt: skip
    strips = labels[:, index].T.astype("<i2"), accepted[:, index].T.astype(np.uint8)
    return reply, [np.ascontiguousarray(strip).tobytes() for strip in strips] + [png]
