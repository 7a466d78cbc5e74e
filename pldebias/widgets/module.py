"""The ES modules of `js/`, joined to one small text, which is what a notebook or a page gets; style sheets alike."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["module", "style"]

HERE = Path(__file__).parent / "js"
IMPORT = re.compile(r"^import [^;]*? from \"(.+?)\";\n", re.M)


def _parts(path: Path, found: dict[Path, None]) -> dict[Path, None]:
    """A file and all that it imports, each after those it imports."""
    if path not in found:
        for name in IMPORT.findall(path.read_text(encoding="utf-8")):
            _parts((path.parent / name).resolve(), found)
        found[path] = None
    return found


@cache
def module(*entries: str) -> str:
    """Files of ``js/`` with all that they import, joined and without comments and spare blanks.

    A notebook keeps the text once for every widget, so it must stay small; and a page opened from disk may not load a second file.

    Parameters
    ----------
    *entries : str
        Names of files in ``js/``, without their ending.

    Returns
    -------
    str
        One ES module; only the default export remains.
    """
    from rjsmin import jsmin

    found: dict[Path, None] = {}
    for entry in entries:
        _parts((HERE / f"{entry}.js").resolve(), found)
    texts = (IMPORT.sub("", path.read_text(encoding="utf-8")) for path in found)
    joined = jsmin("".join(re.sub(r"^export (?!default)", "", text, flags=re.M) for text in texts))
    if "</script" in joined:
        raise ValueError("a module must not contain the characters </script, which would end its element in a page")
    return joined


@cache
def style(name: str) -> str:
    """Style sheet of the view ``"explorer"`` or ``"embedding"``, after what both share."""
    return "".join((HERE.parent / f"{part}.css").read_text(encoding="utf-8") for part in ("theme", name))
