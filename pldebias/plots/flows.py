"""Who changed to what between two epochs."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.changes import flows as count
from pldebias.plots.frame import MOST_NUMBERS, finish
from pldebias.plots.marks import Flow, Panel, Plan, Text
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import GROUPS
from pldebias.settings import typed

__all__ = ["flows"]


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
    marks = [Flow(counts, names, [list(GROUPS.values())[g] for g in group], note)]
    marks += [] if found.n else [Text(0.5, 0.5, "no such samples", inside=True)]
    panel = Panel(marks, heading if title is None else title, left=True, frame=False, grid="", size=9)
    values = {"counts": counts, "right": found.right, "names": names}
    caption = f"Pseudo-labels of {whom} at epoch {found.start} (left) and {found.end} (right); grey: kept. {note.replace('     ', '; ')}."
    return finish(Plan([panel], (5.6, 4.6), squeeze=True), values, caption, backend=backend, ax=ax)
