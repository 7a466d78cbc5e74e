"""Matrices and group scores as HTML: drawn in milliseconds, read by screen readers, sharp at every size."""

from __future__ import annotations

import base64
import io
from functools import cache
from html import escape

import numpy as np

from pldebias.plots.style import DIVERGING, GROUPS, SEQUENTIAL, beyond, colour_map, paint

__all__ = ["matrix", "scores"]

MOST_CELLS = 30  # classes; beyond, a picture without numbers
HINTS = {
    "recall %": "of the group's samples, the share that carries its class's label; mean over classes",
    "precision %": "of the labels given, the share that is right; mean over classes",
    "accepted %": "of the group's labels, the share that training would use",
    "right of accepted %": "of those, the share that is right",
    "labels/true": "labels given for each sample that truly belongs to the group",
    "weight of accepted": "factor of an accepted sample's loss, mean; 1 unless a scheme weighs samples",
    "pull of accepted %": "gradient of an accepted target's cross-entropy on the label's logit, with the chain's margin, on these outputs",
}
"""Meaning of the columns of the group table, for a pointer that rests on them."""
HATCH = "repeating-linear-gradient(45deg,#f1f1f1 0 3px,#c8c8c8 3px 4px)"


@cache
def _shades(change: bool):
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(-50, 50) if change else Normalize(0, 100), colour_map(DIVERGING if change else SEQUENTIAL))


def matrix(values: np.ndarray, names: list[str], edges: list[int], *, title: str, change: bool = False) -> str:
    """One matrix as HTML.

    Parameters
    ----------
    values : ndarray, shape ``[K, K]``
        Percent of the true class (row), or a change in percentage points; NaN is hatched, an exact zero white.
    names : list of str
        Classes in drawing order.
    edges : list of int
        Rows before which a group begins.
    title : str
    change : bool
        Diverging colours from -50 to 50 in place of 0 to 100.
    """
    if beyond(values, *_shades(change).get_clim()) != "neither":
        title += "; colours end at ±50 points"
    colours = (255 * paint(values, _shades(change))).round().astype(np.uint8)
    heading = f"<div style='font-size:12px;margin:2px 0;width:0;min-width:100%'>{escape(title)}</div>"  # no wider than the cells
    if len(names) > MOST_CELLS:
        return heading + _picture(colours, escape(title))
    line = "border-{}:2px solid #333;"
    head = "".join(f"<th scope='col' style='font-weight:normal;text-align:center'>{escape(name)}</th>" for name in names)
    rows = []
    for r, name in enumerate(names):
        cells = []
        for c, value in enumerate(values[r]):
            red, green, blue, alpha = (int(part) for part in colours[r, c])
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128 and alpha
            ground = f"background:rgb({red},{green},{blue});" if alpha else f"background:{HATCH};"
            text = "" if not np.isfinite(value) or abs(value) < 0.5 else f"{value:+.0f}" if change else f"{value:.0f}"
            style = ground + f"color:{'#fff' if dark else '#111'};" + (line.format("top") if r in edges else "")
            style += line.format("left") if c in edges else ""
            words = "undefined" if not np.isfinite(value) else f"{value:+z.1f} points" if change else f"{value:.1f} %"
            tip = f"{name} called {names[c]}: {words}"
            cells.append(f"<td style='{style}' title='{escape(tip, quote=True)}'>{text}</td>")
        rows.append(
            f"<tr><th scope='row' style='font-weight:normal;text-align:right;padding-right:5px'>{escape(name)}</th>{''.join(cells)}</tr>"
        )
    cell = "width:27px;height:22px;padding:0;text-align:center;border:0"
    body = "".join(rows).replace("<td style='", f"<td style='{cell};")
    return (
        f"{heading}<table style='border-collapse:collapse;font-size:11px;line-height:1.1' aria-label='{escape(title, quote=True)}'>"
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _picture(colours: np.ndarray, title: str) -> str:
    from PIL import Image

    solid = np.where(colours[..., 3:] > 0, colours[..., :3], 225).astype(np.uint8)
    times = max(1, round(360 / len(solid)))
    buffer = io.BytesIO()
    Image.fromarray(solid.repeat(times, 0).repeat(times, 1)).save(buffer, "PNG")
    return f"<img alt='{title}' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"


def scores(table) -> str:
    """The group table of a `WhatIf` as HTML: what if, and the change in brackets."""
    measures = list(dict.fromkeys(name for name, _ in table.columns))
    head = "".join(
        f"<th scope='col' title='{escape(HINTS.get(name, ''), quote=True)}' style='text-align:right;padding:1px 8px'>{escape(name)}</th>"
        for name in measures
    )
    rows = []
    for group in table.index:
        cells = []
        for name in measures:
            now, change = table.loc[group, (name, "what if")], table.loc[group, (name, "change")]
            digits = 1 if name.endswith("%") else 2
            text = "–" if np.isnan(now) else f"{now:.{digits}f}"
            text += "" if np.isnan(change) else f" <span style='opacity:.65'>({change:+z.{digits}f})</span>"
            cells.append(f"<td style='text-align:right;padding:1px 8px'>{text}</td>")
        mark = f"border-left:4px solid {GROUPS.get(group, '#333')};padding-left:5px;text-align:left"
        rows.append(f"<tr><th scope='row' style='{mark}'>{group}</th>{''.join(cells)}</tr>")
    return f"<table style='border-collapse:collapse;font-size:12px'><tr><th></th>{head}</tr>{''.join(rows)}</table>"
