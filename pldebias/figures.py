"""From runs to a paper's folder: every figure that they can fill, the table, and what the captions must say."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from pldebias._files import put
from pldebias.analysis.comparing.selection import select
from pldebias.paths import local, output_folder
from pldebias.settings import nearest, some_of, typed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMATS", "figures"]

FORMATS = ("pdf", "svg", "png")
STYLE = ("width", "error", "groups", "font")


@typed
def figures(
    runs, folder, *, formats: Sequence[str] = ("pdf",), baseline: str | None = None, values=("balanced_accuracy", "recall", "pl_recall"),
    published: bool = False, **style,
) -> list[Path]:  # fmt: skip
    """Write every figure that these runs can fill, the table in LaTeX, Markdown and CSV, and ``captions.md``.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    folder : str or PathLike
        Is made if it is not there; files of the same names are replaced.
    formats : {"pdf", "svg", "png"} or sequence of them
    baseline : str, optional
        Label that differences refer to. Without one the table has none, and the figures take the first.
    values : str or sequence of str
        Measures of the table, as in `pldebias.table`.
    published : bool
        Set published accuracies beside, as in `pldebias.table`.
    **style
        ``width``, ``error``, ``groups`` and ``font`` of the figures, as in `pldebias.plots.recall_precision`. The table goes over both
        columns unless ``width`` is ``"single"``.

    Returns
    -------
    list of Path
        What was written; ``captions.md``, the last, also says which figures could not be drawn, and why.

    Raises
    ------
    Incomparable
        The runs cannot stand in one table; the message says which differ, and in what.
    ValueError
        An unknown format, style, width, error or font, or `baseline` is no label; nothing is written then.
    """
    from pldebias.analysis.comparing.tables import table
    from pldebias.plots.collection import collection
    from pldebias.plots.frame import checked_style

    formats = some_of("formats", formats, FORMATS)
    if unknown := [name for name in style if name not in STYLE]:  # all before each figure would refuse it by itself
        raise ValueError(f"figures are styled by {', '.join(STYLE)}; got {unknown[0]!r}{nearest(unknown[0], STYLE)}")
    checked_style(width=style.get("width", "double"), error=style.get("error", "interval"), font=style.get("font"))
    chosen, folder = select(runs), local(folder)
    made_table = table(chosen, values=values, baseline=baseline, published=published, groups=style.get("groups", "tertiles"))
    output_folder(folder)
    written, captions, lost = [], [], []
    for made in collection(chosen, baseline=baseline, **style):
        if made.figure is None:
            lost.append(f"* {made.title}: {made.problem}")
            continue
        for ending in dict.fromkeys(formats):
            made.figure.save(path := folder / f"{made.name}.{ending}")
            written.append(path)
        captions.append(f"**{made.name}** {made.figure.caption}\n")
    wide = style.get("width", "double") == "double"
    for ending, write in (
        ("tex", functools.partial(made_table.to_latex, wide=wide)),
        ("md", made_table.to_markdown),
        ("csv", made_table.to_csv),
    ):
        write(path := folder / f"table.{ending}")
        written.append(path)
    captions.append(f"**table** {' '.join(made_table.notes)}\n")
    if lost:
        captions.append("Not drawn:\n\n" + "\n".join(lost) + "\n")
    put(path := folder / "captions.md", "\n".join(captions).encode())
    return [*written, path]
