"""Gains of head and tail from unlabelled data, by their imbalance."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import GROUPS, measure, statistic
from pldebias.analysis.comparing.selection import check_truth
from pldebias.analysis.comparing.sweeps import gains, ratio_in_words, ratios
from pldebias.plots.accuracy_gamma import RATIOS
from pldebias.plots.frame import Frame, one_of
from pldebias.plots.marks import Axis, Panel, Series, rules
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import group_style
from pldebias.settings import typed

__all__ = ["unlabelled_imbalance"]

SCORES = {
    "recall": "test recall",
    "precision": "test precision",
    "pl_recall": "pseudo-label recall",
    "pl_precision": "pseudo-label precision",
}


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
    one_of("gamma", gamma, RATIOS)
    one_of("score", score, SCORES)
    vary = (*(("gamma_l", "gamma_u") if gamma == "both" else (gamma,)), "reverse_unlabelled")
    frame = Frame(runs, groups, vary=vary, error=error)
    one_of("baseline", baseline, frame.chosen)
    wanted = [measure(f"{score}_{group}", frame.every[0]) for group in GROUPS]
    if wanted[0].needs_truth:
        check_truth(frame.every)
    points, places = ratios(frame.every, gamma)
    entries = {label: found for label, found in frame.chosen.items() if label != baseline}
    if not entries:
        raise ValueError(f"only the baseline {baseline!r} was selected; add runs to hold against it")

    def of_groups(run) -> np.ndarray:
        return np.array([statistic(one, run, frame.groups, which) for one in wanted])

    reference = frame.chosen[baseline]
    drawn = {label: gains(found, reference, places, len(points), of_groups) for label, found in entries.items()}
    columns = min(len(drawn), 3 if width == "double" else 1)
    rows, panels = -(-len(drawn) // columns), []
    x, texts = np.arange(len(points)), [ratio_in_words(point) for point in points]
    for number, (label, spread) in enumerate(drawn.items()):
        marks: list = [rules([0])]
        for i, group in enumerate(GROUPS):
            there = np.flatnonzero(np.isfinite(spread.mean[:, i]))
            told = {"shift": 0.1 * (i - 1), "texts": [texts[i] for i in there]}
            style = {**group_style(group), "marker": "os^"[i], "markersize": 4}
            marks.append(
                Series.of(type(spread)(*(part[:, i] for part in spread)), x[there], error, there, label=group, style=style, **told)
            )
        told = f"gain in {SCORES[score]} (points)" if number % columns == 0 else ""
        below = RATIOS[gamma] if number >= columns * (rows - 1) else ""
        panels.append(Panel(marks, label, Axis(below, x, texts, slant=False), Axis(told)))
    caption = frame.caption(
        f"Difference to {baseline} at the same ratio and seed; {frame.seeds(int(n) for s in drawn.values() for n in s.n.ravel() if n)}.",
        "Ratios below 1: the unlabelled set is reversed." if min(points) < 1 else "",
        chosen={baseline: reference, **entries},
    )
    grid = {"shape": (rows, columns), "height": 0.6 + 1.9 * rows, "share": "xy"}
    values = {"runs": drawn, "ratios": np.array(points)}
    return frame.finish(panels, values, caption, width=width, title=title, font=font, backend=backend, **grid)
