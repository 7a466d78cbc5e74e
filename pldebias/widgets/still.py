"""A still image of an explorer, for places that run no scripts."""

from __future__ import annotations


def still(view):
    """Carpet and matrix of each run at the state of `view`.

    Parameters
    ----------
    view : Explorer

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    from pldebias.plots import carpet, confusion

    runs = [view.runs[number] for number in view.shown]
    figure = Figure(figsize=(10, 4.3 * len(runs)), layout="constrained")
    rows = figure.subplots(len(runs), 2, width_ratios=(1.15, 1), squeeze=False)
    shared = {"kind": view.kind, "split": view.split, "groups": view.groups}
    for letter, number, run, (left, right) in zip("AB", view.shown, runs, rows, strict=False):
        # As in the widget, a run without this epoch shows the last one before it.
        told = view.meta["runs"][number]
        pairs = zip(told["places" if len(runs) > 1 else "epochs"], told["epochs"], strict=True)
        epoch = max(((place, own) for place, own in pairs if place is not None and place <= view.epoch), default=(0, told["epochs"][0]))[1]
        name = f"{letter}  {run.name}" if len(runs) > 1 else run.name
        carpet(run, metric=view.metric, epoch=epoch, ax=left, title=f"{name}: {view.kind}, {view.split}", **shared)
        confusion(run, epoch=epoch, normalize=view.normalize, scale=view.scale, ax=right, title=f"epoch {epoch}", **shared)
    return figure
