"""The ES modules of `js/`, joined to one small text, which is what a notebook or a page gets; style sheets alike."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["EXPLORER", "module", "style"]

HERE = Path(__file__).parent / "js"
EXPLORER = ("numbers", "paint", "carpet", "overview", "matrix", "legend", "details", "explorer")


@cache
def module(*parts: str) -> str:
    """Parts joined in this order, each after those it imports, without comments and spare blanks.

    A notebook keeps the text once for every widget, so it must stay small; and a page opened from disk may not load a second file.

    Parameters
    ----------
    *parts : str
        Names of files in ``js/``, without their ending.

    Returns
    -------
    str
        One ES module; only the default export remains.
    """
    from rjsmin import jsmin

    texts = []
    for part in parts:
        text = (HERE / f"{part}.js").read_text(encoding="utf-8")
        texts.append(re.sub(r"^export (?!default)", "", re.sub(r"^import .*\n", "", text, flags=re.M), flags=re.M))
    joined = jsmin("".join(texts))
    if "</script" in joined:
        raise ValueError("a module must not contain the characters </script, which would end its element in a page")
    return joined


@cache
def style(name: str) -> str:
    """Style sheet of the view ``"explorer"`` or ``"embedding"``, after what both share."""
    return "".join((HERE.parent / f"{part}.css").read_text(encoding="utf-8") for part in ("theme", name))
