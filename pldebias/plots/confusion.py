"""One confusion matrix, ordered from head to tail."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import check_truth
from pldebias.plots.frame import MOST_NAMES, diverging, finish, matrix, one_of, sentence, short
from pldebias.plots.marks import Plan, Text
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import Scale, beyond
from pldebias.runs.run import as_run
from pldebias.settings import typed

__all__ = ["confusion"]

NORMALIZE = {
    None: "count",
    "true": "share of the true class (row)",
    "pred": "share of the label's bearers (column)",
    "all": "share of all",
    "prior": "log2(count / expected from the margins)",
}
PRIOR_LIMIT = 4


def _cells(counts: np.ndarray, normalize) -> np.ndarray:
    """scikit-learn's ``normalize``, with NaN for 0/0, and ``"prior"``: association beyond prevalence."""
    counts = counts.astype(np.float64)
    rows, columns, total = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True), counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return {None: lambda: counts, "true": lambda: counts / rows, "pred": lambda: counts / columns, "all": lambda: counts / total,
                "prior": lambda: np.log2(counts * total / (rows * columns))}[normalize]()  # fmt: skip


def _scale(values: np.ndarray, normalize, kind: str, most: int) -> Scale:
    if normalize == "prior":
        return diverging(values, PRIOR_LIMIT, NORMALIZE[normalize])
    top = {"all": float(np.nanmax(values, initial=0)) or 1.0, None: float(most) or 1.0}.get(normalize, 1.0)
    low = 0 if kind != "log" else min(1, top / 2) if normalize is None else top / 1000
    clipped = beyond(values[values != 0] if kind == "log" else values, low, top)
    return Scale(low, top, NORMALIZE[normalize], kind, percent=normalize is not None, clipped=clipped)


def _text(value: float, normalize) -> str:
    if value == 0:
        return ""
    if normalize is None:
        return f"{value:.0f}"
    if normalize == "prior":
        return f"{value:+z.1f}"  # z: no -0.0
    return f"{100 * value:.1f}" if normalize == "all" or value < 0.01 else f"{100 * value:.0f}"


@typed
def confusion(
    run, *, epoch=-1, kind="sweep", split="all", normalize="true", scale="linear", groups="tertiles", ax=None, title=None, colourbar=True,
    backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw the matrix of one epoch: true class in rows, pseudo-label or prediction in columns.

    Parameters
    ----------
    run : Run or path
    epoch : int
        Recorded epoch; -1 is the last.
    kind : {"visits", "sweep", "test"}
    split : {"all", "accepted", "rejected"}
    normalize : {"true", "pred", "all", "prior", None}
        scikit-learn's words; ``"prior"`` is log2(count / count expected from the margins).
    scale : {"linear", "sqrt", "log"}
        Of the colours; ``"prior"`` has its own.
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure.
    title : str, optional
        Default: the run, the epoch, the kind and the split.
    colourbar : bool
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["values"]`` and ``values["counts"]`` of shape ``[K, K]`` in drawing order; ``values["order"]`` the classes.

    Notes
    -----
    Undefined (0/0, or the logarithm of no count) is hatched, an exact zero is white; an arrow at the end of the colour bar says that values
    lie beyond it. Up to 30 classes are labelled with recall
    (right), up to 15 carry numbers, in percent unless ``normalize`` is None or ``"prior"``.
    """
    one_of("normalize", normalize, NORMALIZE)
    one_of("scale", scale, ("linear", "sqrt", "log"))
    run = as_run(run)
    check_truth([run], kind)
    parts = metrics.groups(run.labelled_counts, groups)
    order, k = parts.order, len(parts.order)
    counts = np.asarray(run.confusion(kind, split, epoch=epoch))
    ordered = np.ix_(order, order)
    most = run.confusion(kind, split).max() if normalize is None else 1  # colours mean the same at every epoch of the run
    values, recall = _cells(counts, normalize)[ordered], metrics.recall(counts)[order]
    panel = matrix(
        values, [short(run.class_names[c]) for c in order], parts, _scale(values, normalize, scale, most), counts=counts[ordered],
        text=lambda value: _text(value, normalize), unit=f" ({NORMALIZE[normalize]})", bar=colourbar,
        labels=("prediction (columns)" if kind == "test" else "pseudo-label (columns)", "true class (rows)"),
    )  # fmt: skip
    if k <= MOST_NAMES:
        panel.marks += [Text(1.02, r, "–" if np.isnan(v) else f"{100 * v:.0f}", align="left", panel="x") for r, v in enumerate(recall)]
        panel.marks.append(Text(1.02, 1.02, "recall %", align="left", above=True, panel="xy"))
    shown = int(np.asarray(run.epochs)[-1]) if epoch == -1 else epoch
    panel.title = f"{run.name}: epoch {shown}, {kind}, {split}, n = {int(counts.sum()):,}" if title is None else title
    panel.left, panel.pad, panel.size, panel.frame = True, 14.0 if k <= MOST_NAMES else 5.0, 9.0, True
    caption = f"{sentence(NORMALIZE[normalize])} {sentence(parts.rule)} Hatched: undefined. White: an exact zero."
    arrays = {"values": values, "counts": counts[ordered], "order": order}
    return finish(Plan([panel], (5.0, 4.4), squeeze=True), arrays, caption, backend=backend, ax=ax)
