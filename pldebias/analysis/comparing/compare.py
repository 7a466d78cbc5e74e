"""Several runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pldebias import metrics
from pldebias.analysis.comparing.measures import measure, names, statistic
from pldebias.runs import Run, open_run

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

__all__ = ["summary"]

_COLUMNS = {  # measure, statistic, scale and decimals
    "bal. acc. last": ("balanced_accuracy", "last", 100, 1),
    "bal. acc. median of 20": ("balanced_accuracy", "median20", 100, 1),
    "post-hoc LA": ("balanced_accuracy_la", "last", 100, 1),
    "PL recall head": ("pl_recall_head", "last", 100, 1),
    "PL recall tail": ("pl_recall_tail", "last", 100, 1),
    "PL precision tail": ("pl_precision_tail", "last", 100, 1),
    "tail PL / true": ("pl_ratio_tail", "last", 1, 2),
    "mask rate": ("mask_rate", "last", 1, 2),
}


def summary(root: str | Path = "runs") -> pandas.DataFrame:
    """One readable row per run under `root`: test accuracy and the head/tail bias of its pseudo-labels.

    Accuracies, recall and precision are in percent. Pseudo-label columns are of the last epoch's sweep (all samples, accepted or
    not), head and tail being the outer thirds of the classes by labelled count. NaN where the truth is unknown or nothing is defined.
    The column "problem" is there if a run cannot be read, and says why.

    Raises
    ------
    RunError
        `root` does not exist.
    """
    import pandas

    from pldebias.runs import catalogue

    known = catalogue(root)[["path", "problem"]].itertuples(index=False)
    rows = [{"run": path, "problem": problem} if problem else _row(open_run(path)) for path, problem in known]
    table = pandas.DataFrame(rows, columns=["run", "data", "epochs", *_COLUMNS, "problem"])
    return table if table["problem"].notna().any() else table.drop(columns="problem")


def _row(run: Run) -> dict[str, object]:
    row: dict[str, object] = {"run": run.name, "data": run.data, "epochs": f"{len(run.epochs)}/{run.total_epochs or '?'}"}
    parts = metrics.groups(run.labelled_counts)
    for column, (name, which, scale, decimals) in _COLUMNS.items():
        if name in names() or name in run.scalars:
            row[column] = round(statistic(measure(name, run)._replace(scale=scale), run, parts, which), decimals)
    return row
