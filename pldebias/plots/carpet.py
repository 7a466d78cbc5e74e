"""Classes by epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import along, check_classes, check_truth, clock, common_epochs, select
from pldebias.analysis.comparing.spread import Spread, over_seeds
from pldebias.plots.paper import PaperFigure, canvas, finish, groups_in_words, lengths, seeds_in_words
from pldebias.plots.style import DIVERGING, GROUPS, NONE, SEQUENTIAL, beyond, colour_map, paint, undefined_hatch
from pldebias.settings import typed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["carpet"]

LABELS = {"recall": "recall", "precision": "precision", "ratio": "log2(labels given / true count)"}
MOST_OCTAVES = 5  # powers of two that colours tell apart to either side of ratio 1
MOST_COLUMNS = 2000
SCORES = {"recall": metrics.recall, "precision": metrics.precision, "ratio": metrics.gain}


@typed
def carpet(
    runs, *, metric="recall", kind="sweep", split="all", epoch=None, groups="tertiles", width="double", title=None, font=None,
    backend="matplotlib", ax=None, colourbar=True,
) -> PaperFigure:  # fmt: skip
    """Draw one metric of every class (rows, head to tail) over the epochs (columns), one panel per entry.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; of the seeds under one label the mean is drawn.
    metric : {"recall", "precision", "ratio"}
        ``"ratio"`` is log2 of `pldebias.metrics.gain`: above 0 a class receives more labels than it has samples.
    kind : {"visits", "sweep", "test"}
        Which matrices.
    split : {"all", "accepted", "rejected"}
    epoch : int, optional
        Where to draw a rule: a recorded epoch of the (first) run.
    groups, width, title, font, backend
        As in `pldebias.plots.recall_precision`.
    ax : matplotlib.axes.Axes, optional
        Draw into it: one run, no caption's worth of checks.
    colourbar : bool

    Returns
    -------
    PaperFigure
        ``values["runs"][label]``: ``"spread"`` is a `Spread` of shape ``[K, E]`` over the seeds (classes in class order; labels given per
        true sample for ``"ratio"``), ``"drawn"`` the array drawn (rows in drawing order, log2 for ``"ratio"``), ``"epochs"`` its columns
        and ``"x"`` where they stand; ``values["order"]`` the order drawn.

    Raises
    ------
    Incomparable
        Class lists differ, seeds under one label were recorded at different epochs, or a run knows no true classes.

    Notes
    -----
    Undefined (0/0) is hatched, and a recall or precision of exactly zero is white. With ``"ratio"`` white is ratio 1, a class without any
    label has minus infinity and a colour of its own, and ratios beyond 1/32 and 32 have the colour of the scale's end, which then is an
    arrow. A shade has no room for an interval: ``values`` holds it. Columns stand at their epochs, those that were not recorded show the
    nearest; where runs count epochs by different steps, at their iterations.
    """
    if metric not in LABELS:
        raise ValueError(f"metric must be one of {tuple(LABELS)}; got {metric!r}")
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    if ax is None:
        check_truth(every, kind)
    drawn, unit = {}, clock(every)
    for label, found in chosen.items():
        epochs = common_epochs(label, found)
        spread = over_seeds(np.stack([SCORES[metric](run.confusion(kind, split)).T for run in found]))
        drawn[label] = {"spread": spread, "drawn": _shades(spread, metric)[parts.order], "epochs": np.asarray(epochs)}
        drawn[label]["x"] = along(found[0], unit)
    seeds = seeds_in_words(chosen).partition(" with ")[0]
    limit, clipped = _limit(drawn) if metric == "ratio" else (None, "neither")
    caption = (
        f"Every class over the {unit}s ({kind}, {split}), head to tail, by {LABELS[metric]}; {seeds}. "
        f"{groups_in_words(parts)} {_colours(drawn, limit, clipped)} Hatched: undefined.{lengths(chosen)}"
    )
    if ax is not None:
        figure, axes = ax.figure, np.array([[ax]])
    else:
        k, columns = len(parts.order), min(len(chosen), 2 if width == "double" else 1)
        rows = -(-len(chosen) // columns)
        height = max(1.6, rows * (0.45 + (0.13 * k if k <= 30 else 2.2)) + 0.35)
        figure, axes = canvas(backend, width, height, font=font, nrows=rows, ncols=columns)
    if axes is not None:
        names = [every[0].class_names[c] for c in parts.order]
        mappable, spans = _mappable(limit), {label: _span(arrays["x"]) for label, arrays in drawn.items()}
        ends = min(span[0] for span in spans.values()), max(span[1] for span in spans.values())
        for i, (panel, (label, arrays)) in enumerate(zip(axes.flat, drawn.items(), strict=False)):
            large = ax is not None
            _draw(panel, arrays, mappable, parts, names if i % axes.shape[1] == 0 else [], epoch, 8 if large else 7)
            panel.set_xlim(*ends)
            panel.set_xlabel(unit, fontsize=8 if large else 7)
            if large:
                panel.set_title(f"{every[0].name}: {kind}, {split}" if title is None else title, fontsize=9, loc="left", parse_math=False)
            elif len(chosen) > 1:
                panel.set_title(label, fontsize=7.5, loc="left", pad=3, parse_math=False)
        for panel in axes.flat[len(drawn) :]:
            panel.set_visible(False)
        if colourbar:
            bar = figure.colorbar(mappable, ax=axes if ax is None else ax, fraction=0.04, pad=0.02, extend=clipped)
            bar.set_label(LABELS[metric] + ("\npurple: no label" if _without(drawn) and limit else ""), fontsize=8 if ax is not None else 7)
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


def _limit(drawn: dict) -> tuple[int, str]:
    """Powers of two that the scale reaches to either side, the same for all panels, and which ends lie beyond it, in matplotlib's words."""
    shown = np.concatenate([arrays["drawn"].ravel() for arrays in drawn.values()])
    shown = shown[np.isfinite(shown)]
    limit = int(np.clip(np.ceil(np.abs(shown).max(initial=1)), 1, MOST_OCTAVES))
    return limit, beyond(shown, -limit, limit)


def _without(drawn: dict) -> bool:
    """Whether some class got no label at all at some epoch."""
    return any((arrays["drawn"] == -np.inf).any() for arrays in drawn.values())


def _colours(drawn: dict, limit: int | None, clipped: str) -> str:
    """What white, purple and the ends of the scale mean."""
    if limit is None:
        return "White: an exact zero."
    told = ["White: ratio 1, as many labels as samples."]
    if _without(drawn):
        told.append("Purple: no label at all.")
    if clipped != "neither":
        ends = {"min": f"below 1/{2**limit}", "max": f"above {2**limit}", "both": f"below 1/{2**limit} and above {2**limit}"}[clipped]
        told.append(f"Ratios {ends} have the colour of the scale's end.")
    return " ".join(told)


def _span(x: np.ndarray) -> tuple[float, float]:
    """Left edge of the first column and right edge of the last one."""
    half = np.diff(x).min(initial=x[-1] - x[0]) / 2 if len(x) > 1 else 0.5
    return x[0] - half, x[-1] + half


def _spread_out(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Columns of equal width over the span of `x`; where none was recorded, the nearest."""
    left, right = _span(x)
    count = min(MOST_COLUMNS, round((right - left) / (2 * (x[0] - left))))
    places = left + (np.arange(count) + 0.5) * (right - left) / count
    return values[:, np.searchsorted((x[:-1] + x[1:]) / 2, places)]


def _mappable(limit: int | None):
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale, anchors = (Normalize(0, 1), SEQUENTIAL) if limit is None else (Normalize(-limit, limit), DIVERGING)
    return ScalarMappable(scale, colour_map(anchors))


def _draw(ax, arrays: dict, mappable, parts, names: Sequence[str], epoch: int | None, size: float) -> None:
    """One panel; `names` label its rows, if there are any and not too many."""
    from matplotlib.colors import to_rgba

    values, x = arrays["drawn"], arrays["x"]
    k = len(values)
    ax.grid(False)
    undefined_hatch(ax)
    shades = paint(values, mappable)
    shades[values == -np.inf] = to_rgba(NONE)
    shades = _spread_out(shades, x)
    ax.imshow(shades, aspect="auto", interpolation="nearest", extent=(*_span(x), k - 0.5, -0.5))
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
    ticks = x[np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], 6)).clip(0, len(x) - 1))]
    ax.set_xticks(ticks, ticks, fontsize=size - 1)
    if epoch is not None:
        at = x[np.searchsorted(arrays["epochs"], epoch).clip(0, len(x) - 1)]
        ax.axvline(at, color="white", lw=2.6)
        ax.axvline(at, color="#111111", lw=1.1)
