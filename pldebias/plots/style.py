"""Colours and small parts that the figures share; the explorer uses the same colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pldebias.paths import output

__all__ = ["DIVERGING", "GROUPS", "NONE", "RUNS", "SEQUENTIAL", "Drawn", "beyond", "colour_map", "new_axes", "paint", "undefined_hatch"]

SEQUENTIAL = ("#dbe9f6", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")
"""One hue, darker is more; it starts off white because white is kept for an exact zero."""
DIVERGING = ("#08306b", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08")
"""Blue for less, white for equal, orange for more: told apart with every common colour blindness."""
NONE = "#7b3294"
"""Minus infinity on a scale of ratios: nothing at all, which no shade of blue may stand for."""
GROUPS = {"head": "#0072B2", "medium": "#999999", "tail": "#D55E00"}
RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's colours, in an order whose neighbours differ in lightness."""


@dataclass(frozen=True)
class Drawn:
    """A finished figure and the numbers in it.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    axes : matplotlib.axes.Axes
    values : dict of str to ndarray
        What was drawn, in drawing order.
    """

    figure: object
    axes: object
    values: dict

    def save(self, path, **options) -> None:
        """Write the figure; the ending (.pdf, .svg, .png) chooses the format."""
        self.figure.savefig(output(path), **{"bbox_inches": "tight", **options})

    def _repr_png_(self) -> bytes:
        import io

        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        return buffer.getvalue()


def colour_map(anchors):
    """Matplotlib colour map through evenly spaced anchors."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("pldebias", list(anchors), N=256)


def new_axes(ax, size: tuple[float, float]):
    """`ax`, or the axes of a new figure of `size` inches that belongs to no window."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").subplots()


def paint(values: np.ndarray, mappable, *, zero_white: bool = True) -> np.ndarray:
    """RGBA of `values`, shape ``[..., 4]``: an exact zero is white, NaN and -inf are transparent so that hatching shows through."""
    colours = mappable.to_rgba(np.where(np.isfinite(values), values, 0.0))
    if zero_white:
        colours[values == 0] = 1.0
    colours[~np.isfinite(values)] = 0.0
    return colours


def beyond(values: np.ndarray, low: float, high: float) -> str:
    """Ends of a scale beyond which finite `values` lie, in the words of a colour bar's ``extend``."""
    under, over = (bool((values[np.isfinite(values)] * sign > end * sign).any()) for sign, end in ((-1, low), (1, high)))
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[under, over]


def undefined_hatch(ax) -> None:
    """Hatch what the image leaves transparent."""
    ax.patch.set(facecolor="#f1f1f1", edgecolor="#a8a8a8", hatch="/////", linewidth=0)
