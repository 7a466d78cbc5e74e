"""Colours and scales that the figures share; the explorer uses the same colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    *("DIVERGING", "FAINT", "GROUPS", "INK", "NONE", "RUNS", "SEQUENTIAL", "UNDEFINED", "Scale", "beyond", "colour_map", "group_style"),
    *("legend_columns", "line_styles", "paint"),
]

SEQUENTIAL = ("#dbe9f6", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")
"""One hue, darker is more; it starts off white because white is kept for an exact zero."""
DIVERGING = ("#08306b", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08")
"""Blue for less, white for equal, orange for more: told apart with every common colour blindness."""
NONE = "#7b3294"
"""Minus infinity on a scale of ratios: nothing at all, which no shade of blue may stand for."""
UNDEFINED = ("#f1f1f1", "#a8a8a8")
"""Ground and hatch of an undefined cell."""
FAINT = "#ededed"
"""A cell whose value says nothing."""
INK = "#333333"
GROUPS = {"head": "#0072B2", "medium": "#999999", "tail": "#D55E00"}
RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's colours, in an order whose neighbours differ in lightness."""
# Lines are told apart without colour too: by dash and by marker.
DASHES = ((), (4, 1.5), (1.2, 1.2), (5, 1.5, 1.2, 1.5), (2.5, 1), (6, 1.2, 1.2, 1.2, 1.2, 1.2), (8, 2), (1, 2.5))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_GROUP_DASHES = {"head": (), "medium": (1.2, 1.2), "tail": (4, 1.5), "all": (5, 1.5, 1.2, 1.5)}


def line_styles(labels) -> dict[str, dict]:
    """Colour, dash and marker of each label.

    Raises
    ------
    ValueError
        More labels than can be told apart.
    """
    if len(labels) > len(RUNS):
        raise ValueError(f"{len(labels)} entries cannot be told apart in one figure; select {len(RUNS)} or fewer, or use pld.table")
    return {
        label: {"color": RUNS[i], "dashes": DASHES[i], "marker": MARKERS[i], "markersize": 3.2, "linewidth": 1.2}
        for i, label in enumerate(labels)
    }


def group_style(name: str) -> dict:
    """Colour and dash of head, medium, tail and all."""
    return {"color": GROUPS.get(name, INK), "dashes": _GROUP_DASHES[name], "linewidth": 1.2}


@dataclass(frozen=True)
class Scale:
    """Colours of cells, by value.

    Attributes
    ----------
    low, high : float
    label : str
        Of the colour bar.
    kind : {"linear", "sqrt", "log"}
    colours : tuple of str
        `SEQUENTIAL` or `DIVERGING`.
    percent : bool
        Whether the colour bar tells shares of 1 in percent.
    clipped : str
        Ends of the scale beyond which values lie, as `beyond` tells.
    none : bool
        Whether minus infinity has a colour of its own, `NONE`; otherwise it is hatched.
    """

    low: float
    high: float
    label: str = ""
    kind: str = "linear"
    colours: tuple[str, ...] = SEQUENTIAL
    percent: bool = False
    clipped: str = "neither"
    none: bool = False

    def place(self, values) -> np.ndarray:
        """Return the places of values on the scale, 0 to 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "log":
                share = np.log(np.asarray(values) / self.low) / np.log(self.high / self.low)
            else:
                share = ((np.asarray(values) - self.low) / (self.high - self.low)) ** (0.5 if self.kind == "sqrt" else 1)
        return np.clip(share, 0, 1)

    def ticks(self) -> tuple[np.ndarray, list[str]]:
        """Values for a colour bar, and their texts."""
        if self.kind == "log":
            values = 10.0 ** np.arange(np.ceil(np.log10(self.low)), np.floor(np.log10(self.high)) + 1)
        else:
            step = (self.high - self.low) / 4
            nice = np.array([1, 2, 2.5, 5, 10]) * 10 ** np.floor(np.log10(step))
            step = nice[nice >= 0.999 * step][0]
            values = step * np.arange(np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9) + 1) + 0.0  # no -0
        return values, [f"{100 * value:.3g} %" if self.percent else f"{value:.3g}" for value in values]


def legend_columns(names, width: float) -> int:
    """As many columns as a legend of `width` inches has room for."""
    for columns in range(min(len(names), 5), 1, -1):
        rows = -(-len(names) // columns)
        if sum(0.058 * max(map(len, names[i : i + rows])) + 0.37 for i in range(0, len(names), rows)) <= width:
            return columns
    return 1


def colour_map(anchors):
    """Matplotlib colour map through evenly spaced anchors."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("pldebias", list(anchors), N=256)


def paint(values: np.ndarray, mappable) -> np.ndarray:
    """RGBA of `values`, shape ``[..., 4]``: an exact zero is white, NaN and -inf are transparent so that hatching shows through."""
    colours = mappable.to_rgba(np.where(np.isfinite(values), values, 0.0))
    colours[values == 0] = 1.0
    colours[~np.isfinite(values)] = 0.0
    return colours


def beyond(values: np.ndarray, low: float, high: float) -> str:
    """Ends of a scale beyond which finite `values` lie, in the words of a colour bar's ``extend``."""
    under, over = (bool((values[np.isfinite(values)] * sign > end * sign).any()) for sign, end in ((-1, low), (1, high)))
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[under, over]
