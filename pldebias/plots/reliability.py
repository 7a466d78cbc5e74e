"""Confidence against accuracy of pseudo-labels."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.confidence import reliability as measure
from pldebias.plots.frame import finish
from pldebias.plots.marks import Axis, Bars, Panel, Plan, Segments, Series
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import group_style
from pldebias.settings import typed

__all__ = ["reliability"]


@typed
def reliability(run, scheme=None, *, epoch=-1, bins=10, title=None, backend="matplotlib", **options) -> PaperFigure:
    """Draw reliability diagrams of the pseudo-labels called head, medium and tail, and of all.

    Parameters
    ----------
    run, scheme, epoch, **options
        As in `pldebias.what_if`; ``scheme=None`` takes the labels that were logged.
    bins : int, default 10
    title : str, optional
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values`` holds ``n``, ``confidence``, ``accuracy``, ``lower`` and ``upper`` of shape ``[4, B]`` and ``ece`` of shape ``[4]``.

    Notes
    -----
    Groups are of the pseudo-label, which is what a threshold can act on. Below the diagonal the network is surer than it is right. Vertical
    lines are 95 % Wilson intervals; grey bars say how many samples a bin has, relative to the fullest.
    """
    found = measure(run, scheme, epoch=epoch, bins=bins, **options)
    panels = []
    for number, name in enumerate(found.names):
        n = found.n[number]
        style = {**group_style(name), "dashes": (), "marker": "o", "markersize": 4.2}
        marks = [
            Bars(found.edges[:-1], n, label="samples", width=np.diff(found.edges), colour="#e3e6e9", edge="", scale=0.25 / max(n.max(), 1)),
            Segments([0], [0], [1], [1], ["#999999"], 0.8, "--", below=True),
            Series(found.confidence[number], found.accuracy[number], found.lower[number], found.upper[number], name, style=style),
        ]
        ece = "–" if np.isnan(found.ece[number]) else f"{100 * found.ece[number]:.0f} %"
        heading = f"{'called ' if name != 'all' else ''}{name}\nn = {n.sum():,}, ECE {ece}"
        half = {"ticks": (0, 0.5, 1), "limits": (0, 1.02)}
        y = Axis("share that is right" if number == 0 else "", **half)
        panels.append(Panel(marks, heading, Axis("confidence", **half), y, left=True, frame=True, grid="", size=8))
    heading = heading_of(found.result) if title is None else title
    arrays = {name: getattr(found, name) for name in ("n", "confidence", "accuracy", "lower", "upper", "ece", "edges")}
    caption = "Share of pseudo-labels that are right, by confidence and by the group of the label, with 95 % Wilson intervals."
    plan = Plan(panels, (8.4, 2.8), (1, 4), legend=False, heading=heading, squeeze=True, left=True, share="y")
    return finish(plan, arrays, caption, backend=backend)


def heading_of(result) -> str:
    as_logged = result.scheme is None and not result.settings
    what = "" if as_logged else f", what if {result.title} ({result.sentence})"
    return f"{result.run.name}: epoch {result.epoch}, sweep{what}"
