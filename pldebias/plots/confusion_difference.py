"""Difference of two confusion matrices."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.selection import Incomparable, check_data, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.frame import Frame, diverging, matrix, one_of, percent_of
from pldebias.plots.result import PaperFigure
from pldebias.settings import typed

__all__ = ["confusion_difference"]


@typed
def confusion_difference(
    runs, other=None, *, epoch=-1, kind="sweep", split="all", normalize="true", groups="tertiles", width="single", title=None, font=None,
    backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw the second entry minus the first, in percentage points: orange cells got more, blue ones less.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        The first entry, or both (a dict of two), as in `pldebias.analysis.comparing.select`.
    other : Run, path or sequence, optional
        The second entry.
    epoch : int
        Recorded epoch of the first entry, and in the other the one at the same iteration; -1 is the last of each run.
    kind : {"sweep", "visits", "test"}
    split : {"all", "accepted", "rejected"}
    normalize : {"true", "pred"}
        Shares of rows (the diagonal is the gain in recall) or of columns (precision).
    groups, width, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["difference"]`` is a `Spread` of shape ``[K, K]`` in drawing order over pairs of equal seed; ``values["clear"]`` says
        which cells' interval leaves zero out (all, with one pair).

    Raises
    ------
    Incomparable
        There are not two entries, they have no seed in common, or their data differ.

    Notes
    -----
    With two or more pairs, cells whose 95 % interval holds zero are grey: with so few seeds their difference says nothing.
    """
    one_of("normalize", normalize, ("true", "pred"))
    both = select(runs) if other is None else {**select(runs), **{f"{k} ": v for k, v in select(other).items()}}
    if len(both) != 2:
        raise Incomparable(f"a difference needs two entries; got {len(both)}: {', '.join(both)}")
    frame = Frame(both, groups, truth=kind)
    check_data(frame.every)
    (first, ones), (second, others) = ((label.strip(), found) for label, found in both.items())
    known = {run.seed: run for run in ones}
    pairs = [(known[run.seed], run) for run in others if run.seed in known] or (
        [(ones[0], others[0])] if len(ones) == len(others) == 1 else []
    )
    if not pairs:
        seeds = f"{first} has seeds {[r.seed for r in ones]}, {second} {[r.seed for r in others]}"
        raise Incomparable(f"{seeds}: no seed in common, so no pair")
    ordered = np.ix_(range(len(pairs)), frame.order, frame.order)
    before, after = (percent_of(frame.matrices(list(found), kind, split, epoch)[ordered], normalize) for found in zip(*pairs, strict=True))
    difference = over_seeds(after - before)
    mean = difference.mean
    clear = np.ones(mean.shape, bool) if len(pairs) == 1 else (difference.low > 0) | (difference.high < 0)
    scale = diverging(mean, max(5.0, float(np.nanmax(np.abs(mean), initial=0))), "percentage points")
    interval = {} if len(pairs) == 1 else {"low": difference.low, "high": difference.high}
    panel = matrix(
        mean, frame.names(12), frame.groups, scale, faint=~clear & (np.abs(mean) >= 0.5), unit=" points", font=5.5, bar=True,
        text=lambda value: f"{value:+.0f}".replace("-", "−") if abs(value) >= 0.5 else "", **interval,
        labels=("prediction" if kind == "test" else "pseudo-label", "true class"),
    )  # fmt: skip
    panel.title, panel.pad = f"{second} − {first}", 4
    whole = "true class (rows)" if normalize == "true" else "label (columns)"
    pairing = "one pair of runs" if len(pairs) == 1 else f"mean over {len(pairs)} pairs of seeds; grey: the 95 % interval holds zero"
    told = f"{second} minus {first}, shares of the {whole} at {frame.at(epoch)} ({kind}, {split}), {pairing}."
    caption = frame.caption(told, chosen={first: ones, second: others})
    values = {"difference": difference, "clear": clear, "order": frame.order}
    height = 3.2 if width == "single" else 6.0
    return frame.finish([panel], values, caption, height=height, width=width, title=title, font=font, backend=backend)
