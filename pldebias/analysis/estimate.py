"""State that a scheme would have, estimated from the outputs of a run that was trained without it, by the scheme's own formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pldebias.learners.flexmatch import learning_status
from pldebias.methods import MethodError
from pldebias.runs.thin import is_cut
from pldebias.schemes import EpochEnd
from pldebias.schemes.acr import distances, strength
from pldebias.schemes.debiaspl import update_prior
from pldebias.schemes.simpro import maximise

if TYPE_CHECKING:
    from collections.abc import Callable

    from pldebias.analysis.outputs import Outputs

PRIORS = ("labelled", "running", "oracle")


def prior_vector(prior: str | object, seen: Outputs) -> Tensor:
    """The class distribution that `prior` names, shape ``[K]``, float32, summing to one.

    Parameters
    ----------
    prior : {"labelled", "running", "oracle"} or array_like [K]
        Labelled frequencies, mean prediction over the cached outputs, true frequencies of the unlabelled set, or given weights.
    seen : Outputs
    """
    classes = seen.run.num_classes
    if isinstance(prior, str):
        if prior not in PRIORS:
            raise ValueError(f"prior={prior!r} is not known; choose one of {', '.join(PRIORS)}, or give {classes} weights")
        if prior == "labelled":
            return seen.problem.prior
        if prior == "running":
            return seen.probs.mean(0)
        if seen.problem.unlabelled_counts is None:
            raise ValueError(f"prior='oracle' needs the true labels of the unlabelled set, which {seen.run.name} does not know")
        values = seen.problem.unlabelled_counts.float()
    else:
        values = torch.as_tensor(np.asarray(prior, np.float32))
    if values.shape != (classes,) or not bool((values >= 0).all()) or not float(values.sum()) > 0:
        raise ValueError(f"a prior is {classes} weights >= 0 with a positive sum; got {np.asarray(values).tolist()}")
    return values / values.sum()


def _features(part: nn.Module, seen: Outputs) -> Tensor:
    if seen.features is None:
        raise MethodError(f"{part.name} reads features, and {seen.run.name} kept none at epoch {seen.epoch}; record features= there")
    if is_cut(seen.run, seen.epoch):
        raise MethodError(
            f"{part.name} compares features with class prototypes, and {seen.run.name} is a thinned copy that kept too few dimensions of "
            "its features for that, so that labels would differ; take the whole run, or thin it anew with pldebias.runs.thin"
        )
    return seen.features


def _prototypes(part: nn.Module, seen: Outputs) -> str:
    """Clean labelled class means, or, where the run kept none, the means of what it accepted as each class."""
    features = _features(part, seen)
    if seen.prototypes is not None:
        part.prototypes.copy_(seen.prototypes)
        return "prototypes: clean labelled class means of this epoch"
    if seen.label is None:
        raise MethodError(f"{part.name} needs class prototypes; {seen.run.name} kept neither labelled ones nor pseudo-labels")
    rows = torch.as_tensor(np.flatnonzero(seen.accepted))
    label = torch.as_tensor(seen.label)[rows]
    sums = torch.zeros_like(part.prototypes).index_add_(0, label, features[rows])
    part.prototypes.copy_(sums / torch.bincount(label, minlength=len(sums)).clamp(min=1)[:, None])
    return "prototypes: means of the accepted samples of each pseudo-class, since the run kept no labelled ones"


def _counts(seen: Outputs) -> Tensor:
    label = seen.probs.argmax(1) if seen.label is None else torch.as_tensor(seen.label)
    return torch.bincount(label, minlength=seen.run.num_classes).float()


def _daso(part, seen, oracle):
    note = _prototypes(part, seen)
    part.class_dist.copy_(_counts(seen))
    return f"{note}; class distribution: pseudo-labels logged at this epoch"


def _usadtm(part, seen, oracle):
    return _prototypes(part, seen)


def _debiaspl(part, seen, oracle):
    part.prior.copy_(update_prior(part.prior, seen.probs, 0.0))
    return "prior: mean prediction over this epoch's outputs"


def _seval(part, seen, oracle):
    if not oracle:
        raise MethodError(
            f"seval learns offsets and thresholds on a hold-out, and {seen.run.name} was trained without one. Pass state=run of a seval "
            "training, or prior='oracle' to learn them on the true labels of the unlabelled set (an upper bound)"
        )
    truth = torch.as_tensor(seen.run.true_labels)
    if bool((truth < 0).any()):
        raise MethodError(f"seval with prior='oracle' needs all true labels of the unlabelled set; {seen.run.name} does not know them")
    learned = part.learned
    learned.decay = learned.threshold_decay = 0.0  # nothing to average with
    learned.prior = seen.problem.unlabelled_counts.float() / len(truth)
    learned.learn(seen.logits, truth)
    return "offsets and thresholds: learned on the TRUE labels of the unlabelled set, an upper bound"


def _alignment(part, seen, oracle):
    alignment = part.alignment
    alignment.sums.zero_()
    alignment.rows.zero_()
    alignment.pushed.zero_()
    alignment.push(seen.probs)
    if hasattr(part, "generation"):
        part.generation.fill_(part.generations - 1)
    return "running mean: mean prediction over this epoch's outputs"


def _acr(part, seen, oracle):
    counts = _counts(seen) if seen.accepted is None else torch.bincount(
        torch.as_tensor(seen.label[seen.accepted]), minlength=seen.run.num_classes
    ).float()  # fmt: skip
    part.estimate.copy_(counts / counts.sum().clamp(min=1))
    apart = distances(part.estimate, part.anchors) if part.estimates else torch.zeros(3)
    part.tau_now.copy_(strength(apart, part.tau))
    return "estimated distribution: accepted pseudo-labels logged at this epoch"


def _simpro(part, seen, oracle):
    used = seen.probs if seen.accepted is None else seen.probs[torch.as_tensor(seen.accepted)]
    part.unlabelled_dist.copy_(maximise(used.sum(0), part.unlabelled_dist, 0.0))
    return "class distribution: mean prediction over the samples accepted at this epoch"


def _cdmad(part, seen, oracle):
    raise MethodError(
        f"cdmad subtracts the network's answer to a blank image, which {seen.run.name} did not keep; pass state=run of a cdmad training"
    )


def _adsh(part, seen, oracle):
    nothing = torch.full((len(seen.logits),), -1)
    part.end_epoch(EpochEnd(seen.epoch, seen.step, lambda split: (seen.logits, seen.features, nothing), lambda *rows: None))
    return "thresholds: from this epoch's outputs"


def _darp(part, seen, oracle):
    if part.goal == "estimate" and not oracle:
        raise MethodError(
            f"darp(target=estimate) estimates class counts on a hold-out, which {seen.run.name} has not; use darp(target=labelled), "
            "darp(target=oracle) or prior="
        )
    return f"target: {part.goal} class distribution" if isinstance(part.goal, str) else None


def _flexmatch(part, seen, oracle):
    confidence, label = seen.probs.max(1)
    counts = torch.bincount(label[confidence >= part.confidence_threshold], minlength=seen.run.num_classes).float()
    unset = (part.slots or len(label)) - counts.sum()
    part.beta.copy_(learning_status(counts, unset if part.warmup else 0.0))
    return "learning status: confident predictions of this epoch"


def _freematch(part, seen, oracle):
    confidence = seen.probs.amax(1)
    level = confidence.mean() if part.quantile is None else confidence.quantile(part.quantile)
    part.global_threshold.copy_(level.clamp(max=part.confidence_threshold))
    part.class_mean.copy_(seen.probs.mean(0))
    return "running confidence: mean over this epoch's outputs"


# What relabelling reads of each part, and who estimates it. A part that is not here starts as it does in training.
ESTIMATES: dict[str, tuple[tuple[str, ...], Callable]] = {
    "abcla": (("tau_now",), _acr),
    "acr": (("tau_now",), _acr),
    "adsh": (("thresholds",), _adsh),
    "cdmad": (("bias",), _cdmad),
    "crestplus": (("alignment.sums", "alignment.rows", "generation"), _alignment),
    "darp": (("counts",), _darp),
    "daso": (("prototypes", "class_dist"), _daso),
    "debiaspl": (("prior",), _debiaspl),
    "flexmatch": (("beta",), _flexmatch),
    "freematch": (("global_threshold", "class_mean"), _freematch),
    "remixmatch": (("alignment.sums", "alignment.rows"), _alignment),
    "seval": (("learned.offsets", "learned.thresholds"), _seval),
    "simpro": (("unlabelled_dist",), _simpro),
    "usadtm": (("prototypes",), _usadtm),
}


def _set(name: str) -> Callable[[nn.Module, Tensor], None]:
    return lambda part, p: part.get_buffer(name).copy_(p)


def _set_anchor(part: nn.Module, p: Tensor) -> None:
    part.anchors[0] = p


def _set_counts(part: nn.Module, p: Tensor) -> None:
    part.counts.copy_(p * len(part.table))


# Parts that read a class distribution, and where `prior=` puts it.
TAKES_PRIOR: dict[str, Callable[[nn.Module, Tensor], None]] = {
    "abcla": _set_anchor,
    "acr": _set_anchor,
    "crestplus": _set("alignment.target"),
    "darp": _set_counts,
    "daso": _set("class_dist"),
    "debiaspl": _set("prior"),
    "la": _set("prior"),
    "remixmatch": _set("alignment.target"),
    "seval": lambda part, p: None,  # learned with the oracle's help, see above
    "simpro": _set("unlabelled_dist"),
}


def prepare(method, seen: Outputs, state: dict[str, Tensor], prior=None) -> tuple[str, ...]:
    """Give every part of a method its state: logged, else estimated; then the asked-for prior.

    Parameters
    ----------
    method : Method
        Set up for the problem of `seen`.
    seen : Outputs
    state : dict
        Logged state by ``"part/name"``.
    prior : str or array_like, optional
        As in `prior_vector`; None leaves every part its own.

    Returns
    -------
    tuple of str
        What was estimated and how.

    Raises
    ------
    MethodError
        A part needs what the run does not hold, or `prior` is given and no part reads one.
    """
    missing, notes = set(method.restore(state)), []
    oracle = isinstance(prior, str) and prior == "oracle"
    for part in method.parts:
        needed, estimate = ESTIMATES.get(part.name, ((), None))
        if any(f"{part.name}/{name}" in missing for name in needed) and (note := estimate(part, seen, oracle)):
            notes.append(f"{part.name}: {note}")
        if part.name in ("daso", "usadtm"):
            _features(part, seen)
    if prior is not None:
        takers = [part for part in method.parts if part.name in TAKES_PRIOR]
        if not takers:
            raise MethodError(f"prior={prior!r}: no part of {method.spelling!r} reads a class distribution; {', '.join(TAKES_PRIOR)} do")
        vector = prior_vector(prior, seen)
        for part in takers:
            TAKES_PRIOR[part.name](part, vector)
        notes.append(f"prior of {', '.join(part.name for part in takers)}: {prior if isinstance(prior, str) else 'as given'}")
    return tuple(notes)
