"""A sheet of single samples: image, truth, label, and the history of its labels."""

from __future__ import annotations

import math

import numpy as np

from pldebias.analysis.samples import samples as find
from pldebias.plots.style import GROUPS, Drawn
from pldebias.settings import typed

__all__ = ["samples"]

WORDS = {
    "hardest": "right in {:.0f} epochs",
    "most flipped": "{:.0f} changes",
    "confidently wrong": "{:.0%} sure",
}


@typed
def samples(run, choice="confidently wrong", *, of="tail", n=24, epoch=-1, images=True, groups="tertiles", columns=8, title=None) -> Drawn:
    """Draw the samples that were hardest, changed their label most often, or are wrongly labelled with most confidence.

    Parameters
    ----------
    run, choice, of, n, epoch, images, groups
        As in `pldebias.analysis.samples.samples`.
    columns : int, default 8
    title : str, optional

    Returns
    -------
    Drawn
        ``values["index"]``, positions in the unlabelled set, most striking first; ``score``, ``true``, ``label`` and ``history``.

    Notes
    -----
    Under each image: true class, then pseudo-label. The strip is the label at every epoch, in the colour of its group, dark where it was
    right and white where there was none. Without images (the data are not on this machine) the sheet shows everything else and says why.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    from pldebias import metrics

    found = find(run, choice, of=of, n=n, epoch=epoch, images=images, groups=groups)
    names, group = found.run.class_names, metrics.groups(found.run.labelled_counts, groups).of
    number = len(found.index)
    columns = max(1, min(columns, number))
    rows = max(1, math.ceil(number / columns))
    width, height = 1.15 * columns + 0.2, 1.72 * rows + 0.55
    figure = Figure(figsize=(width, height))
    # Margins in inches; the heading stands in the upper one.
    margins = {
        "left": 0.1 / width,
        "right": 1 - 0.1 / width,
        "bottom": 0.02 / height,
        "top": 1 - 0.5 / height,
        "hspace": 0.12,
        "wspace": 0.08,
    }
    parts = {"height_ratios": [1, 0.1, 0.4] * rows, **margins}
    grid = figure.subplots(3 * rows, columns, squeeze=False, gridspec_kw=parts)
    for ax in grid.flat:
        ax.axis("off")
    colours = np.array([to_rgb(colour) for colour in GROUPS.values()])
    for i in range(number):
        image, strip, text = (grid[3 * (i // columns) + part, i % columns] for part in range(3))
        if found.images is None:
            image.set(xlim=(0, 1), ylim=(0, 1))
            image.text(0.5, 0.5, f"#{found.index[i]}", ha="center", va="center", fontsize=8, color="#666666")
        else:
            image.imshow(found.images[i], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        history, true = found.history[i], found.true[i]
        shade = np.where((history >= 0)[:, None], colours[group[history]], 1.0)  # no label, no colour
        pale = np.where((history == true)[:, None], shade, 1 - 0.35 * (1 - shade)) if true >= 0 else shade
        strip.imshow(pale[None], aspect="auto", interpolation="nearest")
        truth = names[true] if true >= 0 else "?"
        text.set(xlim=(0, 1), ylim=(0, 1))
        text.text(
            0.5,
            1,
            f"{truth} → {names[found.label[i]]}\n{WORDS[choice].format(found.score[i])}",
            ha="center",
            va="top",
            fontsize=7,
            parse_math=False,
        )
    heading = f"{found.run.name}: {choice}, {of}, epoch {found.epoch}"
    if not number:
        heading += ": none"
    if found.images is None and number:
        heading += f"\nno images: {found.problem}"
    figure.suptitle(
        heading if title is None else title, fontsize=9, x=0.1 / width, y=1 - 0.06 / height, ha="left", va="top", parse_math=False
    )
    return Drawn(figure, grid, {name: getattr(found, name) for name in ("index", "score", "true", "label", "history")})
