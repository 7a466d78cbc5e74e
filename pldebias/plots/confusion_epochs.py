"""Confusion matrices of several runs at several epochs, side by side."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.selection import along, epoch_row
from pldebias.plots.frame import MOST_NUMBERS, WIDTHS, Frame, matrix, one_of, percent_of
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import Scale
from pldebias.settings import typed

__all__ = ["confusion_epochs"]


@typed
def confusion_epochs(
    runs, epochs=None, *, kind="sweep", split="all", normalize="true", groups="tertiles", width="double", title=None, font=None,
    backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw one row of matrices per entry and one column per epoch, on one scale of colours.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; the counts of seeds under one label are added up.
    epochs : sequence of int, optional
        Recorded epochs of the first run, and in others those at the same iterations; -1 is the last of each run. The first and the last of
        each run by default.
    kind : {"sweep", "visits", "test"}
    split : {"all", "accepted", "rejected"}
    normalize : {"true", "pred"}
        Shares of the true class (rows; the diagonal is recall) or of the label (columns; the diagonal is precision).
    groups, width, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label][epoch]`` of shape ``[K, K]``: shares in percent in drawing order, NaN where undefined (hatched).
    """
    one_of("normalize", normalize, ("true", "pred"))
    one_of("width", width, WIDTHS)
    frame = Frame(runs, groups, truth=kind)
    first, unit, order = int(frame.every[0].epochs[0]), frame.unit, frame.order
    default, epochs = epochs is None, (first, -1) if epochs is None else epochs
    rows, columns = len(frame.chosen), len(epochs)
    side = (WIDTHS[width] - 1.0) / max(columns, 2 if width == "single" else 3)
    scale = Scale(0, 100, "% of the true class" if normalize == "true" else "% of the label")
    what, label = ("recall", "pseudo-label") if normalize == "true" else ("precision", "pseudo-label")
    label = "prediction" if kind == "test" else label
    names, drawn, panels = frame.names(12), {}, []
    named = frame.k <= MOST_NUMBERS
    for number, (entry, found) in enumerate(frame.chosen.items()):
        drawn[entry] = {}
        for epoch in epochs:
            own = [int(run.epochs[0]) if default and epoch == first else frame.epoch(run, epoch) for run in found]
            counts = sum(run.confusion(kind, split, epoch=e) for run, e in zip(found, own, strict=True)).astype(float)[np.ix_(order, order)]
            stands = {int(along(run, unit)[epoch_row(run, e)]) for run, e in zip(found, own, strict=True)}
            when = f"{unit} {stands.pop():,}" if len(stands) == 1 else "last epoch" if epoch == -1 else frame.at(epoch)
            drawn[entry][epoch] = shares = percent_of(counts, normalize)
            left, bottom = epoch == epochs[0], number == rows - 1
            panel = matrix(
                shares, names, frame.groups, scale, counts=counts, unit=" %", font=5, size=5.5, shown=(bottom and named, left and named),
                text=(lambda value: f"{value:.0f}" if value >= 0.5 else "") if side / frame.k > 0.17 else None,
                labels=(label if bottom else "", (entry if rows > 1 else "true class") if left else ""),
            )  # fmt: skip
            diagonal = np.diagonal(shares)
            mean = np.nanmean(diagonal) if np.isfinite(diagonal).any() else np.nan
            panel.title, panel.size = f"{when}: mean {what} {mean:.0f} %", 6.5
            panels.append(panel)
    pooled = sorted({len(found) for found in frame.chosen.values()})
    caption = frame.caption(
        f"Rows: true class, columns: {label} ({kind}, {split}), head to tail; shares of the {'row' if normalize == 'true' else 'column'}."
        + (f" Counts of {' to '.join(map(str, pooled[:: max(1, len(pooled) - 1)]))} seeds added up." if pooled != [1] else ""),
        "Hatched: undefined.",
    )
    grid = {"shape": (rows, columns), "height": 0.35 + rows * (side + 0.25), "bar": panels[0].marks[0]}
    return frame.finish(panels, {"runs": drawn, "order": order}, caption, width=width, title=title, font=font, backend=backend, **grid)
