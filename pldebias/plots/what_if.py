"""A what-if beside what was logged."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.relabelled import checked
from pldebias.plots.frame import MOST_NAMES, diverging, finish, matrix, short
from pldebias.plots.marks import Axis, Panel, Plan, Points, Segments
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import GROUPS, INK, Scale
from pldebias.settings import typed

__all__ = ["what_if"]


@typed
def what_if(result, *, split="all", title=None, backend="matplotlib") -> PaperFigure:
    """Draw the relabelled matrix, its difference to the logged one, and the head, medium and tail scores of both.

    Parameters
    ----------
    result : WhatIf
        From `pldebias.what_if`.
    split : {"all", "accepted"}
    title : str, optional
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["share"]`` (rows sum to 1) and ``values["change"]`` (in percentage points; NaN where nothing was logged), ``[K, K]`` in
        drawing order ``values["order"]``; ``values["counts"]``.

    Raises
    ------
    MethodError
        Relabelling as trained does not give the labels that the run logged.
    """
    order, run = checked(result).groups.order, result.run
    ordered = np.ix_(order, order)
    counts = (result.confusion if split == "all" else result.confusion_accepted)[ordered]
    share, change = (values[ordered] for values in result.shares(split))
    change = 100 * change
    shades = Scale(0, 1, "", "sqrt" if len(order) > MOST_NAMES else "linear", percent=True), diverging(change, 50, "")
    told = {"names": [short(run.class_names[c]) for c in order], "groups": result.groups, "font": 6, "bar": True}
    panels = [
        matrix(share, scale=shades[0], counts=counts, unit=" of the true class", labels=("pseudo-label", "true class"),
               text=lambda value: f"{100 * value:.0f}" if value >= 0.005 else "", **told),
        matrix(change, scale=shades[1], unit=" points", text=lambda value: f"{value:+.0f}" if abs(value) >= 0.5 else "", **told),
        _scores(result.table),
    ]  # fmt: skip
    titles = ("share of the true class (row)", "change to the logged labels (points)", "percent, all labels; open: logged, filled: what if")
    for panel, text in zip(panels, titles, strict=True):
        panel.title, panel.left, panel.size = text, True, 8
    changed = "" if result.logged_label is None else f", {len(result.changed):,} of {len(result.label):,} labels change"
    heading = f"{result.run.name}, epoch {result.epoch}: what if {result.title}? ({split}{changed})"
    note = result.sentence
    if result.summary.endswith("no label or acceptance does"):  # weights or pulls change, which no matrix shows
        note += f". {result.summary}"
    heading = heading if title is None else title
    plan = Plan(panels, (10.6, 3.7), (1, 3), (1.1, 1.1, 1), False, heading, note, squeeze=True, left=True)
    return finish(plan, {"share": share, "change": change, "counts": counts, "order": order}, note, backend=backend)


def _scores(table) -> Panel:
    """Recall and precision before (open) and after (filled), by group."""
    colours = {**GROUPS, "all": INK}
    rows = [(block, measure, name) for block, measure in enumerate(("recall %", "precision %", "accepted %")) for name in table.index]
    y = np.array([block * (len(table) + 1) + i % len(table) for i, (block, _, _) in enumerate(rows)], float)
    before, after = (np.array([table.loc[name, (measure, when)] for _, measure, name in rows]) for when in ("logged", "what if"))
    shades, texts = [colours[name] for *_, name in rows], [f"{measure[:-2]} {name}" for _, measure, name in rows]
    both = np.isfinite(before) & np.isfinite(after)
    lines = Segments(before[both], y[both], after[both], y[both], [c for c, b in zip(shades, both, strict=True) if b], 1.5, alpha=0.6)
    points = []
    for x, when in ((before, "logged"), (after, "what if")):
        told = [f"{text}: {value:.1f} % ({when})" for text, value in zip(texts, x, strict=True)]
        points.append(Points(x, y, size=25, colours=shades, open=when == "logged", label=when, texts=told))
    return Panel(
        [lines, *points], x=Axis(limits=(-3, 103)), y=Axis("", y, texts, (y[-1] + 0.7, -0.7)), grid="x", frame=False
    )  # fmt: skip
