"""Changes of pseudo-labels between two epochs."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.changes import flows as count
from pldebias.plots.frame import MOST_NUMBERS, finish
from pldebias.plots.marks import Axis, Panel, Plan, Points, Ribbons, Text
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import GROUPS
from pldebias.settings import typed

__all__ = ["flows"]

GAP = 0.012  # between bars, in shares of all samples


@typed
def flows(run, start=None, end=-1, *, of="all", split="all", groups="tertiles", ax=None, title=None, backend="matplotlib") -> PaperFigure:
    """Draw how samples moved from their pseudo-label at one epoch (left) to that at another (right).

    Parameters
    ----------
    run : Run or path
    start, end : int, optional
        Recorded epochs; -1 is the last, None the first.
    of : {"all", "head", "medium", "tail"} or class name
        Samples by their true class.
    split : {"all", "accepted", "rejected"}
        By acceptance at `end`.
    groups : "tertiles" or (int, int)
    ax : matplotlib.axes.Axes, optional
    title : str, optional
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["counts"]``, rows label at `start`, columns at `end`, in drawing order (head to tail; above 15 classes head, medium and
        tail); ``values["right"]`` as in `pldebias.analysis.relabelling.changes.Flows`.

    Notes
    -----
    Grey ribbons kept their label; coloured ones left it and have the colour of the group that they went to.
    """
    found = count(run, start, end, of=of, split=split, groups=groups)
    order = found.groups.order
    counts, group = found.counts[np.ix_(order, order)], found.groups.of[order]
    names = [found.run.class_names[k] for k in order]
    if len(order) > MOST_NUMBERS:  # head, medium and tail stand for their classes
        member = np.eye(3, dtype=np.int64)[group]
        counts, names, group = member.T @ counts @ member, list(GROUPS), np.arange(3)
    whom = {"all": "all samples"}.get(found.of, f"samples of {found.of}")
    heading = f"{found.run.name}: epoch {found.start} to {found.end}, {whom}, {found.changed:,} of {found.n:,} changed"
    note = f"right before, wrong after: {found.right[1, 0]:,}     wrong before, right after: {found.right[0, 1]:,}"
    marks, lowest = [Text(0.5, 0.5, "no such samples")], 0.0
    if found.n:
        marks, lowest = _ribbons(counts, names, np.array(list(GROUPS.values()))[group])
    marks.append(Text(0.5, lowest - 0.05, note))
    x, y = Axis(ticks=(), limits=(-0.34, 1.34)), Axis(ticks=(), limits=(lowest - 0.08, 1.02))
    panel = Panel(marks, heading if title is None else title, x, y, left=True, frame=False, grid="", size=9)
    values = {"counts": counts, "right": found.right, "names": names}
    caption = f"Pseudo-labels of {whom} at epoch {found.start} (left) and {found.end} (right); grey: kept. {note.replace('     ', '; ')}."
    return finish(Plan([panel], (5.6, 4.6), squeeze=True), values, caption, backend=backend, ax=ax)


def _ribbons(counts: np.ndarray, names: list[str], colours: np.ndarray) -> tuple[list, float]:
    """Bars of the classes to both sides, ribbons between them, and the lowest edge; heights are shares of all samples."""
    marks, total, sizes = [], counts.sum(), (counts.sum(1), counts.sum(0))
    tops = [1 - np.concatenate([[0], np.cumsum(side[:-1] / total + GAP)]) for side in sizes]
    lowest = min(float((top - side / total)[-1]) for top, side in zip(tops, sizes, strict=True))
    start, end = np.nonzero(counts)
    share, counted = counts[start, end] / total, counts[start, end]
    # Ribbons leave and reach a bar from its top, in the order of the classes.
    y0 = tops[0][start] - (np.cumsum(counts, 1) - counts)[start, end] / total
    y1 = tops[1][end] - (np.cumsum(counts, 0) - counts)[start, end] / total
    for kept in (True, False):
        some = (start == end) == kept
        shades = ["#d4d8dc"] * int(some.sum()) if kept else colours[end[some]].tolist()
        marks.append(Ribbons(0, 1, y0[some], y1[some], share[some], shades))
    texts = [f"{names[a]} to {names[b]}: {n:,}" for a, b, n in zip(start, end, counted, strict=True)]
    marks.append(Points(np.full(len(start), 0.5), (y0 + y1 - share) / 2, size=150, texts=texts, value=counted))
    for x, top, side in zip((-0.02, 1.02), tops, sizes, strict=True):
        marks.append(Ribbons(x - 0.02, x + 0.02, top, top, side / total, colours.tolist(), 1.0))
        for name, place, n in zip(names, _apart(top - side / total / 2, lowest), side, strict=True):
            left = {"text": f"{name}  {n:,}", "align": "right"} if x < 0 else {"text": f"{n:,}  {name}", "align": "left"}
            marks.append(Text(x + (-0.035 if x < 0 else 0.035), place, **left))
    return marks, lowest


def _apart(heights: np.ndarray, lowest: float, least: float = 0.034) -> np.ndarray:
    """Heights of labels, from top to bottom, moved so that none lies on another nor under `lowest`."""
    for i in range(len(heights) - 1, -1, -1):
        heights[i] = max(heights[i], lowest if i == len(heights) - 1 else heights[i + 1] + least)
    return heights
