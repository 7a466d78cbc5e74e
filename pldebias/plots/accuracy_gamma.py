"""A measure against an imbalance ratio."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import measure, shadowed, statistic
from pldebias.analysis.comparing.selection import check_classes, check_data, check_truth, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.analysis.comparing.sweeps import ratio_in_words, ratios
from pldebias.plots.paper import PaperFigure, bounds, canvas, finish, legend, lengths, line_styles, seeds_in_words, sentence
from pldebias.settings import argument, typed

__all__ = ["accuracy_gamma"]


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
    vary = ("gamma_l", "gamma_u") if gamma == "both" else (gamma,)
    chosen = select(runs, vary=(*vary, "reverse_unlabelled"))
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    check_data(every, vary=(*vary, "reverse_unlabelled"))
    one = measure(argument("value", value, str), every[0])
    if one.needs_truth:
        check_truth(every)
    points, places = ratios(every, gamma)
    drawn, dots = {}, {}
    for label, found in chosen.items():
        seeds: dict[int, list[float]] = {}
        for run in found:
            seeds.setdefault(places[id(run)], []).append(statistic(one, run, parts, which))
        dots[label] = seeds
        spreads = [over_seeds(seeds.get(i, [np.nan])) for i in range(len(points))]
        drawn[label] = type(spreads[0])(*(np.array(column) for column in zip(*spreads, strict=True)))
    figure, axes = canvas(backend, width, 2.5, font=font)
    if figure is not None:
        ax, styles, x = axes[0, 0], line_styles(list(chosen)), np.arange(len(points))
        shift = np.linspace(-0.12, 0.12, len(chosen)) if len(chosen) > 1 else np.zeros(1)
        for move, (label, spread) in zip(shift, drawn.items(), strict=True):
            there = np.isfinite(spread.mean)
            ax.plot(x[there] + move, spread.mean[there], label=label, **styles[label])
            ax.vlines(x + move, *bounds(spread, error), color=styles[label]["color"], lw=0.9)
            for i, values in dots[label].items():
                ax.plot(np.full(len(values), i + move), values, ls="", marker="_", ms=3, mew=0.6, color=styles[label]["color"], alpha=0.7)
        ax.set_xticks(x, [ratio_in_words(point) for point in points])
        ax.set_xlim(-0.4, len(points) - 0.6)
        told = {
            "gamma_u": "imbalance ratio of the unlabelled set",
            "gamma_l": "imbalance ratio of the labelled set",
            "both": "imbalance ratio",
        }
        ax.set_xlabel(told[gamma], fontsize=7.5)
        ax.set_ylabel(f"{one.family} {one.label}".removeprefix("logged ") + (" (%)" if one.scale == 100 else ""), fontsize=7.5)
        legend(figure, axes)
    counts = [len(values) for seeds in dots.values() for values in seeds.values()]
    caption = f"{sentence(seeds_in_words(counts, error))} Small marks: single seeds."
    if any(ratio < 1 for ratio in points):
        caption += " Ratios below 1: the unlabelled set is reversed, its largest class is the labelled tail."
    caption += shadowed(value, every) + lengths(chosen)
    return finish(figure, axes, {"runs": drawn, "ratios": np.array(points)}, caption, title=title)
