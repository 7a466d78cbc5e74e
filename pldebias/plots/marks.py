"""Marks of a figure, the same for all backends: a figure function puts its numbers into marks, and a backend draws them.

Marks that hold numbers have ``rows()``, columns of the figure's `PaperFigure.data`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pldebias.plots.style import GROUPS, INK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pldebias.analysis.comparing.spread import Spread
    from pldebias.metrics import Groups
    from pldebias.plots.style import Scale

__all__ = [
    *("Axis", "Bars", "Heat", "Panel", "Picture", "Plan", "Points", "Ribbons", "Segments", "Series", "Text", "group_edges", "rules"),
    *("strip", "tidy"),
]

COLUMNS = ("panel", "series", "label", "x", "y", "value", "low", "high")


@dataclass
class _Placed:
    """Numbers over places, with intervals where there are any."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    label: str = ""  # in the legend, where entries of one name stand once
    texts: Sequence[str] = ()  # name of each point

    @property
    def has_ends(self) -> bool:
        return self.low is not None and bool(np.isfinite(self.low).any())

    def rows(self) -> dict:
        return {"series": self.label, "label": list(self.texts) or None, "x": self.x, "y": self.y, "low": self.low, "high": self.high}


@dataclass
class Series(_Placed):
    """Points joined by a line, with an interval around each."""

    style: dict = field(default_factory=dict)  # color, dashes (points of ink and gap), marker, markersize, linewidth
    around: str = "bars"  # or "band"
    limits: tuple[float, float] = (-np.inf, np.inf)  # intervals are drawn up to here
    shift: float = 0.0  # of x where it is drawn, so that entries stand beside each other
    legend: bool = True  # False: the legend of another panel tells it
    floor: float | None = None  # smaller values are drawn here: a log scale has no zero

    @classmethod
    def of(cls, spread: Spread, x, error: str = "interval", order=..., **options) -> Series:
        """Return the mean over seeds with its interval, or with one standard deviation to either side."""
        ends = (spread.low, spread.high) if error == "interval" else (spread.mean - spread.sd, spread.mean + spread.sd)
        return cls(np.asarray(x), spread.mean[order], *(end[order] for end in ends), **options)

    @property
    def shown(self) -> np.ndarray:
        """`y` as it is drawn."""
        return self.y if self.floor is None else np.maximum(self.y, self.floor)

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the intervals as they are drawn."""
        return tuple(np.clip(end, *self.limits) for end in (self.low, self.high))

    def named(self, text: str) -> Text:
        """Return `text` at the last defined point."""
        last = max(np.flatnonzero(np.isfinite(self.y)), default=0)
        return Text(float(self.x[last]), float(self.y[last]), f" {text}", 6.5, align="left")


@dataclass
class Bars(_Placed):
    """Bars from zero; with an array as `width`, from `x` to the right."""

    width: float | np.ndarray = 0.85
    colour: str = "#dcdcdc"
    edge: str = "#8c8c8c"
    scale: float = 1.0  # height drawn of one unit of y


@dataclass
class Points(_Placed):
    """Single points; `texts` are for a pointer that rests on them."""

    size: float = 20.0  # square points, as in matplotlib's ``scatter``
    colours: Sequence[str] = ()  # one for each
    ring: np.ndarray | None = None  # those with a dark rim
    marker: str = "o"
    open: bool = False  # only the rim, in the point's colour
    rim: str = ""  # colour of all rims
    key: Sequence[tuple[str, str]] = ()  # colours ("ring" is an empty ring) and names for the legend
    value: np.ndarray | None = None  # of points that only a pointer finds, over pictures

    def rows(self) -> dict:
        return super().rows() if self.value is None else {"label": list(self.texts), "value": self.value}


@dataclass
class Heat:
    """Cells coloured by their value: undefined ones are hatched, an exact zero is white."""

    values: np.ndarray  # [R, C], first row on top
    scale: Scale
    names: tuple[Sequence[str], Sequence[str]]  # of rows and columns
    x: np.ndarray | None = None  # where columns stand, each reaching half way to its neighbours; 0 .. C-1
    text: np.ndarray | None = None  # written into the cells
    faint: np.ndarray | None = None  # cells in grey
    hover: dict[str, np.ndarray] = field(default_factory=dict)  # more numbers of each cell; low and high are an interval
    sentence: str = "{row}, {column}: {value:.3~g}"  # for a pointer, of these and of the names in `hover`
    font: float = 6.5  # of the text
    bar: bool = False  # a colour bar for this panel alone

    def span(self) -> tuple[float, float]:
        """Return the left edge of the first column and the right edge of the last."""
        if (x := self.x) is None:
            return -0.5, self.values.shape[1] - 0.5
        half = np.diff(x).min(initial=x[-1] - x[0]) / 2 if len(x) > 1 else 0.5
        return float(x[0] - half), float(x[-1] + half)

    def rows(self) -> dict:
        rows, columns = (np.asarray(names, object) for names in self.names)
        found = {"x": np.tile(columns, len(rows)), "y": np.repeat(rows, len(columns)), "value": self.values.ravel()}
        return found | {name: np.ravel(self.hover[name]) for name in ("low", "high") if name in self.hover}


@dataclass
class Ribbons:
    """Areas without numbers from `x0` to `x1`, whose upper edge goes from `y0` to `y1`."""

    x0: float
    x1: float
    y0: np.ndarray
    y1: np.ndarray
    height: np.ndarray
    colours: Sequence[str]
    alpha: float = 0.75


@dataclass
class Picture:
    """Pixels (uint8) with their upper left corner at `x`, `y` of an axis that points down."""

    pixels: np.ndarray
    x: float
    y: float
    width: float = 1.0
    height: float = 1.0


@dataclass
class Segments:
    """Straight lines without numbers; coordinates are data, or shares of the panel along the axes that `panel` names."""

    x0: Sequence[float]
    y0: Sequence[float]
    x1: Sequence[float]
    y1: Sequence[float]
    colours: Sequence[str] = (INK,)
    width: float = 0.7
    dash: str = "-"
    alpha: float = 1.0
    below: bool = False  # under all numbers
    panel: str = ""


@dataclass
class Text:
    """Text at a place, in coordinates as in `Segments`."""

    x: float
    y: float
    text: str
    size: float = 7.0
    colour: str = INK
    align: str = "center"
    above: bool = False  # stands on the place
    turned: bool = False
    panel: str = ""


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
    """A whole figure: panels row by row."""

    panels: list[Panel]
    size: tuple[float, float]  # inches
    shape: tuple[int, int] = (1, 1)
    ratios: Sequence[float] | None = None  # widths of the columns
    legend: bool | None = None  # None: if there is more than one name
    heading: str = ""
    note: str = ""  # under all panels
    bar: Heat | None = None  # whose scale stands beside all panels
    share: str = ""  # "x", "y" or both: axes that all panels have in common
    font: Sequence[str] = ()
    squeeze: bool = False  # the figure's ``axes`` have as many dimensions as the grid needs
    left: bool = False  # heading


def rules(places: Sequence[float], axis: str = "y", **look) -> Segments:
    """Lines through the whole panel at `places` of an axis."""
    none, whole = np.zeros(len(places)), np.ones(len(places))
    ends = (none, places, whole, places) if axis == "y" else (places, none, places, whole)
    return Segments(*ends, panel="x" if axis == "y" else "y", **look)


def group_edges(groups: Groups) -> list[int]:
    """Rows before which a group begins, of classes from head to tail."""
    return [int(edge) for edge in np.cumsum([len(part) for part in groups[:3]])[:-1] if 0 < edge < len(groups.order)]


def strip(groups: Groups, *, left: bool = False, named: bool = True) -> list:
    """Coloured lines of head, medium and tail over (or left of) an axis of classes, and rules between the groups if over."""
    marks: list = [] if left else [rules(np.array(group_edges(groups)) - 0.5, "x", colours=("#bbbbbb",), width=0.6, below=True)]
    edge = 0
    for (name, colour), members in zip(GROUPS.items(), groups, strict=False):
        start, end, middle = edge - 0.45, edge + len(members) - 0.55, edge + (len(members) - 1) / 2
        edge += len(members)
        if len(members):
            ends = ([-0.012], [start], [-0.012], [end]) if left else ([start], [1.02], [end], [1.02])
            marks.append(Segments(*ends, colours=(colour,), width=2.5, panel="x" if left else "y"))
            place = {"x": -0.03, "y": middle, "align": "right", "turned": True} if left else {"x": middle, "y": 1.035, "above": True}
            marks += [Text(text=name, size=6.5, panel="x" if left else "y", **place)] if named else []
    return marks


def tidy(panels: Sequence[Panel]):
    """Return all numbers of the marks as a `pandas.DataFrame`, one row for each point or cell."""
    import pandas

    frames = []
    for number, panel in enumerate(panels):
        name = panel.title.replace("\n", ", ") or panel.y.label or str(number)
        for mark in panel.marks:
            if hasattr(mark, "rows"):
                frames.append(pandas.DataFrame({"panel": name, **{key: value for key, value in mark.rows().items() if value is not None}}))
    found = pandas.concat([frame.dropna(axis=1, how="all") for frame in frames], ignore_index=True)
    return found.reindex(columns=[column for column in COLUMNS if column in found])
