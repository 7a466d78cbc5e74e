"""Single samples worth looking at, and their images."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from pldebias import metrics
from pldebias.analysis.relabelling.outputs import check_truth
from pldebias.analysis.relabelling.relabelled import checked
from pldebias.analysis.relabelling.whatif import what_if
from pldebias.runs.run import as_run
from pldebias.settings import typed

if TYPE_CHECKING:
    from pathlib import Path

    from pldebias.runs import Run

__all__ = ["CHOICES", "Samples", "images_of", "samples"]

CHOICES = ("hardest", "most flipped", "confidently wrong")


@dataclass(frozen=True)
class Samples:
    """Chosen samples of the unlabelled set.

    Attributes
    ----------
    run : Run
    choice, of : str
        The arguments of `samples`.
    index : ndarray, shape ``[n]``
        Positions in the unlabelled set, the most striking first.
    score : ndarray, shape ``[n]``
        Epochs in which the label was right (hardest), changes of the label (most flipped), confidence (confidently wrong).
    true : ndarray, shape ``[n]``
        -1 where unknown.
    label : ndarray, shape ``[n]``
        Pseudo-label at `epoch`.
    epoch : int
    history : ndarray, shape ``[n, E]``
        Labels at all recorded epochs with a sweep.
    images : ndarray or None
        uint8, ``[n, H, W]`` or ``[n, H, W, 3]``; None if they cannot be had.
    problem : str
        Reason why there are no images; empty if there are.
    """

    run: Run
    choice: str
    of: str
    index: np.ndarray
    score: np.ndarray
    true: np.ndarray
    label: np.ndarray
    epoch: int
    history: np.ndarray
    images: np.ndarray | None
    problem: str


@typed
def samples(
    run: Run | str | Path,
    choice: str = "confidently wrong",
    *,
    of: str = "tail",
    n: int = 24,
    epoch: int = -1,
    images: bool = True,
    groups: str | tuple[int, int] = "tertiles",
) -> Samples:
    """Find the samples that a training found hardest, changed its mind about most often, or is wrongly sure of.

    Parameters
    ----------
    run : Run or path
    choice : {"hardest", "most flipped", "confidently wrong"}
        Fewest epochs with the right label; most changes of the label from epoch to epoch; wrong at `epoch` with the highest confidence,
        which needs the logits of a snapshot.
    of : {"tail", "medium", "head", "all"} or class name
        By true class; where the truth is unknown, by the label at `epoch`.
    n : int
        At most so many.
    epoch : int
        -1 is the last (for "confidently wrong", the last snapshot).
    images : bool
        Fetch the images, by building the data set again from the run's configuration.
    groups : "tertiles" or (int, int)

    Raises
    ------
    ValueError
        "hardest" and "confidently wrong" for a run whose truth is unknown; "confidently wrong" where the run cannot be relabelled.
    """
    run = as_run(run)
    if choice not in CHOICES:
        raise ValueError(f"choice={choice!r} is not known; choose one of {', '.join(CHOICES)}")
    parts = metrics.groups(run.labelled_counts, groups)
    members = {"head": parts.head, "medium": parts.medium, "tail": parts.tail, "all": parts.order}
    members |= {name: np.array([k]) for k, name in enumerate(run.class_names)}
    if of not in members:
        raise ValueError(f"of={of!r} is not known; choose all, head, medium, tail or a class: {', '.join(run.class_names)}")
    true = run.true_labels
    if choice != "most flipped":
        check_truth(run, repr(choice), "; choose 'most flipped'")
    logged = run.logged("history")
    history = np.asarray(run.history(logged)[0]).astype(np.int64)
    confidence = None
    if choice == "confidently wrong":
        result = checked(what_if(run, epoch=epoch))
        epoch, label, confidence = result.epoch, result.label, result.confidence
    else:
        epoch = int(logged[-1]) if epoch == -1 else epoch
        label = run.history(epoch)[0].astype(np.int64)
    eligible = np.isin(np.where(true >= 0, true, label), members[of]) & (label >= 0)
    if choice == "hardest":
        score, eligible = (history == true).sum(0), eligible & (true >= 0)
    elif confidence is None:
        score = (np.diff(history, axis=0) != 0).sum(0)
    else:
        score, eligible = confidence, eligible & (true >= 0) & (label != true)
    score = np.asarray(score, float)
    order = np.argsort(score if choice == "hardest" else -score, kind="stable")
    index = order[eligible[order]][:n]
    found, problem = images_of(run, index) if images else (None, "not asked for")
    return Samples(
        run=run, choice=choice, of=of, index=index, score=score[index], true=true[index], label=label[index], epoch=int(epoch),
        history=history[:, index].T, images=found, problem=problem,
    )  # fmt: skip


_LAST: dict[str | None, Any] = {}  # the data set of the latest run, by fingerprint


def images_of(run: Run | str | Path, index) -> tuple[np.ndarray | None, str]:
    """Images of unlabelled samples, made again from the run's configuration.

    Parameters
    ----------
    run : Run or path
    index : array_like of int, shape ``[n]``

    Returns
    -------
    images : ndarray or None
        uint8, ``[n, H, W]`` or ``[n, H, W, 3]``.
    problem : str
        Reason for None: the run does not say its data, they are not on this machine, or they are no longer those it was trained on.
    """
    from pldebias.data import DataError, SplitSpec, build

    run = as_run(run)
    names = {field.name for field in fields(SplitSpec)}
    settings = {name: value for name, value in run.config.items() if name in names}
    if "source" not in settings:
        return None, f"{run.name} does not say which data it was trained on"
    if settings.get("class_order") is not None:
        settings["class_order"] = tuple(settings["class_order"])
    if run.fingerprint not in _LAST:
        try:
            dataset = build(SplitSpec(**settings), run.seed or 0)
        except (DataError, OSError, TypeError) as error:
            return None, str(error)
        if run.fingerprint is not None and dataset.fingerprint != run.fingerprint:
            return None, f"the images here are not those that {run.name} was trained on (another fingerprint)"
        _LAST.clear()
        _LAST[run.fingerprint] = dataset.unlabelled.images
    import torch

    images = _LAST[run.fingerprint][torch.as_tensor(np.asarray(index, np.int64))].permute(0, 2, 3, 1).numpy()
    return (images[..., 0] if images.shape[-1] == 1 else images), ""
