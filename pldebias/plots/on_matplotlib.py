"""Figures drawn by matplotlib, for papers."""

from __future__ import annotations

import shutil
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib import style
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, PowerNorm, to_rgba
from matplotlib.figure import Figure

from pldebias.plots.marks import Bars, Flow, Heat, Points, Segments, Series, Strip, Text, Tiles
from pldebias.plots.style import FAINT, GROUPS, INK, NONE, UNDEFINED, colour_map, legend_columns, paint

if TYPE_CHECKING:
    from pldebias.plots.marks import Axis, Panel, Plan
    from pldebias.plots.style import Scale

__all__ = ["draw", "look"]

MOST_COLUMNS = 2000
GAP = 0.012  # between the bars of a flow, in shares of all samples


def look():
    """Return the context in which figures are drawn and saved."""
    return style.context(Path(__file__).with_name("pldebias.mplstyle"))


def draw(plan: Plan, ax=None):
    """Draw a plan into a new figure, or its only panel into `ax`; returns the figure and its axes."""
    if mpl.rcParams["text.usetex"] and shutil.which("latex") is None:
        raise ValueError(
            "matplotlib is set to write text by LaTeX (text.usetex), which is not on this machine; figures need none: set "
            "matplotlib.rcParams['text.usetex'] = False, or install TeX"
        )
    with look():
        if ax is None:
            figure = Figure(figsize=plan.size, layout="constrained")
            share = {f"share{name}": name in plan.share for name in "xy"}
            axes = figure.subplots(*plan.shape, squeeze=False, width_ratios=plan.ratios, **share)
        else:
            figure, axes = ax.figure, np.array([[ax]])
        for panel, one in zip(plan.panels, axes.flat, strict=False):
            _panel(one, panel)
        for one in axes.flat[len(plan.panels) :]:
            one.set_visible(False)
        if plan.bar is not None:
            _bar(figure, axes if ax is None else ax, plan.bar.scale, 25 * plan.shape[0])
        if ax is None:
            _around(figure, axes, plan)
    return figure, axes.squeeze()[()] if plan.squeeze or ax is not None else axes


def _around(figure, axes, plan: Plan) -> None:
    """Legend, heading, note and fonts."""
    handles: dict[str, object] = {}
    for one in axes.flat:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if plan.legend or (plan.legend is None and len(handles) > 1):
        side = "lower" if plan.heading else "upper"  # both would stand in one place
        made = figure.legend(handles.values(), handles, loc=f"outside {side} center", ncols=legend_columns(list(handles), plan.size[0]))
        for text in made.get_texts():
            text.set_parse_math(False)
    if plan.heading:
        side = {"x": 0.01, "ha": "left"} if plan.left else {}
        figure.suptitle(plan.heading, parse_math=False, **side)
    if plan.note:
        figure.supxlabel(plan.note, fontsize=7.5, x=0.01, ha="left", color="#444444")
    if plan.font:
        from matplotlib.text import Text as Word

        for text in figure.findobj(Word):
            text.set_fontfamily(plan.font)
        for one in figure.axes:  # ticks that are not made yet
            one.tick_params(labelfontfamily=plan.font)


def _panel(ax, panel: Panel) -> None:
    ax.tick_params(labelsize=panel.y.size)
    if panel.grid:
        ax.grid(axis=panel.grid)
    for order, mark in enumerate(panel.marks):
        _MARKS[type(mark)](ax, mark, 2 + 0.1 * order)
    if panel.frame is not None:
        ax.spines[:].set_visible(bool(panel.frame))
        if isinstance(panel.frame, str):
            ax.spines[:].set_color(panel.frame)
    if panel.equal:
        ax.set_aspect("equal")
    ax.set_title(panel.title, fontsize=panel.size, loc="left" if panel.left else "center", pad=panel.pad, parse_math=False)
    _axis(ax, ax.xaxis, panel.x, "x")
    _axis(ax, ax.yaxis, panel.y, "y")
    if panel.pad_names is not None:
        ax.tick_params(axis="y", pad=panel.pad_names)


def _axis(ax, axis, told: Axis, name: str) -> None:
    if told.log:
        ax.set(**{f"{name}scale": "log"})
    if told.texts is not None:
        axis.set_ticks(told.ticks, told.texts, fontsize=told.size, parse_math=False)
        if name == "y":
            axis.set_tick_params(length=0)
        if name == "x" and told.slant and max(map(len, told.texts), default=0) > 2:
            for text in axis.get_ticklabels():
                text.set(rotation=45, ha="right", rotation_mode="anchor")
    elif told.ticks is not None:
        axis.set_ticks(told.ticks)
    if told.limits is not None:
        ax.set(**{f"{name}lim": told.limits})
    axis.set_label_text(told.label, parse_math=False)


# ---- marks -------------------------------------------------------------------------------------------------------------


def _series(ax, mark: Series, z: float) -> None:
    x, made, band = mark.x + mark.shift, dict(mark.style), mark.around == "band"
    made = {"markeredgewidth": 0} | {key: value for key, value in made.items() if not (band and key.startswith("marker"))}
    ax.plot(x, mark.shown, label=mark.label if mark.label and mark.legend else None, zorder=z + 0.05, **made)
    if mark.has_ends:
        low, high = mark.ends()
        if band:
            ax.fill_between(x, low, high, color=made["color"], alpha=0.16 if made.get("linewidth", 1) > 1 else 0.08, linewidth=0)
        else:
            ax.vlines(x, low, high, color=made["color"], lw=0.9, alpha=made.get("alpha"), zorder=z)
    defined = np.flatnonzero(np.isfinite(mark.y))
    if mark.end and len(defined):
        end = (x[defined[-1]], mark.shown[defined[-1]])
        ax.annotate(mark.end, end, xytext=(3, 0), textcoords="offset points", fontsize=6.5, va="center", annotation_clip=False)


def _bars(ax, mark: Bars, z: float) -> None:
    look = {"color": mark.colour, "edgecolor": mark.edge or mark.colour, "linewidth": 0.5 * bool(mark.edge), "label": mark.label or None}
    ax.bar(mark.x, mark.scale * mark.y, width=mark.width, zorder=1, align="center" if np.isscalar(mark.width) else "edge", **look)
    if mark.low is not None:
        ax.vlines(mark.x, mark.low, mark.high, color=INK, lw=0.9)


def _points(ax, mark: Points, z: float) -> None:
    colours = np.asarray(mark.colours, object)
    order = np.arange(len(mark.x)) if mark.ring is None else np.argsort(mark.ring, kind="stable")  # rims lie on top
    width = 1.0 if mark.open or mark.rim else 0.0 if mark.ring is None else np.where(mark.ring, 0.5, 0)[order]
    rim = mark.rim or (colours[order] if mark.open else "#111111")
    face = "white" if mark.open else colours[order]
    ax.scatter(
        mark.x[order], mark.y[order], s=mark.size, marker=mark.marker, c=list(face) if not mark.open else None,
        facecolors="white" if mark.open else None, edgecolors=list(rim) if not isinstance(rim, str) else rim, linewidths=width, zorder=z,
        alpha=0.9 if mark.ring is not None else None,
    )  # fmt: skip
    for colour, label in mark.key:
        shade = {"mfc": "none", "mec": "#111111"} if colour == "ring" else {"color": colour}
        ax.plot([], [], ls="", marker="o", ms=4, label=label, **shade)


def _heat(ax, mark: Heat, z: float) -> None:
    mappable, k = _mappable(mark.scale), len(mark.values)
    colours = paint(mark.values, mappable)
    colours[mark.values == -np.inf] = to_rgba(NONE) if mark.scale.none else 0.0
    if mark.faint is not None:
        colours[mark.faint] = to_rgba(FAINT)
    ground, hatch = UNDEFINED
    ax.patch.set(facecolor=ground, edgecolor=hatch, hatch="/////", linewidth=0)
    ax.grid(False)
    left, right = mark.span()
    shown = colours if mark.x is None else _spread_out(colours, mark)
    ax.imshow(shown, aspect="equal" if mark.x is None else "auto", interpolation="nearest", extent=(left, right, k - 0.5, -0.5))
    for edge in mark.edges:
        ax.axhline(edge - 0.5, color=INK, lw=0.8)
        if mark.x is None:
            ax.axvline(edge - 0.5, color=INK, lw=0.8)
    if mark.text is not None:
        for r, c in zip(*np.nonzero(mark.text != ""), strict=True):
            dark = colours[r, c, :3] @ (0.2126, 0.7152, 0.0722) < 0.5 and colours[r, c, 3]
            quiet = mark.faint is not None and mark.faint[r, c]
            colour = "white" if dark else "#777777" if quiet else "#111111"
            ax.text(c, r, mark.text[r, c], ha="center", va="center", fontsize=mark.font, color=colour)
    ax.tick_params(length=0, which="both", axis="both" if mark.x is None else "y")
    if mark.bar:
        _bar(ax.figure, ax, mark.scale, 20)


def _spread_out(colours: np.ndarray, mark: Heat) -> np.ndarray:
    """Columns of equal width; where none was recorded, the nearest."""
    x, (left, right) = mark.x, mark.span()
    count = min(MOST_COLUMNS, round((right - left) / (2 * (x[0] - left))))
    places = left + (np.arange(count) + 0.5) * (right - left) / count
    return colours[:, np.searchsorted((x[:-1] + x[1:]) / 2, places)]


def _mappable(scale: Scale) -> ScalarMappable:
    norms = {"linear": Normalize, "sqrt": lambda *ends: PowerNorm(0.5, *ends), "log": lambda *ends: LogNorm(*ends, clip=True)}
    return ScalarMappable(norms[scale.kind](scale.low, scale.high), colour_map(scale.colours))


def _bar(figure, axes, scale: Scale, slim: float) -> None:
    bar = figure.colorbar(_mappable(scale), ax=axes, extend=scale.clipped, fraction=0.05, pad=0.02, aspect=slim)
    bar.set_label(scale.label, fontsize=7)
    if scale.percent:
        from matplotlib.ticker import PercentFormatter

        bar.ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))  # as in the cells
    bar.ax.tick_params(labelsize=6.5, width=0.5, length=2)
    bar.outline.set_linewidth(0.4)


def _strip(ax, mark: Strip, z: float) -> None:
    top, edge = mark.side == "top", 0
    inside = ax.get_xaxis_transform() if top else ax.get_yaxis_transform()
    for name, members in zip(GROUPS, mark.groups, strict=False):
        if not len(members):
            continue
        ends, middle = [edge - 0.45, edge + len(members) - 0.55], edge + (len(members) - 1) / 2
        line = {"color": GROUPS[name], "lw": 2.5, "transform": inside, "clip_on": False, "solid_capstyle": "butt"}
        ax.plot(*((ends, [1.02, 1.02]) if top else ([-0.012, -0.012], ends)), **line)
        if mark.named:
            place = {"ha": "center", "va": "bottom"} if top else {"ha": "right", "va": "center", "rotation": 90}
            ax.text(*((middle, 1.035) if top else (-0.03, middle)), name, transform=inside, fontsize=6.5, color=INK, **place)
        edge += len(members)
        if edge < len(mark.groups.order) and top:
            ax.axvline(edge - 0.5, color="#bbbbbb", lw=0.6, zorder=0)


def _segments(ax, mark: Segments, z: float) -> None:
    for x0, y0, x1, y1, colour in zip(mark.x0, mark.y0, mark.x1, mark.y1, cycle(mark.colours), strict=False):
        line = {"color": colour, "lw": mark.width, "ls": mark.dash, "alpha": mark.alpha, "zorder": 1 if mark.below else z}
        if np.isnan(x0):
            ax.axhline(y0, **line)
        elif np.isnan(y0):
            ax.axvline(x0, **line)
        else:
            ax.plot([x0, x1], [y0, y1], **line)


def _text(ax, mark: Text, z: float) -> None:
    where = {"transform": ax.transAxes} if mark.inside else {}
    ax.text(mark.x, mark.y, mark.text, fontsize=mark.size, color=mark.colour, ha=mark.align, va="center", parse_math=False, **where)


def _tiles(ax, mark: Tiles, z: float) -> None:
    for i, (picture, strip, caption) in enumerate(zip(mark.pictures, mark.strips, mark.captions, strict=True)):
        row, column = divmod(i, mark.columns)
        left, top = column * Tiles.WIDE, row * Tiles.HIGH
        if picture is None:
            ax.text(left + 0.5, top + 0.5, f"#{mark.index[i]}", ha="center", va="center", fontsize=8, color="#666666")
        else:
            ax.imshow(picture, extent=(left, left + 1, top + 1, top), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.imshow(strip[None], extent=(left, left + 1, top + 1.15, top + 1.06), interpolation="nearest")
        ax.text(left + 0.5, top + 1.22, caption, ha="center", va="top", fontsize=7, parse_math=False)
    rows = -(-max(1, len(mark.pictures)) // mark.columns)
    ax.set(xlim=(-0.05, mark.columns * Tiles.WIDE - 0.1), ylim=(rows * Tiles.HIGH, -0.05))


def _flow(ax, mark: Flow, z: float) -> None:
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path as Outline

    total = max(int(mark.counts.sum()), 1)
    shares = mark.counts / total
    sides = [(-0.02, mark.counts.sum(1)), (1.02, mark.counts.sum(0))]
    lower = [1 - np.concatenate([[0], np.cumsum(sizes[:-1] / total + GAP)]) - sizes / total for _, sizes in sides]  # the first on top
    out, into = (low + sizes / total for low, (_, sizes) in zip(lower, sides, strict=True))  # ribbons are laid from the top
    codes = [Outline.MOVETO, *[Outline.CURVE4] * 3, Outline.LINETO, *[Outline.CURVE4] * 3]
    for a, b in zip(*np.nonzero(shares), strict=True):
        share, y0, y1 = shares[a, b], out[a], into[b]
        out[a], into[b] = y0 - share, y1 - share
        corners = [(0, y0), (0.5, y0), (0.5, y1), (1, y1), (1, y1 - share), (0.5, y1 - share), (0.5, y0 - share), (0, y0 - share)]
        colour = "#d4d8dc" if a == b else mark.colours[b]
        ax.add_patch(PathPatch(Outline(corners, codes), facecolor=colour, edgecolor="none", alpha=0.75, zorder=1 if a == b else 2))
    lowest = min(low[-1] for low in lower)
    for low, (x, sizes), align in zip(lower, sides, ("right", "left"), strict=True):
        for k, middle in enumerate(_apart(low + sizes / total / 2, lowest) if mark.counts.sum() else ()):
            ax.add_patch(Rectangle((x - 0.02, low[k]), 0.04, sizes[k] / total, color=mark.colours[k], lw=0))
            words = f"{mark.names[k]}  {sizes[k]:,}" if x < 0 else f"{sizes[k]:,}  {mark.names[k]}"
            ax.text(x + (-0.035 if x < 0 else 0.035), middle, words, ha=align, va="center", fontsize=7, parse_math=False)
    ax.text(0.5, lowest - 0.03, mark.note, ha="center", va="top", fontsize=7)
    ax.set(xlim=(-0.34, 1.34), ylim=(lowest - 0.02, 1.02), xticks=(), yticks=())


def _apart(heights: np.ndarray, lowest: float, least: float = 0.034) -> np.ndarray:
    """Heights of labels, from top to bottom, moved so that none lies on another nor under `lowest`."""
    for i in range(len(heights) - 1, -1, -1):
        heights[i] = max(heights[i], lowest if i == len(heights) - 1 else heights[i + 1] + least)
    return heights


_MARKS = {Series: _series, Bars: _bars, Points: _points, Heat: _heat, Flow: _flow, Tiles: _tiles, Strip: _strip, Segments: _segments,
          Text: _text}  # fmt: skip
