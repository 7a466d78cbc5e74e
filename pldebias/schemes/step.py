"""Records that parts read: the problem, the networks, the step under way and the end of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from pldebias._deprecate import deprecated
from pldebias.records import Batch, Output

if TYPE_CHECKING:
    from pldebias.schemes.base import Chain


@dataclass(frozen=True)
class Problem:
    """The task, as far as a part may know it when it allocates its state.

    Parameters
    ----------
    num_classes : int
        K.
    labelled_counts : Tensor
        Labelled images per class, shape ``[K]``, int64; in a later generation (`Scheme.generations`) with those that joined them.
    num_unlabelled : int
        Size of the unlabelled set; per-sample state is addressed by the position in it.
    total_steps, steps_per_epoch : int
        Length of the training, or of one generation of it, and of one logged epoch, in optimiser steps.
    feature_dim : int
        Width D of the features that the network returns beside the logits.
    unlabelled_counts : Tensor or None
        True class counts of the unlabelled set, shape ``[K]``; None when the truth is unknown. Only for schemes that call
        themselves oracles.
    fingerprint : str
        Identity of data and split; empty when nobody said.
    generations : int, default 1
        How many such trainings follow one another.
    held_out : tuple of str or None
        Which of ``"holdout"`` and ``"validation"`` there are; None when nobody said.
    """

    num_classes: int
    labelled_counts: Tensor
    num_unlabelled: int
    total_steps: int
    steps_per_epoch: int
    feature_dim: int
    unlabelled_counts: Tensor | None = None
    fingerprint: str = ""
    generations: int = 1
    held_out: tuple[str, ...] | None = None

    @property
    def prior(self) -> Tensor:
        """Labelled class frequencies, shape ``[K]``, float32, summing to one."""
        counts = self.labelled_counts.float()
        return counts / counts.sum()


class Network(Protocol):
    """A network as parts use it: it returns features and logits, and has extra heads by name."""

    heads: nn.ModuleDict
    training: bool

    def __call__(self, x: Tensor, /) -> Output: ...
    def train(self, mode: bool = True, /) -> Any: ...
    def eval(self) -> Any: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


@dataclass
class Models:
    """The two networks of a training: the student that learns and its EMA teacher."""

    student: Network
    teacher: Network


_later: Any = None  # a field that the learner or the chain fills


@dataclass
class Step:
    """One step: what every part may read of it, and what the learner and the chain have made of it so far.

    The same record serves training, the pass over the unlabelled set and what-if relabelling of cached outputs. The last two have neither
    ``batch`` nor ``models``: only ``logits`` and ``features`` exist. A field that is not filled yet is None. Nothing in a step may make
    the device wait.

    Parameters
    ----------
    t : Tensor
        0-based step of the training, or of its generation under way; an int64 scalar on the device.
    problem : Problem
    chain : Chain
    index : Tensor
        Position of each unlabelled row in the unlabelled set, ``[M]``.
    batch : Batch
        Images, labels and positions; frozen.
    models : Models
    generator : torch.Generator, optional
        Source of all random numbers of a step.

    Attributes
    ----------
    outputs : dict of str to Output
        Features and logits of the student by view, filled by the learner: ``"labelled"`` (all labelled views, ``[V*B, ...]``) and the
        unlabelled views that it runs, such as ``"weak"`` and ``"strong"`` (``[V*M, ...]``; V draws of a view are stacked).
    logits, features : Tensor
        Outputs that are pseudo-labelled, ``[M, K]`` and ``[M, D]``, without gradient.
    probs, confidence, label : Tensor
        Pseudo-label after refinement and blending: ``[M, K]``, ``[M]`` and ``[M]``.
    mask, weight : Tensor
        Acceptance in {0, 1} and the factor >= 0 of an accepted sample's loss, both ``[M]``.
    memo : dict of str to Tensor
        What one part computed and a later one may use.
    """

    t: Tensor
    problem: Problem
    chain: Chain
    index: Tensor = _later
    batch: Batch = _later
    models: Models = _later
    generator: torch.Generator | None = None
    outputs: dict[str, Output] = field(default_factory=dict[str, Output])
    logits: Tensor = _later
    features: Tensor = _later
    probs: Tensor = _later
    confidence: Tensor = _later
    label: Tensor = _later
    mask: Tensor = _later
    weight: Tensor = _later
    memo: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def training(self) -> bool:
        """True in a training, False where outputs are relabelled."""
        return self.batch is not None

    @property
    def labels(self) -> Tensor:
        """Labels of the rows of ``outputs["labelled"]``, ``[V*B]``."""
        return self.batch.y.repeat(len(self.batch.labelled))

    def __getattr__(self, name: str) -> Tensor:
        if name not in _FORMER:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        view, kind = _FORMER[name]
        deprecated(f"Step.{name}", f"step.outputs[{view!r}].{kind}" if view else f"step.{kind}")
        return getattr(self.outputs.get(view) if view else self, kind, _later)


_FORMER = {f"{old}_{kind}": (new, kind) for old, new in (("x", "labelled"), ("weak", ""), ("strong", "strong")) for kind in Output._fields}


@dataclass
class EpochEnd:
    """The end of an epoch, and the passes over whole sets that a part may ask for there.

    `score(split)` runs the EMA teacher in evaluation mode over ``"holdout"``, ``"labelled"`` or ``"unlabelled"`` (clean view)
    and returns ``(logits [N, K], features [N, D], labels [N])``; labels are -1 where unknown.
    `network` is the network that `score` runs, for its extra heads.
    `new_generation(index, labels)` starts over with a fresh network whose labelled set is the original one and these rows of the
    unlabelled set under these labels.
    """

    epoch: int  # 0-based, the one that ended
    step: int  # optimiser steps done
    score: Callable[[str], tuple[Tensor, Tensor, Tensor]]
    new_generation: Callable[[Tensor, Tensor], None]
    network: Network = _later
