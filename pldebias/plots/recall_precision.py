"""Recall and precision of pseudo-labels, class by class."""

from __future__ import annotations

from pldebias import metrics
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.frame import Frame
from pldebias.plots.marks import Axis, Panel
from pldebias.plots.result import PaperFigure
from pldebias.settings import typed

__all__ = ["recall_precision"]

SCORES = {"recall": metrics.recall, "precision": metrics.precision}


@typed
def recall_precision(
    runs, *, epoch=-1, kind="sweep", split="all", groups="tertiles", width="double", error="interval", title=None, font=None,
    backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw recall and precision of every class, head to tail, for one run or several.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    epoch : int
        Recorded epoch; -1 is the last of each run.
    kind : {"sweep", "visits", "test"}
    split : {"all", "accepted", "rejected"}
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    width : {"double", "single"}
        Of the paper's columns; in a single one the panels stand below each other.
    error : {"interval", "sd"}
        Around means over seeds: Student's 95 % interval of the mean, or one standard deviation. One seed has neither.
    title : str, optional
    font : str or sequence of str, optional
        Families that matplotlib knows.
    backend : {"matplotlib", "plotly", "none"}
        ``"plotly"`` draws the same numbers for a notebook or a page, with counts and intervals under the pointer; ``"none"`` draws nothing
        (no matplotlib is imported) and returns the numbers.

    Returns
    -------
    PaperFigure
        ``values["runs"][label]["recall"]`` and ``["precision"]`` are `Spread` of shape ``[K]`` in class order (percent);
        ``values["order"]`` the order drawn.

    Notes
    -----
    DASO (Oh et al., CVPR 2022) shows this for FixMatch, USADTM and DASO. A class that was never given as a label has no precision: its
    place stays empty, and no zero is drawn.
    """
    frame = Frame(runs, groups, truth=kind, error=error)
    drawn = {}
    for label, found in frame.chosen.items():
        matrices = frame.matrices(found, kind, split, epoch)
        drawn[label] = {name: over_seeds(100 * score(matrices)) for name, score in SCORES.items()}
    what, single = "test" if kind == "test" else "pseudo-label", width == "single"
    panels = []
    for score in SCORES:
        lines = frame.by_class({label: arrays[score] for label, arrays in drawn.items()}, limits=(0, 100), reach=0.22)
        upper = single and score == "recall"
        panels.append(Panel(lines, x=frame.class_axis(names=not upper, label=not upper), y=Axis(f"{what} {score} (%)", limits=(-3, 103))))
    caption = frame.caption(
        f"{'Test predictions' if kind == 'test' else 'Pseudo-labels'} ({kind}, {split}) at {frame.at(epoch)}; {frame.seeds()}.",
        "No mark: undefined.",
    )
    grid = {"shape": (2, 1) if single else (1, 2), "height": 4.1 if single else 2.5, "share": "y"}
    return frame.finish(
        panels, {"runs": drawn, "order": frame.order}, caption, width=width, title=title, font=font, backend=backend, **grid
    )
