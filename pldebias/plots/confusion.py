"""One confusion matrix, ordered from head to tail."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.selection import check_truth
from pldebias.plots.style import DIVERGING, SEQUENTIAL, Drawn, beyond, colour_map, new_axes, paint, undefined_hatch
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


def _norm(normalize, scale: str, top: float):
    from matplotlib.colors import LogNorm, Normalize, PowerNorm

    if normalize == "prior":
        return Normalize(-PRIOR_LIMIT, PRIOR_LIMIT)
    low = min(1, top / 2) if normalize is None else top / 1000
    norms = {"linear": lambda: Normalize(0, top), "sqrt": lambda: PowerNorm(0.5, 0, top), "log": lambda: LogNorm(low, top, clip=True)}
    if scale not in norms:
        raise ValueError(f"scale must be one of {tuple(norms)}; got {scale!r}")
    return norms[scale]()


def _text(value: float, normalize) -> str:
    if normalize is None:
        return f"{value:.0f}"
    if normalize == "prior":
        return f"{value:+z.1f}"  # z: no -0.0
    return f"{100 * value:.1f}" if normalize == "all" or value < 0.01 else f"{100 * value:.0f}"


@typed
def confusion(
    run,
    *,
    epoch=-1,
    kind="sweep",
    split="all",
    normalize="true",
    scale="linear",
    groups="tertiles",
    ax=None,
    title=None,
    colourbar=True,
) -> Drawn:
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

    Returns
    -------
    Drawn
        ``values["values"]`` and ``values["counts"]`` of shape ``[K, K]`` in drawing order; ``values["order"]`` the classes.

    Notes
    -----
    Undefined (0/0, or the logarithm of no count) is hatched, an exact zero is white; an arrow at the end of the colour bar says that values
    lie beyond it. Up to 30 classes are labelled with recall
    (right), up to 15 carry numbers, in percent unless ``normalize`` is None or ``"prior"``.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import PercentFormatter

    if normalize not in NORMALIZE:
        raise ValueError(f"normalize must be one of {tuple(NORMALIZE)}; got {normalize!r}")
    run = as_run(run)
    check_truth([run], kind)
    parts = metrics.groups(run.labelled_counts, groups)
    order = parts.order
    counts = np.asarray(run.confusion(kind, split, epoch=epoch))
    values, recall = _cells(counts, normalize)[np.ix_(order, order)], metrics.recall(counts)[order]
    # Colours mean the same at every epoch of the run.
    top = 1.0 if normalize in ("true", "pred") else float(run.confusion(kind, split).max()) or 1.0
    if normalize == "all":
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0

    ax = new_axes(ax, (5.0, 4.4))
    K = len(order)
    mappable = ScalarMappable(_norm(normalize, scale, top), colour_map(DIVERGING if normalize == "prior" else SEQUENTIAL))
    undefined_hatch(ax)
    colours = paint(values, mappable)
    ax.imshow(colours, interpolation="nearest")
    for edge in np.cumsum([len(part) for part in parts[:3]])[:-1]:
        if 0 < edge < K:
            ax.axhline(edge - 0.5, color="#333333", lw=0.9)
            ax.axvline(edge - 0.5, color="#333333", lw=0.9)
    if K <= 15:
        for r, c in zip(*np.nonzero(np.isfinite(values) & (values != 0)), strict=True):
            dark = colours[r, c, :3] @ (0.2126, 0.7152, 0.0722) < 0.5
            ax.text(c, r, _text(values[r, c], normalize), ha="center", va="center", fontsize=6.5, color="white" if dark else "#111111")
    names = [run.class_names[c] for c in order]
    if K <= 30:
        ax.set_xticks(range(K), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7, parse_math=False)
        ax.set_yticks(range(K), names, fontsize=7, parse_math=False)
        for row, value in enumerate(recall):
            ax.text(K - 0.3, row, "–" if np.isnan(value) else f"{100 * value:.0f}", fontsize=7, va="center")
        ax.text(K - 0.3, -0.75, "recall %", fontsize=7, va="bottom", ha="center")
    else:
        ax.set_xticks([])
        ax.set_yticks([])
    ax.tick_params(length=0)
    ax.set_xlabel("prediction (columns)" if kind == "test" else "pseudo-label (columns)", fontsize=8)
    ax.set_ylabel("true class (rows)", fontsize=8)
    shown = int(np.asarray(run.epochs)[-1]) if epoch == -1 else epoch
    if title is None:
        title = f"{run.name}: epoch {shown}, {kind}, {split}, n = {int(counts.sum()):,}"
    ax.set_title(title, fontsize=9, loc="left", parse_math=False)
    if colourbar:
        clipped = beyond(values[values != 0] if scale == "log" else values, mappable.norm.vmin, mappable.norm.vmax)
        bar = ax.figure.colorbar(mappable, ax=ax, extend=clipped, fraction=0.04, pad=0.09 if K <= 30 else 0.02)
        bar.set_label(f"{NORMALIZE[normalize]}", fontsize=8)
        if normalize not in (None, "prior"):
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))  # as in the cells
        bar.ax.tick_params(labelsize=7)
    return Drawn(ax.figure, ax, {"values": values, "counts": counts[np.ix_(order, order)], "order": order})
