"""Figures drawn by matplotlib, for papers."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import seaborn
from matplotlib import style
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, PowerNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from pldebias.plots.marks import Bars, Heat, Picture, Points, Ribbons, Segments, Series, Text
from pldebias.plots.style import FAINT, INK, NONE, UNDEFINED, colour_map, legend_columns, paint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pldebias.plots.marks import Axis, Panel, Plan
    from pldebias.plots.style import Scale

__all__ = ["draw", "look"]

MOST_COLUMNS = 2000


@contextmanager
def look() -> Iterator[None]:
    """Draw and save figures in seaborn's style for ticks and its context for paper, in the sizes of a column."""
    with seaborn.axes_style("ticks"), seaborn.plotting_context("paper"), style.context(Path(__file__).with_name("pldebias.mplstyle")):
        yield


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


def _bars(ax, mark: Bars, z: float) -> None:
    look = {"color": mark.colour, "edgecolor": mark.edge or mark.colour, "linewidth": 0.5 * bool(mark.edge), "label": mark.label or None}
    ax.bar(mark.x, mark.scale * mark.y, width=mark.width, zorder=1, align="center" if np.isscalar(mark.width) else "edge", **look)
    if mark.low is not None:
        ax.vlines(mark.x, mark.low, mark.high, color=INK, lw=0.9)


def _points(ax, mark: Points, z: float) -> None:
    if mark.value is not None:
        return
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


def _segments(ax, mark: Segments, z: float) -> None:
    line = {"lw": mark.width, "ls": mark.dash, "alpha": mark.alpha, "zorder": 1 if mark.below else z + 0.1, "solid_capstyle": "butt"}
    for x0, y0, x1, y1, colour in zip(mark.x0, mark.y0, mark.x1, mark.y1, cycle(mark.colours), strict=False):
        ax.plot([x0, x1], [y0, y1], color=colour, transform=_place(ax, mark.panel), clip_on=not mark.panel, **line)


def _place(ax, panel: str):
    """Coordinates of the data, or shares of the panel along the axes that `panel` names."""
    return {"": ax.transData, "x": ax.get_yaxis_transform(), "y": ax.get_xaxis_transform(), "xy": ax.transAxes}[panel]


def _text(ax, mark: Text, z: float) -> None:
    place = {
        "ha": mark.align,
        "va": "bottom" if mark.above else "center",
        "rotation": 90 * mark.turned,
        "transform": _place(ax, mark.panel),
    }
    ax.text(mark.x, mark.y, mark.text, fontsize=mark.size, color=mark.colour, parse_math=False, **place)


def _picture(ax, mark: Picture, z: float) -> None:
    extent = (mark.x, mark.x + mark.width, mark.y + mark.height, mark.y)
    ax.imshow(mark.pixels, extent=extent, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def _ribbons(ax, mark: Ribbons, z: float) -> None:
    x0, x1 = mark.x0, mark.x1
    across = [x0, (x0 + x1) / 2, (x0 + x1) / 2, x1, x1, (x0 + x1) / 2, (x0 + x1) / 2, x0]
    codes = [Outline.MOVETO, *[Outline.CURVE4] * 3, Outline.LINETO, *[Outline.CURVE4] * 3]
    for y0, y1, height, colour in zip(mark.y0, mark.y1, mark.height, mark.colours, strict=True):
        corners = zip(across, [y0, y0, y1, y1, y1 - height, y1 - height, y0 - height, y0 - height], strict=True)
        ax.add_patch(PathPatch(Outline(list(corners), codes), facecolor=colour, edgecolor="none", alpha=mark.alpha, zorder=z))


_MARKS = {Series: _series, Bars: _bars, Points: _points, Heat: _heat}
_MARKS |= {Ribbons: _ribbons, Segments: _segments, Text: _text, Picture: _picture}
