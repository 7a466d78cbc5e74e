"""A method set up for a recorded epoch: with the state that was logged, else with what its parts recover from the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from pldebias.interop.thin import is_cut
from pldebias.methods import LEARNERS, SCHEMES, MethodError
from pldebias.runs.given import array
from pldebias.schemes import Chain, Step

if TYPE_CHECKING:
    from pldebias.analysis.relabelling.outputs import Outputs
    from pldebias.methods import Method
    from pldebias.schemes.part import Part, Seen

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
        values = seen.problem.unlabelled_counts.double().numpy()
    else:
        values = array("prior", prior).astype(np.float64)
    if values.shape != (classes,) or not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        raise ValueError(f"a prior is {classes} weights >= 0 with a positive sum; got {values.tolist()}")
    values = values / values.max()  # whose sum is finite
    return torch.as_tensor(values / values.sum(), dtype=torch.float32)


class _Before(Chain):
    """A chain whose blending ends before one of its schemes."""

    def __init__(self, chain: Chain, part: Part):
        super().__init__(chain)
        self.blending = list(takewhile(lambda scheme: scheme is not part, chain))

    def blend(self, probs: Tensor, step: Step) -> Tensor:
        for scheme in self.blending:
            probs = scheme.blend(probs, step)
        return probs


@dataclass
class Record:
    """A recorded epoch as `Part.estimate_state` sees it (`pldebias.schemes.part.Seen`): its `Outputs`, and what follows from them."""

    outputs: Outputs
    method: Method
    clock: int
    oracle: bool
    part: Part
    missing: frozenset[str]

    def __getattr__(self, name: str):
        if name in ("epoch", "problem", "logits", "probs", "mu"):
            return getattr(self.outputs, name)
        raise AttributeError(f"a recorded epoch has no {name!r}; see pldebias.schemes.part.Seen")

    @property
    def name(self) -> str:
        return self.outputs.run.name

    @property
    def includes_labelled(self) -> bool:
        return bool(self.outputs.run.config.get("include_labelled"))

    @property
    def truth(self) -> Tensor:
        truth = torch.as_tensor(self.outputs.run.true_labels)
        if bool((truth < 0).any()):
            raise MethodError(
                f"{self.part.name} with prior='oracle' needs all true labels of the unlabelled set; {self.name} does not know them"
            )
        return truth

    def features(self) -> Tensor:
        """Features ``[N, D]``. Raises MethodError if the run lacks them or kept too few dimensions."""
        run = self.outputs.run
        if self.outputs.features is None:
            raise MethodError(f"{self.part.name} reads features, and {self.name} kept none at epoch {self.epoch}; record features= there")
        if is_cut(run, self.epoch):
            raise MethodError(
                f"{self.part.name} compares features with class prototypes, and {self.name} is a thinned copy that kept too few dimensions "
                "of its features for that, so that labels would differ; take the whole run, or thin it anew with pldebias.interop.thin"
            )
        return self.outputs.features

    def prototypes(self) -> tuple[Tensor, str]:
        """Clean labelled class means, or, where the run kept none, the means of what it accepted as each class."""
        seen, features = self.outputs, self.features()
        if seen.prototypes is not None:
            return seen.prototypes, "prototypes: clean labelled class means of this epoch"
        rows = np.flatnonzero(seen.accepted) if seen.accepted is not None else np.zeros(0, int)
        if seen.label is None or not len(rows):
            what = "pseudo-labels" if seen.label is None else "an accepted pseudo-label at this epoch"
            raise MethodError(f"{self.part.name} needs class prototypes; {self.name} kept neither labelled ones nor {what}")
        label = torch.as_tensor(seen.label[rows])
        classes = seen.run.num_classes
        sums = features.new_zeros(classes, features.shape[1]).index_add_(0, label, features[torch.as_tensor(rows)])
        counts = torch.bincount(label, minlength=classes)
        without = [name for name, count in zip(seen.run.class_names, counts.tolist(), strict=True) if not count]
        note = "prototypes: means of the accepted samples of each pseudo-class, since the run kept no labelled ones"
        if without:
            note += f"; zero, as of a class never seen, for {len(without)} classes such as {without[0]}"
        return sums / counts.clamp(min=1)[:, None], note

    def step(self, before: Part | None = None) -> Step:
        chain = self.method.chain if before is None else _Before(self.method.chain, before)
        features = self.outputs.features if self.outputs.features is not None else self.logits.new_zeros(len(self.logits), 1)
        step = self.method.cached(self.logits, features, torch.tensor(self.clock), torch.arange(len(self.logits)))
        step.chain = chain
        self.method.learner.pseudo_label(step)
        return step


def prepare(method: Method, seen: Outputs, absent: tuple[str, ...], clock: int, prior=None) -> tuple[str, ...]:
    """Give every part of a method the state that was not logged: the asked-for prior, else what is recovered from the outputs.

    Parameters
    ----------
    method : Method
        Set up for the problem of `seen`.
    seen : Outputs
    absent : tuple of str
        Names ``"part/name"`` of the state that was not logged, from `Method.restore`.
    clock : int
        Optimiser step at which the parts stand.
    prior : str or array_like, optional
        As in `prior_vector`; None leaves every part its own.

    Returns
    -------
    tuple of str
        What was recovered and how.

    Raises
    ------
    MethodError
        A part needs what the run does not hold, or `prior` is given and no part reads one.
    """
    oracle = isinstance(prior, str) and prior == "oracle"
    missing: dict[Part, set[str]] = {
        part: {name.partition("/")[2] for name in absent if name.partition("/")[0] == part.name} for part in method.parts
    }
    notes = []
    if prior is not None:
        notes += _take_prior(method, prior, seen, missing, oracle)
    for part in sorted(method.parts, key=lambda part: part.estimate_order):
        record = Record(seen, method, clock, oracle, part, frozenset(missing[part]))
        try:
            if part.reads_features:
                record.features()
            unknown = missing[part] if part.estimated is None else missing[part] & set(part.estimated)
            note = part.estimate_state(cast("Seen", record)) if unknown else None
        except ValueError as error:
            raise MethodError(str(error)) from error
        if note:
            notes.append(f"{part.name}: {note}")
    return tuple(notes)


def _take_prior(method: Method, prior, seen: Outputs, missing: dict[Part, set[str]], oracle: bool) -> list[str]:
    """Fill in an asked-for prior; what it sets is no longer missing, and what it lets a part learn anew is."""
    takers = [part for part in method.parts if part.prior_buffer]
    learning = [part for part in method.parts if oracle and part.learns_truth]
    if not takers and not learning:
        readers = sorted(name for table in (LEARNERS, SCHEMES) for name, part in table.items() if part.prior_buffer)
        raise MethodError(f"prior={prior!r}: no part of {method.spelling!r} reads a class distribution; {', '.join(readers)} do")
    vector = prior_vector(prior, seen)
    for part in takers:
        missing[part] -= part.take_prior(vector)
    for part in learning:
        missing[part] |= {name for name, _ in part.named_buffers()}
    return [f"prior of {', '.join(p.name for p in takers)}: {prior if isinstance(prior, str) else 'as given'}"] if takers else []
