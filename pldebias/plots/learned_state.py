"""What a scheme learned for every class: SEVAL's offsets and thresholds, blend weights, margins ..."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import GROUPS
from pldebias.analysis.comparing.selection import along, check_classes, clock, common_epochs, epoch_at, epoch_row, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.paper import (
    PaperFigure,
    at,
    bounds,
    canvas,
    class_axis,
    finish,
    group_style,
    groups_in_words,
    legend,
    lengths,
    line_styles,
    seeds_in_words,
    sentence,
)
from pldebias.runs import NotLogged
from pldebias.settings import typed

__all__ = ["learned_state"]


@typed
def learned_state(
    runs, series=None, *, epoch=-1, groups="tertiles", width="double", error="interval", title=None, font=None, backend="matplotlib"
) -> PaperFigure:
    """Draw the state that a scheme logged: per class at one epoch, and the mean of head, medium and tail over the training.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    series : str or sequence of str, optional
        Names such as ``"seval/offsets"``. Default: all that the first run logged, at most three; the caption names the others.
    epoch : int
        Recorded epoch of the first run, and in others the one at the same iteration; -1 is the last of each run.
    groups, width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label][name]["classes"]`` is a `Spread` of shape ``[K]``, ``["head"]``, ``["medium"]`` and ``["tail"]`` of shape
        ``[E]``; NaN before the scheme had learned anything.

    Raises
    ------
    NotLogged
        A run has no such series; the message lists what it has.
    Incomparable
        Seeds under one label were recorded at different epochs.

    Notes
    -----
    After SEVAL (Li et al., 2024), which shows learned offsets and thresholds.
    """
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    names = [series] if isinstance(series, str) else list(every[0].series[:3] if series is None else series)
    if not names:
        raise NotLogged(f"{every[0].name} logged no state of a scheme; methods such as fixmatch+seval or fixmatch+debiaspl do")
    drawn, unit = {}, clock(every)
    for label, found in chosen.items():
        epochs = common_epochs(label, found)
        drawn[label] = {}
        for name in names:
            cube = np.stack([run.state(name) for run in found])
            drawn[label][name] = {
                "classes": over_seeds(cube[:, epoch_row(found[0], epoch_at(found[0], epoch, every))]),
                "epochs": epochs,
                "x": along(found[0], unit),
            }
            for group, members in zip(GROUPS, parts, strict=False):
                drawn[label][name][group] = over_seeds(cube[..., members].mean(-1) if len(members) else np.full(cube.shape[:2], np.nan))
    rows = len(names)
    figure, axes = canvas(backend, width, 0.5 + 1.75 * rows, font=font, nrows=rows, ncols=2, width_ratios=(1.25, 1))
    if figure is not None:
        styles, longest = line_styles(list(chosen)), max(drawn, key=lambda label: drawn[label][names[0]]["x"][-1])
        k = len(parts.order)
        shift = np.linspace(-0.2, 0.2, len(chosen)) if len(chosen) > 1 else np.zeros(1)
        for i, (name, (left, right)) in enumerate(zip(names, axes, strict=True)):
            class_axis(left, every[0].class_names, parts, names=i == rows - 1)
            left.set_xlabel("")
            for move, (label, arrays) in zip(shift, drawn.items(), strict=True):
                spread, x = arrays[name]["classes"], np.arange(k) + move
                left.plot(x, spread.mean[parts.order], label=label, **{**styles[label], "linewidth": 0.7})
                left.vlines(x, *(bound[parts.order] for bound in bounds(spread, error)), color=styles[label]["color"], lw=0.9)
                # Several entries keep their colours, and groups are told by dash alone.
                _groups(right, arrays[name], error, None if len(drawn) == 1 else styles[label]["color"], named=i == 0 and label == longest)
            left.set_ylabel(name, fontsize=7.5, parse_math=False)
            right.set_xlabel(unit if i == rows - 1 else "", fontsize=7.5)
        legend(figure, axes)
    left_out = [] if series is not None else list(every[0].series[len(names) :])
    caption = (
        f"Left: every class at {at(epoch, every)}; right: mean of each group over the training. "
        f"{sentence(seeds_in_words(chosen, error))} {groups_in_words(parts)}"
        + lengths(chosen)
        + (f" Logged too, and not shown: {', '.join(left_out)}." if left_out else "")
    )
    return finish(figure, axes, {"runs": drawn, "order": parts.order}, caption, title=title)


def _groups(ax, arrays: dict, error: str, colour: str | None, named: bool) -> None:
    """Means of head, medium and tail over the training; each line's end is named, if asked for."""
    for group in GROUPS:
        spread, style = arrays[group], group_style(group)
        if colour is not None:
            style |= {"color": colour, "linewidth": 0.9}
        ax.plot(arrays["x"], spread.mean, **style)
        ax.fill_between(arrays["x"], *bounds(spread, error), color=style["color"], alpha=0.16 if colour is None else 0.08, linewidth=0)
        defined = np.flatnonzero(np.isfinite(spread.mean))
        if len(defined) and named:
            end = (arrays["x"][defined[-1]], spread.mean[defined[-1]])
            ax.annotate(group, end, xytext=(3, 0), textcoords="offset points", fontsize=6.5, va="center", annotation_clip=False)
