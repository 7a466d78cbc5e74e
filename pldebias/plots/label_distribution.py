"""How pseudo-labels are spread over the classes, against the truth."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import Incomparable, check_classes, epoch_at, select
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

__all__ = ["label_distribution"]


@typed
def label_distribution(
    runs,
    *,
    epoch=-1,
    kind="sweep",
    split="all",
    scale="log",
    groups="tertiles",
    width="single",
    error="interval",
    title=None,
    font=None,
    backend="matplotlib",
) -> PaperFigure:
    """Draw the share of pseudo-labels that each class received, with the true shares as bars.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    epoch : int
        Recorded epoch; -1 is the last of each run.
    kind : {"sweep", "visits", "test"}
    split : {"all", "accepted", "rejected"}
    scale : {"log", "linear"}
        Of the shares. On a log scale a class that received no label is marked at the lower edge.
    groups, width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label]["share"]`` and ``["true"]`` are `Spread` of shape ``[K]`` (percent, class order), ``["tv"]`` and ``["kl"]``
        those of the distance to the truth.

    Raises
    ------
    Incomparable
        A run whose unlabelled set has no known classes: there is no truth to hold its labels against.

    Notes
    -----
    After Figure 2 of DebiasPL (Wang et al., CVPR 2022). Bars are the truth of the first entry; entries with another truth get a note.
    """
    if scale not in ("log", "linear"):
        raise ValueError(f"scale must be 'log' or 'linear'; got {scale!r}")
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    drawn: dict = {}
    for label, found in chosen.items():
        for run in found:
            if kind != "test" and run.unlabelled_counts is None:
                raise Incomparable(
                    f"{run.name} ({run.path}): the true classes of its unlabelled samples are not known, so its labels have no truth "
                    "beside them; run.pseudo_counts() has what was given, and kind='test' has a truth"
                )
        matrices = np.stack([run.confusion(kind, split, epoch=epoch_at(run, epoch, every)) for run in found]).astype(float)
        total = matrices.sum((-2, -1))[:, None]
        # Nothing accepted yet: a share of nothing is undefined.
        with np.errstate(invalid="ignore"):
            given, true = 100 * matrices.sum(-2) / total, 100 * matrices.sum(-1) / total
        bias = metrics.bias_indices(matrices, parts)
        drawn[label] = {"share": over_seeds(given), "true": over_seeds(true), "tv": over_seeds(100 * bias.tv), "kl": over_seeds(bias.kl)}
    truths = [arrays["true"].mean for arrays in drawn.values()]
    one_truth = all(np.allclose(truth, truths[0], equal_nan=True) for truth in truths)
    figure, axes = canvas(backend, width, 2.6, font=font)
    if figure is not None:
        ax, k = axes[0, 0], len(parts.order)
        class_axis(ax, every[0].class_names, parts)
        ax.bar(
            np.arange(k), truths[0][parts.order], width=0.85, color="#dcdcdc", edgecolor="#8c8c8c", linewidth=0.5, label="truth", zorder=1
        )
        styles = line_styles(list(chosen))
        floor = 0.0
        if scale == "log":
            positive = np.concatenate(
                [[value for value in arrays[key].mean if value > 0] for arrays in drawn.values() for key in ("share", "true")]
            )
            floor = positive.min(initial=100) / 2.5  # neither truth nor labels may be there
            ax.set_yscale("log")
            ax.set_ylim(floor, None)
        shift = np.linspace(-0.2, 0.2, len(chosen)) if len(chosen) > 1 else np.zeros(1)
        for move, (label, arrays) in zip(shift, drawn.items(), strict=True):
            share, x = arrays["share"], np.arange(k) + move
            name = f"{label} (TV {float(arrays['tv'].mean):.0f} %)"
            ax.plot(
                x, np.maximum(share.mean[parts.order], floor), label=name, **{**styles[label], "linewidth": 0.8}, clip_on=False, zorder=3
            )
            low, high = (np.maximum(bound[parts.order], floor) for bound in bounds(share, error))
            ax.vlines(x, low, high, color=styles[label]["color"], lw=0.9, zorder=2)
        ax.set_ylabel("share of test predictions (%)" if kind == "test" else "share of pseudo-labels (%)", fontsize=7.5)
        legend(figure, axes, list(chosen))
    caption = (
        f"Labels given ({kind}, {split}) at {at(epoch, every)} against the truth (bars); "
        f"{seeds_in_words(chosen, error)}. TV: total variation distance to the truth. {groups_in_words(parts)}"
        + ("" if one_truth else " The entries differ in their truth; bars are those of the first.")
        + lengths(chosen)
    )
    return finish(figure, axes, {"runs": drawn, "order": parts.order}, caption, title=title)
