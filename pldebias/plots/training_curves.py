"""Measures of a run over its epochs."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import expand, measure, shadowed
from pldebias.analysis.comparing.selection import along, check_truth, untold
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.frame import Frame, one_of, sentence
from pldebias.plots.marks import Axis, Panel
from pldebias.plots.result import PaperFigure
from pldebias.runs import NotLogged
from pldebias.settings import typed

__all__ = ["training_curves"]


@typed
def training_curves(
    runs, values=("balanced_accuracy", "pl_recall"), *, x="auto", groups="tertiles", width="double", error="interval", title=None,
    font=None, backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw measures over the training, one panel each, one line per entry.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    values : str or sequence of str
        Measures of `pldebias.analysis.comparing.names` or logged scalars. ``"pl_recall"`` and other families stand for head, medium
        and tail.
    x : {"auto", "epoch", "iteration"}
        ``"auto"``: epochs, or iterations where an epoch of one number ends at different steps in different runs and all say them.
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label][measure]`` is a `Spread` of shape ``[E]``, ``values["runs"][label]["x"]`` its epochs or iterations; a
        scalar named ``x`` stands under ``"x (logged)"``.

    Raises
    ------
    Incomparable
        Seeds of one entry were recorded at different epochs, so that no mean can be taken over them; or a measure of pseudo-labels needs
        true classes that a run does not know.
    NotLogged
        Iterations are asked for, and a run was not told them.
    """
    one_of("x", x, ("auto", "epoch", "iteration"))
    frame = Frame(runs, groups, error=error)
    x = frame.unit if x == "auto" else x
    if x == "iteration" and (silent := untold(frame.every)):
        raise NotLogged(f"{silent[0].name} does not say its iterations; use x='epoch', or pass iteration= to Recorder.end_epoch")
    asked = [measure(name, frame.every[0]) for name in expand(values)]
    if any(one.needs_truth for one in asked):
        check_truth(frame.every)
    drawn: dict = {}
    key = {one.name: f"{one.name} (logged)" if one.name == "x" else one.name for one in asked}
    for label, found in frame.chosen.items():
        epochs, _ = frame.over_time(label)
        drawn[label] = {"x": along(found[0], x)}
        for one in asked:
            drawn[label][key[one.name]] = over_seeds(np.stack([one.scale * one.at(run, epochs, frame.groups) for run in found]))
    columns = min(len(asked), 4 if width == "double" else 2)
    rows, panels, family = -(-len(asked) // columns), [], None
    for number, one in enumerate(asked):
        share = one.scale == 100
        limits, spreads = (0, 100) if share else (-np.inf, np.inf), {label: arrays[key[one.name]] for label, arrays in drawn.items()}
        curves = [frame.curve(spreads[label], arrays["x"], frame.styles[label], label, limits) for label, arrays in drawn.items()]
        top = max(np.nanmax(spread.mean, initial=0) for spread in spreads.values())
        told = one.family + " (%)" * share if one.family != family or number % columns == 0 else ""
        y = Axis(told, limits=(-2, 102 if top > 50 else None) if share else None)
        panels.append(Panel(curves, one.label, Axis(x if number >= columns * (rows - 1) else ""), y))
        family = one.family
    caption = frame.caption(sentence(frame.seeds()), shadowed(values, frame.every).strip())
    grid = {"shape": (rows, columns), "height": 0.45 + 1.55 * rows, "share": "x"}
    drawn = {"runs": drawn, "groups": frame.groups}
    return frame.finish(panels, drawn, caption, width=width, title=title, font=font, backend=backend, **grid)
