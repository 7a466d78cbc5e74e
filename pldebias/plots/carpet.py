"""Classes by epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.analysis.selection import check_classes, check_truth, common_epochs, select
from pldebias.analysis.spread import Spread, over_seeds
from pldebias.plots.paper import PaperFigure, canvas, finish, groups_in_words, seeds_in_words
from pldebias.plots.style import DIVERGING, GROUPS, SEQUENTIAL, colour_map, paint, undefined_hatch

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["carpet"]

LABELS = {"recall": "recall", "precision": "precision", "ratio": "log2(labels given / true count)"}
SCORES = {"recall": metrics.recall, "precision": metrics.precision, "ratio": metrics.gain}


def carpet(
    runs, *, metric="recall", kind="sweep", split="all", epoch=None, groups="tertiles", width="double", title=None, font=None,
    backend="matplotlib", ax=None, colourbar=True,
) -> PaperFigure:  # fmt: skip
    """Draw one metric of every class (rows, head to tail) over the epochs (columns), one panel per entry.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.selection.select`; of the seeds under one label the mean is drawn.
    metric : {"recall", "precision", "ratio"}
        ``"ratio"`` is log2 of `pldebias.metrics.gain`: above 0 a class receives more labels than it has samples.
    kind : {"visits", "sweep", "test"}
        Which matrices.
    split : {"all", "accepted", "rejected"}
    epoch : int, optional
        Where to draw a rule.
    groups, width, title, font, backend
        As in `pldebias.plots.recall_precision`.
    ax : matplotlib.axes.Axes, optional
        Draw into it: one run, no caption's worth of checks.
    colourbar : bool

    Returns
    -------
    PaperFigure
        ``values["runs"][label]``: ``"spread"`` is a `Spread` of shape ``[K, E]`` over the seeds (classes in class order; labels given per
        true sample for ``"ratio"``), ``"drawn"`` the array drawn (rows in drawing order, log2 for ``"ratio"``), ``"epochs"`` its columns;
        ``values["order"]`` the order drawn.

    Raises
    ------
    Incomparable
        Class lists differ, seeds under one label were recorded at different epochs, or a run knows no true classes.

    Notes
    -----
    Undefined (0/0) is hatched, an exact zero is white. With ``"ratio"`` a class without any label has minus infinity and gets the
    darkest blue. A shade has no room for an interval: ``values`` holds it.
    """
    if metric not in LABELS:
        raise ValueError(f"metric must be one of {tuple(LABELS)}; got {metric!r}")
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    if ax is None:
        check_truth(every, kind)
    drawn = {}
    for label, found in chosen.items():
        epochs = common_epochs(label, found)
        spread = over_seeds(np.stack([SCORES[metric](run.confusion(kind, split)).T for run in found]))
        drawn[label] = {"spread": spread, "drawn": _shades(spread, metric)[parts.order], "epochs": np.asarray(epochs)}
    seeds = seeds_in_words(chosen).partition(" with ")[0]
    caption = (
        f"Every class over the epochs ({kind}, {split}), head to tail, by {LABELS[metric]}; {seeds}. {groups_in_words(parts)} "
        "White: an exact zero. Hatched: undefined."
    )
    limit = _limit(drawn) if metric == "ratio" else None
    if ax is not None:
        figure, axes = ax.figure, np.array([[ax]])
    else:
        k, columns = len(parts.order), min(len(chosen), 2 if width == "double" else 1)
        rows = -(-len(chosen) // columns)
        height = max(1.6, rows * (0.45 + (0.13 * k if k <= 30 else 2.2)) + 0.35)
        figure, axes = canvas(backend, width, height, font=font, nrows=rows, ncols=columns)
    if axes is not None:
        names = [every[0].class_names[c] for c in parts.order]
        mappable = _mappable(limit)
        for i, (panel, (label, arrays)) in enumerate(zip(axes.flat, drawn.items(), strict=False)):
            large = ax is not None
            _draw(panel, arrays, mappable, limit, parts, names if i % axes.shape[1] == 0 else [], epoch, 8 if large else 7)
            if large:
                panel.set_title(f"{every[0].name}: {kind}, {split}" if title is None else title, fontsize=9, loc="left", parse_math=False)
            elif len(chosen) > 1:
                panel.set_title(label, fontsize=7.5, loc="left", pad=3, parse_math=False)
        for panel in axes.flat[len(drawn) :]:
            panel.set_visible(False)
        if colourbar:
            bar = figure.colorbar(mappable, ax=axes if ax is None else ax, fraction=0.04, pad=0.02)
            bar.set_label(LABELS[metric], fontsize=8 if ax is not None else 7)
            bar.ax.tick_params(labelsize=7 if ax is not None else 6.5, width=0.5, length=2)
            bar.outline.set_linewidth(0.4)
    values = {"runs": drawn, "order": parts.order}
    return PaperFigure(figure, ax, values, caption) if ax is not None else finish(figure, axes, values, caption, title=title)


def _shades(spread: Spread, metric: str) -> np.ndarray:
    """What is coloured, shape ``[K, E]``."""
    if metric != "ratio":
        return spread.mean
    with np.errstate(divide="ignore"):
        return np.log2(spread.mean)


def _limit(drawn: dict) -> int:
    """Powers of two that the scale reaches to either side, the same for all panels."""
    shown = np.concatenate([arrays["drawn"].ravel() for arrays in drawn.values()])
    return int(np.clip(np.ceil(np.abs(shown[np.isfinite(shown)]).max(initial=1)), 1, 5))


def _mappable(limit: int | None):
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale, anchors = (Normalize(0, 1), SEQUENTIAL) if limit is None else (Normalize(-limit, limit), DIVERGING)
    return ScalarMappable(scale, colour_map(anchors))


def _draw(ax, arrays: dict, mappable, limit: int | None, parts, names: Sequence[str], epoch: int | None, size: float) -> None:
    """One panel; `names` label its rows, if there are any and not too many."""
    values, epochs = arrays["drawn"], arrays["epochs"]
    shown = values if limit is None else np.where(values == -np.inf, -limit, values)
    k = len(values)
    ax.grid(False)
    undefined_hatch(ax)
    ax.imshow(paint(shown, mappable), aspect="auto", interpolation="nearest", extent=(-0.5, len(epochs) - 0.5, k - 0.5, -0.5))
    edge = 0
    for name, members in zip(("head", "medium", "tail"), parts, strict=False):
        if len(members):
            inside, ends = ax.get_yaxis_transform(), [edge - 0.4, edge + len(members) - 0.6]
            ax.plot([-0.012, -0.012], ends, color=GROUPS[name], lw=3, transform=inside, clip_on=False, solid_capstyle="butt")
            if k > 30:
                ax.text(-0.03, edge + (len(members) - 1) / 2, name, rotation=90, ha="right", va="center", fontsize=size, transform=inside)
            edge += len(members)
            if edge < k:
                ax.axhline(edge - 0.5, color="#333333", lw=0.9)
    named = [" ".join(str(name).split())[:18] for name in names] if k <= 30 else []
    ax.set_yticks(range(len(named)), named, fontsize=size - 1, parse_math=False)
    ax.tick_params(axis="y", length=0, pad=7)
    ticks = np.unique(np.linspace(0, len(epochs) - 1, 6).round().astype(int))
    ax.set_xticks(ticks, epochs[ticks], fontsize=size - 1)
    ax.set_xlabel("epoch", fontsize=size)
    if epoch is not None:
        x = int(np.searchsorted(epochs, epoch))
        ax.axvline(x, color="white", lw=2.6)
        ax.axvline(x, color="#111111", lw=1.1)
