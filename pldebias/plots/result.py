"""A finished figure: its numbers, its caption, and the files that it is written to."""

from __future__ import annotations

import io
import shutil
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pldebias._files import put
from pldebias.paths import local, output
from pldebias.settings import argument, nearest, plain

if TYPE_CHECKING:
    import pandas

    from pldebias.plots.marks import Panel

__all__ = ["Drawn", "PaperFigure", "write"]

OPTIONS = (
    *("dpi", "format", "metadata", "bbox_inches", "pad_inches", "facecolor", "edgecolor", "transparent", "orientation"),
    *("backend", "bbox_extra_artists", "pil_kwargs"),
)
"""Of ``savefig``, which takes some formats' unknown ones without a word."""
MOST_DPI = 2400  # both columns of a paper are then 17000 pixels wide
WEB = ("html", "json")


@dataclass(frozen=True)
class PaperFigure:
    """A figure, the numbers in it, and what its caption must say.

    Attributes
    ----------
    figure : matplotlib.figure.Figure, plotly.graph_objects.Figure or None
        None with ``backend="none"``.
    axes : Axes, ndarray of Axes, or None
        Of matplotlib alone.
    values : dict
        The arrays behind the figure; where several entries are compared, ``values["runs"][label]`` holds those of one.
    caption : str
        Kind of matrix, number of seeds, rule of the groups, meaning of bands.
    panels : tuple of Panel
        The marks that a backend draws.
    cropped : bool
        Saved without the margins around it; figures of a paper's width keep them.
    """

    figure: Any
    axes: Any
    values: dict
    caption: str = ""
    panels: tuple[Panel, ...] = ()
    cropped: bool = False

    @property
    def data(self) -> pandas.DataFrame:
        """All numbers drawn, labelled, one row for each point or cell.

        Columns are ``panel``, ``series``, ``label`` (class or sample), ``x``, ``y``, ``value`` (of a cell), ``low`` and ``high``, as far as
        the figure has them.
        """
        from pldebias.plots.marks import tidy

        return tidy(self.panels)

    def save(self, path, **options) -> None:
        """Write the figure; the ending chooses the format.

        Parameters
        ----------
        path : str, PathLike or file
            Of a figure of matplotlib: .pdf (TrueType fonts embedded), .svg (outlines), .png. Of plotly: .html, or .json.
        **options
            Of `matplotlib.figure.Figure.savefig`, whose ``dpi`` is 300 by default, or of `to_html`.

        Raises
        ------
        ValueError
            Drawn with ``backend="none"``, or a format or an option that the backend does not know; nothing is written then.
        """
        if self.figure is None:
            raise ValueError("nothing was drawn (backend='none'); draw it with backend='matplotlib' to save it")
        if self.axes is None:
            self._save_plotly(path, options)
            return
        from pldebias.plots.on_matplotlib import look

        with look(), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            write(self.figure, path, {"dpi": 300, **({"bbox_inches": "tight"} if self.cropped else {}), **options})
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

    def _save_plotly(self, path, options: dict) -> None:
        target = path if hasattr(path, "write") else local(path)
        ending = getattr(target, "suffix", "").lower().lstrip(".") or "html"
        if ending not in WEB:
            raise ValueError(
                f"{target}: a plotly figure is written as .html or .json; draw it with backend='matplotlib' for pdf, svg and png"
            )
        if target is not path and not target.suffix:
            target = target.with_name(f"{target.name}.html")
        text = self.to_html(**options) if ending == "html" else self.figure.to_json(**options)
        if target is path:
            path.write(text.encode())
        else:
            put(str(output(target)), text.encode())

    def to_html(self, *, full_html: bool = True, include_plotlyjs: bool | str = True, **options) -> str:
        """Return a page, or a piece of one, with the interactive figure; needs ``backend="plotly"``.

        Parameters
        ----------
        full_html : bool
            False for a ``<div>`` to put into a page of one's own.
        include_plotlyjs : bool or str
            True carries plotly's script (about 4.5 MB), so that the page needs no network; ``"cdn"`` loads it; False leaves it out, for
            the second and further figures of a page.
        **options
            Of `plotly.graph_objects.Figure.to_html`.
        """
        if self.figure is None or self.axes is not None:
            raise ValueError("only a plotly figure is a page; draw it with backend='plotly'")
        return self.figure.to_html(full_html=full_html, include_plotlyjs=include_plotlyjs, **options)

    def __repr__(self) -> str:
        names = ", ".join(self.values)
        if self.figure is None:
            return f"<PaperFigure, not drawn; values: {names}>"
        if self.axes is None:
            return f"<PaperFigure, plotly; values: {names}>"
        width, height = self.figure.get_size_inches()
        return f"<PaperFigure, {width:g} x {height:g} in; values: {names}>"

    def _ipython_display_(self) -> None:
        """Show a plotly figure by plotly's renderer; leave others to `_repr_png_`.

        JupyterLab's, plotly's default, leaves a page of nbconvert empty, so that the figure goes with it as HTML, whose script comes from
        the net; with ``plotly.io.renderers.default = "plotly_mimetype+notebook"`` the notebook carries the script.
        """
        if self.figure is None or self.axes is not None:
            raise NotImplementedError
        import plotly.io

        alone = plotly.io.renderers.default == "plotly_mimetype"
        plotly.io.show(self.figure, **({"renderer": "plotly_mimetype+notebook_connected"} if alone else {}))

    def _repr_html_(self) -> str | None:
        return None if self.figure is None or self.axes is not None else self.to_html(full_html=False, include_plotlyjs="cdn")

    def _repr_png_(self) -> bytes | None:
        if self.axes is None:
            return None
        from pldebias.plots.on_matplotlib import look

        buffer = io.BytesIO()
        with look():
            self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        return buffer.getvalue()


Drawn = PaperFigure
"""Former name of figures of one run."""


def write(figure, path, options: dict) -> None:
    """Write a figure whole or not at all, with options of ``savefig``. Files hold no date, so that equal figures make equal files."""
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
        put(str(target), made.getvalue())
