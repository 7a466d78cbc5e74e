"""Several runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.runs import Run, open_run

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

COLUMNS = (
    "run",
    "data",
    "epochs",
    "bal. acc. last",
    "bal. acc. median of 20",
    "post-hoc LA",
    "PL recall head",
    "PL recall tail",
    "PL precision tail",
    "tail PL / true",
    "mask rate",
    "problem",
)


def summary(root: str | Path = "runs") -> pandas.DataFrame:
    """One readable row per run under `root`: test accuracy and the head/tail bias of its pseudo-labels.

    Accuracies, recall and precision are in percent. Pseudo-label columns are of the last epoch's sweep (all samples, accepted or
    not), head and tail being the outer thirds of the classes by labelled count. NaN where the truth is unknown or nothing is defined.

    Raises
    ------
    RunError
        `root` does not exist.
    """
    import pandas

    from pldebias.runs import catalogue

    known = catalogue(root)
    rows = [
        _row(open_run(path)) if not problem else _broken(path, problem)
        for path, problem in zip(known["path"], known["problem"], strict=True)
    ]
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    return table if table["problem"].notna().any() else table.drop(columns="problem")


def _broken(path: str, problem: str) -> dict[str, object]:
    return {"run": path, "problem": problem}


def _row(run: Run) -> dict[str, object]:
    row: dict[str, object] = {"run": run.name, "data": run.data, "epochs": f"{len(run.epochs)}/{run.total_epochs or '?'}"}
    scalars = run.scalars
    for column, name in (("bal. acc.", "balanced_accuracy"), ("post-hoc LA", "balanced_accuracy_la")):
        if name in scalars and len(scalars):
            last, median = metrics.last_and_median(scalars[name].to_numpy())
            if column == "bal. acc.":
                row |= {f"{column} last": round(100 * float(last), 1), f"{column} median of 20": round(100 * float(median), 1)}
            else:
                row[column] = round(100 * float(last), 1)
    if "mask_rate" in scalars and len(scalars):
        row["mask rate"] = round(float(scalars["mask_rate"].iloc[-1]), 2)
    if "sweep" in run.kinds and len(run.epochs):
        sweep = run.confusion("sweep", epoch=-1)
        thirds = metrics.groups(run.labelled_counts)
        scores = metrics.group(sweep, thirds)
        row |= {
            "PL recall head": round(100 * float(scores.recall[0]), 1),
            "PL recall tail": round(100 * float(scores.recall[-1]), 1),
            "PL precision tail": round(100 * float(scores.precision[-1]), 1),
            "tail PL / true": round(float(_times_true(sweep, thirds.tail)), 2),
        }
    return row


def _times_true(confusion: np.ndarray, members: np.ndarray) -> float:
    """Pseudo-labels of a group over its true samples; NaN for a group without samples."""
    true = confusion[members].sum()
    return confusion[:, members].sum() / true if true else np.nan
