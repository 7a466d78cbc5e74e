"""A measure against an imbalance ratio."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import measure, shadowed, statistic
from pldebias.analysis.comparing.selection import check_truth
from pldebias.analysis.comparing.spread import Spread, over_seeds
from pldebias.analysis.comparing.sweeps import ratio_in_words, ratios
from pldebias.plots.frame import Frame, one_of, sentence
from pldebias.plots.marks import Axis, Panel, Series
from pldebias.plots.result import PaperFigure
from pldebias.settings import argument, typed

__all__ = ["RATIOS", "accuracy_gamma"]

RATIOS = {"gamma_u": "imbalance ratio of the unlabelled set", "gamma_l": "imbalance ratio of the labelled set", "both": "imbalance ratio"}


@typed
def accuracy_gamma(
    runs, value="balanced_accuracy", *, gamma="gamma_u", which="last", groups="tertiles", width="single", error="interval", title=None,
    font=None, backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw how a measure depends on the imbalance ratio of the labelled or the unlabelled set.

    Parameters
    ----------
    runs : sequence, dict or DataFrame
        Runs of several ratios and seeds, as in `pldebias.analysis.comparing.select`; lines are its labels (methods, if there are none).
    value : str
        A measure of `pldebias.analysis.comparing.names` or a logged scalar.
    gamma : {"gamma_u", "gamma_l", "both"}
        What varies; ``"both"`` for sets whose ratios are equal and vary together.
    which : {"last", "median20"}
        The last epoch, or the median of the last 20.
    groups, width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label]`` is a `Spread` over ``values["ratios"]``; NaN where an entry has no run. Reversed unlabelled sets stand to
        the left, as 1/gamma.

    Raises
    ------
    Incomparable
        Runs differ in the data by more than this ratio.
    """
    one_of("gamma", gamma, RATIOS)
    vary = ("gamma_l", "gamma_u") if gamma == "both" else (gamma,)
    frame = Frame(runs, groups, vary=(*vary, "reverse_unlabelled"), error=error)
    one = measure(argument("value", value, str), frame.every[0])
    if one.needs_truth:
        check_truth(frame.every)
    points, places = ratios(frame.every, gamma)
    x, texts = np.arange(len(points)), [ratio_in_words(point) for point in points]
    drawn, marks, counts = {}, [], []
    moves = np.linspace(-0.12, 0.12, len(frame.chosen)) if len(frame.chosen) > 1 else (0.0,)
    for move, (label, found) in zip(moves, frame.chosen.items(), strict=True):
        seeds: dict[int, list[float]] = {}
        for run in found:
            seeds.setdefault(places[id(run)], []).append(statistic(one, run, frame.groups, which))
        spreads = [over_seeds(seeds.get(i, [np.nan])) for i in x]
        drawn[label] = Spread(*(np.array(column) for column in zip(*spreads, strict=True)))
        counts += map(len, seeds.values())
        there = np.flatnonzero(np.isfinite(drawn[label].mean))
        style, told = frame.styles[label], {"shift": move, "texts": [texts[i] for i in there]}
        marks.append(Series.of(drawn[label], x[there], error, there, label=label, style=style, **told))
        place, single = np.array([(i, value) for i, values in seeds.items() for value in values]).T
        dots = {"color": style["color"], "linestyle": "", "marker": "_", "markersize": 3, "markeredgewidth": 0.6, "alpha": 0.7}
        marks.append(Series(place, single, label=f"{label}, single seeds", style=dots, shift=move, legend=False))
    axis = Axis(f"{one.family} {one.label}".removeprefix("logged ") + (" (%)" if one.scale == 100 else ""))
    panel = Panel(marks, x=Axis(RATIOS[gamma], x, texts, (-0.4, len(points) - 0.6), slant=False), y=axis)
    caption = frame.caption(
        f"{sentence(frame.seeds(counts))} Small marks: single seeds.",
        "Ratios below 1: the unlabelled set is reversed, its largest class is the labelled tail." if min(points) < 1 else "",
        shadowed(value, frame.every).strip(),
        groups=False,
    )
    values = {"runs": drawn, "ratios": np.array(points)}
    return frame.finish([panel], values, caption, height=2.5, width=width, title=title, font=font, backend=backend)
