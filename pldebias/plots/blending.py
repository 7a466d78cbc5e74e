"""Recall and precision of the linear, the semantic and the blended pseudo-label, class by class."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.selection import along, epoch_row
from pldebias.analysis.comparing.spread import Spread, over_seeds
from pldebias.analysis.relabelling.blending import KINDS
from pldebias.analysis.relabelling.blending import blending as find
from pldebias.plots.frame import Frame
from pldebias.plots.marks import Axis, Bars, Panel, Text, strip
from pldebias.plots.recall_precision import SCORES
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import line_styles
from pldebias.settings import typed

__all__ = ["blending"]

PANELS = (*SCORES, "weight")


@typed
def blending(
    runs, *, epoch=-1, split="all", groups="tertiles", width="double", error="interval", title=None, font=None, backend="matplotlib"
) -> PaperFigure:
    """Draw recall and precision of three pseudo-labels of the same network, and the weight that blends two of them into the third.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        Of a method with ``daso``, as in `pldebias.analysis.comparing.select`; a list under one label is its seeds. Each entry is a row of
        panels (a column of them in the single width).
    epoch : int
        Snapshot epoch (``run.logged("logits")``) of the first run, and in others the one at the same iteration; -1 is the last of each.
    split : {"all", "accepted"}
        ``"accepted"``: those whose own confidence passes the method's threshold.
    groups, width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label][kind]["recall"]`` and ``["precision"]`` are `Spread` of shape ``[K]`` in class order (percent) for the kinds
        ``"linear"``, ``"semantic"`` and ``"blended"``; ``values["runs"][label]["weight"]`` that of the blending weight (0 to 1, NaN if it
        was not logged); ``values["epochs"][label]`` the epochs drawn.

    Raises
    ------
    NotLogged
        A run does not blend, or kept no outputs at this epoch.
    MethodError
        Its labels cannot be made again from what it kept; nothing is drawn of it.
    Incomparable
        The true classes of its unlabelled samples are unknown.

    Notes
    -----
    The comparison of DASO (Oh et al., CVPR 2022), within one training: its linear pseudo-label is precise for the tail and misses most of
    it, the semantic one finds the tail and overshoots, and the blend takes the semantic one where the linear one is given too often.
    """
    frame = Frame(runs, groups, truth="sweep", error=error)
    drawn, epochs, stands = {}, {}, set()
    for label, runs_of in frame.chosen.items():
        found = [find(run, frame.epoch(run, epoch)) for run in runs_of]
        stands |= {int(along(run, frame.unit)[epoch_row(run, one.epoch)]) for run, one in zip(runs_of, found, strict=True)}
        epochs[label] = [one.epoch for one in found]
        drawn[label] = {"weight": over_seeds(np.stack([one.weight for one in found]))}
        for kind in KINDS:
            matrices = np.stack([one.confusion(kind, split) for one in found])
            drawn[label][kind] = {name: over_seeds(100 * score(matrices)) for name, score in SCORES.items()}
    single, panels, styles = width == "single", [], line_styles(KINDS)
    for number, (label, arrays) in enumerate(drawn.items()):
        last = number == len(drawn) - 1
        for what in PANELS:
            axis = frame.class_axis(names=last and (what == "weight" or not single), label=last)
            heading = {"title": label if len(drawn) > 1 and what == PANELS[0] else "", "left": True, "pad": 13}
            if what == "weight":
                panels.append(Panel(_weights(frame, arrays[what]), x=axis, y=Axis("semantic weight", limits=(-0.03, 1.03)), **heading))
                continue
            lines = frame.by_class({kind: arrays[kind][what] for kind in KINDS}, styles, limits=(0, 100), reach=0.22)
            panels.append(Panel(lines, x=axis, y=Axis(f"{what} (%)", limits=(-3, 103)), **heading))
    caption = frame.caption(
        f"Linear, semantic and blended pseudo-labels (sweep, {split}) of one network at {frame.unit} "
        f"{' and '.join(f'{place:,}' for place in sorted(stands))}, and the weight of the semantic one by linearly predicted class; "
        f"{frame.seeds()}.",
        "No mark: undefined.",
    )
    entries = len(drawn)
    grid = {"shape": (3 * entries, 1) if single else (entries, 3), "height": (1.5 * 3 if single else 1.75) * entries + 0.6}
    values = {"runs": drawn, "order": frame.order, "epochs": epochs}
    return frame.finish(panels, values, caption, width=width, title=title, font=font, backend=backend, **grid)


def _weights(frame: Frame, spread: Spread) -> list:
    """Bars of the blending weight; where it was not logged, a note."""
    if np.isnan(spread.mean).all():
        return [*strip(frame.groups), Text(0.5, 0.5, "weight not logged", colour="#666666", panel="xy")]
    low, high = (spread.low, spread.high) if frame.error == "interval" else (spread.mean - spread.sd, spread.mean + spread.sd)
    ends = (np.clip(end[frame.order], 0, 1) for end in (low, high))
    bars = Bars(np.arange(frame.k), spread.mean[frame.order], *ends, width=0.7, colour="#c9c9c9", edge="#7a7a7a", texts=frame.names())
    return [*strip(frame.groups), bars]
