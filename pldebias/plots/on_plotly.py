"""Figures drawn by plotly, for a notebook or a page: the same marks, with numbers under the pointer."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from pldebias.optional import needed
from pldebias.plots.marks import Bars, Flow, Heat, Points, Segments, Series, Strip, Text, Tiles
from pldebias.plots.style import FAINT, GROUPS, INK, NONE, UNDEFINED, legend_columns

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
    flow = any(isinstance(mark, Flow) for panel in plan.panels for mark in panel.marks)
    bars = sum(isinstance(mark, Heat) and mark.bar for panel in plan.panels for mark in panel.marks)
    width = max(LEAST_WIDTH, PIXELS * plan.size[0]) + 60 * bool(bars or plan.bar)
    height = max(LEAST_HEIGHT, PIXELS * plan.size[1]) + 60
    figure = subplots.make_subplots(
        rows, columns, specs=[[{"type": "domain" if flow else "xy"}] * columns] * rows, column_widths=list(plan.ratios or []) or None,
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
                _bar(figure, place, mark, whole=not mark.bar)
            _decorate(figure, place, mark)
        if not flow:
            _panel(figure, place, panel, plan.size)
    for number in range(len(plan.panels), rows * columns):
        figure.update_xaxes(visible=False, row=number // columns + 1, col=number % columns + 1)
        figure.update_yaxes(visible=False, row=number // columns + 1, col=number % columns + 1)
    heading = plan.heading or (plan.panels[0].title if flow else "")
    note = "<br>".join(mark.note for panel in plan.panels for mark in panel.marks if isinstance(mark, Flow)) or plan.note
    legend = plan.legend or (plan.legend is None and len(named) > 1)
    lines = -(-len(named) // legend_columns(sorted(named), width / PIXELS)) if legend else 0
    top = 22 * bool(heading) + 14 * heading.count("\n") + 20 * lines + 48
    figure.update_layout(
        width=round(width), height=round(height + top - 60), template="plotly_white", showlegend=bool(legend), barmode="overlay",
        font={"size": 11, "color": INK, **({"family": ", ".join(plan.font)} if plan.font else {})}, hovermode="closest",
        margin={"l": 60, "r": 44, "t": top, "b": 50 + 20 * bool(note)},
        modebar={"orientation": "v"}, legend={"orientation": "h", "x": 0, "y": 1 + 32 / height, "yanchor": "bottom"},
        title={"text": _safe(heading), "x": 0.01, "y": 0.99, "yanchor": "top", "font": {"size": 13}} if heading else None,
    )  # fmt: skip
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
        strip = any(isinstance(mark, Strip) and mark.side == "top" for mark in panel.marks)
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


def _bar(figure, place: dict, mark: Heat, *, whole: bool) -> None:
    """Colour bar beside a panel, or beside all."""
    scale, trace = mark.scale, next(t for t in reversed(figure.data) if isinstance(t, go.Heatmap) and t.meta is not None)
    values, texts = scale.ticks()
    bar = {"title": {"text": _safe(scale.label), "side": "right", "font": {"size": 10}}, "thickness": 12, "outlinewidth": 0.5}
    bar |= {"tickvals": scale.place(values).tolist(), "ticktext": texts, "tickfont": {"size": 10}}
    if not whole:
        found = figure.get_subplot(**place)
        low, high = found.yaxis.domain
        bar |= {"x": found.xaxis.domain[1] + 0.005, "y": (low + high) / 2, "len": high - low}
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


def _series(mark: Series) -> list:
    style, x, found = mark.style, mark.x + mark.shift, []
    colour, low, high = style.get("color", INK), *(mark.ends() if mark.has_ends else (None, None))
    legend = {"legendgroup": mark.label or mark.end, "name": _safe(mark.label or mark.end), "showlegend": bool(mark.label and mark.legend)}
    if mark.has_ends and mark.around == "band":
        there = np.isfinite(low) & np.isfinite(high)
        outline = {"x": np.r_[x[there], x[there][::-1]], "y": np.r_[high[there], low[there][::-1]], "fill": "toself", "fillcolor": colour}
        found.append(
            go.Scatter(**outline, mode="lines", line={"width": 0}, opacity=0.16, hoverinfo="skip", **{**legend, "showlegend": False})
        )
    bars = {}
    if mark.has_ends and mark.around == "bars":
        bars = {"type": "data", "symmetric": False, "array": high - mark.shown, "arrayminus": mark.shown - low, "thickness": 1, "width": 0}
    markers, line = bool(style.get("marker")) and mark.around == "bars", style.get("linestyle") != "" and style.get("ls") != ""
    dash = ",".join(f"{2 * length:g}px" for length in style.get("dashes", ()) or ()) or "solid"
    found.append(
        go.Scatter(
            x=x, y=mark.shown, mode="+".join(["lines"] * line + ["markers"] * markers) or "none", error_y=bars or None, meta={},
            line={"color": colour, "width": 1.5, "dash": dash}, opacity=style.get("alpha"),
            marker={"symbol": SYMBOLS.get(style.get("marker"), "circle"), "size": 1.9 * style.get("markersize", 3.2), "color": colour,
                    **({"line": {"width": 1, "color": colour}} if style.get("marker") == "_" else {})},
            **legend, **_hover(mark),
        )
    )  # fmt: skip
    return found


def _bars(mark: Bars) -> list:
    bars, wide = {}, not np.isscalar(mark.width)
    if mark.low is not None and np.isfinite(mark.low).any():
        bars = {
            "type": "data",
            "symmetric": False,
            "array": mark.high - mark.y,
            "arrayminus": mark.y - mark.low,
            "thickness": 1,
            "width": 0,
        }
    shown = _hover(mark)
    if mark.scale is not None and np.ndim(mark.scale) == 0 and mark.scale != 1:
        shown |= {"customdata": mark.y, "hovertemplate": "%{customdata:,} from %{x:.3~g}<extra></extra>"}
    return [
        go.Bar(
            x=mark.x, y=mark.scale * mark.y, width=mark.width, offset=0 if wide else None, error_y=bars or None, meta={},
            marker={"color": mark.colour, "line": {"color": mark.edge or mark.colour, "width": 0.5}}, name=_safe(mark.label),
            legendgroup=mark.label, showlegend=bool(mark.label), legendrank=1001, textposition="none", **shown,
        )
    ]  # fmt: skip


def _points(mark: Points) -> list:
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


def _flow(mark: Flow) -> list:
    k = len(mark.names)
    start, end = np.nonzero(mark.counts)
    names = [_safe(name) for name in mark.names]
    middles = []
    for sizes in (mark.counts.sum(1), mark.counts.sum(0)):  # from the top, in the order of the classes
        shares = sizes / max(1, sizes.sum()) + 0.012
        middles += ((np.cumsum(shares) - shares / 2) / shares.sum()).clip(0.001, 0.999).tolist()
    pale = [f"rgba({','.join(str(int(c[i : i + 2], 16)) for i in (1, 3, 5))},0.55)" for c in mark.colours]
    return [
        go.Sankey(
            meta={}, arrangement="snap",
            node={"label": names * 2, "color": list(mark.colours) * 2, "pad": 6, "thickness": 14, "line": {"width": 0},
                  "x": [0.001] * k + [0.999] * k, "y": middles},
            link={"source": start, "target": end + k, "value": mark.counts[start, end],
                  "color": ["rgba(190,198,205,0.5)" if a == b else pale[b] for a, b in zip(start, end, strict=True)],
                  "hovertemplate": "%{source.label} to %{target.label}: %{value:,}<extra></extra>"},
        )
    ]  # fmt: skip


def _tiles(mark: Tiles) -> list:
    row, column = np.divmod(np.arange(len(mark.captions)), mark.columns)
    texts = [f"#{index}<br>{_safe(caption)}" for index, caption in zip(mark.index, mark.captions, strict=True)]
    x, y = column * Tiles.WIDE + 0.5, row * Tiles.HIGH
    held = {"mode": "text", "text": [_safe(caption) for caption in mark.captions], "textfont": {"size": 10}, "hoverinfo": "skip"}
    picked = {"mode": "markers", "marker": {"size": 60, "opacity": 0, "symbol": "square"}, "text": texts, "customdata": mark.score}
    return [
        go.Scatter(x=x, y=y + 0.5, meta={}, showlegend=False, hovertemplate="%{text}<extra></extra>", **picked),
        go.Scatter(x=x, y=y + 1.35, showlegend=False, **held),
    ]


_TRACES = {Series: _series, Bars: _bars, Points: _points, Heat: _heat, Flow: _flow, Tiles: _tiles}


# ---- what stands around the numbers --------------------------------------------------------------------------------------


def _decorate(figure, place: dict, mark) -> None:
    if isinstance(mark, Strip):
        _strip(figure, place, mark)
    elif isinstance(mark, Series) and mark.end and np.isfinite(mark.shown).any():
        (x, y), last = _names(figure, place), np.flatnonzero(np.isfinite(mark.shown))[-1]
        end = {"x": float(mark.x[last]), "y": float(mark.shown[last]), "xref": x, "yref": y, "xshift": 3, "xanchor": "left"}
        figure.add_annotation(text=_safe(mark.end), showarrow=False, font={"size": 10}, **end)
    elif isinstance(mark, Text):
        x, y = _names(figure, place)
        told = {"xref": f"{x} domain", "yref": f"{y} domain"} if mark.inside else {"xref": x, "yref": y}
        anchor = {"center": "center", "left": "left", "right": "right"}[mark.align]
        figure.add_annotation(
            text=_safe(mark.text), x=mark.x, y=mark.y, showarrow=False, xanchor=anchor, font={"size": 10, "color": mark.colour}, **told
        )
    elif isinstance(mark, Segments):
        for i, (x0, y0, x1, y1) in enumerate(zip(mark.x0, mark.y0, mark.x1, mark.y1, strict=True)):
            line = {
                "color": mark.colours[i % len(mark.colours)],
                "width": 1.3 * mark.width,
                "dash": {":": "dot", "--": "dash"}.get(mark.dash, "solid"),
            }
            layer = "below" if mark.below else "above"
            if np.isnan(x0):
                figure.add_hline(y0, line=line, layer=layer, **place)
            elif np.isnan(y0):
                figure.add_vline(x0, line=line, layer=layer, **place)
            else:
                figure.add_shape(type="line", x0=x0, y0=y0, x1=x1, y1=y1, line=line, opacity=mark.alpha, layer=layer, **place)
    elif isinstance(mark, Heat):
        figure.update_yaxes(range=[len(mark.values) - 0.5, -0.5], **place)
        figure.update_xaxes(range=list(map(float, mark.span())), **place)
        x, y = _names(figure, place)
        ground = {"x0": 0, "x1": 1, "y0": 0, "y1": 1, "xref": f"{x} domain", "yref": f"{y} domain", "line": {"width": 0}}
        figure.add_shape(type="rect", fillcolor=UNDEFINED[0], layer="below", **ground)
        for edge in mark.edges:
            line = {"line": {"color": INK, "width": 1}, **place}
            figure.add_hline(edge - 0.5, **line)
            if mark.x is None:
                figure.add_vline(edge - 0.5, **line)
    elif isinstance(mark, Tiles):
        x, y = _names(figure, place)
        for i, (picture, strip) in enumerate(zip(mark.pictures, mark.strips, strict=True)):
            row, column = divmod(i, mark.columns)
            pieces = [(255 * np.asarray(strip)[None], 1.06, 0.09)] + ([] if picture is None else [(picture, 0, 1)])
            for pixels, down, high in pieces:
                box = {"x": column * Tiles.WIDE, "y": row * Tiles.HIGH + down, "sizex": 1, "sizey": high, "sizing": "stretch"}
                figure.add_layout_image(source=_png(pixels), xref=x, yref=y, **box)
        rows = -(-max(1, len(mark.pictures)) // mark.columns)
        figure.update_xaxes(range=[-0.05, mark.columns * Tiles.WIDE], visible=False, **place)
        figure.update_yaxes(range=[rows * Tiles.HIGH, -0.05], visible=False, **place)


def _png(pixels: np.ndarray) -> str:
    """A picture as an address that needs no file, enlarged without blur."""
    from PIL import Image

    made = Image.fromarray(np.asarray(pixels).round().astype(np.uint8))
    times = max(1, 96 // max(made.size))
    buffer = io.BytesIO()
    made.resize((made.width * times, made.height * times), Image.Resampling.NEAREST).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _strip(figure, place: dict, mark: Strip) -> None:
    x, y = _names(figure, place)
    top, edge = mark.side == "top", 0
    for name, members in zip(GROUPS, mark.groups, strict=False):
        if not len(members):
            continue
        ends, middle = (edge - 0.45, edge + len(members) - 0.55), edge + (len(members) - 1) / 2
        line = {"type": "line", "line": {"color": GROUPS[name], "width": 4}}
        if top:
            figure.add_shape(x0=ends[0], x1=ends[1], y0=1.01, y1=1.01, xref=x, yref=f"{y} domain", **line)
        else:
            figure.add_shape(y0=ends[0], y1=ends[1], x0=-0.008, x1=-0.008, xref=f"{x} domain", yref=y, **line)
        if mark.named:
            where = {"x": middle, "y": 1.01, "xref": x, "yref": f"{y} domain", "yshift": 2, "yanchor": "bottom"} if top else {
                "x": 0, "y": middle, "xref": f"{x} domain", "yref": y, "xshift": -12, "textangle": -90}  # fmt: skip
            figure.add_annotation(text=name, showarrow=False, font={"size": 10}, **where)
        edge += len(members)
        if edge < len(mark.groups.order) and top:
            figure.add_vline(edge - 0.5, line={"color": "#bbbbbb", "width": 0.8}, layer="below", **place)
