"""Self-contained HTML pages: views, one under another, with their modules, styles and data inside, and nothing to load."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import NamedTuple

__all__ = ["Piece", "page"]

POLICY = "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data:"
"""A page fetches nothing, from anywhere."""
DARK = """--pld-page-ink: #e3e7ea; --pld-page-soft: #a5afb8; --pld-page-paper: #14181c; --pld-page-raised: #262c32;
  --pld-page-line: #4d5761; --pld-page-accent: #2a76ba;"""
DARK_DATA = "--pld-bar: #55606b; --pld-rate: #2f7cb8; --pld-blue: #6cbcf0; --pld-orange: #f09a3e;"


def _dark(theme: str) -> str:
    rules = f"body {{ background: #14181c; color-scheme: dark; {DARK} }} body .pldebias {{ {DARK_DATA} }}"
    return {"light": "", "dark": rules, "auto": f"@media (prefers-color-scheme: dark) {{ {rules} }}"}[theme]


class Piece(NamedTuple):
    """Everything that a page needs to hold one view.

    Attributes
    ----------
    module : str
        Source of an ES module whose default export has ``render({model, el})``.
    style : str
        Its style sheet.
    state : dict
        JSON-able values of the model.
    data : bytes
        The model's ``data``.
    title : str
    still : bytes
        PNG for readers without scripts; empty for none.
    mount : str
        JavaScript statements that run before ``render``, with ``module``, ``model``, ``state`` and ``listeners`` in scope; a widget that
        asks its kernel for something gives the model a ``send`` here.
    """

    module: str
    style: str
    state: dict
    data: bytes
    title: str
    still: bytes
    mount: str = ""


PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="@THEME@">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="@POLICY@">
<meta name="generator" content="@GENERATOR@">
<title>@TITLE@</title>
<style>
body { margin: 0; background: #ffffff; color-scheme: light; }
@CSS@
@media print { .pld-transport, .pld-slider { display: none !important; } }
</style>
</head>
<body>
@PIECES@
<script type="module">
try {
  window.__pldebias = parent.__pldebias ??= {}; // frames of one document, such as an exported notebook, share what is linked
} catch {} // the frame of a stranger
const text = (kind, k) => document.getElementById(`${kind}-${k}`).textContent;
const mounts = [
@MOUNTS@
];
for (const [k, mount] of mounts.entries()) {
  const state = JSON.parse(text("state", k)), listeners = {};
  state.data = new DataView(Uint8Array.from(atob(text("data", k)), (c) => c.charCodeAt(0)).buffer);
  const model = {
    get: (key) => state[key],
    set(key, value) {
      if (state[key] === value) return;
      state[key] = value;
      for (const f of listeners["change:" + key] ?? []) f();
    },
    on: (name, f) => (listeners[name] ??= []).push(f),
    off: (name, f) => (listeners[name] = (listeners[name] ?? []).filter((g) => g !== f)),
    save_changes() {},
  };
  const module = await import(URL.createObjectURL(new Blob([text("module", k)], { type: "text/javascript" })));
  await mount({ module, model, state, listeners });
  module.default.render({ model, el: document.getElementById(`view-${k}`) });
}
</script>
</body>
</html>
"""

STILL = """
<noscript><img src="data:image/png;base64,@PNG@" alt="@ALT@" style="max-width: 100%"></noscript>"""
PIECE = """<div id="view-@K@"></div>@STILL@
<script type="application/json" id="state-@K@">@STATE@</script>
<script type="text/plain" id="data-@K@">@DATA@</script>
<script type="text/plain" id="module-@K@">@MODULE@</script>"""


def _fill(template: str, parts: dict[str, str]) -> str:
    # One pass over the template: a run whose name looks like a placeholder must not be filled in.
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], template)


def page(*pieces: Piece, title: str = "", theme: str = "auto") -> str:
    """A self-contained HTML page that holds views one under another; those with the same link name are linked.

    Parameters
    ----------
    *pieces : Piece
        Of views, one under another.
    title : str
        Names of the pieces, if empty.
    theme : {"auto", "light", "dark"}
        ``"auto"`` follows the reader's system.

    Returns
    -------
    str
        HTML with modules, styles and data inside; it loads nothing from anywhere.
    """
    if theme not in ("auto", "light", "dark"):
        raise ValueError(f"theme must be 'auto', 'light' or 'dark'; got {theme!r}")
    from pldebias import __version__

    bodies = []
    for number, each in enumerate(pieces):
        if "</script" in each.module + each.mount:
            raise ValueError(f"the module of {each.title} must not contain the characters </script, which would end its element in a page")
        still = {"PNG": base64.b64encode(each.still).decode(), "ALT": html.escape(each.title, quote=True)}
        parts = {
            "K": str(number), "STILL": _fill(STILL, still) if each.still else "", "DATA": base64.b64encode(each.data).decode(),
            "STATE": json.dumps(each.state).replace("<", "\\u003c"), "MODULE": each.module,
        }  # fmt: skip
        bodies.append(_fill(PIECE, parts))
    parts = {
        "THEME": theme,
        "POLICY": POLICY,
        "GENERATOR": f"pldebias {html.escape(__version__)}",
        "TITLE": html.escape(title or " and ".join(dict.fromkeys(each.title for each in pieces))),
        "CSS": "\n".join([*dict.fromkeys(each.style for each in pieces), _dark(theme)]),
        "PIECES": "\n".join(bodies),
        "MOUNTS": "\n".join(f"async ({{ module, model, state, listeners }}) => {{\n{each.mount}\n}}," for each in pieces),
    }
    return _fill(PAGE, parts)
