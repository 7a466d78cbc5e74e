"""Distribution of pseudo-labels over the classes, against the truth."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.frame import Frame, one_of
from pldebias.plots.marks import Axis, Panel
from pldebias.plots.result import PaperFigure
from pldebias.settings import typed

__all__ = ["label_distribution"]


@typed
def label_distribution(
    runs, *, epoch=-1, kind="sweep", split="all", scale="log", groups="tertiles", width="single", error="interval", title=None, font=None,
    backend="matplotlib",
) -> PaperFigure:  # fmt: skip
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
    one_of("scale", scale, ("log", "linear"))
    frame = Frame(runs, groups, error=error)
    if kind != "test":
        frame.need_unlabelled_truth(
            "so its labels have no truth beside them; run.pseudo_counts() has what was given, and kind='test' has a truth"
        )
    drawn: dict = {}
    for label, found in frame.chosen.items():
        matrices = frame.matrices(found, kind, split, epoch)
        total = matrices.sum((-2, -1))[:, None]
        with np.errstate(invalid="ignore"):  # nothing accepted yet: a share of nothing is undefined
            given, true = 100 * matrices.sum(-2) / total, 100 * matrices.sum(-1) / total
        bias = metrics.bias_indices(matrices, frame.groups)
        drawn[label] = {"share": over_seeds(given), "true": over_seeds(true), "tv": over_seeds(100 * bias.tv), "kl": over_seeds(bias.kl)}
    truths = [arrays["true"].mean for arrays in drawn.values()]
    one_truth = all(np.allclose(truth, truths[0], equal_nan=True) for truth in truths)
    names = {label: f"{label} (TV {float(arrays['tv'].mean):.0f} %)" for label, arrays in drawn.items()}
    lines = frame.by_class({label: arrays["share"] for label, arrays in drawn.items()}, names=names)
    series = lines[-len(drawn) :]
    limits = _limits(series, truths, scale)
    for line in series:
        line.limits, line.floor = limits, limits[0]
    y = Axis(f"share of {'test predictions' if kind == 'test' else 'pseudo-labels'} (%)", limits=limits, log=scale == "log")
    caption = frame.caption(
        f"Labels given ({kind}, {split}) at {frame.at(epoch)} against the truth (bars); {frame.seeds()}. "
        "TV: total variation distance to the truth.",
        "" if one_truth else "The entries differ in their truth; bars are those of the first.",
    )
    panel = Panel([frame.truth_bars(truths[0]), *lines], x=frame.class_axis(), y=y)
    values = {"runs": drawn, "order": frame.order}
    return frame.finish([panel], values, caption, height=2.6, width=width, title=title, font=font, backend=backend, legend=True)


def _limits(lines, truths, scale: str) -> tuple[float, float]:
    """Ends of the axis: room over every share and interval, and on a log scale a lower edge for classes without any label."""
    ends = [np.concatenate([line.y, *([line.high] if line.has_ends else [])]) for line in lines]
    shown = np.concatenate([*ends, *truths])
    positive = np.concatenate([*(line.y for line in lines), *truths])
    top, positive = np.nanmax(shown, initial=0), positive[positive > 0]
    if scale == "linear":
        return 0.0, 1.06 * top or 1.0
    return positive.min(initial=100) / 2.5, 1.3 * min(top, 100) or 100.0  # neither truth nor labels may be there
