"""Figures drawn by plotly, for a notebook or a page: the same marks, with numbers under the pointer."""

from __future__ import annotations

import base64
import io
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from pldebias.optional import needed
from pldebias.plots.marks import Bars, Heat, Picture, Points, Ribbons, Segments, Series, Text
from pldebias.plots.style import FAINT, INK, NONE, UNDEFINED, legend_columns

if TYPE_CHECKING:
    import plotly.graph_objects

    from pldebias.plots.marks import Axis, Panel, Plan

__all__ = ["draw", "traces"]

go, subplots = needed("backend='plotly'", "lab", "plotly:plotly.graph_objects", "plotly:plotly.subplots")

SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x", "*": "star"}
SYMBOLS |= {">": "triangle-right", "_": "line-ew"}
PIXELS = 105  # an inch
LEAST_WIDTH, LEAST_HEIGHT = 520, 260


def draw(plan: Plan) -> plotly.graph_objects.Figure:
    """Draw a plan; the traces that hold numbers have ``meta={"panel": number, "mark": number}``."""
    rows, columns = plan.shape
    bars = sum(isinstance(mark, Heat) and mark.bar for panel in plan.panels for mark in panel.marks)
    width = max(LEAST_WIDTH, PIXELS * plan.size[0]) + 60 * bool(bars or plan.bar)
    height = max(LEAST_HEIGHT, PIXELS * plan.size[1]) + 60
    figure = subplots.make_subplots(
        rows, columns, column_widths=list(plan.ratios or []) or None,
        horizontal_spacing=min(0.9 / columns, (70 + 80 * (bars > 1)) / width) if columns > 1 else 0,
        vertical_spacing=min(0.9 / rows, 62 / height) if rows > 1 else 0,
        shared_xaxes="all" if "x" in plan.share else False, shared_yaxes="all" if "y" in plan.share else False,
    )  # fmt: skip
    named: set[str] = set()
    for number, panel in enumerate(plan.panels):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        for order, mark in enumerate(panel.marks):
            for trace in traces(mark):
                if trace.meta is not None:
                    trace.meta = {"panel": number, "mark": order}
                if getattr(trace, "showlegend", False):
                    trace.showlegend = trace.name not in named
                    named.add(trace.name)
                figure.add_trace(trace, **place)
            if isinstance(mark, Heat) and (mark.bar or mark is plan.bar):
                _bar(figure, place, panel, mark, whole=not mark.bar)
            _decorate(figure, place, mark)
        _panel(figure, place, panel, plan.size)
    for number in range(len(plan.panels), rows * columns):
        figure.update_xaxes(visible=False, row=number // columns + 1, col=number % columns + 1)
        figure.update_yaxes(visible=False, row=number // columns + 1, col=number % columns + 1)
    heading, note = plan.heading, plan.note
    legend = plan.legend or (plan.legend is None and len(named) > 1)
    lines = -(-len(named) // legend_columns(sorted(named), width / PIXELS)) if legend else 0
    top = 22 * bool(heading) + 14 * heading.count("\n") + 20 * lines + 48
    figure.update_layout(
        width=round(width), height=round(height + top - 60), template="plotly_white", showlegend=bool(legend), barmode="overlay",
        font={"size": 11, "color": INK, **({"family": ", ".join(plan.font)} if plan.font else {})}, hovermode="closest",
        margin={"l": 60, "r": 24, "t": top, "b": 50 + 20 * bool(note)},
        legend={"orientation": "h", "x": 0, "y": 1 + 32 / height, "yanchor": "bottom"},
    )  # fmt: skip
    if heading:
        corner = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "top", "xshift": -52, "yshift": top - 6}
        figure.add_annotation(text=_safe(heading), showarrow=False, font={"size": 13}, align="left", **corner)
    if note:
        figure.add_annotation(text=_safe(note), x=0, y=0, xref="paper", yref="paper", yshift=-58, showarrow=False, font={"size": 10})
    return figure


def _safe(text: str) -> str:
    """Text that holds no markup and no formula."""
    return escape(str(text), quote=False).replace("$", "&#36;").replace("\n", "<br>")


def _panel(figure, place: dict, panel: Panel, size: tuple[float, float]) -> None:
    figure.update_xaxes(**_axis(panel.x, "x" if panel.grid in ("x", "both") else "", panel), **place)
    figure.update_yaxes(**_axis(panel.y, "y" if panel.grid in ("y", "both") else "", panel), **place)
    for heat in (mark for mark in panel.marks if isinstance(mark, Heat)):  # the pointer finds the names of cells in the ticks' texts
        for update, names, told in zip((figure.update_yaxes, figure.update_xaxes), heat.names, (panel.y, panel.x), strict=True):
            if heat.x is None or update == figure.update_yaxes:
                texts = [_safe(name) for name in names]
                update(tickvals=list(range(len(texts))), ticktext=texts, showticklabels=bool(told.texts), ticks="", **place)
    if panel.equal or any(isinstance(mark, Heat) and mark.x is None for mark in panel.marks):
        x, _ = _names(figure, place)
        figure.update_yaxes(scaleanchor=x, constrain="domain", **place)
        figure.update_xaxes(constrain="domain", **place)
    if panel.title:
        strip = any(isinstance(mark, Text) and mark.above for mark in panel.marks)
        at = {"x": 0 if panel.left else 0.5, "y": 1, "xanchor": "left" if panel.left else "center", "yanchor": "bottom"}
        x, y = _names(figure, place)
        low, high = figure.get_subplot(**place).xaxis.domain
        wide = 0.92 * (high - low) * max(LEAST_WIDTH, PIXELS * size[0])
        figure.add_annotation(
            text=_safe(panel.title),
            xref=f"{x} domain",
            yref=f"{y} domain",
            yshift=18 if strip else 2,
            showarrow=False,
            font={"size": round(min(11.5, wide / (0.55 * max(map(len, panel.title.split("\n"))))), 1)},
            **at,
        )


def _axis(told: Axis, grid: str, panel: Panel) -> dict:
    found = {"title": {"text": _safe(told.label), "font": {"size": 11}, "standoff": 6}, "showgrid": bool(grid), "zeroline": False}
    found |= {"gridcolor": "#e4e4e4", "showline": panel.frame is not False, "linecolor": INK, "mirror": bool(panel.frame)}
    if told.texts is not None or told.ticks is not None:
        found |= {"tickvals": list(told.ticks), "tickfont": {"size": 10}}
        found |= {} if told.texts is None else {"ticktext": [_safe(text) for text in told.texts]}
    else:
        found |= {"nticks": 6, "ticks": "outside", "ticklen": 3}
    if told.log:
        found |= {"type": "log", "dtick": 1}
    if panel.pad_names:
        found |= {"ticklabelstandoff": round(panel.pad_names)}
    if told.limits is not None:
        low, high = (None if end is None else float(np.log10(end)) if told.log else float(end) for end in told.limits)
        found |= {"range": [low, high]}
    return found


def _names(figure, place: dict) -> tuple[str, str]:
    """Names of a panel's axes, such as ``("x2", "y2")``."""
    found = figure.get_subplot(**place)
    return tuple(axis.plotly_name.replace("axis", "") for axis in (found.xaxis, found.yaxis))


def _bar(figure, place: dict, panel: Panel, mark: Heat, *, whole: bool) -> None:
    """Colour bar beside a panel, or beside all."""
    scale, trace = mark.scale, next(t for t in reversed(figure.data) if isinstance(t, go.Heatmap) and t.meta is not None)
    values, texts = scale.ticks()
    bar = {"title": {"text": _safe(scale.label), "side": "right", "font": {"size": 10}}, "thickness": 12, "outlinewidth": 0.5}
    bar |= {"tickvals": scale.place(values).tolist(), "ticktext": texts, "tickfont": {"size": 10}}
    if not whole:
        found, beside = figure.get_subplot(**place), any(isinstance(one, Text) for one in panel.marks)
        low, high = found.yaxis.domain
        bar |= {"x": found.xaxis.domain[1] + (0.08 if beside else 0.005), "y": (low + high) / 2, "len": high - low}
    trace.update(showscale=True, colorbar=bar)


# ---- traces ------------------------------------------------------------------------------------------------------------


def traces(mark) -> list:
    """Traces of a mark; those that hold its numbers have ``meta``."""
    return _TRACES[type(mark)](mark) if type(mark) in _TRACES else []


def _hover(mark, y: str = "%{y:.4~g}") -> dict:
    texts = [_safe(text) for text in mark.texts] or None
    ends = [] if mark.low is None else [mark.low, mark.high]
    name = "<b>%{fullData.name}</b><br>" if getattr(mark, "label", "") else ""
    template = name + ("%{text}: " if texts else "%{x}: ") + y
    if ends and np.isfinite(mark.low).any():
        template += " [%{customdata[0]:.4~g}, %{customdata[1]:.4~g}]"
    return {"text": texts, "customdata": np.stack(ends, -1) if ends else None, "hovertemplate": template + "<extra></extra>"}


def _error(y, low, high) -> dict:
    return {"type": "data", "symmetric": False, "array": high - y, "arrayminus": y - low, "thickness": 1, "width": 0}


def _series(mark: Series) -> list:
    style, x, found = mark.style, mark.x + mark.shift, []
    colour, low, high = style.get("color", INK), *(mark.ends() if mark.has_ends else (None, None))
    legend = {"legendgroup": mark.label, "name": _safe(mark.label), "showlegend": bool(mark.label and mark.legend)}
    if mark.has_ends and mark.around == "band":
        there = np.isfinite(low) & np.isfinite(high)
        outline = {"x": np.r_[x[there], x[there][::-1]], "y": np.r_[high[there], low[there][::-1]], "fill": "toself", "fillcolor": colour}
        found.append(
            go.Scatter(**outline, mode="lines", line={"width": 0}, opacity=0.16, hoverinfo="skip", **{**legend, "showlegend": False})
        )
    bars = _error(mark.shown, low, high) if mark.has_ends and mark.around == "bars" else None
    markers, line = bool(style.get("marker")) and mark.around == "bars", style.get("linestyle") != "" and style.get("ls") != ""
    dash = ",".join(f"{2 * length:g}px" for length in style.get("dashes", ()) or ()) or "solid"
    found.append(
        go.Scatter(
            x=x, y=mark.shown, mode="+".join(["lines"] * line + ["markers"] * markers) or "none", error_y=bars, meta={},
            line={"color": colour, "width": 1.5, "dash": dash}, opacity=style.get("alpha"),
            marker={"symbol": SYMBOLS.get(style.get("marker"), "circle"), "size": 1.9 * style.get("markersize", 3.2), "color": colour,
                    **({"line": {"width": 1, "color": colour}} if style.get("marker") == "_" else {})},
            **legend, **_hover(mark),
        )
    )  # fmt: skip
    return found


def _bars(mark: Bars) -> list:
    wide, bars = not np.isscalar(mark.width), _error(mark.y, mark.low, mark.high) if mark.has_ends else None
    shown = _hover(mark)
    if mark.scale is not None and np.ndim(mark.scale) == 0 and mark.scale != 1:
        shown |= {"customdata": mark.y, "hovertemplate": "%{customdata:,} from %{x:.3~g}<extra></extra>"}
    return [
        go.Bar(
            x=mark.x, y=mark.scale * mark.y, width=mark.width, offset=0 if wide else None, error_y=bars, meta={},
            marker={"color": mark.colour, "line": {"color": mark.edge or mark.colour, "width": 0.5}}, name=_safe(mark.label),
            legendgroup=mark.label, showlegend=bool(mark.label), legendrank=1001, textposition="none", **shown,
        )
    ]  # fmt: skip


def _points(mark: Points) -> list:
    if mark.value is not None:
        look = {"mode": "markers", "marker": {"size": mark.size**0.5, "opacity": 0, "symbol": "square"}, "showlegend": False}
        told = {"text": [_safe(text) for text in mark.texts], "customdata": mark.value, "hovertemplate": "%{text}<extra></extra>"}
        return [go.Scatter(x=mark.x, y=mark.y, meta={}, **look, **told)]
    colours = list(mark.colours)
    rim = {"width": 1.2, "color": mark.rim or colours} if mark.open or mark.rim else {"width": 0}
    if mark.ring is not None:
        rim = {"width": np.asarray(mark.ring, np.uint8), "color": "#111111"}
    kind = go.Scattergl if len(mark.x) > 500 else go.Scatter
    spot = {"symbol": SYMBOLS[mark.marker], "size": max(4, 1.25 * mark.size**0.5), "color": "white" if mark.open else colours, "line": rim}
    told = {"text": [_safe(text) for text in mark.texts], "hovertemplate": "%{text}<extra></extra>" if len(mark.texts) else None}
    found = [kind(x=mark.x, y=mark.y, mode="markers", marker=spot, meta={}, name=_safe(mark.label), showlegend=False, **told)]
    dot = {"x": [None], "y": [None], "mode": "markers", "showlegend": True}
    return found + [go.Scatter(**dot, marker=_spot(colour), name=_safe(name), legendgroup=name) for colour, name in mark.key]


def _spot(colour: str) -> dict:
    return {"size": 7, "color": "white", "line": {"width": 1, "color": "#111111"}} if colour == "ring" else {"size": 7, "color": colour}


def _heat(mark: Heat) -> list:
    scale, (rows, columns) = mark.scale, mark.names
    x = np.arange(len(columns)) if mark.x is None else mark.x
    y = np.arange(len(rows))
    z = scale.place(np.where(np.isfinite(mark.values), mark.values, np.nan))
    steps = np.linspace(0, 1, len(scale.colours))
    colours = [[float(step), colour] for step, colour in zip(steps, scale.colours, strict=True)]
    if scale.low >= 0:  # an exact zero is white
        z = np.where(mark.values == 0, 0.0, np.clip(z, 1e-4, 1))
        colours = [[0, "#ffffff"], [1e-5, "#ffffff"], [2e-5, scale.colours[0]], *colours[1:]]
    names = list(mark.hover)
    numbers = np.stack([mark.values, *(mark.hover[name] for name in names)], -1).astype(np.float32)
    template = mark.sentence.replace("{row}", "%{y}").replace("{column}", "%{x}")
    for number, name in enumerate(["value", *names]):
        template = template.replace(f"{{{name}:", f"%{{customdata[{number}]:").replace(f"{{{name}}}", f"%{{customdata[{number}]}}")
    told = {"x": x, "y": y, "zmin": 0, "zmax": 1, "showscale": False}
    words, quiet = [{} if mark.text is None else {"texttemplate": "%{text}", "textfont": {"size": 1.5 * mark.font}} for _ in range(2)]
    if mark.text is not None:
        faint = np.zeros(mark.values.shape, bool) if mark.faint is None else mark.faint
        words["text"], quiet["text"] = np.where(faint, "", mark.text), np.where(faint, mark.text, "")
    found = [go.Heatmap(z=z, colorscale=colours, customdata=numbers, meta={}, hovertemplate=template + "<extra></extra>", **told, **words)]
    single = {"hoverinfo": "skip", **told}
    if mark.faint is not None and mark.faint.any():
        grey = np.where(mark.faint, 1.0, np.nan)
        found.append(go.Heatmap(z=grey, colorscale=[[0, FAINT], [1, FAINT]], **single, **quiet))
    if scale.none and (mark.values == -np.inf).any():
        found.append(go.Heatmap(z=np.where(mark.values == -np.inf, 1.0, np.nan), colorscale=[[0, NONE], [1, NONE]], **single))
    return found


_TRACES = {Series: _series, Bars: _bars, Points: _points, Heat: _heat}


# ---- what stands around the numbers --------------------------------------------------------------------------------------


def _decorate(figure, place: dict, mark) -> None:
    """Draw what holds no numbers."""
    x, y = _names(figure, place)
    panel = getattr(mark, "panel", "")
    refs = {"xref": f"{x} domain" if "x" in panel else x, "yref": f"{y} domain" if "y" in panel else y}
    if isinstance(mark, Text):
        turn = {"textangle": -90} if mark.turned else {}
        told = {
            "font": {"size": 1.45 * mark.size, "color": mark.colour},
            "xanchor": mark.align,
            "yanchor": "bottom" if mark.above else "middle",
        }
        figure.add_annotation(text=_safe(mark.text), x=mark.x, y=mark.y, showarrow=False, **told, **turn, **refs)
    elif isinstance(mark, Segments):
        line = {"width": 1.5 * mark.width, "dash": {":": "dot", "--": "dash"}.get(mark.dash, "solid")}
        for x0, y0, x1, y1, colour in zip(mark.x0, mark.y0, mark.x1, mark.y1, cycle(mark.colours), strict=False):
            ends = {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "layer": "below" if mark.below else "above", "opacity": mark.alpha}
            figure.add_shape(type="line", line={"color": colour, **line}, **ends, **refs)
    elif isinstance(mark, Ribbons):
        x0, x1, half = mark.x0, mark.x1, (mark.x0 + mark.x1) / 2
        for y0, y1, height, colour in zip(mark.y0, mark.y1, mark.height, mark.colours, strict=True):
            over, under = f"M{x0},{y0} C{half},{y0} {half},{y1} {x1},{y1}", f"C{half},{y1 - height} {half},{y0 - height} {x0},{y0 - height}"
            path = f"{over} L{x1},{y1 - height} {under} Z"
            figure.add_shape(type="path", path=path, fillcolor=colour, opacity=mark.alpha, line={"width": 0}, layer="below", **refs)
    elif isinstance(mark, Picture):
        box = {"x": mark.x, "y": mark.y, "sizex": mark.width, "sizey": mark.height, "sizing": "stretch"}
        figure.add_layout_image(source=_png(mark.pixels), **box, **refs)
    elif isinstance(mark, Heat):
        figure.update_yaxes(range=[len(mark.values) - 0.5, -0.5], **place)
        figure.update_xaxes(range=mark.span(), **place)
        ground = {"x0": 0, "x1": 1, "y0": 0, "y1": 1, "xref": f"{x} domain", "yref": f"{y} domain", "line": {"width": 0}}
        figure.add_shape(type="rect", fillcolor=UNDEFINED[0], layer="below", **ground)


def _png(pixels: np.ndarray) -> str:
    """A picture as an address that needs no file, enlarged without blur."""
    from PIL import Image

    made, buffer = Image.fromarray(pixels), io.BytesIO()
    times = max(1, 96 // max(made.size))
    made.resize((made.width * times, made.height * times), Image.Resampling.NEAREST).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
