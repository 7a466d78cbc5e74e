"""Measures of a run over its epochs."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import expand, measure, shadowed
from pldebias.analysis.comparing.selection import along, check_classes, check_truth, clock, common_epochs, select, untold
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.paper import PaperFigure, band, canvas, finish, groups_in_words, legend, lengths, line_styles, seeds_in_words, sentence
from pldebias.runs import NotLogged
from pldebias.settings import typed

__all__ = ["training_curves"]


@typed
def training_curves(
    runs,
    values=("balanced_accuracy", "pl_recall"),
    *,
    x="auto",
    groups="tertiles",
    width="double",
    error="interval",
    title=None,
    font=None,
    backend="matplotlib",
) -> PaperFigure:
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
    if x not in ("auto", "epoch", "iteration"):
        raise ValueError(f"x must be 'auto', 'epoch' or 'iteration'; got {x!r}")
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    if x == "auto":
        x = clock(every)
    if x == "iteration" and (silent := untold(every)):
        raise NotLogged(f"{silent[0].name} does not say its iterations; use x='epoch', or pass iteration= to Recorder.end_epoch")
    parts = check_classes(every, groups)
    asked = [measure(name, every[0]) for name in expand(values)]
    if any(one.needs_truth for one in asked):
        check_truth(every)
    drawn: dict = {}
    key = {one.name: f"{one.name} (logged)" if one.name == "x" else one.name for one in asked}
    for label, found in chosen.items():
        epochs = common_epochs(label, found)
        drawn[label] = {"x": along(found[0], x)}
        for one in asked:
            drawn[label][key[one.name]] = over_seeds(np.stack([one.scale * one.at(run, epochs, parts) for run in found]))
    columns = min(len(asked), 4 if width == "double" else 2)
    rows = -(-len(asked) // columns)
    figure, axes = canvas(backend, width, 0.45 + 1.55 * rows, font=font, nrows=rows, ncols=columns, sharex=True)
    if figure is not None:
        styles = line_styles(list(chosen))
        family = None
        for ax, one in zip(axes.flat, asked, strict=False):
            for label, arrays in drawn.items():
                limits = (0, 100) if one.scale == 100 else (-np.inf, np.inf)
                band(ax, arrays["x"], arrays[key[one.name]], styles[label], label, error, limits)
            ax.set_title(one.label, fontsize=7.5, pad=3)
            if one.scale == 100:
                top = max(np.nanmax(arrays[key[one.name]].mean, initial=0) for arrays in drawn.values())
                ax.set_ylim(-2, 102 if top > 50 else None)
            unit = " (%)" if one.scale == 100 else ""
            ax.set_ylabel(one.family + unit if one.family != family or ax in axes[:, 0] else "", fontsize=7.5)
            family = one.family
        for ax in axes[-1]:
            ax.set_xlabel(x, fontsize=7.5)
        for ax in axes.flat[len(asked) :]:
            ax.set_visible(False)
        legend(figure, axes)
    caption = f"{sentence(seeds_in_words(chosen, error))} {groups_in_words(parts)}{shadowed(values, every)}{lengths(chosen)}"
    return finish(figure, axes, {"runs": drawn, "groups": parts}, caption, title=title)
