"""Where two runs differ: the cells of their confusion matrices."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.selection import Incomparable, check_classes, check_data, check_truth, epoch_at, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.paper import PaperFigure, at, canvas, finish, groups_in_words, lengths
from pldebias.plots.style import DIVERGING, colour_map, undefined_hatch
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
    both = select(runs) if other is None else {**select(runs), **{f"{k} ": v for k, v in select(other).items()}}
    if len(both) != 2:
        raise Incomparable(f"a difference needs two entries; got {len(both)}: {', '.join(both)}")
    (first, ones), (second, others) = ((label.strip(), found) for label, found in both.items())
    parts = check_classes([*ones, *others], groups)
    check_data([*ones, *others])
    check_truth([*ones, *others], kind)
    known = {run.seed: run for run in ones}
    pairs = [(known[run.seed], run) for run in others if run.seed in known] or (
        [(ones[0], others[0])] if len(ones) == len(others) == 1 else []
    )
    if not pairs:
        raise Incomparable(
            f"{first} has seeds {[r.seed for r in ones]}, {second} {[r.seed for r in others]}: no seed in common, so no pair"
        )

    def shares(run) -> np.ndarray:
        counts = run.confusion(kind, split, epoch=epoch_at(run, epoch, [*ones, *others])).astype(float)
        total = counts.sum(1 if normalize == "true" else 0, keepdims=True)
        return np.divide(100 * counts, total, out=np.full(counts.shape, np.nan), where=total > 0)[np.ix_(parts.order, parts.order)]

    difference = over_seeds(np.stack([shares(b) - shares(a) for a, b in pairs]))
    clear = np.ones(difference.mean.shape, bool) if len(pairs) == 1 else (difference.low > 0) | (difference.high < 0)
    figure, axes = canvas(backend, width, 3.2 if width == "single" else 6.0, font=font)
    if figure is not None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        ax, k = axes[0, 0], len(parts.order)
        limit = max(5.0, float(np.nanmax(np.abs(difference.mean), initial=0)))
        mappable = ScalarMappable(Normalize(-limit, limit), colour_map(DIVERGING))
        colours = mappable.to_rgba(np.nan_to_num(difference.mean))
        faint = np.array([0.93, 0.93, 0.93, 1.0])
        colours[~clear & (np.abs(difference.mean) >= 0.5)] = faint
        colours[np.isnan(difference.mean)] = 0
        undefined_hatch(ax)
        ax.grid(False)
        ax.imshow(colours, interpolation="nearest")
        for edge in np.cumsum([len(part) for part in parts[:3]])[:-1]:
            if 0 < edge < k:
                ax.axhline(edge - 0.5, color="#333333", lw=0.6)
                ax.axvline(edge - 0.5, color="#333333", lw=0.6)
        if k <= 15:
            for r, c in zip(*np.nonzero(np.abs(np.nan_to_num(difference.mean)) >= 0.5), strict=True):
                dark = colours[r, c, :3] @ (0.2126, 0.7152, 0.0722) < 0.5
                colour = "white" if dark else "#111111" if clear[r, c] else "#777777"
                ax.text(c, r, f"{difference.mean[r, c]:+.0f}".replace("-", "−"), ha="center", va="center", fontsize=5.5, color=colour)
            names = [" ".join(str(ones[0].class_names[c]).split())[:12] for c in parts.order]
            ax.set_xticks(range(k), names, parse_math=False)
            ax.set_yticks(range(k), names, parse_math=False)
            if max(map(len, names)) > 2:
                for text in ax.get_xticklabels():
                    text.set(rotation=45, ha="right", rotation_mode="anchor")
        else:
            ax.set_xticks([])
            ax.set_yticks([])
        ax.tick_params(length=0, pad=2)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("prediction" if kind == "test" else "pseudo-label", fontsize=7.5)
        ax.set_ylabel("true class", fontsize=7.5)
        ax.set_title(f"{second} − {first}", fontsize=7.5, parse_math=False, pad=4)
        bar = figure.colorbar(mappable, ax=ax, fraction=0.045, pad=0.02)
        bar.set_label("percentage points", fontsize=7)
        bar.ax.tick_params(labelsize=6.5, width=0.5, length=2)
        bar.outline.set_linewidth(0.4)
    whole = "true class (rows)" if normalize == "true" else "label (columns)"
    caption = (
        f"{second} minus {first}, shares of the {whole} at {at(epoch, [*ones, *others])} ({kind}, {split}), "
        + ("one pair of runs. " if len(pairs) == 1 else f"mean over {len(pairs)} pairs of seeds; grey: the 95 % interval holds zero. ")
        + groups_in_words(parts)
        + lengths({first: ones, second: others})
    )
    return finish(figure, axes, {"difference": difference, "clear": clear, "order": parts.order}, caption, title=title)
