"""The class distribution that a method estimated, how far it is from the truth, and how well calibrated the classifier is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pldebias.analysis.comparing.selection import Incomparable, along, check_classes, clock, common_epochs, epoch_at, epoch_row, select
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.analysis.relabelling.counterpart import known_method, options_of
from pldebias.methods import LEARNERS, SCHEMES, build_method
from pldebias.plots.paper import (
    PaperFigure,
    at,
    band,
    bounds,
    canvas,
    class_axis,
    finish,
    groups_in_words,
    legend,
    lengths,
    line_styles,
    seeds_in_words,
)
from pldebias.runs import NotLogged
from pldebias.settings import typed

if TYPE_CHECKING:
    from pldebias.runs import Run

__all__ = ["estimated_prior", "estimates"]

ESTIMATES = ("prior", "unlabelled_dist", "class_dist", "estimate", "running", "target", "histogram")
"""Names under which schemes log an estimate of the class distribution, the likeliest first."""


def estimates(run: Run) -> list[str]:
    """Series of a run that hold an estimate of the class distribution, the likeliest first."""
    given = _given(run)
    return [name for ending in ESTIMATES for name in run.series if name.rpartition("/")[2] == ending and name not in given]


def _given(run: Run) -> set[str]:
    """Series that hold a class distribution which a scheme was given (`Part.given_series`): LA's labelled prior, say."""
    spec, _ = known_method(run)
    given = {name: part.given_series for table in (LEARNERS, SCHEMES) for name, part in table.items()}
    given |= {part.name: part.given_series for part in build_method(spec, options_of(run)).parts} if spec else {}
    return {f"{name}/{series}" for name, held in given.items() for series in held}


def _series(run: Run) -> str:
    if found := estimates(run):
        return found[0]
    raise NotLogged(f"{run.name} logged no estimate of the class distribution; it has {', '.join(run.series) or 'no state of a scheme'}")


@typed
def estimated_prior(
    runs, series=None, *, epoch=-1, groups="tertiles", width="double", error="interval", title=None, font=None, backend="matplotlib"
) -> PaperFigure:
    """Draw an estimated class distribution against the truth, its distance over the training, and the calibration error.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`.
    series : str or dict of str to str, optional
        Series to take, for all or by label. Default: the first of `estimates` of each run.
    epoch : int
        Of the left panel, as the first run counts them; -1 is the last of each run.
    groups, width, error, title, font, backend
        As in `pldebias.plots.recall_precision`.

    Returns
    -------
    PaperFigure
        ``values["runs"][label]``: ``estimate`` and ``true`` (`Spread`, shape ``[K]``, percent), ``tv`` (``[E]``, percent) and ``ece``
        (``[E]``, percent; absent if no run logged it).

    Raises
    ------
    Incomparable
        The true classes of the unlabelled set are unknown, or seeds under one label were recorded at different epochs.
    NotLogged
        A run has no estimate: LA's labelled prior, which stays as it is, is none.

    Notes
    -----
    After ADELLO (Sanchez Aimar et al., ECCV 2024). Estimates are divided by their sum; ECE is that of the test set.
    """
    chosen = select(runs)
    every = [run for found in chosen.values() for run in found]
    parts = check_classes(every, groups)
    drawn: dict = {}
    unit = clock(every)
    for label, found in chosen.items():
        for run in found:
            if run.unlabelled_counts is None:
                raise Incomparable(
                    f"{run.name} ({run.path}): the true classes of its unlabelled samples are not known, so there is no truth to compare"
                )
        name = series if isinstance(series, str) else (series or {}).get(label) or _series(found[0])
        if name in _given(found[0]):
            raise NotLogged(f"{name} is what {found[0].name} was given, no estimate; pld.plots.learned_state draws any series")
        epochs = common_epochs(label, found)
        cube = np.stack([run.state(name) for run in found]).astype(float)
        with np.errstate(invalid="ignore"):
            cube = cube / cube.sum(-1, keepdims=True)
        truth = np.stack([run.unlabelled_counts / run.unlabelled_counts.sum() for run in found])
        row = epoch_row(found[0], epoch_at(found[0], epoch, every))
        drawn[label] = {
            "series": name,
            "epochs": epochs,
            "x": along(found[0], unit),
            "estimate": over_seeds(100 * cube[:, row]),
            "true": over_seeds(100 * truth),
            "tv": over_seeds(50 * np.abs(cube - truth[:, None]).sum(-1)),
        }
        if all("ece" in run.scalars for run in found):
            drawn[label]["ece"] = over_seeds(100 * np.stack([run.scalars["ece"].to_numpy() for run in found]))
    truths = [arrays["true"].mean for arrays in drawn.values()]
    one_truth = all(np.allclose(truth, truths[0]) for truth in truths)
    calibrated = any("ece" in arrays for arrays in drawn.values())
    ratios = (1.5, 1, 1) if calibrated else (1.5, 1)
    single = width == "single"
    grid = {"nrows": len(ratios), "ncols": 1} if single else {"nrows": 1, "ncols": len(ratios), "width_ratios": ratios}
    figure, axes = canvas(backend, width, 1.75 * len(ratios) if single else 2.4, font=font, **grid)
    if figure is not None:
        k, styles = len(parts.order), line_styles(list(chosen))
        left, middle = axes.flat[0], axes.flat[1]
        class_axis(left, every[0].class_names, parts)
        left.bar(
            np.arange(k), truths[0][parts.order], width=0.85, color="#dcdcdc", edgecolor="#8c8c8c", linewidth=0.5, label="truth", zorder=1
        )
        shift = np.linspace(-0.2, 0.2, len(chosen)) if len(chosen) > 1 else np.zeros(1)
        for move, (label, arrays) in zip(shift, drawn.items(), strict=True):
            spread, x = arrays["estimate"], np.arange(k) + move
            left.plot(x, spread.mean[parts.order], label=f"{label} ({arrays['series']})", **{**styles[label], "linewidth": 0.8}, zorder=3)
            left.vlines(
                x, *(np.clip(b[parts.order], 0, 100) for b in bounds(spread, error)), color=styles[label]["color"], lw=0.9, zorder=2
            )
            band(middle, arrays["x"], arrays["tv"], styles[label], None, error, (0, 100))
            if "ece" in arrays:
                band(axes.flat[2], arrays["x"], arrays["ece"], styles[label], None, error, (0, 100))
        left.set_ylabel("share of the unlabelled set (%)", fontsize=7.5)
        middle.set_ylabel("distance to the truth (TV, %)", fontsize=7.5)
        for ax in axes.flat[1:]:
            ax.set_ylim(0, None)
            ax.set_xlabel(unit, fontsize=7.5)
        if calibrated:
            axes.flat[2].set_ylabel("ECE on the test set (%)", fontsize=7.5)
        legend(figure, axes, list(chosen))
    caption = (
        f"Estimated distribution of the unlabelled set at {at(epoch, every)} against the truth (bars), "
        f"its total variation distance, and the expected calibration error; {seeds_in_words(chosen, error)}. {groups_in_words(parts)}"
        + ("" if one_truth else " The entries differ in their truth; bars are those of the first.")
        + _without_ece(drawn)
        + lengths(chosen)
    )
    return finish(figure, axes, {"runs": drawn, "order": parts.order}, caption, title=title)


def _without_ece(drawn: dict) -> str:
    """Which entries the last panel lacks, if others are in it."""
    without = [label for label, arrays in drawn.items() if "ece" not in arrays]
    return f" No calibration error was logged by {', '.join(without)}." if 0 < len(without) < len(drawn) else ""
