"""Embedded features: a still at chosen epochs, and a figure with a slider over all of them."""

from __future__ import annotations

import math

import numpy as np

from pldebias.optional import needed
from pldebias.plots.frame import finish, one_of
from pldebias.plots.marks import Axis, Panel, Plan, Points
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import GROUPS
from pldebias.settings import typed

__all__ = ["embedding", "embedding_slider"]

SIZES = {"head": 5, "medium": 6, "tail": 13}
UNKNOWN = "#d9d9d9"  # of a sample whose true class is not known
SHADES = np.array([*GROUPS.values(), UNKNOWN])
RANGE = 32_000  # positions travel as 16-bit integers; axes have no units


def _fills(points, colour: str) -> np.ndarray:
    """Group of the pseudo-label or of the true class by frame, ``[E, n]``; 3 where the truth is unknown."""
    if one_of("colour", colour, ("label", "true")) == "label":
        return points.groups.of[points.label]
    if (points.true < 0).all():
        raise ValueError(f"the true class of none of these samples of {points.run.name} is known; use colour='label'")
    return np.broadcast_to(np.where(points.true >= 0, points.group, 3), points.label.shape)


def _by(points) -> str:
    """By which class `Embedding.group` tells the points apart."""
    known = points.true >= 0
    return "true" if known.all() else "true or last label" if known.any() else "last label"


def _marks(points, number: int, fill: np.ndarray) -> list[Points]:
    """Points of one frame, the tail last and larger."""
    marks, names = [], points.run.class_names
    for which, (group, size) in enumerate(SIZES.items()):
        rows = np.flatnonzero(points.group == which)
        texts = [
            f"#{points.index[i]} {names[points.true[i]] if points.true[i] >= 0 else '?'}, called {names[points.label[number, i]]}"
            for i in rows
        ]
        place = points.frames[number, rows].T
        look = {"size": size, "colours": SHADES[fill[rows]], "ring": points.wrong[number, rows]}
        marks.append(Points(*place, label=group, texts=texts, **look))
    return marks


@typed
def embedding(points, epochs=None, *, colour="label", quality=True, columns=4, title=None, backend="matplotlib") -> PaperFigure:
    """Draw the points of an embedding at some epochs.

    Parameters
    ----------
    points : Embedding
        From `pldebias.embed`.
    epochs : sequence of int, optional
        At most eight of the embedding's epochs, evenly chosen, when None.
    colour : {"label", "true"}
        Fill by the group of the pseudo-label, or of the true class.
    quality : bool, default True
        Write the neighbourhood purity in feature space (tail and all) and the trustworthiness over every panel.
    columns : int, default 4
    title : str, optional
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["frames"]`` ``[E, n, 2]``, ``values["fill"]`` ``[E, n]`` (0 head, 1 medium, 2 tail, 3 truth unknown) and
        ``values["wrong"]`` ``[E, n]``.

    Notes
    -----
    Tail samples (by truth) are drawn last and larger. A dark ring is a wrong pseudo-label. All panels share one scale.
    """
    fills = _fills(points, colour)
    if epochs is None:
        chosen = np.unique(np.linspace(0, len(points.epochs) - 1, min(8, len(points.epochs))).round().astype(int))
    else:
        chosen = np.array([points.frame(e) for e in epochs])
    columns = max(1, min(columns, len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    low, high = points.frames[chosen].min((0, 1)), points.frames[chosen].max((0, 1))
    middle, reach = (low + high) / 2, 0.52 * float((high - low).max() or 1)
    x, y = (Axis(ticks=(), limits=(at - reach, at + reach)) for at in middle)
    panels = []
    for number in chosen:
        text = f"epoch {points.epochs[number]}"
        if quality:
            tail, every, trust = points.purity[number, 2], points.purity[number, 3], points.trustworthiness[number]
            text += f"\npurity tail {tail:.2f}, all {every:.2f}; trust {trust:.2f}".replace("nan", "–")
        panels.append(Panel(_marks(points, number, fills[number]), text, x, y, left=True, equal=True, frame="#cccccc", grid=""))
    fill, by = fills[chosen], "pseudo-label" if colour == "label" else "truth"
    key = [(shade, f"{name} ({by})") for name, shade in GROUPS.items()] + [("#bbbbbb", f"large: tail ({_by(points)})")]
    key += [(UNKNOWN, "truth unknown")] if (fill == 3).any() else []
    panels[0].marks[0].key = [*key, ("ring", "wrong pseudo-label")]
    heading = points.caption() if title is None else title
    plan = Plan(panels, (2.5 * columns + 0.1, 2.75 * rows + 0.75), (rows, columns), legend=True, heading=heading, left=True)
    arrays = {"frames": points.frames[chosen], "fill": fill, "wrong": points.wrong[chosen], "epochs": points.epochs[chosen]}
    return finish(plan, arrays, points.caption(), backend=backend)


@typed
def embedding_slider(points, *, colour="label", height=520):
    """Draw the points with plotly and a slider over epochs; hover tells sample, truth and pseudo-label.

    Parameters
    ----------
    points : Embedding
    colour : {"label", "true"}
        Fill by the group of the pseudo-label, or of the true class.
    height : int
        Pixels; it is 140 pixels wider.

    Returns
    -------
    plotly.graph_objects.Figure
        One trace for each true group (head first), one frame for each epoch; positions are 16-bit integers (about 10 bytes a point and
        epoch).
    """
    (go,) = needed("a figure of plotly", "lab", "plotly.graph_objects")

    fills, names = _fills(points, colour), points.run.class_names
    limit = 1.04 * float(np.abs(points.frames).max() or 1)
    scale = [[edge, shade] for k, shade in enumerate(SHADES) for edge in (k / 4, (k + 1) / 4)]

    def traces(number: int, *, told: bool = False) -> list:
        made = []
        for which, (group, size) in enumerate(SIZES.items()):
            rows = np.flatnonzero(points.group == which)
            x, y = np.round(points.frames[number, rows] / limit * RANGE).astype(np.int16).T
            ring = {"width": points.wrong[number, rows].astype(np.uint8), "color": "#111111"}
            fill = {"color": fills[number, rows].astype(np.uint8), "cmin": -0.5, "cmax": 3.5, "colorscale": scale}
            texts = [f"#{points.index[i]} {names[points.true[i]] if points.true[i] >= 0 else '?'}" for i in rows] if told else None
            made.append(
                go.Scattergl(
                    x=x, y=y, mode="markers", name=f"{group} ({_by(points)})", customdata=points.label[number, rows].astype(np.int16),
                    marker={"size": 3 + size**0.5, "line": ring, **fill}, text=texts,
                    hovertemplate="%{text}, called %{customdata}<extra></extra>",
                )
            )  # fmt: skip
        return made

    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": str(e), "args": [[str(e)], at_once]} for e in points.epochs]
    axis = {"range": [-RANGE, RANGE], "visible": False}
    calls = ", ".join(f"{k} {name}" for k, name in enumerate(names)) if len(names) <= 12 else ""
    subtitle = f"fill: group of the {'pseudo-label' if colour == 'label' else 'true class'}; ring: wrong pseudo-label. {calls}"
    frames = [go.Frame(data=traces(i), name=str(e)) for i, e in enumerate(points.epochs)]
    figure = go.Figure(data=traces(len(points.epochs) - 1, told=True), frames=frames)
    figure.update_layout(
        height=height, width=height + 140, margin={"l": 10, "r": 10, "t": 70, "b": 10}, template="plotly_white",
        title={"text": f"{points.caption().replace('; ', ';<br>')}<br><sub>{subtitle}</sub>", "font": {"size": 12}},
        xaxis=axis, yaxis={**axis, "scaleanchor": "x"}, legend={"orientation": "h", "y": 0},
        sliders=[{"steps": steps, "active": len(steps) - 1, "currentvalue": {"prefix": "epoch "}}],
    )  # fmt: skip
    return figure
