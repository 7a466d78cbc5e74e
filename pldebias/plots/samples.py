"""A sheet of single samples: image, truth, label, and the history of its labels."""

from __future__ import annotations

import numpy as np

from pldebias import metrics
from pldebias.analysis.samples import samples as find
from pldebias.plots.frame import finish
from pldebias.plots.marks import Axis, Panel, Picture, Plan, Points, Text
from pldebias.plots.result import PaperFigure
from pldebias.plots.style import GROUPS
from pldebias.settings import typed

__all__ = ["samples"]

WORDS = {"hardest": "right in {:.0f} epochs", "most flipped": "{:.0f} changes", "confidently wrong": "{:.0%} sure"}
SHADES = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in GROUPS.values()])
WIDE, HIGH = 1.1, 1.65  # of a tile with its margin; its picture is 1 by 1


@typed
def samples(
    run, choice="confidently wrong", *, of="tail", n=24, epoch=-1, images=True, groups="tertiles", columns=8, title=None,
    backend="matplotlib",
) -> PaperFigure:  # fmt: skip
    """Draw the samples that were hardest, changed their label most often, or are wrongly labelled with most confidence.

    Parameters
    ----------
    run, choice, of, n, epoch, images, groups
        As in `pldebias.analysis.samples.samples`.
    columns : int, default 8
    title : str, optional
    backend : {"matplotlib", "plotly", "none"}
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["index"]``, positions in the unlabelled set, most striking first; ``score``, ``true``, ``label`` and ``history``.

    Notes
    -----
    Under each image: true class, then pseudo-label. The strip is the label at every epoch, in the colour of its group, dark where it was
    right and white where there was none. Without images (the data are not on this machine) the sheet shows everything else and says why.
    """
    found = find(run, choice, of=of, n=n, epoch=epoch, images=images, groups=groups)
    names, group = found.run.class_names, metrics.groups(found.run.labelled_counts, groups).of
    number = len(found.index)
    columns = max(1, min(columns, number))
    marks, texts = [], []
    for i, (history, true, label, score) in enumerate(zip(found.history, found.true, found.label, found.score, strict=True)):
        x, y = i % columns * WIDE, i // columns * HIGH
        caption = f"{names[true] if true >= 0 else '?'} → {names[label]}\n{WORDS[choice].format(score)}"
        texts.append(f"#{found.index[i]}\n{caption}")
        shade = np.where((history >= 0)[:, None], SHADES[group[history]], 1.0)  # no label, no colour
        shade = np.where((history == true)[:, None], shade, 1 - 0.35 * (1 - shade)) if true >= 0 else shade
        marks.append(Picture((255 * shade[None]).round().astype(np.uint8), x, y + 1.06, height=0.09))
        marks.append(Text(x + 0.5, y + 0.5, f"#{found.index[i]}", 8) if found.images is None else Picture(found.images[i], x, y))
        marks.append(Text(x + 0.5, y + 1.37, caption))
    centres = np.divmod(np.arange(number), columns)
    marks.append(Points(centres[1] * WIDE + 0.5, centres[0] * HIGH + 0.5, size=2000, texts=texts, value=found.score))
    heading = f"{found.run.name}: {choice}, {of}, epoch {found.epoch}" + ("" if number else ": none")
    if found.images is None and number:
        heading += f"\nno images: {found.problem}"
    rows = max(1, -(-number // columns))
    x, y = Axis(ticks=(), limits=(-0.05, columns * WIDE - 0.05)), Axis(ticks=(), limits=(rows * HIGH, -0.05))
    panel = Panel(marks, x=x, y=y, equal=True, frame=False, grid="")
    heading = heading if title is None else title
    plan = Plan([panel], (1.15 * columns + 0.2, 1.72 * rows + 0.55), heading=heading, squeeze=True, left=True)
    strip = "Strip: label at every epoch, in its group's colour, dark where right."
    caption = f"{choice.capitalize()} samples of {of} at epoch {found.epoch}. {strip}"
    return finish(plan, {name: getattr(found, name) for name in ("index", "score", "true", "label", "history")}, caption, backend=backend)
