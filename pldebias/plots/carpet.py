"""Classes by epochs."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.plots.frame import MOST_NAMES, Frame, checked_style, diverging, finish, one_of
from pldebias.plots.marks import Axis, Heat, Panel, Plan, group_edges, rules, strip
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import Scale
from pldebias.settings import typed

__all__ = ["carpet"]

LABELS = {"recall": "recall", "precision": "precision", "ratio": "log2(labels given / true count)"}
MOST_OCTAVES = 5  # powers of two that colours tell apart to either side of ratio 1
SCORES = {"recall": metrics.recall, "precision": metrics.precision, "ratio": metrics.gain}


@typed
def carpet(
    runs, *, metric="recall", kind="sweep", split="all", epoch=None, groups="tertiles", width="double", title=None, font=None,
    backend="matplotlib", ax=None, colourbar=True,
) -> PaperFigure:  # fmt: skip
    """Draw one metric of every class (rows, head to tail) over the epochs (columns), one panel per entry.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; of the seeds under one label the mean is drawn.
    metric : {"recall", "precision", "ratio"}
        ``"ratio"`` is log2 of `pldebias.metrics.gain`: above 0 a class receives more labels than it has samples.
    kind : {"visits", "sweep", "test"}
        Which matrices.
    split : {"all", "accepted", "rejected"}
    epoch : int, optional
        Where to draw a rule: a recorded epoch of the (first) run.
    groups, width, title, font, backend
        As in `pldebias.plots.recall_precision`.
    ax : matplotlib.axes.Axes, optional
        Draw into it: one run, no caption's worth of checks.
    colourbar : bool

    Returns
    -------
    PaperFigure
        ``values["runs"][label]``: ``"spread"`` is a `Spread` of shape ``[K, E]`` over the seeds (classes in class order; labels given per
        true sample for ``"ratio"``), ``"drawn"`` the array drawn (rows in drawing order, log2 for ``"ratio"``), ``"epochs"`` its columns
        and ``"x"`` where they stand; ``values["order"]`` the order drawn.

    Raises
    ------
    Incomparable
        Class lists differ, seeds under one label were recorded at different epochs, or a run knows no true classes.

    Notes
    -----
    Undefined (0/0) is hatched, and a recall or precision of exactly zero is white. With ``"ratio"`` white is ratio 1, a class without any
    label has minus infinity and a colour of its own, and ratios beyond 1/32 and 32 have the colour of the scale's end, which then is an
    arrow. A shade has no room for an interval: ``values`` holds it. Columns stand at their epochs, those that were not recorded show the
    nearest; where runs count epochs by different steps, at their iterations.
    """
    one_of("metric", metric, LABELS)
    families = checked_style(width=width, font=font)
    frame = Frame(runs, groups, truth=kind if ax is None else None)
    drawn: dict = {}
    for label, found in frame.chosen.items():
        epochs, x = frame.over_time(label)
        spread = over_seeds(np.stack([SCORES[metric](run.confusion(kind, split)).T for run in found]))
        with np.errstate(divide="ignore"):
            shades = np.log2(spread.mean) if metric == "ratio" else spread.mean
        drawn[label] = {"spread": spread, "drawn": shades[frame.order], "epochs": np.asarray(epochs), "x": x}
    scale = _scale(drawn, metric)
    panels = _panels(frame, drawn, scale, metric, epoch, columns=1 if width == "single" or ax is not None else 2)
    if ax is not None:
        panels[0].title = f"{frame.every[0].name}: {kind}, {split}" if title is None else title
    caption = frame.caption(
        f"Every class over the {frame.unit}s ({kind}, {split}), head to tail, by {LABELS[metric]}; {frame.seeds().partition(' with ')[0]}.",
        f"{_colours(scale)} Hatched: undefined.",
    )
    columns = min(len(panels), 2 if width == "double" else 1)
    rows = -(-len(panels) // columns)
    height = max(1.6, rows * (0.45 + (0.13 * frame.k if frame.k <= MOST_NAMES else 2.2)) + 0.35)
    heading = title or "" if ax is None else ""
    bar = panels[0].marks[0] if colourbar else None
    plan = Plan(panels, ({"single": 3.5, "double": 7.16}[width], height), (rows, columns), heading=heading, font=families, bar=bar)
    return finish(plan, {"runs": drawn, "order": frame.order}, caption, backend=backend, ax=ax, cropped=False)


def _panels(frame: Frame, drawn: dict, scale: Scale, metric: str, epoch: int | None, columns: int) -> list[Panel]:
    heats = {}
    for label, arrays in drawn.items():
        spread, x = arrays["spread"], arrays["x"]
        hover = {name: getattr(spread, name)[frame.order] for name in ("mean", "low", "high")}
        told = f"{{row}}, {frame.unit} {{column}}: <b>{{mean:.3~g}}</b>" + (" labels for one sample" if metric == "ratio" else "")
        told += " [{low:.3~g}, {high:.3~g}]" if np.isfinite(spread.low).any() else ""
        names = frame.names()
        heats[label] = Heat(arrays["drawn"], scale, (names, x), x=x, hover=hover, sentence=told)
    spans = [heat.span() for heat in heats.values()]
    ends = min(span[0] for span in spans), max(span[1] for span in spans)
    panels = []
    for number, (label, heat) in enumerate(heats.items()):
        x = heat.x
        ticks = x[np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], 6)).clip(0, len(x) - 1))]
        lines = rules(np.array(group_edges(frame.groups)) - 0.5, width=0.9)
        marks: list = [heat, lines, *strip(frame.groups, left=True, named=frame.k > MOST_NAMES)]
        if epoch is not None:
            at = x[np.searchsorted(drawn[label]["epochs"], epoch).clip(0, len(x) - 1)]
            marks += [rules([at], "x", colours=(colour,), width=width) for colour, width in (("white", 2.6), ("#111111", 1.1))]
        shown = list(heat.names[0]) if frame.k <= MOST_NAMES and number % columns == 0 else []
        axes = {
            "x": Axis(frame.unit, ticks, [str(tick) for tick in ticks], ends, size=6, slant=False),
            "y": Axis("", range(len(shown)), shown, size=6),
        }
        panels.append(Panel(marks, label if len(heats) > 1 else "", left=True, grid="", pad_names=7, **axes))
    return panels


def _scale(drawn: dict, metric: str) -> Scale:
    """The same colours for all panels."""
    if metric != "ratio":
        return Scale(0, 1, LABELS[metric])
    every = np.concatenate([arrays["drawn"].ravel() for arrays in drawn.values()])
    shown, none = every[np.isfinite(every)], bool((every == -np.inf).any())
    limit = int(np.clip(np.ceil(np.abs(shown).max(initial=1)), 1, MOST_OCTAVES))
    return diverging(shown, limit, LABELS[metric] + "\npurple: no label" * none, none=none)


def _colours(scale: Scale) -> str:
    """Explain white, purple and the ends of the scale."""
    if scale.low == 0:
        return "White: an exact zero."
    told, most = ["White: ratio 1, as many labels as samples."], 2 ** int(scale.high)
    if scale.none:
        told.append("Purple: no label at all.")
    if scale.clipped != "neither":
        ends = {"min": f"below 1/{most}", "max": f"above {most}", "both": f"below 1/{most} and above {most}"}[scale.clipped]
        told.append(f"Ratios {ends} have the colour of the scale's end.")
    return " ".join(told)
