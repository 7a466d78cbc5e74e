"""Confidence against accuracy of pseudo-labels."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.relabelling.confidence import reliability as measure
from pldebias.plots.style import GROUPS, Drawn
from pldebias.settings import typed

__all__ = ["reliability"]

SHADES = {**GROUPS, "all": "#333333"}


@typed
def reliability(run, scheme=None, *, epoch=-1, bins=10, title=None, **options) -> Drawn:
    """Draw reliability diagrams of the pseudo-labels called head, medium and tail, and of all.

    Parameters
    ----------
    run, scheme, epoch, **options
        As in `pldebias.what_if`; ``scheme=None`` takes the labels that were logged.
    bins : int, default 10
    title : str, optional

    Returns
    -------
    Drawn
        ``values`` holds ``n``, ``confidence``, ``accuracy``, ``lower`` and ``upper`` of shape ``[4, B]`` and ``ece`` of shape ``[4]``.

    Notes
    -----
    Groups are of the pseudo-label, which is what a threshold can act on. Below the diagonal the network is surer than it is right. Vertical
    lines are 95 % Wilson intervals; grey bars say how many samples a bin has, relative to the fullest.
    """
    from matplotlib.figure import Figure

    found = measure(run, scheme, epoch=epoch, bins=bins, **options)
    figure = Figure(figsize=(8.4, 2.8), layout="constrained")
    axes = figure.subplots(1, 4, sharey=True)
    for number, (ax, name) in enumerate(zip(axes, found.names, strict=True)):
        n = found.n[number]
        ax.bar(found.edges[:-1], 0.25 * n / max(n.max(), 1), np.diff(found.edges), align="edge", color="#e3e6e9", zorder=0)
        ax.plot([0, 1], [0, 1], color="#999999", lw=0.8, ls="--", zorder=1)
        x = found.confidence[number]
        ax.vlines(x, found.lower[number], found.upper[number], color=SHADES[name], lw=1, alpha=0.6)
        ax.plot(x, found.accuracy[number], "o-", color=SHADES[name], ms=3.5, lw=1.2)
        ece = "–" if np.isnan(found.ece[number]) else f"{100 * found.ece[number]:.0f} %"
        ax.set_title(f"{'called ' if name != 'all' else ''}{name}\nn = {n.sum():,}, ECE {ece}", fontsize=8, loc="left")
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        ax.set_xlabel("confidence", fontsize=8)
        ax.tick_params(labelsize=7)
    axes[0].set_ylabel("share that is right", fontsize=8)
    result = found.result
    figure.suptitle(_heading(result) if title is None else title, fontsize=9, x=0.01, ha="left", parse_math=False)
    arrays = {name: getattr(found, name) for name in ("n", "confidence", "accuracy", "lower", "upper", "ece", "edges")}
    return Drawn(figure, axes, arrays)


def _heading(result) -> str:
    as_logged = result.scheme is None and not result.settings
    what = "" if as_logged else f", what if {result.title} ({result.sentence})"
    return f"{result.run.name}: epoch {result.epoch}, sweep{what}"
