"""Order in which the classes were learned."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.changes import learning_order as find
from pldebias.plots.frame import MOST_NAMES, finish, sentence, short
from pldebias.plots.marks import Axis, Panel, Plan, Points, Segments, group_edges, rules
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import GROUPS
from pldebias.settings import typed

__all__ = ["learning_order"]


@typed
def learning_order(
    run, *, level=0.5, hold=3, metric="recall", kind="sweep", groups="tertiles", ax=None, title=None, backend="matplotlib"
) -> PaperFigure:
    """Draw the epoch at which each class was learned against its labelled count.

    Parameters
    ----------
    run : Run or path
    level, hold, metric, kind, groups
        As in `pldebias.analysis.relabelling.changes.learning_order`.
    ax : matplotlib.axes.Axes, optional
    title : str, optional
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["epoch"]`` and ``values["order"]``, shape ``[K]``, head to tail; NaN: never learned (an open triangle at the right edge).
    """
    found = find(run, level=level, hold=hold, metric=metric, kind=kind, groups=groups)
    order, of = found.groups.order, found.groups.of
    epoch, k = found.epoch[order], len(order)
    last, few = int(found.run.epochs[-1]), k <= MOST_NAMES
    beyond = last + max(1, 0.06 * last)
    rows, never, shades = np.arange(k), np.isnan(epoch), np.array(list(GROUPS.values()))[of[order]]
    names = [f"{short(found.run.class_names[c])} ({found.run.labelled_counts[c]})" for c in order]
    marks: list = [rules(np.array(group_edges(found.groups)) - 0.5, width=0.6)]
    for which, x, dash, marker in ((~never, epoch, "-", "o"), (never, np.full(k, beyond), ":", ">")):
        x, y, colours = x[which], rows[which], shades[which].tolist()
        open_, width = marker == ">", 1.2 if few else 0.5
        texts = [f"{names[r]}: {'never' if open_ else f'epoch {v:g}'}" for r, v in zip(y, x, strict=True)]
        marks.append(Segments(np.zeros(len(x)), y, x, y, colours, width, dash, 0.5))
        look = {"size": 40 if few else 9, "colours": colours, "marker": marker, "open": open_}
        marks.append(Points(x, y, label="never" if open_ else "learned", texts=texts, **look))
    told = f"first epoch from which {metric} ({kind}) stays at {level:g} or above for {hold} epochs"
    rho = "" if np.isnan(found.rank_correlation) else f", rank correlation with labelled count {found.rank_correlation:+.2f}"
    heading = f"{found.run.name}: {int(never.sum())} of {k} classes never learned{rho}"
    axis = {"limits": (k - 0.5, -0.5)} | ({"ticks": rows, "texts": names} if few else {"ticks": (), "label": "classes, head on top"})
    panel = Panel(
        marks,
        heading if title is None else title,
        Axis(told, limits=(-0.01 * last, beyond * 1.03)),
        Axis(**axis),
        left=True,
        grid="",
        size=9,
    )
    plan = Plan([panel], (5.6, 0.9 + (0.24 * k if few else 3.6)), squeeze=True)
    caption = f"{sentence(told)} Open triangles: never. {sentence(found.groups.rule)}"
    return finish(plan, {"epoch": epoch, "order": order}, caption, backend=backend, ax=ax)
