"""What the figures for papers share: widths, fonts, styles of lines, axes of classes, and files with fonts inside."""

from __future__ import annotations

import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pldebias.analysis.comparing.selection import clock, epoch_row, lengths_in_words
from pldebias.plots.style import GROUPS, RUNS, Drawn, write
from pldebias.settings import argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pldebias.metrics import Groups
    from pldebias.runs import Run

__all__ = [
    *("ERRORS", "WIDTHS", "PaperFigure", "at", "band", "bounds", "canvas", "class_axis", "finish", "group_style", "groups_in_words"),
    *("legend", "lengths", "line_styles", "seeds_in_words", "sentence"),
]

WIDTHS = {"single": 3.5, "double": 7.16}
"""Inches of one column and of both in a two-column paper."""
ERRORS = {"interval": "Student's 95 % interval", "sd": "one standard deviation"}
"""What may be drawn around a mean over seeds."""
INK = "#333333"
# Lines are told apart without colour too: by dash and by marker.
DASHES = ((), (4, 1.5), (1.2, 1.2), (5, 1.5, 1.2, 1.5), (2.5, 1), (6, 1.2, 1.2, 1.2, 1.2, 1.2), (8, 2), (1, 2.5))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_GROUP_DASHES = {"head": (), "medium": (1.2, 1.2), "tail": (4, 1.5)}
_SAVED = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "pldebias"}


@dataclass(frozen=True)
class PaperFigure(Drawn):
    """A figure for a paper, the numbers in it, and what its caption must say.

    Attributes
    ----------
    figure : matplotlib.figure.Figure or None
        None with ``backend="none"``.
    axes : ndarray of Axes, or None
    values : dict
        The arrays that were drawn; ``values["runs"][label]`` holds those of one entry.
    caption : str
        Kind of matrix, number of seeds, rule of the groups, meaning of bands.
    """

    caption: str = ""

    def save(self, path, **options) -> None:
        """Write the figure; the ending (.pdf, .svg, .png) chooses the format. TrueType fonts are embedded in PDF, SVG draws outlines.

        Parameters
        ----------
        path : str, PathLike or file
        **options
            Of `matplotlib.figure.Figure.savefig`; ``dpi`` is 300 by default.

        Raises
        ------
        ValueError
            Drawn with ``backend="none"``, or a format or an option that matplotlib does not know; nothing is written then.
        """
        if self.figure is None:
            raise ValueError("nothing was drawn (backend='none'); draw it with backend='matplotlib' to save it")
        import matplotlib

        with matplotlib.rc_context(_SAVED), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            write(self.figure, path, {"dpi": 300, **options})
        missing = sorted(
            {str(w.message).partition(" missing from")[0].removeprefix("Glyph ") for w in told if "missing from" in str(w.message)}
        )
        for other in (w for w in told if "missing from" not in str(w.message)):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        if missing:
            warnings.warn(
                f"the font has no glyph for {', '.join(missing[:5])}, which became boxes; pass font= with a family that has it, such as "
                "font=['DejaVu Sans', 'Noto Sans CJK JP']",
                stacklevel=2,
            )

    def __repr__(self) -> str:
        if self.figure is None:
            return f"<PaperFigure, not drawn; values: {', '.join(self.values)}>"
        width, height = self.figure.get_size_inches()
        return f"<PaperFigure, {width:g} x {height:g} in; values: {', '.join(self.values)}>"

    def _repr_png_(self) -> bytes | None:
        return None if self.figure is None else super()._repr_png_()


def _families(font) -> list[str]:
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


@contextmanager
def _look() -> Iterator[None]:
    """Seaborn's style for ticks and its context for paper, in the sizes of a column."""
    import seaborn

    style = {"axes.edgecolor": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "grid.color": "#dddddd"}
    sizes = {"axes.linewidth": 0.6, "axes.labelsize": 7.5, "axes.titlesize": 7.5, "legend.fontsize": 7, "grid.linewidth": 0.5}
    with seaborn.axes_style("ticks", style), seaborn.plotting_context("paper", rc=sizes):
        yield


def canvas(backend: str, width: str, height: float, *, font=None, **grid):
    """A new figure and its axes, or ``(None, None)`` with ``backend="none"``.

    Parameters
    ----------
    backend : {"matplotlib", "none"}
    width : {"single", "double"}
    height : float
        Inches.
    font : str or sequence of str, optional
        Families, the later ones for characters that the first lacks.
    **grid
        As in ``Figure.subplots``.

    Returns
    -------
    figure : matplotlib.figure.Figure or None
    axes : ndarray of Axes, two-dimensional, or None
    """
    if backend not in ("matplotlib", "none"):
        raise ValueError(f"backend must be 'matplotlib' or 'none' (arrays only); got {backend!r}")
    if width not in WIDTHS:
        raise ValueError(f"width must be one of {', '.join(map(repr, WIDTHS))}; got {width!r}")
    families = _families(font)
    if backend == "none":
        return None, None
    import matplotlib
    from matplotlib.figure import Figure

    if matplotlib.rcParams["text.usetex"] and shutil.which("latex") is None:
        raise ValueError(
            "matplotlib is set to write text by LaTeX (text.usetex), which is not on this machine; figures need none: set "
            "matplotlib.rcParams['text.usetex'] = False, or install TeX"
        )
    with _look():
        figure = Figure(figsize=(WIDTHS[width], height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.03)
        axes = figure.subplots(squeeze=False, **grid)
    figure.pldebias_font = families
    for ax in axes.flat:
        ax.tick_params(labelsize=7, width=0.6, length=2.5, color=INK)  # ticks are made when drawn, after the look has ended
        ax.grid(axis="y")
    return figure, axes


def line_styles(labels: Sequence[str]) -> dict[str, dict]:
    """Colour, dash and marker of each label.

    Raises
    ------
    ValueError
        More labels than can be told apart.
    """
    if len(labels) > len(RUNS):
        raise ValueError(f"{len(labels)} entries cannot be told apart in one figure; select {len(RUNS)} or fewer, or use pld.table")
    return {
        label: {"color": RUNS[i], "dashes": DASHES[i], "marker": MARKERS[i], "markersize": 3.2, "linewidth": 1.2, "markeredgewidth": 0}
        for i, label in enumerate(labels)
    }


def group_style(name: str) -> dict:
    """Colour and dash of head, medium and tail."""
    return {"color": GROUPS[name], "dashes": _GROUP_DASHES[name], "linewidth": 1.2}


def bounds(spread, error: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of what is drawn around a mean: the interval, or one standard deviation to either side."""
    return (spread.low, spread.high) if error == "interval" else (spread.mean - spread.sd, spread.mean + spread.sd)


def band(ax, x, spread, style: dict, label: str | None = None, error: str = "interval", limits=(-np.inf, np.inf)) -> None:
    """A mean as a line and its error, where there is one, as a band that does not leave what is possible."""
    style = {key: value for key, value in style.items() if not key.startswith("marker")}
    ax.plot(x, spread.mean, label=label, **style)
    low, high = (np.clip(bound, *limits) for bound in bounds(spread, error))
    if np.isfinite(low).any():
        ax.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)


def class_axis(ax, class_names: Sequence[str], groups: Groups, *, names: bool = True) -> None:
    """Classes from head to tail along the x axis, with a coloured strip for each group; names up to 30 classes."""
    k, edge = len(groups.order), 0
    ax.set_xlim(-0.6, k - 0.4)
    inside = ax.get_xaxis_transform()
    for name, members in zip(("head", "medium", "tail"), groups, strict=False):
        if not len(members):
            continue
        ax.plot([edge - 0.45, edge + len(members) - 0.55], [1.02, 1.02], color=GROUPS[name], lw=2.5, transform=inside, clip_on=False,
                solid_capstyle="butt")  # fmt: skip
        ax.text(edge + (len(members) - 1) / 2, 1.035, name, transform=inside, ha="center", va="bottom", fontsize=6.5, color="#333333")
        edge += len(members)
        if edge < k:
            ax.axvline(edge - 0.5, color="#bbbbbb", lw=0.6, zorder=0)
    if names and k <= 30:
        shown = [str(class_names[c]) for c in groups.order]
        shown = [text if len(text) <= 18 else text[:17] + "…" for text in shown]
        ax.set_xticks(range(k), [" ".join(text.split()) for text in shown], parse_math=False)
        if max(map(len, shown)) > 2:
            for text in ax.get_xticklabels():
                text.set(rotation=45, ha="right", rotation_mode="anchor")
    else:
        ax.set_xticks([])
        ax.set_xlabel("classes, head to tail", fontsize=7.5)


def legend(figure, axes, labels: Sequence[str] | None = None) -> None:
    """One legend for all axes, above them; none for a single entry."""
    handles: dict[str, object] = {}
    for ax in np.ravel(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) < 2 and not labels:
        return
    columns = min(len(handles), 4 if figure.get_figwidth() > 4 else 2)
    made = figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=7, handlelength=2.4)
    for text in made.get_texts():
        text.set_parse_math(False)


def finish(figure, axes, values: dict, caption: str, *, title: str | None = None) -> PaperFigure:
    """The result of a figure function; fonts are set on every text that was made."""
    if figure is not None:
        if title:
            figure.suptitle(title, fontsize=8.5, parse_math=False)
        if figure.pldebias_font:
            from matplotlib.text import Text

            for text in figure.findobj(Text):
                text.set_fontfamily(figure.pldebias_font)
            for ax in figure.axes:  # ticks that are not made yet
                ax.tick_params(labelfontfamily=figure.pldebias_font)
    return PaperFigure(figure, axes, values, caption)


def seeds_in_words(counts, error: str = "interval") -> str:
    """How many seeds stand behind the entries, and what bands mean; `counts` holds their numbers, or lists of runs by label."""
    if error not in ERRORS:
        raise ValueError(f"error must be one of {', '.join(map(repr, ERRORS))}; got {error!r}")
    counts = sorted({len(found) for found in counts.values()} if isinstance(counts, dict) else set(counts))
    if counts == [1]:
        return "one seed"
    told = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"mean over {told} seeds with {ERRORS[error]}" + (" (none for a single one)" if counts[0] == 1 else "")


def at(epoch: int, runs: Sequence[Run] = ()) -> str:
    """An epoch of the first run in words; where an epoch is another number of steps in other runs, its iteration."""
    if epoch == -1:
        return "the last epoch"
    return f"epoch {epoch}" if clock(runs) == "epoch" else f"iteration {runs[0].iterations[epoch_row(runs[0], epoch)]:,}"


def lengths(chosen: Mapping[str, list[Run]]) -> str:
    """What a caption adds where runs differ in length, with a space before it."""
    told = lengths_in_words(chosen)
    return f" {told}" if told else ""


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def groups_in_words(groups: Groups) -> str:
    """The rule of head, medium and tail as a sentence, and which of them it leaves empty."""
    empty = [name for name, members in zip(("head", "medium", "tail"), groups, strict=False) if not len(members)]
    told = f" No class is in {' and '.join(empty)}; other cut-offs (groups=) would fill it." if empty else ""
    return sentence(groups.rule) + told
