"""One self-contained page about one run or several: summary, explorer, tables, figures, settings, provenance."""

from __future__ import annotations

import base64
import html
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pldebias._files import put
from pldebias.analysis.comparing.selection import Incomparable, check_classes, flat_config, select, varying
from pldebias.paths import local, output
from pldebias.settings import typed

if TYPE_CHECKING:
    from pldebias.analysis.comparing.tables import Table
    from pldebias.plots import PaperFigure
    from pldebias.runs import Run

__all__ = ["report"]

VALUES = ("balanced_accuracy", "recall", "pl_recall", "pl_precision_tail", "pl_ratio_tail", "acceptance")
MAX_LABELS = 8
MAX_SVG = 120_000  # bytes
# Nothing may be fetched; scripts and frames are those of this file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; font-src data:; frame-src 'self'"

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1d2328; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 1.2rem 1.4rem 4rem; }
h1 { font-size: 1.5rem; margin: .4rem 0 .1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #d8dee3; }
h3 { font-size: 1rem; margin: 0 0 .3rem; }
nav a { margin-right: 1rem; } a { color: #0a5c99; } .soft { color: #5b6670; }
code { font-size: .92em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid #e8ecef; white-space: nowrap; }
thead th { text-align: center; border-bottom: 1px solid #9aa5ae; white-space: normal; }
tbody th, td.text, th.text { text-align: left; font-weight: 500; } details td.text { white-space: normal; overflow-wrap: anywhere; }
.pld-best { font-weight: 700; } .differs td, .differs th { background: #fff4e2; }
.pld-notes, figcaption { color: #5b6670; font-size: .82rem; max-width: 90ch; }
figure { margin: 1rem 0 1.8rem; } figure img { width: 100%; max-width: 480px; height: auto; display: block; }
figure.wide img { max-width: 980px; } figure.square img { max-width: 760px; }
iframe { width: 100%; border: 1px solid #d8dee3; border-radius: 4px; }
select { font: inherit; margin: .2rem 0 .6rem; max-width: 100%; }
pre { background: #f5f7f8; padding: .8rem; overflow-x: auto; font-size: .8rem; }
summary { cursor: pointer; color: #0a5c99; margin: .35rem 0; }
@media print { nav, select, iframe { display: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""
# A frame is as high as what it shows, so that nothing scrolls inside the page.
SCRIPT = """
const pick = document.getElementById("pick"), stage = document.getElementById("stage");
const fit = (frame) => { frame.style.height = frame.contentDocument.documentElement.scrollHeight + 4 + "px"; };
const watch = () => {
  const frame = stage?.querySelector("iframe");
  if (!frame) return;
  frame.loading = "eager";
  const start = () => new ResizeObserver(() => fit(frame)).observe(frame.contentDocument.body);
  if (frame.contentDocument?.getElementById("view")) start(); else frame.addEventListener("load", start, { once: true });
};
const show = (name) => {
  const chosen = document.getElementById(name);
  if (!chosen) return;
  stage.replaceChildren(chosen.content.cloneNode(true));
  watch();
};
pick?.addEventListener("change", () => show(pick.value));
show(pick?.value ?? "view0");
"""


def _text(value) -> str:
    return html.escape(" ".join(str(value).split()), quote=True)


def _summary(every: list[Run]) -> str:
    rows = []
    for run in every:
        state = "finished" if run.finished else f"unfinished, {len(run.epochs)} of {run.total_epochs} epochs"
        size = f"{run.num_classes} classes, {int(run.labelled_counts.sum()):,} labelled, {run.num_unlabelled:,} unlabelled"
        cells = (run.name, run.data or "", size, len(run.epochs), state)
        rows.append("<tr>" + "".join(f'<td class="text">{_text(cell)}</td>' for cell in cells) + "</tr>")
    head = "".join(f'<th class="text">{name}</th>' for name in ("run", "data", "size", "epochs", "state"))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _explorers(every: list[Run]) -> tuple[str, list[str]]:
    """One explorer for all runs that count the same thing; another method with the first run's seed is what it shows first."""
    from pldebias.widgets import explore
    from pldebias.widgets.explorer import MOST_RUNS
    from pldebias.widgets.payload import KINDS, check_comparable

    sets: list[list[Run]] = []
    for run in (every[0], *sorted(every[1:], key=lambda run: run.seed != every[0].seed)):
        for others in sets:
            try:
                check_comparable(others[0], run, tuple(KINDS))
            except ValueError:
                continue  # another split: the two have no matrix in common but each has its own
            if len(others) < MOST_RUNS:
                others.append(run)
                break
        else:
            sets.append([run])
    views, notes = [], []
    for runs in sets:
        try:
            views.append(explore(*runs))
        except ValueError:  # nothing that the first two both have
            for run in runs:
                try:
                    views.append(explore(run))
                except ValueError as error:
                    notes.append(f"No explorer of {run.name}: {error}")
    if not views:
        return "", notes
    names = [", ".join(f"{run.name} ({run.path})" if len(every) > 1 else run.name for run in view.runs) for view in views]
    options = "".join(f'<option value="view{i}">{_text(name)}</option>' for i, name in enumerate(names))
    frames = [view.frame(still=False) for view in views]
    templates = "".join(f'<template id="view{i}">{made}</template>' for i, made in enumerate(frames))
    choice = f'<label>Show <select id="pick">{options}</select></label>' if len(views) > 1 else ""
    # An explorer weighs a megabyte, so each is in the page once; the script puts the chosen one on the stage.
    return f'{choice}<div id="stage"></div>{templates}', notes


def _figures(chosen: dict[str, list[Run]], groups, baseline: str | None) -> tuple[str, list[str]]:
    from pldebias.plots.collection import collection
    from pldebias.plots.frame import WIDTHS

    parts, notes = [], []
    for made in collection(chosen, baseline=baseline, groups=groups):
        if made.figure is None:
            notes.append(f"{made.title}: {made.problem}")
            continue
        width, height = made.figure.figure.get_size_inches()
        shape = "narrow" if width < WIDTHS["double"] else "square" if height > 0.6 * width else "wide"
        title = _text(made.title)
        parts.append(
            f'<figure class="{shape}"><h3>{title}</h3><img alt="{title}" src="{_inline(made.figure)}">'
            f"<figcaption>{_text(made.figure.caption)}</figcaption></figure>"
        )
    return "".join(parts), notes


def _inline(figure: PaperFigure) -> str:
    """The figure as an address that needs no file: SVG, or PNG where many points, cells or numbers make that smaller."""
    buffer = io.BytesIO()
    if sum(len(ax.texts) for ax in figure.figure.axes) <= 300:  # beyond, SVG is slow to write too
        figure.save(buffer, format="svg")
        if buffer.tell() <= MAX_SVG:
            return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    from PIL import Image

    pixels, small = io.BytesIO(), io.BytesIO()
    figure.save(pixels, format="png", dpi=150)
    # With a palette, figures are a third as large.
    Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"


def _tables(made: Table) -> str:
    sources = (("LaTeX (booktabs)", made.to_latex()), ("Markdown", made.to_markdown()), ("CSV, unrounded", made.to_csv()))
    details = "".join(f"<details><summary>{name}</summary><pre>{html.escape(text)}</pre></details>" for name, text in sources)
    return f'<div class="scroll">{made.to_html()}</div>{details}'


def _settings(every: list[Run]) -> str:
    flats, differing = [flat_config(run) for run in every], varying(every)
    names = sorted(dict.fromkeys(name for flat in flats for name in flat), key=lambda name: (name not in differing, name))
    if not names:
        return '<p class="soft">The recorder was given no settings.</p>'
    head = "".join(f'<th class="text">{_text(run.name)}</th>' for run in every)
    rows = [
        f"<tr{' class=differs' if name in differing else ''}><th>{_text(name)}</th>"
        + "".join(f'<td class="text">{_text(flat.get(name, "—"))}</td>' for flat in flats)
        + "</tr>"
        for name in names
    ]
    body = f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{{}}</tbody></table></div>'
    shown, rest = "".join(rows[: len(differing)]), "".join(rows[len(differing) :])
    first = body.format(shown) if differing else f'<p class="soft">{"All runs have" if len(every) > 1 else "This is"} one setting.</p>'
    return first + (
        f"<details><summary>{len(names) - len(differing)} common settings</summary>{body.format(rest)}</details>" if rest else ""
    )


def _provenance(every: list[Run]) -> str:
    from pldebias import __version__

    parts = []
    for run in every:
        told = {
            key: value for key, value in run.attrs.items() if key not in ("config", "class_names", "labelled_counts", "unlabelled_counts")
        }
        rows = "".join(
            f'<tr><th>{_text(key)}</th><td class="text"><code>{_text(json.dumps(value, ensure_ascii=False, default=str))}</code></td></tr>'
            for key, value in {"path": run.path, **told}.items()
        )
        parts.append(f"<details><summary>{_text(run.name)}</summary><table><tbody>{rows}</tbody></table></details>")
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f'{"".join(parts)}<p class="soft">Made by pldebias {_text(__version__)}, {made}. This page fetches nothing.</p>'


@typed
def report(runs, path, *, title: str | None = None, groups="tertiles", baseline: str | None = None) -> Path:
    """Write a page about runs that opens from disk, without network, Python or Jupyter.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`; a list under one label is its seeds. At most eight labels.
    path : str or PathLike
        HTML file to write.
    title : str, optional
        Default: the labels.
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    baseline : str, optional
        Label that differences refer to, in the table and in the figures (there the first one by default).

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    Incomparable
        The runs have other classes or other data; the message says which differ, and in what.

    Notes
    -----
    What cannot be shown (no state of a scheme, unknown classes) is listed at the end with the reason. Runs on the same
    split share an explorer, in which any two of them can be chosen.
    """
    from pldebias.analysis.comparing.tables import table

    chosen, path = select(runs), local(path)
    if len(chosen) > MAX_LABELS:
        raise Incomparable(f"{len(chosen)} methods are too many for one page; select {MAX_LABELS} or fewer, or use pld.table")
    every = [run for found in chosen.values() for run in found]
    check_classes(every, groups)
    made = table(chosen, values=VALUES, groups=groups, baseline=baseline)
    path = output(path)
    title = " · ".join(chosen) if title is None else title
    explorers, lost_views = _explorers(every)
    figures, lost_figures = _figures(chosen, groups, baseline)
    lost = [*lost_views, *lost_figures]
    sections = {
        "Summary": _summary(every),
        "Results": _tables(made),
        "Explorer": explorers or '<p class="soft">No run has matrices that could be explored.</p>',
        "Figures": figures,
        "Settings": _settings(every),
        "Provenance": _provenance(every),
    }
    if lost:
        sections["Not shown"] = "<ul>" + "".join(f"<li>{_text(note)}</li>" for note in lost) + "</ul>"
    anchors = {name: name.lower().replace(" ", "-") for name in sections}
    body = "".join(f'<section id="{anchors[name]}"><h2>{name}</h2>{content}</section>' for name, content in sections.items())
    links = "".join(f'<a href="#{anchor}">{name}</a>' for name, anchor in anchors.items())
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body><main><h1>{_text(title)}</h1><nav>{links}</nav>{body}</main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )
    put(path, text.encode())
    return path
