"""Classes by epochs."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.plots.style import DIVERGING, GROUPS, SEQUENTIAL, Drawn, colour_map, new_axes, paint, undefined_hatch

__all__ = ["carpet"]

LABELS = {"recall": "recall", "precision": "precision", "ratio": "log2(labels given / true count)"}


def carpet(run, *, metric="recall", kind="sweep", split="all", epoch=None, groups="tertiles", ax=None, title=None, colourbar=True) -> Drawn:
    """Draw one metric of every class (rows, head to tail) over the epochs (columns).

    Parameters
    ----------
    run : Run
    metric : {"recall", "precision", "ratio"}
        ``"ratio"`` is log2 of `pldebias.metrics.gain`: above 0 a class receives more labels than it has samples.
    kind : {"visits", "sweep", "test"}
        Which matrices.
    split : {"all", "accepted", "rejected"}
    epoch : int, optional
        Where to draw a rule.
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure.
    title : str, optional
        Default: the run, the kind and the split.
    colourbar : bool

    Returns
    -------
    Drawn
        ``values["values"]`` of shape ``[K, E]``, rows in drawing order; ``values["order"]`` their classes.

    Notes
    -----
    Undefined (0/0) is hatched, an exact zero is white. With ``"ratio"`` a class without any label has minus infinity and gets the
    darkest blue.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if metric not in LABELS:
        raise ValueError(f"metric must be one of {tuple(LABELS)}; got {metric!r}")
    confusion = run.confusion(kind, split)
    parts = metrics.groups(run.labelled_counts, groups)
    if metric == "ratio":
        with np.errstate(divide="ignore"):
            values = np.log2(metrics.gain(confusion))
        finite = np.abs(values[np.isfinite(values)])
        limit = int(np.clip(np.ceil(finite.max(initial=1)), 1, 5))
        scale, anchors = Normalize(-limit, limit), DIVERGING
        shown = np.where(values == -np.inf, -limit, values)
    else:
        values = (metrics.recall if metric == "recall" else metrics.precision)(confusion)
        scale, anchors, shown = Normalize(0, 1), SEQUENTIAL, values
    order, epochs = parts.order, np.asarray(run.epochs)
    values, shown = values.T[order], shown.T[order]

    ax = new_axes(ax, (6.4, 0.9 + (0.24 * len(order) if len(order) <= 30 else 4)))
    mappable = ScalarMappable(scale, colour_map(anchors))
    undefined_hatch(ax)
    ax.imshow(paint(shown, mappable), aspect="auto", interpolation="nearest", extent=(-0.5, len(epochs) - 0.5, len(order) - 0.5, -0.5))
    edge = 0
    for name, members in zip(("head", "medium", "tail"), parts, strict=False):
        if len(members):
            inside, ends = ax.get_yaxis_transform(), [edge - 0.4, edge + len(members) - 0.6]
            ax.plot([-0.012, -0.012], ends, color=GROUPS[name], lw=3, transform=inside, clip_on=False, solid_capstyle="butt")
            if len(order) > 30:
                ax.text(-0.03, edge + (len(members) - 1) / 2, name, rotation=90, ha="right", va="center", fontsize=8, transform=inside)
            edge += len(members)
            if edge < len(order):
                ax.axhline(edge - 0.5, color="#333333", lw=0.9)
    named = order if len(order) <= 30 else []
    ax.set_yticks(range(len(named)), [run.class_names[c] for c in named], fontsize=7, parse_math=False)
    ax.tick_params(axis="y", length=0, pad=7)
    ticks = np.unique(np.linspace(0, len(epochs) - 1, 6).round().astype(int))
    ax.set_xticks(ticks, epochs[ticks], fontsize=7)
    ax.set_xlabel("epoch", fontsize=8)
    if epoch is not None:
        x = int(np.searchsorted(epochs, epoch))
        ax.axvline(x, color="white", lw=2.6)
        ax.axvline(x, color="#111111", lw=1.1)
    ax.set_title(f"{run.name}: {kind}, {split}" if title is None else title, fontsize=9, loc="left", parse_math=False)
    if colourbar:
        bar = ax.figure.colorbar(mappable, ax=ax, fraction=0.04, pad=0.02)
        bar.set_label(LABELS[metric], fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return Drawn(ax.figure, ax, {"values": values, "order": order, "epochs": epochs})
