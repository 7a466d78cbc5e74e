"""Logged state of a scheme for every class: SEVAL's offsets and thresholds, blend weights, margins ..."""

from __future__ import annotations

import numpy as np

from pldebias.analysis.comparing.measures import GROUPS
from pldebias.analysis.comparing.selection import epoch_row
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.frame import Frame, sentence
from pldebias.plots.marks import Axis, Panel
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import group_style
from pldebias.runs import NotLogged
from pldebias.settings import typed

__all__ = ["learned_state"]


@typed
def learned_state(
    runs, series=None, *, epoch=-1, groups="tertiles", width="double", error="interval", title=None, font=None, backend="matplotlib"
) -> PaperFigure:
    """Draw the state that a scheme logged: per class at one epoch, and the mean of head, medium and tail over the training.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds.
    series : str or sequence of str, optional
        Names such as ``"seval/offsets"``. Default: all that the first run logged, at most three; the caption names the others.
    epoch : int
        Recorded epoch of the first run, and in others the one at the same iteration; -1 is the last of each run.
    groups, width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label][name]["classes"]`` is a `Spread` of shape ``[K]``, ``["head"]``, ``["medium"]`` and ``["tail"]`` of shape
        ``[E]``; NaN before the scheme had learned anything.

    Raises
    ------
    NotLogged
        A run has no such series; the message lists what it has.
    Incomparable
        Seeds under one label were recorded at different epochs.

    Notes
    -----
    After SEVAL (Li et al., 2024), which shows learned offsets and thresholds.
    """
    frame = Frame(runs, groups, error=error)
    first = frame.every[0]
    names = [series] if isinstance(series, str) else list(first.series[:3] if series is None else series)
    if not names:
        raise NotLogged(f"{first.name} logged no state of a scheme; methods such as fixmatch+seval or fixmatch+debiaspl do")
    drawn: dict = {}
    for label, found in frame.chosen.items():
        (epochs, x), drawn[label] = frame.over_time(label), {}
        for name in names:
            cube = np.stack([run.state(name) for run in found])
            classes = over_seeds(cube[:, epoch_row(found[0], frame.epoch(found[0], epoch))])
            drawn[label][name] = {"classes": classes, "epochs": epochs, "x": x}
            for group, members in zip(GROUPS, frame.groups, strict=False):
                drawn[label][name][group] = over_seeds(cube[..., members].mean(-1) if len(members) else np.full(cube.shape[:2], np.nan))
    longest = max(drawn, key=lambda label: drawn[label][names[0]]["x"][-1])
    panels = []
    for number, name in enumerate(names):
        last = number == len(names) - 1
        classes = frame.by_class({label: arrays[name]["classes"] for label, arrays in drawn.items()})
        curves: list = []
        for label, arrays in drawn.items():
            for group in GROUPS:  # several entries keep their colours, and groups are told by dash alone
                style = group_style(group) | ({} if len(drawn) == 1 else {"color": frame.styles[label]["color"], "linewidth": 0.9})
                curves.append(frame.curve(arrays[name][group], arrays[name]["x"], style, f"{label}, {group}", legend=False))
                curves += [curves[-1].named(group)] if number == 0 and label == longest else []
        panels.append(Panel(classes, x=frame.class_axis(names=last, label=False), y=Axis(name)))
        panels.append(Panel(curves, x=Axis(frame.unit if last else "")))
    left_out = [] if series is not None else list(first.series[len(names) :])
    caption = frame.caption(
        f"Left: every class at {frame.at(epoch)}; right: mean of each group over the training. {sentence(frame.seeds())}"
    ) + (f" Logged too, and not shown: {', '.join(left_out)}." if left_out else "")
    grid = {"shape": (len(names), 2), "ratios": (1.25, 1), "height": 0.5 + 1.75 * len(names)}
    values = {"runs": drawn, "order": frame.order}
    return frame.finish(panels, values, caption, width=width, title=title, font=font, backend=backend, **grid)
