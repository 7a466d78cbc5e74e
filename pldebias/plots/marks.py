"""Marks of a figure, the same for all backends: a figure function puts its numbers into marks, and a backend draws them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pldebias.analysis.comparing.spread import Spread
    from pldebias.metrics import Groups
    from pldebias.plots.style import Scale

__all__ = ["Axis", "Bars", "Flow", "Heat", "Panel", "Plan", "Points", "Segments", "Series", "Strip", "Text", "Tiles", "tidy"]

COLUMNS = ("panel", "series", "label", "x", "y", "value", "low", "high")


@dataclass
class Series:
    """Points joined by a line, with an interval around each.

    Attributes
    ----------
    x, y : ndarray, shape ``[n]``
    low, high : ndarray, optional
        Ends of the intervals, NaN where there is none.
    label : str
        Name in the legend; entries of one name share theirs.
    style : dict
        ``color``, ``dashes`` (points of ink and gap), ``marker``, ``markersize``, ``linewidth``.
    around : {"bars", "band"}
    limits : (float, float)
        Intervals are drawn up to here.
    shift : float
        Added to `x` where it is drawn, so that entries stand beside each other.
    texts : sequence of str
        Name of each point.
    end : str
        Text at the line's last defined point.
    legend : bool
        False for a line that another panel's legend tells.
    floor : float, optional
        Smaller values are drawn here: on a log scale there is no zero.
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    label: str = ""
    style: dict = field(default_factory=dict)
    around: str = "bars"
    limits: tuple[float, float] = (-np.inf, np.inf)
    shift: float = 0.0
    texts: Sequence[str] = ()
    end: str = ""
    legend: bool = True
    floor: float | None = None

    @classmethod
    def of(cls, spread: Spread, x, error: str = "interval", order=..., **options) -> Series:
        """Return the mean over seeds with its interval, or with one standard deviation to either side."""
        ends = (spread.low, spread.high) if error == "interval" else (spread.mean - spread.sd, spread.mean + spread.sd)
        return cls(np.asarray(x), spread.mean[order], *(end[order] for end in ends), **options)

    @property
    def shown(self) -> np.ndarray:
        """What is drawn of `y`."""
        return self.y if self.floor is None else np.maximum(self.y, self.floor)

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the intervals as they are drawn."""
        return tuple(np.clip(end, *self.limits) for end in (self.low, self.high))

    @property
    def has_ends(self) -> bool:
        return self.low is not None and bool(np.isfinite(self.low).any())

    def rows(self) -> dict:
        found = {"series": self.label or self.end, "label": list(self.texts) or None, "x": self.x, "y": self.y}
        return found | ({} if self.low is None else {"low": self.low, "high": self.high})


@dataclass
class Bars:
    """Bars from zero, or from `edge` to the right if ``width`` is an array; intervals as in `Series`."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    label: str = ""
    width: float = 0.85
    colour: str = "#dcdcdc"
    edge: str = "#8c8c8c"
    texts: Sequence[str] = ()
    scale: float = 1.0  # height drawn of one unit of y

    def rows(self) -> dict:
        found = {"series": self.label, "label": list(self.texts) or None, "x": self.x, "y": self.y}
        return found | ({} if self.low is None else {"low": self.low, "high": self.high})


@dataclass
class Points:
    """Single points.

    Attributes
    ----------
    x, y : ndarray, shape ``[n]``
    size : float
        Square points, as in matplotlib's ``scatter``.
    colours : sequence of str
        One for each point.
    ring : ndarray of bool or None
        Points with a dark rim.
    marker : str
    open : bool
        Only the rim, in the point's colour.
    label : str
    texts : sequence of str
        Of each point, for a pointer that rests on it.
    rim : str
        Colour of the rim of all points.
    key : sequence of (str, str)
        Colours and names for the legend.
    """

    x: np.ndarray
    y: np.ndarray
    size: float
    colours: Sequence[str]
    ring: np.ndarray | None = None
    marker: str = "o"
    open: bool = False
    label: str = ""
    texts: Sequence[str] = ()
    rim: str = ""
    key: Sequence[tuple[str, str]] = ()

    def rows(self) -> dict:
        return {"series": self.label, "label": list(self.texts) or None, "x": self.x, "y": self.y}


@dataclass
class Heat:
    """Cells coloured by their value: undefined ones are hatched, an exact zero is white.

    Attributes
    ----------
    values : ndarray, shape ``[R, C]``
    scale : Scale
    rows_, columns : sequence of str
        Names, first row on top.
    x : ndarray, optional
        Where the columns stand; a column reaches half way to its neighbours. Default: ``0 .. C-1``.
    text : ndarray of str, optional
        Written into the cells.
    edges : sequence of int
        Rows (and, without `x`, columns) before which a group begins.
    faint : ndarray of bool, optional
        Cells drawn in grey.
    hover : dict of str to ndarray
        More numbers of each cell; ``low`` and ``high`` are an interval.
    sentence : str
        Template of what a pointer tells of a cell: ``{row}``, ``{column}``, ``{value}`` and the names in `hover`.
    font : float
        Size of the numbers in cells.
    bar : bool
        Whether this panel has a colour bar of its own.
    """

    values: np.ndarray
    scale: Scale
    names: tuple[Sequence[str], Sequence[str]]
    x: np.ndarray | None = None
    text: np.ndarray | None = None
    edges: Sequence[int] = ()
    faint: np.ndarray | None = None
    hover: dict[str, np.ndarray] = field(default_factory=dict)
    sentence: str = "{row}, {column}: {value:.3g}"
    font: float = 6.5
    bar: bool = False

    def span(self) -> tuple[float, float]:
        """Return the left edge of the first column and the right edge of the last."""
        if self.x is None:
            return -0.5, self.values.shape[1] - 0.5
        x = self.x
        half = np.diff(x).min(initial=x[-1] - x[0]) / 2 if len(x) > 1 else 0.5
        return x[0] - half, x[-1] + half

    def rows(self) -> dict:
        (rows, columns), shape = self.names, self.values.shape
        found = {"x": np.tile(np.asarray(columns, object), shape[0]), "y": np.repeat(np.asarray(rows, object), shape[1])}
        found |= {"value": self.values.ravel()}
        return found | {name: np.asarray(self.hover[name]).ravel() for name in ("low", "high") if name in self.hover}


@dataclass
class Flow:
    """Ribbons from the classes on the left to those on the right."""

    counts: np.ndarray
    names: Sequence[str]
    colours: Sequence[str]
    note: str = ""

    def rows(self) -> dict:
        k = len(self.names)
        names = np.asarray(self.names, object)
        return {"x": np.repeat(names, k), "y": np.tile(names, k), "value": self.counts.ravel()}


@dataclass
class Tiles:
    """Pictures in a grid of `columns`, each over a strip of colours and a text."""

    pictures: Sequence[np.ndarray | None]
    strips: Sequence[np.ndarray]
    captions: Sequence[str]
    index: np.ndarray
    score: np.ndarray
    columns: int
    WIDE: ClassVar[float] = 1.1  # of a tile with its margin; its picture is 1 by 1
    HIGH: ClassVar[float] = 1.65

    def rows(self) -> dict:
        return {"label": [caption.replace("\n", ", ") for caption in self.captions], "x": self.index, "value": self.score}


@dataclass
class Strip:
    """Coloured line of head, medium and tail along an axis of classes, with a rule between groups."""

    groups: Groups
    side: str = "top"
    named: bool = True


@dataclass
class Segments:
    """Straight lines without numbers of their own; NaN stands for the edge of the panel."""

    x0: Sequence[float]
    y0: Sequence[float]
    x1: Sequence[float]
    y1: Sequence[float]
    colours: Sequence[str] = ("#333333",)
    width: float = 0.7
    dash: str = "solid"
    alpha: float = 1.0
    below: bool = False


@dataclass
class Text:
    """Text at a place of the data, or of the panel (0 to 1) if `inside`."""

    x: float
    y: float
    text: str
    size: float = 7.0
    colour: str = "#333333"
    align: str = "center"
    inside: bool = False


@dataclass
class Axis:
    """One axis of a panel; without `texts`, ticks are chosen by the backend."""

    label: str = ""
    ticks: Sequence[float] | None = None
    texts: Sequence[str] | None = None
    limits: tuple[float | None, float | None] | None = None
    log: bool = False
    size: float = 7.0
    slant: bool = True  # names of more than two letters


@dataclass
class Panel:
    """One set of axes: its marks from the lowest to the uppermost."""

    marks: list
    title: str = ""
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    left: bool = False  # title
    pad: float = 3.0
    equal: bool = False  # aspect
    frame: bool | str | None = None  # all four sides (in this colour), none, or left and bottom
    grid: str = "y"
    size: float = 7.5  # of the title
    pad_names: float | None = None  # between the names along y and the panel


@dataclass
class Plan:
    """A whole figure.

    Attributes
    ----------
    panels : list of Panel
        Row by row.
    size : (float, float)
        Inches.
    shape : (int, int)
        Rows and columns.
    ratios : sequence of float, optional
        Widths of the columns.
    legend : bool or None
        Over the panels; None: if there is more than one name.
    heading, note : str
        Over and under all panels.
    bar : Heat or None
        Whose scale stands beside all panels.
    share : str
        ``"x"``, ``"y"``, both or none: axes that all panels have in common.
    font : sequence of str
    squeeze : bool
        The figure's ``axes`` have as many dimensions as the grid needs.
    """

    panels: list[Panel]
    size: tuple[float, float]
    shape: tuple[int, int] = (1, 1)
    ratios: Sequence[float] | None = None
    legend: bool | None = None
    heading: str = ""
    note: str = ""
    bar: Heat | None = None
    share: str = ""
    font: Sequence[str] = ()
    squeeze: bool = False
    left: bool = False


def tidy(panels: Sequence[Panel]):
    """Return all numbers of the marks as a `pandas.DataFrame`, one row for each point or cell."""
    import pandas

    frames = []
    for number, panel in enumerate(panels):
        name = panel.title.replace("\n", ", ") or panel.y.label or str(number)
        for mark in panel.marks:
            if hasattr(mark, "rows"):
                made = {key: value for key, value in mark.rows().items() if value is not None}
                frames.append(pandas.DataFrame({"panel": name, **made}))
    found = pandas.concat([frame.dropna(axis=1, how="all") for frame in frames], ignore_index=True) if frames else pandas.DataFrame()
    return found.reindex(columns=[column for column in COLUMNS if column in found])
