"""Common parts of figures: selection and checks of runs, the axis of classes, the confusion matrix, captions, and the call of a backend."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import (
    Incomparable,
    along,
    check_classes,
    check_data,
    check_truth,
    clock,
    common_epochs,
    epoch_at,
    epoch_row,
    lengths_in_words,
    select,
)
from pldebias.plots.marks import Axis, Bars, Heat, Panel, Plan, Series, group_edges, rules, strip
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import DIVERGING, Scale, beyond, line_styles
from pldebias.settings import argument, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pldebias.analysis.comparing.spread import Spread
    from pldebias.metrics import Groups
    from pldebias.runs import Run

__all__ = [
    *("BACKENDS", "ERRORS", "WIDTHS", "Frame", "checked_style", "diverging", "finish", "matrix", "one_of", "percent_of"),
    "sentence",
]

BACKENDS = ("matplotlib", "plotly", "none")
WIDTHS = {"single": 3.5, "double": 7.16}
"""Inches of one column and of both in a two-column paper."""
ERRORS = {"interval": "Student's 95 % interval", "sd": "one standard deviation"}
"""Choices for the interval around a mean over seeds."""
MOST_NAMES, MOST_NUMBERS = 30, 15
"""Classes whose names stand on an axis, and whose cells carry numbers."""


def one_of(name: str, value, allowed: Iterable):
    """Return `value` if it is allowed."""
    if value not in (allowed := tuple(allowed)):
        hint = nearest(value, [one for one in allowed if isinstance(one, str)]) if isinstance(value, str) else ""
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}{hint}")
    return value


def checked_style(*, backend: str = "none", width: str = "double", error: str = "interval", font=None) -> list[str]:
    """Check the arguments that say how a figure looks; returns the families of `font`.

    Raises
    ------
    ValueError
        One that does not exist; the message lists those that do.
    """
    one_of("backend", argument("backend", backend), BACKENDS)
    one_of("width", argument("width", width), WIDTHS)
    one_of("error", argument("error", error), ERRORS)
    if font is None:
        return []
    from matplotlib import font_manager

    families = argument("font", font, tuple[str, ...] | str)
    families = [families] if isinstance(families, str) else list(families)
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    if unknown := [family for family in families if family not in known]:
        raise ValueError(
            f"no font {', '.join(map(repr, unknown))} on this machine; install it (and delete matplotlib's font cache), or use one of "
            f"{', '.join(sorted(known)[:12])}, ..."
        )
    return families


def sentence(text: str) -> str:
    """Return the text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def short(name, most: int = 18) -> str:
    """Return a class name in one line, cut at `most` characters."""
    text = " ".join(str(name).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def finish(plan: Plan, values: dict, caption: str, *, backend: str = "matplotlib", ax=None, cropped: bool = True) -> PaperFigure:
    """Draw a plan with a backend and put the result together.

    Raises
    ------
    ValueError
        An unknown backend; or `ax`, which is matplotlib's, with another one.
    """
    one_of("backend", argument("backend", backend), BACKENDS)
    if ax is not None and backend != "matplotlib":
        raise ValueError(f"ax= takes axes of matplotlib, and backend={backend!r} draws none")
    panels = tuple(plan.panels)
    if backend == "none":
        return PaperFigure(None, None, values, caption, panels)
    if backend == "plotly":
        from pldebias.plots.on_plotly import draw

        return PaperFigure(draw(plan), None, values, caption, panels)
    from pldebias.plots.on_matplotlib import draw

    return PaperFigure(*draw(plan, ax), values, caption, panels, cropped)


class Frame:
    """Runs that a figure compares, selected and checked, and what every caption says of them.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`.
    groups : "tertiles" or (int, int)
    truth : {"sweep", "visits", "test"}, optional
        Kind of matrices whose true classes must be known.
    vary : sequence of str
        Settings that may differ within an entry, because the figure shows what they do; all others of the data must be equal then.
    error : {"interval", "sd"}

    Raises
    ------
    Incomparable
        The runs cannot stand in one figure; the message says which differ, and in what.
    """

    def __init__(self, runs, groups="tertiles", *, truth: str | None = None, vary: Sequence[str] = (), error: str = "interval") -> None:
        one_of("error", error, ERRORS)
        self.chosen = select(runs, vary=vary)
        self.error = error
        self.every = [run for found in self.chosen.values() for run in found]
        self.groups = check_classes(self.every, groups)
        self.order, self.k = self.groups.order, len(self.groups.order)
        if vary:
            check_data(self.every, vary=vary)
        if truth is not None:
            check_truth(self.every, truth)

    @cached_property
    def unit(self) -> str:
        """``"epoch"``, or ``"iteration"`` where an epoch of one number ends at different steps."""
        return clock(self.every)

    @cached_property
    def styles(self) -> dict[str, dict]:
        return line_styles(list(self.chosen))

    def names(self, most: int = 18) -> list[str]:
        """Class names from head to tail."""
        return [short(self.every[0].class_names[c], most) for c in self.order]

    # ---- numbers -------------------------------------------------------------------------------------------------------

    def epoch(self, run: Run, epoch: int) -> int:
        """Epoch of `run` at the step at which `epoch` of the first run ended."""
        return epoch_at(run, epoch, self.every)

    def matrices(self, found: list[Run], kind: str, split: str, epoch: int) -> np.ndarray:
        """Counts of the seeds of one entry at one epoch, shape ``[S, K, K]``."""
        return np.stack([run.confusion(kind, split, epoch=self.epoch(run, epoch)) for run in found]).astype(float)

    def over_time(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        """Epochs of the seeds of an entry, and where they stand on the axis of `unit`."""
        found = self.chosen[label]
        return common_epochs(label, found), along(found[0], self.unit)

    def need_unlabelled_truth(self, instead: str = "so there is no truth to compare") -> None:
        """Refuse runs whose unlabelled samples have no known classes."""
        for run in self.every:
            if run.unlabelled_counts is None:
                raise Incomparable(f"{run.name} ({run.path}): the true classes of its unlabelled samples are not known, {instead}")

    # ---- marks ---------------------------------------------------------------------------------------------------------

    def shifts(self, count: int, reach: float) -> np.ndarray:
        """Offsets that set entries beside each other at one place of an axis."""
        return np.linspace(-reach, reach, count) if count > 1 and self.k <= MOST_NAMES else np.zeros(count)

    def by_class(self, spreads: dict[str, Spread], styles=None, *, limits=(-np.inf, np.inf), names=None, reach: float = 0.2, legend=True):
        """A strip of groups, and one line over the classes for each entry; `names` are those of the legend."""
        marks = strip(self.groups)
        for move, (label, spread) in zip(self.shifts(len(spreads), reach), spreads.items(), strict=True):
            style = {**(styles or self.styles)[label], "linewidth": 0.8, **({"marker": ""} if self.k > MOST_NAMES else {})}
            told = {"label": (names or {}).get(label, label), "style": style, "limits": limits, "shift": move, "texts": self.names()}
            marks.append(Series.of(spread, np.arange(self.k), self.error, self.order, legend=legend, **told))
        return marks

    def truth_bars(self, shares: np.ndarray) -> Bars:
        """The true share of every class."""
        return Bars(np.arange(self.k), shares[self.order], label="truth", texts=self.names())

    def class_axis(self, *, names: bool = True, label: bool = True) -> Axis:
        """Classes from head to tail along x; names up to 30 classes."""
        shown = self.names() if names and self.k <= MOST_NAMES else []
        told = "" if shown or not label else "classes, head to tail"
        return Axis(told, range(len(shown)), shown, (-0.6, self.k - 0.4))

    def curve(self, spread: Spread, x, style: dict, label: str = "", limits=(-np.inf, np.inf), **options) -> Series:
        """A mean over the training with a band."""
        return Series.of(spread, x, self.error, label=label, style=style, limits=limits, around="band", **options)

    # ---- words ---------------------------------------------------------------------------------------------------------

    def at(self, epoch: int) -> str:
        """An epoch of the first run in words; where an epoch is another number of steps in other runs, its iteration."""
        if epoch == -1:
            return "the last epoch"
        first = self.every[0]
        return f"epoch {epoch}" if self.unit == "epoch" else f"iteration {first.iterations[epoch_row(first, epoch)]:,}"

    def seeds(self, counts: Iterable[int] | None = None) -> str:
        """Number of seeds behind the entries, and the interval drawn around their means, in words."""
        counts = sorted(set(map(len, self.chosen.values()) if counts is None else counts))
        if counts == [1]:
            return "one seed"
        told = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f"mean over {told} seeds with {ERRORS[self.error]}" + (" (none for a single one)" if counts[0] == 1 else "")

    def caption(self, *told: str, groups: bool = True, chosen=None) -> str:
        """Sentences of a figure, the rule of head, medium and tail, and where runs end, if not together."""
        empty = [name for name, members in zip(("head", "medium", "tail"), self.groups, strict=False) if not len(members)]
        first, *rest = told
        words = [first, sentence(self.groups.rule) if groups else ""]
        if groups and empty:
            words.append(f"No class is in {' and '.join(empty)}; other cut-offs (groups=) would fill it.")
        return " ".join(word for word in (*words, *rest, lengths_in_words(self.chosen if chosen is None else chosen)) if word)

    def finish(self, panels, values, caption, *, height, width, title, font, backend, shape=(1, 1), **options) -> PaperFigure:
        """Draw panels in the width of a paper's column."""
        families = checked_style(backend=backend, width=width, error=self.error, font=font)
        plan = Plan(panels, (WIDTHS[width], height), shape, heading=title or "", font=families, **options)
        return finish(plan, values, caption, backend=backend, cropped=False)


# ---- the confusion matrix ------------------------------------------------------------------------------------------------


def matrix(
    values: np.ndarray, names: Sequence[str], groups: Groups, scale: Scale, *, text=None, counts=None, low=None, high=None, faint=None,
    unit: str = "", font: float = 6.5, size: float = 7.0, bar: bool = False, shown=(True, True), labels=("", ""),
) -> Panel:  # fmt: skip
    """The one painter of confusion matrices: true classes in rows, labels in columns, both from head to tail.

    Parameters
    ----------
    values : ndarray, shape ``[K, K]``
        What is coloured, in drawing order; NaN is hatched.
    names, groups
        Classes in drawing order; borders of their groups are drawn.
    scale : Scale
    text : callable, optional
        ``text(value)`` of a cell, up to 15 classes; empty for none.
    counts : ndarray, shape ``[K, K]``, optional
        Behind the values; a pointer tells them with their shares and Wilson's intervals.
    low, high : ndarray, optional
        Interval of a value over seeds.
    faint : ndarray of bool, optional
        Cells in grey.
    unit : str
        Of the values, in words.
    font, size : float
        Of the numbers in cells and of the names.
    bar : bool
        Whether the panel has its own colour bar.
    shown, labels
        For x and y: whether names stand on the axis, and what it is called.
    """
    k, names = len(values), list(names)
    hover, told = {}, f"true {{row}}, called {{column}}: <b>{{value:.4~g}}</b>{unit}"
    if low is not None:
        hover, told = {"low": low, "high": high}, told + " [{low:.3~g}, {high:.3~g}]"
    if counts is not None:
        rows, columns = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
        bounds = metrics.wilson(counts, rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            hover |= {"count": counts, "of_true": counts / rows, "from": bounds[0], "to": bounds[1], "of_label": counts / columns}
        told += "<br>{count:,} samples: {of_true:.1%} of the true class [{from:.1%}, {to:.1%}], {of_label:.1%} of the label"
    written = None
    if text is not None and k <= MOST_NUMBERS:
        written = np.array([[text(value) if np.isfinite(value) else "" for value in row] for row in values])
    heat = Heat(values, scale, (names, names), text=written, faint=faint, hover=hover, sentence=told, font=font, bar=bar)
    edges = np.array(group_edges(groups)) - 0.5
    axes = [
        Axis(label, range(k) if show and k <= MOST_NAMES else (), names if show and k <= MOST_NAMES else (), size=size)
        for label, show in zip(labels, shown, strict=True)
    ]
    return Panel([heat, rules(edges, width=0.8), rules(edges, "x", width=0.8)], x=axes[0], y=axes[1], frame=False, grid="")


def percent_of(counts: np.ndarray, normalize: str) -> np.ndarray:
    """Shares of rows (``"true"``) or columns (``"pred"``) in percent, NaN for 0/0."""
    total = counts.sum(-1 if normalize == "true" else -2, keepdims=True)
    return np.divide(100 * counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def diverging(values: np.ndarray, limit: float, label: str, **options) -> Scale:
    """A scale that is white at zero and ends at `limit` to either side."""
    return Scale(-limit, limit, label, colours=DIVERGING, clipped=beyond(values, -limit, limit), **options)
