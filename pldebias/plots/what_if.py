"""A what-if beside what was logged."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.relabelled import checked
from pldebias.plots.style import DIVERGING, GROUPS, SEQUENTIAL, Drawn, beyond, colour_map, paint, undefined_hatch
from pldebias.settings import typed

__all__ = ["what_if"]


@typed
def what_if(result, *, split="all", title=None) -> Drawn:
    """Draw the relabelled matrix, its difference to the logged one, and the head, medium and tail scores of both.

    Parameters
    ----------
    result : WhatIf
        From `pldebias.what_if`.
    split : {"all", "accepted"}
    title : str, optional

    Returns
    -------
    Drawn
        ``values["share"]`` (rows sum to 1) and ``values["change"]`` (in percentage points; NaN where nothing was logged), ``[K, K]`` in
        drawing order ``values["order"]``; ``values["counts"]``.

    Raises
    ------
    MethodError
        Relabelling as trained does not give the labels that the run logged.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize, PowerNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    order, run = checked(result).groups.order, result.run
    k = len(order)
    counts = result.confusion if split == "all" else result.confusion_accepted
    share, change = (values[np.ix_(order, order)] for values in result.shares(split))
    figure = Figure(figsize=(10.6, 3.7), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1.1, 1.1, 1))
    shades = (
        ScalarMappable(PowerNorm(0.5, 0, 1) if k > 30 else Normalize(0, 1), colour_map(SEQUENTIAL)),
        ScalarMappable(Normalize(-50, 50), colour_map(DIVERGING)),
    )
    titles = ("share of the true class (row)", "change to the logged labels (points)")
    names = [run.class_names[c] for c in order]
    for ax, values, mappable, text in zip(axes, (share, 100 * change), shades, titles, strict=False):
        undefined_hatch(ax)
        colours = paint(values, mappable)
        ax.imshow(colours, interpolation="nearest")
        for edge in np.cumsum([len(part) for part in result.groups[:3]])[:-1]:
            if 0 < edge < k:
                ax.axhline(edge - 0.5, color="#333333", lw=0.8)
                ax.axvline(edge - 0.5, color="#333333", lw=0.8)
        if k <= 15:
            for r, c in zip(*np.nonzero(np.isfinite(values) & (np.abs(values) >= (0.005 if values is share else 0.5))), strict=True):
                dark = colours[r, c, :3] @ (0.2126, 0.7152, 0.0722) < 0.5
                words = f"{100 * values[r, c]:.0f}" if values is share else f"{values[r, c]:+.0f}"
                ax.text(c, r, words, ha="center", va="center", fontsize=6, color="white" if dark else "#111111")
        if k <= 30:
            ax.set_xticks(range(k), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7, parse_math=False)
            ax.set_yticks(range(k), names, fontsize=7, parse_math=False)
        else:
            ax.set_xticks([])
            ax.set_yticks([])
        ax.tick_params(length=0)
        ax.set_title(text, fontsize=8, loc="left")
        bar = figure.colorbar(mappable, ax=ax, fraction=0.045, pad=0.02, extend=beyond(values, *mappable.get_clim()))
        bar.ax.tick_params(labelsize=6)
        if values is share:
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))  # as in the cells
    axes[0].set_ylabel("true class", fontsize=8)
    axes[0].set_xlabel("pseudo-label", fontsize=8)
    _scores(axes[2], result.table)
    changed = "" if result.logged_label is None else f", {len(result.changed):,} of {len(result.label):,} labels change"
    heading = f"{result.run.name}, epoch {result.epoch}: what if {result.title}? ({split}{changed})"
    figure.suptitle(heading if title is None else title, fontsize=9, x=0.01, ha="left", parse_math=False)
    note = result.sentence
    if result.summary.endswith("no label or acceptance does"):  # weights or pulls change, which no matrix shows
        note += f". {result.summary}"
    figure.supxlabel(note, fontsize=7.5, x=0.01, ha="left", color="#444444")
    return Drawn(figure, axes, {"share": share, "change": 100 * change, "counts": counts[np.ix_(order, order)], "order": order})


def _scores(ax, table) -> None:
    """Recall and precision before (open) and after (filled), by group."""
    colours = {**GROUPS, "all": "#333333"}
    ticks = []
    for block, measure in enumerate(("recall %", "precision %", "accepted %")):
        for row, name in enumerate(table.index):
            y = block * (len(table) + 1) + row
            before, after = table.loc[name, (measure, "logged")], table.loc[name, (measure, "what if")]
            if np.isfinite(before) and np.isfinite(after):
                ax.plot([before, after], [y, y], color=colours[name], lw=1.5, alpha=0.6)
            ax.plot(before, y, "o", mfc="white", mec=colours[name], ms=5)
            ax.plot(after, y, "o", color=colours[name], ms=5)
            ticks.append((y, f"{measure[:-2]} {name}"))
    ax.set_yticks(*zip(*ticks, strict=True), fontsize=7)
    ax.set(xlim=(-3, 103), ylim=(ticks[-1][0] + 0.7, -0.7))
    ax.tick_params(axis="x", labelsize=7)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#eeeeee", lw=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.set_title("percent, all labels; open: logged, filled: what if", fontsize=8, loc="left")
