"""How a run presents itself in a console and in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from pldebias.runs.schema import RunError

if TYPE_CHECKING:
    from pldebias.runs.run import Run


def problems(dropped: dict[int, str]) -> str:
    """The damaged epochs of a run in words; empty if there are none."""
    return "; ".join(f"epoch {epoch}: {why}" for epoch, why in sorted(dropped.items()))


def facts(run: Run) -> dict[str, str]:
    """What one wants to know first."""
    known, damage = None, [problems(run.dropped)] if run.dropped else []
    if run.unlabelled_counts is None:
        try:
            known = (run.true_labels >= 0).sum()
        except RunError as error:  # whatever is wrong with a run, it can be looked at
            damage.append(str(error))
    size = f"{run.num_classes} classes, {run.labelled_counts.sum()} labelled, {run.num_unlabelled} unlabelled"
    told = {
        "data": f"{run.data or 'unnamed'}, {size}" + (f" (true class known for {known})" if known is not None else ""),
        "epochs": f"{len(run.epochs)} of {run.total_epochs}, {'finished' if run.finished else 'unfinished'}",
        "matrices": ", ".join(run.kinds) or "none yet",
        "snapshots": f"{len(run.snapshots)}" + (f" (epochs {', '.join(map(str, run.snapshots))})" if len(run.snapshots) else ""),
        "state": ", ".join(run.series) or "none",
    }
    if damage:
        told["damaged"] = "; ".join(damage)
    return told


def describe(run: Run) -> str:
    """Text of ``repr(run)``."""
    lines = "\n".join(f"  {key:<10}{value}" for key, value in facts(run).items())
    return f"<Run {run.name} at {run.path}>\n{lines}"


def describe_html(run: Run) -> str:
    """Table that a notebook shows of a run."""
    cell = "style='text-align:left'"
    rows = "".join(f"<tr><th {cell}>{html.escape(key)}</th><td {cell}>{html.escape(value)}</td></tr>" for key, value in facts(run).items())
    return f"<b>{html.escape(run.name)}</b> <code>{html.escape(run.path)}</code><table>{rows}</table>"
