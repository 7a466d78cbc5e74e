"""Who changed to what between two epochs."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.changes import flows as count
from pldebias.plots.style import GROUPS, Drawn, new_axes
from pldebias.settings import typed

__all__ = ["flows"]

GAP = 0.012
MOST_CLASSES = 15  # beyond, head, medium and tail stand for their classes


def _stack(sizes: np.ndarray) -> np.ndarray:
    """Lower edges of bars of these sizes, the first on top, with gaps; heights are shares of one."""
    tops = 1 - np.concatenate([[0], np.cumsum(sizes[:-1] + GAP)])
    return tops - sizes


def _apart(heights: np.ndarray, lowest: float, least: float = 0.034) -> np.ndarray:
    """Heights of labels, from top to bottom, moved so that none lies on another nor under `lowest`."""
    for i in range(len(heights) - 1, -1, -1):
        heights[i] = max(heights[i], lowest if i == len(heights) - 1 else heights[i + 1] + least)
    return heights


@typed
def flows(run, start=None, end=-1, *, of="all", split="all", groups="tertiles", ax=None, title=None) -> Drawn:
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

    Returns
    -------
    Drawn
        ``values["counts"]``, rows label at `start`, columns at `end`, in drawing order (head to tail; above 15 classes head, medium and
        tail); ``values["right"]`` as in `pldebias.analysis.relabelling.changes.Flows`.

    Notes
    -----
    Grey ribbons kept their label; coloured ones left it and have the colour of the group that they went to.
    """
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path

    found = count(run, start, end, of=of, split=split, groups=groups)
    parts, order = found.groups, found.groups.order
    counts = found.counts[np.ix_(order, order)]
    names, group = [found.run.class_names[k] for k in order], parts.of[order]
    if len(order) > MOST_CLASSES:
        member = np.eye(3, dtype=np.int64)[group]
        counts, names, group = member.T @ counts @ member, list(GROUPS), np.arange(3)
    ax = new_axes(ax, (5.6, 4.6))
    if not found.n:
        ax.text(0.5, 0.5, "no such samples", ha="center", va="center", fontsize=8, transform=ax.transAxes)
    total, colours = max(int(counts.sum()), 1), [GROUPS[name] for name in GROUPS]
    left, right = _stack(counts.sum(1) / total), _stack(counts.sum(0) / total)
    out, into = left + counts.sum(1) / total, right + counts.sum(0) / total  # ribbons are laid from the top
    for a in range(len(names)):
        for b in range(len(names)):
            share = counts[a, b] / total
            y0, y1 = out[a], into[b]
            out[a], into[b] = y0 - share, y1 - share
            if not share:
                continue
            corners = [(0, y0), (0.5, y0), (0.5, y1), (1, y1), (1, y1 - share), (0.5, y1 - share), (0.5, y0 - share), (0, y0 - share)]
            codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3]
            stayed = a == b
            colour = "#d4d8dc" if stayed else colours[group[b]]
            ax.add_patch(PathPatch(Path(corners, codes), facecolor=colour, edgecolor="none", alpha=0.75, zorder=1 if stayed else 2))
    lowest = min(left[-1], right[-1])
    for x, lower, sizes, align in ((-0.02, left, counts.sum(1), "right"), (1.02, right, counts.sum(0), "left")):
        if not found.n:
            continue
        middles = _apart(lower + sizes / total / 2, lowest)
        for k, name in enumerate(names):
            ax.add_patch(Rectangle((x - 0.02, lower[k]), 0.04, sizes[k] / total, color=colours[group[k]], lw=0))
            label = f"{name}  {sizes[k]:,}" if x < 0 else f"{sizes[k]:,}  {name}"
            ax.text(x + (-0.035 if x < 0 else 0.035), middles[k], label, ha=align, va="center", fontsize=7, parse_math=False)
    ax.set(xlim=(-0.34, 1.34), ylim=(lowest - 0.02, 1.02))
    ax.axis("off")
    whom = {"all": "all samples"}.get(found.of, f"samples of {found.of}")
    heading = f"{found.run.name}: epoch {found.start} to {found.end}, {whom}, {found.changed:,} of {found.n:,} changed"
    ax.set_title(heading if title is None else title, fontsize=9, loc="left", parse_math=False)
    lost, won = found.right[1, 0], found.right[0, 1]
    ax.text(
        0.5, lowest - 0.03, f"right before, wrong after: {lost:,}     wrong before, right after: {won:,}", ha="center", va="top", fontsize=7
    )
    return Drawn(ax.figure, ax, {"counts": counts, "right": found.right, "names": names})
