"""The class distribution that a method estimated, how far it is from the truth, and how well calibrated the classifier is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pldebias.analysis.comparing.selection import epoch_row
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.analysis.relabelling.counterpart import known_method, options_of
from pldebias.methods import LEARNERS, SCHEMES, build_method
from pldebias.plots.frame import Frame
from pldebias.plots.marks import Axis, Panel
from pldebias.plots.result import PaperFigure
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
    frame = Frame(runs, groups, error=error)
    frame.need_unlabelled_truth()
    drawn: dict = {}
    for label, found in frame.chosen.items():
        name = series if isinstance(series, str) else (series or {}).get(label) or _series(found[0])
        if name in _given(found[0]):
            raise NotLogged(f"{name} is what {found[0].name} was given, no estimate; pld.plots.learned_state draws any series")
        epochs, x = frame.over_time(label)
        cube = np.stack([run.state(name) for run in found]).astype(float)
        with np.errstate(invalid="ignore"):
            cube = cube / cube.sum(-1, keepdims=True)
        truth = np.stack([run.unlabelled_counts / run.unlabelled_counts.sum() for run in found])
        row = epoch_row(found[0], frame.epoch(found[0], epoch))
        drawn[label] = {
            "series": name,
            "epochs": epochs,
            "x": x,
            "estimate": over_seeds(100 * cube[:, row]),
            "true": over_seeds(100 * truth),
        }
        drawn[label]["tv"] = over_seeds(50 * np.abs(cube - truth[:, None]).sum(-1))
        if all("ece" in run.scalars for run in found):
            drawn[label]["ece"] = over_seeds(100 * np.stack([run.scalars["ece"].to_numpy() for run in found]))
    truths = [arrays["true"].mean for arrays in drawn.values()]
    one_truth = all(np.allclose(truth, truths[0]) for truth in truths)
    names = {label: f"{label} ({arrays['series']})" for label, arrays in drawn.items()}
    lines = frame.by_class({label: arrays["estimate"] for label, arrays in drawn.items()}, names=names, limits=(0, 100))
    shares = [frame.truth_bars(truths[0]), *lines]
    panels = [Panel(shares, x=frame.class_axis(), y=Axis("share of the unlabelled set (%)", limits=(0, None)))]
    for key, what in (("tv", "distance to the truth (TV, %)"), ("ece", "ECE on the test set (%)")):
        curves = [
            frame.curve(arrays[key], arrays["x"], frame.styles[label], names[label], (0, 100), legend=False)
            for label, arrays in drawn.items()
            if key in arrays
        ]
        panels += [Panel(curves, x=Axis(frame.unit), y=Axis(what, limits=(0, None)))] if curves else []
    without = [label for label, arrays in drawn.items() if "ece" not in arrays]
    caption = frame.caption(
        f"Estimated distribution of the unlabelled set at {frame.at(epoch)} against the truth (bars), "
        f"its total variation distance, and the expected calibration error; {frame.seeds()}.",
        "" if one_truth else "The entries differ in their truth; bars are those of the first.",
        f"No calibration error was logged by {', '.join(without)}." if 0 < len(without) < len(drawn) else "",
    )
    count, single = len(panels), width == "single"
    grid = {"shape": (count, 1), "height": 1.75 * count} if single else {"shape": (1, count), "height": 2.4, "ratios": (1.5, 1, 1)[:count]}
    values = {"runs": drawn, "order": frame.order}
    return frame.finish(panels, values, caption, width=width, title=title, font=font, backend=backend, legend=True, **grid)
