"""A table as LaTeX, Markdown and HTML, every name escaped."""

from __future__ import annotations

import html as _html
import itertools
import math
import re
from typing import NamedTuple

from pldebias._files import put
from pldebias.paths import output

__all__ = ["MISSING", "UNDEFINED", "escape_latex", "escape_markdown", "html", "latex", "markdown", "write"]

MISSING, UNDEFINED = "—", "n/d"

_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: rf"\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "Δ": r"$\Delta$",
    "—": "---",
    "–": "--",
}


def _plain(text: str) -> str:
    """One line without control characters, which no format could show."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()


def escape_latex(text: str) -> str:
    """Text as LaTeX source that prints it; characters outside Latin need XeLaTeX or LuaLaTeX."""
    return "".join(_LATEX.get(c, c) for c in _plain(text))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, inside a table too."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!&])", r"\\\1", _plain(text))


class _Text(NamedTuple):
    """One printed entry, and whether it is bold."""

    text: str
    bold: bool = False


def _number(value: float, digits: int, sign: bool = False) -> str:
    if math.isnan(value):
        return UNDEFINED
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "−")


def _entries(table) -> tuple[list[tuple[str, str, str]], list[list[_Text]]]:
    """Headings (condition, family, label) and rows of entries, row name first; one n column if each row has one n."""
    cells, digits = table.cells, table.digits
    counts = {r: {cell.n for c in range(len(table.columns)) if (cell := cells[r, c]) is not None} for r in range(len(table.rows))}
    shared = all(len(found) <= 1 for found in counts.values())
    heads: list[tuple[str, str, str]] = [("", "", "")]
    rows = [[_Text(name)] for name in table.rows]
    if shared:
        heads.append(("", "", "n"))
        for r, row in enumerate(rows):
            row.append(_Text(str(next(iter(counts[r]), 0))))
    for c, (condition, found) in enumerate(table.columns):
        unit = " (%)" if found.scale == 100 else ""
        heads.append((condition, found.family + unit, found.label))
        for r, row in enumerate(rows):
            row.append(_value(cells[r, c], digits, shared))
        if found.name in table.compared:
            heads.append((condition, found.family + unit, f"Δ {found.label}"))
            for r, row in enumerate(rows):
                row.append(_gain(cells[r, c], digits, table.rows[r] == table.baseline))
        if any(cells[r, c] is not None and cells[r, c].published for r in range(len(rows))):
            heads.append((condition, found.family + unit, "published"))
            for r, row in enumerate(rows):
                known = cells[r, c].published if cells[r, c] is not None else ()
                row.append(_Text("; ".join(map(str, known)) or MISSING))
    return heads, rows


def _value(cell, digits: int, shared: bool) -> _Text:
    if cell is None:
        return _Text(MISSING)
    text = _number(cell.mean, digits) + (f" ± {_number(cell.sd, digits)}" if cell.n > 1 else "")
    return _Text(text if shared or not cell.n else f"{text} (n={cell.n})", cell.best)


def _gain(cell, digits: int, itself: bool) -> _Text:
    if cell is None or itself or cell.difference is None:
        return _Text("" if itself else MISSING)
    mean, low, high, pairs = cell.difference
    if not pairs:
        return _Text(UNDEFINED)
    interval = f" [{_number(low, digits, True)}, {_number(high, digits, True)}]" if pairs > 1 else ""
    return _Text(_number(mean, digits, True) + interval)


def _headings(heads) -> list[list[tuple[str, int, int]]]:
    """Heading lines that say anything, of (text, first column, number of columns); a new condition ends a family."""
    lines = []
    for level in range(2):
        if any(head[level] for head in heads):
            groups = itertools.groupby(range(len(heads)), key=lambda i: heads[i][: level + 1])
            spans = [list(members) for _, members in groups]
            lines.append([(heads[members[0]][level], members[0], len(members)) for members in spans])
    return [*lines, [(head[2], i, 1) for i, head in enumerate(heads)]]


def latex(table, caption: str | None, label: str | None, wide: bool = False) -> str:
    """See `Table.to_latex`."""
    heads, rows = _entries(table)
    environment = "table*" if wide else "table"
    lines = [r"% needs \usepackage{booktabs}"]
    letters = "".join(itertools.chain(table.rows, *heads))
    if any(ord(c) > 0x17F and c not in _LATEX for c in letters):
        lines.append("% compile with XeLaTeX or LuaLaTeX: names hold characters that pdfLaTeX has no font for")
    lines += [
        rf"\begin{{{environment}}}",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        r"\begin{tabular}{l" + "r" * (len(heads) - 1) + "}",
        r"\toprule",
    ]
    *spanning, last = _headings(heads)
    for spans in spanning:
        lines.append(" & ".join(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(text)}}}" for text, _, width in spans) + r" \\")
        lines.append("".join(rf"\cmidrule(lr){{{start + 1}-{start + width}}}" for text, start, width in spans if text))
    lines.append(" & ".join(escape_latex(text) for text, _, _ in last) + r" \\")
    lines.append(r"\midrule")
    for row in rows:
        entries = [rf"\textbf{{{escape_latex(entry.text)}}}" if entry.bold else escape_latex(entry.text) for entry in row]
        # A row that begins with a bracket would be read as an option of the line break before it.
        entries[0] = "{}" + entries[0] if entries[0].startswith(("[", "*")) else entries[0]
        lines.append(" & ".join(entries) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    told = " ".join(escape_latex(note) for note in table.notes)
    lines.append(rf"\caption{{{' '.join(filter(None, (caption, told)))}}}")
    lines += [rf"\label{{{label}}}"] if label else []
    return "\n".join([*lines, rf"\end{{{environment}}}", ""])


def markdown(table) -> str:
    """See `Table.to_markdown`."""
    heads, rows = _entries(table)
    names = [escape_markdown(", ".join(dict.fromkeys(part for part in head if part))) for head in heads]
    body = [[f"**{escape_markdown(entry.text)}**" if entry.bold else escape_markdown(entry.text) for entry in row] for row in rows]
    widths = [max(3, *(len(line[i]) for line in [names, *body])) for i in range(len(heads))]

    def line(parts):
        padded = [part.ljust(width) if i == 0 else part.rjust(width) for i, (part, width) in enumerate(zip(parts, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(":" + "-" * (w + 1) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(names), rule, *map(line, body), "", escape_markdown(" ".join(table.notes)), ""])


def html(table) -> str:
    """See `Table.to_html`; classes ``pld-table`` and ``pld-best`` are for a page's style."""
    heads, rows = _entries(table)
    escape = _html.escape
    lines = ['<table class="pld-table" style="white-space: nowrap">', "<thead>"]
    for spans in _headings(heads):
        cells = "".join(f'<th scope="{"colgroup" if w > 1 else "col"}" colspan="{w}">{escape(_plain(t))}</th>' for t, _, w in spans)
        lines.append(f"<tr>{cells}</tr>")
    lines += ["</thead>", "<tbody>"]
    for row in rows:
        kinds = [' class="pld-best"' if entry.bold else "" for entry in row]
        cells = "".join(f"<td{kind}>{escape(_plain(entry.text))}</td>" for kind, entry in zip(kinds[1:], row[1:], strict=True))
        lines.append(f'<tr><th scope="row">{escape(_plain(row[0].text))}</th>{cells}</tr>')
    lines += ["</tbody>", "</table>", f'<p class="pld-notes">{escape(_plain(" ".join(table.notes)))}</p>']
    return "\n".join(lines)


def write(text: str, path=None) -> str:
    """Return the text, written to `path`, a file or its name, as UTF-8 if one is given."""
    if hasattr(path, "write"):
        path.write(text)
    elif path is not None:
        put(output(path), text.encode())
    return text
