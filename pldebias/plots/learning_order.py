"""In which order the classes were learned."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.changes import learning_order as find
from pldebias.plots.style import GROUPS, Drawn, new_axes
from pldebias.settings import typed

__all__ = ["learning_order"]


@typed
def learning_order(run, *, level=0.5, hold=3, metric="recall", kind="sweep", groups="tertiles", ax=None, title=None) -> Drawn:
    """Draw the epoch at which each class was learned against its labelled count.

    Parameters
    ----------
    run : Run or path
    level, hold, metric, kind, groups
        As in `pldebias.analysis.relabelling.changes.learning_order`.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    Drawn
        ``values["epoch"]`` and ``values["order"]``, shape ``[K]``, head to tail; NaN: never learned (an open triangle at the right edge).
    """
    found = find(run, level=level, hold=hold, metric=metric, kind=kind, groups=groups)
    order, of = found.groups.order, found.groups.of
    epoch, k = found.epoch[order], len(order)
    last = int(found.run.epochs[-1])
    beyond = last + max(1, 0.06 * last)
    few = k <= 30
    ax = new_axes(ax, (5.6, 0.9 + (0.24 * k if few else 3.6)))
    for row, (value, group) in enumerate(zip(epoch, of[order], strict=True)):
        colour, never = list(GROUPS.values())[group], np.isnan(value)
        ax.plot([0, beyond if never else value], [row, row], color=colour, lw=1.2 if few else 0.5, ls=":" if never else "-", alpha=0.5)
        face = "none" if never else colour
        size = 40 if few else 9
        ax.scatter(beyond if never else value, row, marker=">" if never else "o", s=size, facecolor=face, edgecolor=colour, zorder=3)
    for edge in np.cumsum([len(part) for part in found.groups[:3]])[:-1]:
        if 0 < edge < k:
            ax.axhline(edge - 0.5, color="#333333", lw=0.6)
    ax.set(ylim=(k - 0.5, -0.5), xlim=(-0.01 * last, beyond * 1.03))
    if few:
        counts = found.run.labelled_counts
        ax.set_yticks(range(k), [f"{found.run.class_names[c]} ({counts[c]})" for c in order], fontsize=7, parse_math=False)
    else:
        ax.set_yticks([])
        ax.set_ylabel("classes, head on top", fontsize=8)
    ax.tick_params(axis="x", labelsize=7)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.set_xlabel(f"first epoch from which {metric} ({kind}) stays at {level:g} or above for {hold} epochs", fontsize=8)
    never = int(np.isnan(epoch).sum())
    rho = "" if np.isnan(found.rank_correlation) else f", rank correlation with labelled count {found.rank_correlation:+.2f}"
    heading = f"{found.run.name}: {never} of {k} classes never learned{rho}"
    ax.set_title(heading if title is None else title, fontsize=9, loc="left", parse_math=False)
    return Drawn(ax.figure, ax, {"epoch": epoch, "order": order})
