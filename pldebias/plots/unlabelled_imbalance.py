"""What unlabelled data give to head and tail, by how imbalanced they are."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import GROUPS, measure, statistic
from pldebias.analysis.comparing.selection import check_classes, check_data, check_truth, select
from pldebias.analysis.comparing.sweeps import gains, ratio_in_words, ratios
from pldebias.plots.paper import PaperFigure, bounds, canvas, finish, group_style, groups_in_words, legend, lengths, seeds_in_words
from pldebias.settings import typed

__all__ = ["unlabelled_imbalance"]


@typed
def unlabelled_imbalance(
    runs, baseline="supervised", *, score="recall", gamma="gamma_u", which="last", groups="tertiles", width="double", error="interval",
    title=None, font=None, backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw the gain of head, medium and tail over a baseline against the imbalance of the unlabelled set, one panel per entry.

    Parameters
    ----------
    runs : sequence, dict or DataFrame
        Runs of several ratios and seeds, those of the baseline among them, as in `pldebias.analysis.comparing.select`.
    baseline : str
        Label (or method) that gains refer to; the same ratio and seed are compared.
    score : {"recall", "precision", "pl_recall", "pl_precision"}
        Of the test set or of the pseudo-labels.
    gamma, which, groups, width, error, title, font, backend
        As in `pldebias.plots.accuracy_gamma`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label]`` is a `Spread` of shape ``[R, 3]`` (percentage points; head, medium, tail) over ``values["ratios"]``.

    Raises
    ------
    Incomparable
        An entry and the baseline have no ratio and seed in common, or data differ by more than the ratio.

    Notes
    -----
    After Yang and Xu (NeurIPS 2020), who ask when unlabelled data help under class imbalance. Above zero they helped.
    """
    vary = (*(("gamma_l", "gamma_u") if gamma == "both" else (gamma,)), "reverse_unlabelled")
    chosen = select(runs, vary=vary)
    if baseline not in chosen:
        raise ValueError(f"baseline must be one of {', '.join(chosen)}; got {baseline!r}")
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    check_data(every, vary=vary)
    wanted = [measure(f"{score}_{group}", every[0]) for group in GROUPS]
    if wanted[0].needs_truth:
        check_truth(every)
    points, places = ratios(every, gamma)
    reference = chosen.pop(baseline)
    if not chosen:
        raise ValueError(f"only the baseline {baseline!r} was selected; add runs to hold against it")

    def of_groups(run) -> np.ndarray:
        return np.array([statistic(one, run, parts, which) for one in wanted])

    drawn = {label: gains(found, reference, places, len(points), of_groups) for label, found in chosen.items()}
    columns = min(len(drawn), 3 if width == "double" else 1)
    rows = -(-len(drawn) // columns)
    figure, axes = canvas(backend, width, 0.6 + 1.9 * rows, font=font, nrows=rows, ncols=columns, sharex=True, sharey=True)
    if figure is not None:
        x = np.arange(len(points))
        for ax, (label, spread) in zip(axes.flat, drawn.items(), strict=False):
            ax.axhline(0, color="#333333", lw=0.7)
            for i, group in enumerate(GROUPS):
                one = type(spread)(*(part[:, i] for part in spread))
                style, there = {**group_style(group), "marker": "os^"[i], "markersize": 3.2}, np.isfinite(one.mean)
                ax.plot(x[there] + 0.1 * (i - 1), one.mean[there], label=group, **style)
                ax.vlines(x + 0.1 * (i - 1), *bounds(one, error), color=style["color"], lw=0.9)
            ax.set_title(label, fontsize=7.5, parse_math=False, pad=3)
            ax.set_xticks(x, [ratio_in_words(point) for point in points])
        for ax in axes[:, 0]:
            told = {
                "recall": "test recall",
                "precision": "test precision",
                "pl_recall": "pseudo-label recall",
                "pl_precision": "pseudo-label precision",
            }
            ax.set_ylabel(f"gain in {told[score]} (points)", fontsize=7.5)
        for ax in axes[-1]:
            ax.set_xlabel("imbalance ratio of the unlabelled set" if gamma == "gamma_u" else "imbalance ratio", fontsize=7.5)
        for ax in axes.flat[len(drawn) :]:
            ax.set_visible(False)
        legend(figure, axes)
    counts = [int(n) for spread in drawn.values() for n in spread.n.ravel() if n]
    caption = f"Difference to {baseline} at the same ratio and seed; {seeds_in_words(counts, error)}. {groups_in_words(parts)}"
    if any(point < 1 for point in points):
        caption += " Ratios below 1: the unlabelled set is reversed."
    caption += lengths({baseline: reference, **chosen})
    return finish(figure, axes, {"runs": drawn, "ratios": np.array(points)}, caption, title=title)
