"""Embedded features: a still at chosen epochs, and a figure with a slider over all of them."""

from __future__ import annotations

import math

import numpy as np

from pldebias.optional import needed
from pldebias.plots.style import GROUPS, Drawn
from pldebias.settings import typed

__all__ = ["embedding", "embedding_slider"]

SIZES = {"head": 5, "medium": 6, "tail": 13}
UNKNOWN = "#d9d9d9"  # of a sample whose true class is not known
RANGE = 32_000  # positions travel as 16-bit integers; axes have no units


def _fills(points, colour: str) -> np.ndarray:
    """Group of the pseudo-label or of the true class by frame, ``[E, n]``; 3 where the truth is unknown."""
    if colour not in ("label", "true"):
        raise ValueError(f"colour={colour!r} is not known; choose 'label' or 'true'")
    if colour == "label":
        return points.groups.of[points.label]
    if (points.true < 0).all():
        raise ValueError(f"the true class of none of these samples of {points.run.name} is known; use colour='label'")
    return np.broadcast_to(np.where(points.true >= 0, points.group, 3), points.label.shape)


def _by(points) -> str:
    """By which class `Embedding.group` tells the points apart."""
    known = points.true >= 0
    return "true" if known.all() else "true or last label" if known.any() else "last label"


def _limits(frames: np.ndarray) -> float:
    return 1.04 * float(np.abs(frames).max() or 1)


@typed
def embedding(points, epochs=None, *, colour="label", quality=True, columns=4, title=None) -> Drawn:
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

    Returns
    -------
    Drawn
        ``values["frames"]`` ``[E, n, 2]``, ``values["fill"]`` ``[E, n]`` (0 head, 1 medium, 2 tail, 3 truth unknown) and
        ``values["wrong"]`` ``[E, n]``.

    Notes
    -----
    Tail samples (by truth) are drawn last and larger. A dark ring is a wrong pseudo-label. All panels share one scale.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    fills = _fills(points, colour)
    if epochs is None:
        chosen = np.unique(np.linspace(0, len(points.epochs) - 1, min(8, len(points.epochs))).round().astype(int))
    else:
        chosen = np.array([points.frame(e) for e in epochs])
    columns = max(1, min(columns, len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(2.5 * columns + 0.1, 2.75 * rows + 0.75), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    shades = np.array([*GROUPS.values(), UNKNOWN])
    low, high = points.frames[chosen].min((0, 1)), points.frames[chosen].max((0, 1))
    middle, reach = (low + high) / 2, 0.52 * float((high - low).max() or 1)
    group = points.group
    fill = fills[chosen]
    for ax, number, filled in zip(axes.flat, chosen, fill, strict=False):
        wrong = points.wrong[number]
        for which, name in enumerate(GROUPS):
            for bad in (False, True):
                rows_of = (group == which) & (wrong == bad)
                ax.scatter(
                    *points.frames[number, rows_of].T, s=SIZES[name], c=shades[filled[rows_of]], alpha=0.9,
                    linewidths=0.5 if bad else 0, edgecolors="#111111" if bad else "none", zorder=2 + which,
                )  # fmt: skip
        ax.axis("on")
        ax.set(xticks=(), yticks=(), aspect="equal", xlim=middle[0] + np.array([-reach, reach]), ylim=middle[1] + np.array([-reach, reach]))
        for spine in ax.spines.values():
            spine.set_color("#cccccc")
        text = f"epoch {points.epochs[number]}"
        if quality:
            tail, every, trust = points.purity[number, 2], points.purity[number, 3], points.trustworthiness[number]
            text += f"\npurity tail {tail:.2f}, all {every:.2f}; trust {trust:.2f}".replace("nan", "–")
        ax.set_title(text, fontsize=7.5, loc="left")
    by = "pseudo-label" if colour == "label" else "truth"
    marks = [Line2D([], [], ls="", marker="o", ms=4, color=c, label=f"{n} ({by})") for n, c in GROUPS.items()]
    marks.append(Line2D([], [], ls="", marker="o", ms=6, color="#bbbbbb", label=f"large: tail ({_by(points)})"))
    if (fill == 3).any():
        marks.append(Line2D([], [], ls="", marker="o", ms=4, color=UNKNOWN, label="truth unknown"))
    marks.append(Line2D([], [], ls="", marker="o", ms=5, mfc="none", mec="#111111", label="wrong pseudo-label"))
    figure.legend(handles=marks, loc="outside lower left", ncols=5, fontsize=7.5, frameon=False)
    figure.suptitle(points.caption() if title is None else title, fontsize=8.5, x=0.01, ha="left", parse_math=False)
    return Drawn(
        figure, axes, {"frames": points.frames[chosen], "fill": fill, "wrong": points.wrong[chosen], "epochs": points.epochs[chosen]}
    )


@typed
def embedding_slider(points, *, colour="label", height=520):
    """A plotly figure of the points with a slider over epochs; hover tells sample, truth and pseudo-label.

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

    fills, names, group = _fills(points, colour), points.run.class_names, points.group
    shades = [*GROUPS.values(), UNKNOWN]
    limit = _limits(points.frames)
    positions = np.round(points.frames / limit * RANGE).astype(np.int16)
    scale = [[edge, c] for k, c in enumerate(shades) for edge in (k / 4, (k + 1) / 4)]

    def traces(number: int) -> list:
        made = []
        for which, name in enumerate(GROUPS):
            rows = group == which
            fill = fills[number, rows]
            labels = points.label[number, rows].astype(np.int16)
            made.append(
                go.Scattergl(
                    x=positions[number, rows, 0],
                    y=positions[number, rows, 1],
                    mode="markers",
                    name=f"{name} ({_by(points)})",
                    customdata=labels,
                    hovertemplate="%{text}, called %{customdata}<extra></extra>",
                    marker={
                        "size": 3 + SIZES[name] ** 0.5, "color": fill.astype(np.uint8), "cmin": -0.5, "cmax": 3.5, "colorscale": scale,
                        "line": {"width": points.wrong[number, rows].astype(np.uint8), "color": "#111111"},
                    },
                )
            )  # fmt: skip
        return made

    first = traces(len(points.epochs) - 1)
    for trace, which in zip(first, range(3), strict=True):
        rows = np.flatnonzero(group == which)
        trace.text = [f"#{points.index[i]} {names[points.true[i]] if points.true[i] >= 0 else '?'}" for i in rows]
    frames = [go.Frame(data=traces(i), name=str(e)) for i, e in enumerate(points.epochs)]
    steps = [
        {
            "method": "animate",
            "label": str(e),
            "args": [[str(e)], {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}],
        }
        for e in points.epochs
    ]
    axis = {"range": [-RANGE, RANGE], "visible": False}
    calls = ", ".join(f"{k} {name}" for k, name in enumerate(names)) if len(names) <= 12 else ""
    heading = points.caption().replace("; ", ";<br>")
    subtitle = f"fill: group of the {'pseudo-label' if colour == 'label' else 'true class'}; ring: wrong pseudo-label. {calls}"
    figure = go.Figure(data=first, frames=frames)
    figure.update_layout(
        height=height,
        width=height + 140,
        margin={"l": 10, "r": 10, "t": 70, "b": 10},
        template="plotly_white",
        title={"text": f"{heading}<br><sub>{subtitle}</sub>", "font": {"size": 12}},
        xaxis=axis,
        yaxis={**axis, "scaleanchor": "x"},
        legend={"orientation": "h", "y": 0},
        sliders=[{"steps": steps, "active": len(steps) - 1, "currentvalue": {"prefix": "epoch "}}],
    )
    return figure
