"""Acceptance and precision by confidence threshold."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.confidence import threshold_sweep as measure
from pldebias.plots.frame import finish
from pldebias.plots.marks import Axis, Panel, Plan, Points, Series
from pldebias.plots.reliability import heading_of
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import group_style
from pldebias.settings import typed

__all__ = ["threshold_sweep"]

MARKED = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
AXES = (
    ("threshold", "accepted share of the labels"),
    ("threshold", "right of those accepted"),
    ("accepted share", "right of those accepted"),
)


@typed
def threshold_sweep(run, scheme=None, *, epoch=-1, thresholds=None, title=None, backend="matplotlib", **options) -> PaperFigure:
    """Draw acceptance (left) and precision of what is accepted (middle) by threshold, and one against the other (right).

    Parameters
    ----------
    run, scheme, epoch, **options
        As in `pldebias.what_if`.
    thresholds : array_like, optional
        0 to 1 by hundredths when None.
    title : str, optional
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values`` holds ``thresholds`` ``[T]``, ``accepted``, ``precision``, ``lower``, ``upper`` and ``n`` ``[4, T]`` by group of the
        pseudo-label (head, medium, tail, all), and ``now`` ``[4, 2]``, the method's own acceptance and precision.

    Notes
    -----
    Crosses mark the method's own rule; bands are 95 % Wilson intervals.
    """
    found = measure(run, scheme, epoch=epoch, thresholds=thresholds, **options)
    x, panels = (
        found.thresholds,
        [Panel([], x=Axis(x, limits=(0, 1.02)), y=Axis(y, limits=(0, 1.02)), frame=True, grid="both") for x, y in AXES],
    )
    shown = [f"threshold {value:.2f}" for value in x]
    for number, name in enumerate(found.names):
        label, style = f"called {name}" if name != "all" else name, {**group_style(name), "linewidth": 1.4}
        accepted, precision = found.accepted[number], found.precision[number]
        told = {"label": label, "style": style, "around": "band"}
        panels[0].marks.append(Series(x, accepted, **told))
        panels[1].marks.append(Series(x, precision, found.lower[number], found.upper[number], legend=False, **told))
        panels[2].marks.append(Series(accepted, precision, legend=False, texts=shown, **told))
    for number, name in enumerate(found.names):
        colour, now = group_style(name)["color"], found.now[number]
        text = [f"the method's own rule, {name}: {now[0]:.1%} accepted, {now[1]:.1%} of them right"]
        panels[2].marks.append(Points(now[:1], now[1:], size=49, colours=[colour], marker="X", rim="white", label=name, texts=text))
    near = [int(np.abs(x - value).argmin()) for value in MARKED]
    near = [i for i in near if np.isfinite(found.precision[2, i])]
    tail = {"size": 6, "colours": [group_style("tail")["color"]] * len(near), "texts": [shown[i] for i in near], "label": "thresholds"}
    panels[2].marks.append(Points(found.accepted[2, near], found.precision[2, near], **tail))
    arrays = {name: getattr(found, name) for name in ("thresholds", "accepted", "precision", "lower", "upper", "n", "now")}
    caption = (
        "Acceptance and precision by threshold; crosses mark the method's own rule, dots thresholds of the tail, bands are 95 % Wilson "
        "intervals."
    )
    heading = heading_of(found.result) if title is None else title
    plan = Plan(panels, (8.6, 2.9), (1, 3), heading=heading, squeeze=True, left=True)
    return finish(plan, arrays, caption, backend=backend)
