"""Colours and small parts that the figures share; the explorer uses the same colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pldebias._files import put
from pldebias.paths import local, output
from pldebias.settings import argument, nearest, plain

__all__ = [
    *("DIVERGING", "GROUPS", "NONE", "RUNS", "SEQUENTIAL", "Drawn", "beyond", "colour_map", "new_axes", "paint", "undefined_hatch"),
    "write",
]

SEQUENTIAL = ("#dbe9f6", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")
"""One hue, darker is more; it starts off white because white is kept for an exact zero."""
DIVERGING = ("#08306b", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08")
"""Blue for less, white for equal, orange for more: told apart with every common colour blindness."""
NONE = "#7b3294"
"""Minus infinity on a scale of ratios: nothing at all, which no shade of blue may stand for."""
GROUPS = {"head": "#0072B2", "medium": "#999999", "tail": "#D55E00"}
RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's colours, in an order whose neighbours differ in lightness."""
OPTIONS = (
    *("dpi", "format", "metadata", "bbox_inches", "pad_inches", "facecolor", "edgecolor", "transparent", "orientation"),
    *("backend", "bbox_extra_artists", "pil_kwargs"),
)
"""Of ``savefig``, which takes some formats' unknown ones without a word."""
MOST_DPI = 2400  # both columns of a paper are then 17000 pixels wide


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
        """Write the figure; the ending (.pdf, .svg, .png) chooses the format.

        Parameters
        ----------
        path : str, PathLike or file
        **options
            Of `matplotlib.figure.Figure.savefig`.

        Raises
        ------
        ValueError
            A format or an option that matplotlib does not know; nothing is written then.
        """
        write(self.figure, path, {"bbox_inches": "tight", **options})

    def _repr_png_(self) -> bytes:
        import io

        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        return buffer.getvalue()


def write(figure, path, options: dict) -> None:
    """Write a figure whole or not at all, with options of ``savefig``. Files hold no date, so that equal figures make equal files."""
    import io
    import shutil

    import matplotlib

    if unknown := [name for name in options if name not in OPTIONS]:
        raise ValueError(f"figures are saved with {', '.join(OPTIONS)}; got {unknown[0]!r}{nearest(unknown[0], OPTIONS)}")
    given = options.get("format")
    target = path if hasattr(path, "write") else local(path)
    default = matplotlib.rcParams["savefig.format"]
    ending = str(given or getattr(target, "suffix", "").lower().lstrip(".") or default)
    known = sorted(figure.canvas.get_supported_filetypes())
    if shutil.which(matplotlib.rcParams["pgf.texsystem"]) is None:
        known.remove("pgf")  # it is drawn by TeX
    if ending.lower() not in known:
        where = f"format={given!r}" if given else f"{target}"
        raise ValueError(f"{where}: no figure is written as {ending!r}; end the name in .pdf, .svg or .png, or one of {', '.join(known)}")
    if (dpi := options.get("dpi")) not in (None, "figure") and not 0 < argument("dpi", dpi, float) <= MOST_DPI:
        raise ValueError(f"dpi={dpi} must lie above 0 and be at most {MOST_DPI}; papers ask for 300 to 1200")
    if not given and target is not path and not target.suffix:
        target = target.with_name(f"{target.name}.{default}")
    target = output(target)
    for name in ("transparent", "pad_inches"):
        if options.get(name) is not None:
            argument(name, options[name], bool if name == "transparent" else float if options[name] != "layout" else str)
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "svgz": {"Date": None}}.get(ending.lower())
    passed = {**options, "format": ending.lower(), **({} if dpi is None else {"dpi": plain(dpi)})}
    if dates or options.get("metadata"):
        passed["metadata"] = {**(dates or {}), **(argument("metadata", options.get("metadata") or {}, dict[str, Any]))}
    made = io.BytesIO()
    try:
        figure.savefig(made, **passed)
    except Exception as error:  # of matplotlib or a format's library, in any type
        told = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ValueError(f"the figure cannot be written as {ending} with {told}: {error}") from error
    if target is path:
        path.write(made.getvalue())
    else:
        put(target, made.getvalue())


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
