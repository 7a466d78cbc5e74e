"""What every confidence threshold would let through."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.confidence import threshold_sweep as measure
from pldebias.plots.reliability import SHADES, _heading
from pldebias.plots.style import Drawn
from pldebias.settings import typed

__all__ = ["threshold_sweep"]

DASHES = {"head": "-", "medium": ":", "tail": "--", "all": "-."}
MARKED = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


@typed
def threshold_sweep(run, scheme=None, *, epoch=-1, thresholds=None, title=None, **options) -> Drawn:
    """Draw acceptance (left) and precision of what is accepted (middle) by threshold, and one against the other (right).

    Parameters
    ----------
    run, scheme, epoch, **options
        As in `pldebias.what_if`.
    thresholds : array_like, optional
        0 to 1 by hundredths when None.
    title : str, optional

    Returns
    -------
    Drawn
        ``values`` holds ``thresholds`` ``[T]``, ``accepted``, ``precision``, ``lower``, ``upper`` and ``n`` ``[4, T]`` by group of the
        pseudo-label (head, medium, tail, all), and ``now`` ``[4, 2]``, the method's own acceptance and precision.

    Notes
    -----
    Crosses mark the method's own rule; bands are 95 % Wilson intervals.
    """
    from matplotlib.figure import Figure

    found = measure(run, scheme, epoch=epoch, thresholds=thresholds, **options)
    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    axes = figure.subplots(1, 3)
    for number, name in enumerate(found.names):
        style = {"color": SHADES[name], "ls": DASHES[name], "lw": 1.4}
        axes[0].plot(found.thresholds, found.accepted[number], label=f"called {name}" if name != "all" else name, **style)
        axes[1].fill_between(found.thresholds, found.lower[number], found.upper[number], color=SHADES[name], alpha=0.13, lw=0)
        axes[1].plot(found.thresholds, found.precision[number], **style)
        axes[2].plot(found.accepted[number], found.precision[number], **style)
        axes[2].plot(*found.now[number], "X", color=SHADES[name], ms=7, mec="white", mew=0.7, zorder=4)
    for value in MARKED:
        near = int(np.abs(found.thresholds - value).argmin())
        if np.isfinite(found.precision[2, near]):
            axes[2].plot(found.accepted[2, near], found.precision[2, near], "o", color=SHADES["tail"], ms=2.5)
    labels = (
        ("threshold", "accepted share of the labels"),
        ("threshold", "right of those accepted"),
        ("accepted share", "right of those accepted"),
    )
    for ax, (x, y) in zip(axes, labels, strict=True):
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02))
        ax.set_xlabel(x, fontsize=8)
        ax.set_ylabel(y, fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(color="#eeeeee", lw=0.6)
    axes[0].legend(fontsize=7, frameon=False, loc="lower left")
    figure.suptitle(_heading(found.result) if title is None else title, fontsize=9, x=0.01, ha="left", parse_math=False)
    arrays = {name: getattr(found, name) for name in ("thresholds", "accepted", "precision", "lower", "upper", "n", "now")}
    return Drawn(figure, axes, arrays)
