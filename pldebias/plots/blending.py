"""What blending does: recall and precision of the linear, the semantic and the blended pseudo-label, class by class."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import along, check_classes, check_truth, clock, epoch_at, epoch_row, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.analysis.relabelling.blending import KINDS
from pldebias.analysis.relabelling.blending import blending as find
from pldebias.plots.paper import (
    PaperFigure,
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

__all__ = ["blending"]

PANELS = ("recall", "precision", "weight")


@typed
def blending(
    runs, *, epoch=-1, split="all", groups="tertiles", width="double", error="interval", title=None, font=None, backend="matplotlib"
) -> PaperFigure:
    """Draw recall and precision of three pseudo-labels of the same network, and the weight that blends two of them into the third.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        Of a method with ``daso``, as in `pldebias.analysis.comparing.select`; a list under one label is its seeds. Each entry is a row of
        panels (a column of them in the single width).
    epoch : int
        Snapshot epoch (``run.logged("logits")``) of the first run, and in others the one at the same iteration; -1 is the last of each.
    split : {"all", "accepted"}
        ``"accepted"``: those whose own confidence passes the method's threshold.
    groups, width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label][kind]["recall"]`` and ``["precision"]`` are `Spread` of shape ``[K]`` in class order (percent) for the kinds
        ``"linear"``, ``"semantic"`` and ``"blended"``; ``values["runs"][label]["weight"]`` that of the blending weight (0 to 1, NaN if it
        was not logged); ``values["epochs"][label]`` the epochs drawn.

    Raises
    ------
    NotLogged
        A run does not blend, or kept no outputs at this epoch.
    MethodError
        Its labels cannot be made again from what it kept; nothing is drawn of it.
    Incomparable
        The true classes of its unlabelled samples are unknown.

    Notes
    -----
    The comparison of DASO (Oh et al., CVPR 2022), within one training: its linear pseudo-label is precise for the tail and misses most of
    it, the semantic one finds the tail and overshoots, and the blend takes the semantic one where the linear one is given too often.
    """
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    check_truth(every)
    drawn, epochs, unit, stands = {}, {}, clock(every), set()
    for label, runs_of in chosen.items():
        found = [find(run, epoch_at(run, epoch, every)) for run in runs_of]
        stands |= {int(along(run, unit)[epoch_row(run, one.epoch)]) for run, one in zip(runs_of, found, strict=True)}
        epochs[label] = [one.epoch for one in found]
        drawn[label] = {"weight": over_seeds(np.stack([one.weight for one in found]))}
        for kind in KINDS:
            matrices = np.stack([one.confusion(kind, split) for one in found])
            scores = {"recall": metrics.recall(matrices), "precision": metrics.precision(matrices)}
            drawn[label][kind] = {name: over_seeds(100 * values) for name, values in scores.items()}
    told = " and ".join(f"{place:,}" for place in sorted(stands))
    caption = (
        f"Linear, semantic and blended pseudo-labels (sweep, {split}) of one network at {unit} {told}, and the "
        f"weight of the semantic one by linearly predicted class; {seeds_in_words(chosen, error)}. {groups_in_words(parts)} "
        f"No mark: undefined.{lengths(chosen)}"
    )
    entries, single = len(chosen), width == "single"
    grid = {"nrows": 3 * entries, "ncols": 1} if single else {"nrows": entries, "ncols": 3}
    figure, axes = canvas(backend, width, (1.5 * 3 if single else 1.75) * entries + 0.6, font=font, **grid)
    if figure is not None:
        styles, k = line_styles(KINDS), len(parts.order)
        shift = np.linspace(-0.22, 0.22, 3) if k <= 30 else np.zeros(3)
        panels = axes.reshape(entries, 3)
        for number, (row, (label, arrays)) in enumerate(zip(panels, drawn.items(), strict=True)):
            last = number == entries - 1
            for ax, what in zip(row, PANELS, strict=True):
                class_axis(ax, every[0].class_names, parts, names=last and (what == "weight" or not single))
                if k > 30 and not last:
                    ax.set_xlabel("")
                if what == "weight":
                    _weights(ax, arrays["weight"], parts.order, error)
                    continue
                for move, kind in zip(shift, KINDS, strict=True):
                    spread, x = arrays[kind][what], np.arange(k) + move
                    style = {**styles[kind], "linewidth": 0.7, **({"marker": ""} if k > 30 else {})}
                    ax.plot(x, spread.mean[parts.order], label=kind, **style)
                    low, high = (np.clip(bound[parts.order], 0, 100) for bound in bounds(spread, error))
                    ax.vlines(x, low, high, color=style["color"], lw=0.9)
                ax.set_ylim(-3, 103)
                ax.set_ylabel(f"{what} (%)", fontsize=7.5)
            if entries > 1:
                row[0].set_title(label, fontsize=7.5, loc="left", pad=13, parse_math=False)
        legend(figure, axes)
    return finish(figure, axes, {"runs": drawn, "order": parts.order, "epochs": epochs}, caption, title=title)


def _weights(ax, spread, order, error: str) -> None:
    """Bars of the blending weight; where it was not logged, a note."""
    ax.set_ylabel("semantic weight", fontsize=7.5)
    ax.set_ylim(-0.03, 1.03)
    if np.isnan(spread.mean).all():
        ax.text(0.5, 0.5, "weight not logged", transform=ax.transAxes, ha="center", va="center", fontsize=7, color="#666666")
        return
    x = np.arange(len(order))
    ax.bar(x, spread.mean[order], width=0.7, color="#c9c9c9", edgecolor="#7a7a7a", linewidth=0.5)
    ax.vlines(x, *(np.clip(bound[order], 0, 1) for bound in bounds(spread, error)), color="#333333", lw=0.9)
