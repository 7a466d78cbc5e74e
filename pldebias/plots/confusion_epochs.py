"""Confusion matrices of several runs at several epochs, side by side."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.selection import along, check_classes, check_truth, clock, epoch_at, epoch_row, select
from pldebias.plots.paper import PaperFigure, at, canvas, finish, groups_in_words, lengths
from pldebias.plots.style import SEQUENTIAL, colour_map, paint, undefined_hatch
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
    if normalize not in ("true", "pred"):
        raise ValueError(f"normalize must be 'true' (rows) or 'pred' (columns); got {normalize!r}")
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    check_truth(every, kind)
    order, drawn, unit, when = parts.order, {}, clock(every), {}
    first = int(every[0].epochs[0])
    default, epochs = epochs is None, (first, -1) if epochs is None else epochs
    for label, found in chosen.items():
        drawn[label], when[label] = {}, {}
        for epoch in epochs:
            own = [int(run.epochs[0]) if default and epoch == first else epoch_at(run, epoch, every) for run in found]
            counts = sum(run.confusion(kind, split, epoch=e) for run, e in zip(found, own, strict=True)).astype(float)
            stands = {int(along(run, unit)[epoch_row(run, e)]) for run, e in zip(found, own, strict=True)}
            when[label][epoch] = f"{unit} {stands.pop():,}" if len(stands) == 1 else "last epoch" if epoch == -1 else at(epoch, every)
            total = counts.sum(1 if normalize == "true" else 0, keepdims=True)
            shares = np.divide(100 * counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
            drawn[label][epoch] = shares[np.ix_(order, order)]
    rows, columns = len(chosen), len(epochs)
    inches = {"single": 3.5, "double": 7.16}.get(width, 0)
    side = (inches - 1.0) / max(columns, 2 if width == "single" else 3)
    figure, axes = canvas(backend, width, 0.35 + rows * (side + 0.25), font=font, nrows=rows, ncols=columns)
    if figure is not None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        mappable, k = ScalarMappable(Normalize(0, 100), colour_map(SEQUENTIAL)), len(order)
        names = [" ".join(str(every[0].class_names[c]).split())[:12] for c in order]
        for row, (label, matrices) in zip(axes, drawn.items(), strict=True):
            for ax, (epoch, shares) in zip(row, matrices.items(), strict=True):
                ax.grid(False)
                ax.spines[:].set_visible(False)
                undefined_hatch(ax)
                ax.imshow(paint(shares, mappable), interpolation="nearest")
                for edge in np.cumsum([len(part) for part in parts[:3]])[:-1]:
                    if 0 < edge < k:
                        ax.axhline(edge - 0.5, color="#333333", lw=0.6)
                        ax.axvline(edge - 0.5, color="#333333", lw=0.6)
                if side / k > 0.17:
                    for r, c in zip(*np.nonzero(np.nan_to_num(shares) >= 0.5), strict=True):
                        ax.text(
                            c,
                            r,
                            f"{shares[r, c]:.0f}",
                            ha="center",
                            va="center",
                            fontsize=5,
                            color="white" if shares[r, c] > 55 else "#111111",
                        )
                shown = names if k <= 15 else []
                ax.set_yticks(range(len(shown)) if ax is row[0] else [], shown if ax is row[0] else [], fontsize=5.5, parse_math=False)
                bottom = ax in axes[-1]
                ax.set_xticks(range(len(shown)) if bottom else [], shown if bottom else [], fontsize=5.5, parse_math=False)
                if bottom and max(map(len, names)) > 2:
                    for text in ax.get_xticklabels():
                        text.set(rotation=45, ha="right", rotation_mode="anchor")
                ax.tick_params(length=0, pad=2)
                accuracy = float(np.nanmean(np.diagonal(shares))) if np.isfinite(np.diagonal(shares)).any() else np.nan
                what = "recall" if normalize == "true" else "precision"
                ax.set_title(f"{when[label][epoch]}: mean {what} {accuracy:.0f} %", fontsize=6.5, pad=3)
            row[0].set_ylabel(label if len(chosen) > 1 else "true class", fontsize=7.5, parse_math=False)
        for ax in axes[-1]:
            ax.set_xlabel("prediction" if kind == "test" else "pseudo-label", fontsize=7)
        bar = figure.colorbar(mappable, ax=axes, fraction=0.03, pad=0.01, aspect=25 * rows)
        bar.set_label("% of the true class" if normalize == "true" else "% of the label", fontsize=7)
        bar.ax.tick_params(labelsize=6.5, width=0.5, length=2)
        bar.outline.set_linewidth(0.4)
    pooled = sorted({len(found) for found in chosen.values()})
    caption = (
        f"Rows: true class, columns: {'prediction' if kind == 'test' else 'pseudo-label'} ({kind}, {split}), head to tail; shares of the "
        f"{'row' if normalize == 'true' else 'column'}. "
        f"{'Counts of ' + ' to '.join(map(str, pooled[:: max(1, len(pooled) - 1)])) + ' seeds added up. ' if pooled != [1] else ''}"
        f"{groups_in_words(parts)} Hatched: undefined.{lengths(chosen)}"
    )
    return finish(figure, axes, {"runs": drawn, "order": order}, caption, title=title)
