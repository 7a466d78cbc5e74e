"""The three pseudo-labels of a run that blends two: of the linear classifier, of the semantic one, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pldebias import metrics
from pldebias.analysis.relabelling.counterpart import effective, known_method, options_of
from pldebias.analysis.relabelling.outputs import Outputs, outputs
from pldebias.analysis.relabelling.relabelled import checked
from pldebias.analysis.relabelling.whatif import what_if
from pldebias.methods import SCHEMES, MethodSpec, PartSpec, build_method
from pldebias.runs import NotLogged, Run
from pldebias.runs.run import as_run
from pldebias.settings import typed

if TYPE_CHECKING:
    from pathlib import Path

    from pldebias.schemes import Scheme

__all__ = ["KINDS", "Blending", "blending", "blends"]

KINDS = ("linear", "semantic", "blended")
WEIGHT = "blend_weight"
"""Series of a scheme that blends: the weight of the semantic pseudo-label ``[K]``."""


@dataclass(frozen=True)
class Blending:
    """Three pseudo-labels of every unlabelled sample at one epoch.

    Attributes
    ----------
    run : Run
    epoch : int
        Snapshot epoch.
    label : dict of str to ndarray
        ``"linear"``, ``"semantic"`` and ``"blended"``, each of shape ``[N]``, int64.
    accepted : dict of str to ndarray or None
        Whether the method's threshold lets each pass, ``[N]`` bool; None where that is not known (semantic logits of a foreign loop).
    weight : ndarray
        Weight of the semantic pseudo-label by linearly predicted class, shape ``[K]``; NaN if it was not logged.
    """

    run: Run
    epoch: int
    label: dict[str, np.ndarray]
    accepted: dict[str, np.ndarray | None]
    weight: np.ndarray

    def confusion(self, kind: str, split: str = "all") -> np.ndarray:
        """Counts ``[K, K]`` of samples whose truth is known, rows true class.

        Parameters
        ----------
        kind : {"linear", "semantic", "blended"}
        split : {"all", "accepted"}
            By the method's threshold on the confidence of that very pseudo-label.

        Raises
        ------
        NotLogged
            It is not known which of these labels were accepted.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
        if split not in ("all", "accepted"):
            raise ValueError(f"split must be 'all' or 'accepted'; got {split!r}")
        mask = None if split == "all" else self.accepted[kind]
        if split == "accepted" and mask is None:
            raise NotLogged(f"{self.run.name} does not say which {kind} pseudo-labels would be accepted; use split='all'")
        return metrics.confusion_matrix(self.run.true_labels, self.label[kind], self.run.num_classes, mask)


@typed
def blending(run: Run | str | Path, epoch: int = -1) -> Blending:
    """Linear, semantic and blended pseudo-labels of a run that blends two, at a snapshot epoch.

    Parameters
    ----------
    run : Run or path
        A training with a scheme that blends (``daso``); or one whose recorder was given ``logits``, ``semantic`` (logits) and a ``sweep``.
    epoch : int, default -1
        A snapshot epoch (``run.logged("logits")``); -1 is the last.

    Returns
    -------
    Blending

    Raises
    ------
    NotLogged
        The run does not blend, or kept too little at this epoch; the message says what to record.
    MethodError
        Relabelling does not give the labels that the run logged, or it is a thinned copy whose features do not allow it.

    Notes
    -----
    Nothing is stored twice: a run keeps the logits, features and prototypes of its snapshots, and the method's own chain labels them, with
    its weight held at 0 (linear), at 1 (semantic), and as trained (blended, which are the logged labels again).
    """
    run = as_run(run)
    if len(run.logged("semantic")):
        return _recorded(run, outputs(run, epoch))
    spec, _ = known_method(run)
    scheme = next((scheme for scheme in build_method(spec, options_of(run)).chain if scheme.blend_option), None) if spec else None
    if spec is None or scheme is None:
        known = " or ".join(f"fixmatch+{name}" for name, cls in SCHEMES.items() if cls.blend_option)
        raise NotLogged(
            f"{run.name} does not blend two pseudo-labels: no scheme of its method does, and its recorder was given no semantic logits; "
            f"train {known}, or pass logits=, semantic= and sweep= to Recorder.end_epoch"
        )
    return _relabelled(run, spec, scheme, epoch)


def blends(run: Run) -> bool:
    """Tell whether `blending` has something to show of a run."""
    return bool(len(run.logged("semantic"))) or any(name.endswith(f"/{WEIGHT}") for name in run.series)


def _relabelled(run: Run, spec: MethodSpec, scheme: Scheme, epoch: int) -> Blending:
    seen, option = outputs(run, epoch), scheme.blend_option
    begun = max(seen.step, scheme.start)

    def held(weight: float) -> MethodSpec:
        return MethodSpec(PartSpec(p.name, {**p.options, option: weight}) if p.name == scheme.name else p for p in spec)

    found = {
        "linear": what_if(run, held(0.0), epoch=epoch, step=begun),
        "semantic": what_if(run, held(1.0), epoch=epoch, step=begun),
        "blended": checked(what_if(run, epoch=epoch)),
    }
    label, accepted = ({kind: getattr(result, name) for kind, result in found.items()} for name in ("label", "accepted"))
    constant = dict(effective(spec, options_of(run)))[scheme.name][option]
    if seen.step < scheme.start:
        weight = np.zeros(run.num_classes)  # blending had not begun
    elif constant is not None:
        weight = np.full(run.num_classes, constant, float)
    else:
        weight = _logged_weight(seen)
    return Blending(run, seen.epoch, label, accepted, weight)


def _logged_weight(seen: Outputs) -> np.ndarray:
    name = next((name for name in seen.run.series if name.endswith(f"/{WEIGHT}")), None)
    return np.full(seen.run.num_classes, np.nan) if name is None else seen.run.state(name)[seen.row].astype(float)


def _recorded(run: Run, seen: Outputs) -> Blending:
    """From semantic logits that a foreign loop gave."""
    if seen.epoch not in run.logged("semantic") or seen.label is None:
        raise NotLogged(f"{run.name} lacks semantic logits or the sweep at epoch {seen.epoch}; pass logits=, semantic= and sweep= together")
    label = {"linear": seen.logits.argmax(1).numpy(), "semantic": run.semantic(seen.epoch).argmax(1), "blended": seen.label}
    return Blending(run, seen.epoch, label, {"linear": None, "semantic": None, "blended": seen.accepted}, _logged_weight(seen))
