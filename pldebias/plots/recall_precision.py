"""Recall and precision of pseudo-labels, class by class."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import check_classes, check_truth, epoch_at, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.paper import (
    PaperFigure,
    at,
    bounds,
    canvas,
    class_axis,
    finish,
    groups_in_words,
    legend,
    lengths,
    line_styles,
    seeds_in_words,
)
from pldebias.settings import typed

__all__ = ["recall_precision"]


@typed
def recall_precision(
    runs,
    *,
    epoch=-1,
    kind="sweep",
    split="all",
    groups="tertiles",
    width="double",
    error="interval",
    title=None,
    font=None,
    backend="matplotlib",
) -> PaperFigure:
    """Draw recall and precision of every class, head to tail, for one run or several.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    epoch : int
        Recorded epoch; -1 is the last of each run.
    kind : {"sweep", "visits", "test"}
    split : {"all", "accepted", "rejected"}
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    width : {"double", "single"}
        Of the paper's columns; in a single one the panels stand below each other.
    error : {"interval", "sd"}
        Around means over seeds: Student's 95 % interval of the mean, or one standard deviation. One seed has neither.
    title : str, optional
    font : str or sequence of str, optional
        Families that matplotlib knows.
    backend : {"matplotlib", "none"}
        ``"none"`` returns the arrays without drawing.

    Returns
    -------
    PaperFigure
        ``values["runs"][label]["recall"]`` and ``["precision"]`` are `Spread` of shape ``[K]`` in class order (percent);
        ``values["order"]`` the order drawn.

    Notes
    -----
    DASO (Oh et al., CVPR 2022) shows this for FixMatch, USADTM and DASO. A class that was never given as a label has no precision: its
    place stays empty, and no zero is drawn.
    """
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    check_truth(every, kind)
    drawn: dict = {}
    for label, found in chosen.items():
        matrices = np.stack([run.confusion(kind, split, epoch=epoch_at(run, epoch, every)) for run in found])
        drawn[label] = {"recall": over_seeds(100 * metrics.recall(matrices)), "precision": over_seeds(100 * metrics.precision(matrices))}
    caption = (
        f"{'Test predictions' if kind == 'test' else 'Pseudo-labels'} ({kind}, {split}) at "
        f"{at(epoch, every)}; {seeds_in_words(chosen, error)}. {groups_in_words(parts)} "
        f"No mark: undefined.{lengths(chosen)}"
    )
    k, single = len(parts.order), width == "single"
    figure, axes = canvas(
        backend, width, 4.1 if single else 2.5, font=font, nrows=2 if single else 1, ncols=1 if single else 2, sharey=True
    )
    if figure is not None:
        styles = line_styles(list(chosen))
        shift = np.linspace(-0.22, 0.22, len(chosen)) if len(chosen) > 1 and k <= 30 else np.zeros(len(chosen))
        for ax, what in zip(axes.flat, ("recall", "precision"), strict=True):
            class_axis(ax, every[0].class_names, parts, names=not (single and what == "recall"))
            for move, (label, arrays) in zip(shift, drawn.items(), strict=True):
                spread, x = arrays[what], np.arange(k) + move
                style = {**styles[label], "linewidth": 0.7, **({"marker": ""} if k > 30 else {})}
                ax.plot(x, spread.mean[parts.order], label=label, **style)
                low, high = (bound[parts.order] for bound in bounds(spread, error))
                ax.vlines(x, np.clip(low, 0, 100), np.clip(high, 0, 100), color=style["color"], lw=0.9)
            ax.set_ylabel(f"{'test' if kind == 'test' else 'pseudo-label'} {what} (%)", fontsize=7.5)
            ax.set_ylim(-3, 103)
        if single:
            axes[0, 0].set_xlabel("")
        legend(figure, axes)
    return finish(figure, axes, {"runs": drawn, "order": parts.order}, caption, title=title)
