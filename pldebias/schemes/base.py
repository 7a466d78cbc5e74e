"""The chain that every method of the field changes, and the contract of one change.

A pseudo-label is made by small, named steps::

    weak-view logits, features -> refine -> blend -> threshold -> accept -> label, weight -> loss on the strong view (margin)

A `Scheme` is one paper's change. Every step below is inherited as "do nothing", so a scheme file holds what its paper changes
and no more. A `Chain` applies several schemes in the order in which the method names them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from pldebias.schemes.part import HOOKS, LifeCycle, Part, call, gather, hook, pipe

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Problem:
    """What a scheme may know of the task when it allocates its state.

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


@dataclass
class Models:
    """The two networks of a training: the student that learns and its EMA teacher."""

    student: nn.Module
    teacher: nn.Module


@dataclass
class Step:
    """What one step has seen and decided so far. Learners fill it, schemes read it; nothing in it forces a device to wait.

    The same record serves training (all fields), the sweep over the unlabelled set and what-if relabelling of cached outputs
    (``batch`` and ``models`` are None there: only the weak view's logits and features exist).

    Shapes: B labelled and M unlabelled rows, K classes, D features.
    """

    t: Tensor  # 0-based step of the training or of its generation under way, int64 scalar on the device
    problem: Problem
    chain: Chain
    index: Tensor | None = None  # [M] position of each row in the unlabelled set
    weak_logits: Tensor | None = None  # [M, K], no gradient
    weak_features: Tensor | None = None  # [M, D], no gradient
    batch: Any = None
    models: Models | None = None
    generator: torch.Generator | None = None
    x_logits: Tensor | None = None  # [B, K]
    x_features: Tensor | None = None  # [B, D]
    strong_logits: Tensor | None = None  # [V*M, K], V strong views stacked
    strong_features: Tensor | None = None  # [V*M, D]
    probs: Tensor | None = None  # [M, K] after refine and blend
    confidence: Tensor | None = None  # [M]
    label: Tensor | None = None  # [M]
    mask: Tensor | None = None  # [M] in {0, 1}: accepted
    weight: Tensor | None = None  # [M] >= 0: factor of an accepted sample's loss
    memo: dict[str, Tensor] = field(default_factory=dict)  # what one scheme computed and a later one may use


@dataclass
class EpochEnd:
    """What a scheme may ask for between epochs.

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
    network: nn.Module | None = None


class PseudoLabelling(LifeCycle):
    """The steps in which a pseudo-label is made and used. A scheme overrides what its paper changes; every other step does nothing."""

    @hook(pipe)
    def labelled(self, logits: Tensor, step: Step) -> Tensor:
        """Logits ``[B, K]`` that enter the labelled loss."""
        return logits

    @hook(pipe)
    def weigh_labelled(self, losses: Tensor, step: Step) -> Tensor:
        """Per-sample labelled losses ``[B]``, before their mean."""
        return losses

    @hook(pipe)
    def refine(self, logits: Tensor, step: Step) -> Tensor:
        """Weak-view logits ``[M, K]`` that become the pseudo-label."""
        return logits

    @hook(pipe)
    def refine_head(self, logits: Tensor, head: str, step: Step) -> Tensor:
        """Weak-view logits ``[M, K]`` of an extra head that makes pseudo-labels of its own."""
        return logits

    @hook(pipe)
    def blend(self, probs: Tensor, step: Step) -> Tensor:
        """Pseudo-label probabilities ``[M, K]``, rows summing to one."""
        return probs

    @hook(pipe)
    def expected(self, prior: Tensor) -> Tensor:
        """Class distribution ``[K]`` that the unlabelled set is taken to have, to which learners align their predictions."""
        return prior

    @hook(pipe)
    def threshold(self, threshold: Tensor, step: Step) -> Tensor:
        """Confidence threshold of every row ``[M]``, given ``step.label``."""
        return threshold

    @hook(pipe)
    def threshold_head(self, threshold: Tensor, label: Tensor, head: str, step: Step) -> Tensor:
        """Confidence threshold of every row ``[M]`` of an extra head that makes pseudo-labels of its own, `label` ``[M]``."""
        return threshold

    @hook(pipe)
    def accept(self, mask: Tensor, step: Step) -> Tensor:
        """Acceptance ``[M]`` in {0, 1}."""
        return mask

    @hook(pipe)
    def weigh(self, weight: Tensor, step: Step) -> Tensor:
        """Loss weight ``[M]`` of accepted rows."""
        return weight

    @hook(pipe)
    def target(self, target: Tensor, step: Step) -> Tensor:
        """What strong views are to predict: class ids ``[M]`` or probabilities ``[M, K]``."""
        return target

    @hook(pipe)
    def margin(self, logits: Tensor, step: Step) -> Tensor:
        """Strong-view logits ``[V*M, K]`` that enter the unlabelled loss."""
        return logits

    @hook(gather)
    def losses(self, step: Step) -> dict[str, Tensor]:
        """Further loss terms, already weighted, by name."""
        return {}

    @hook(pipe)
    def predict(self, logits: Tensor, features: Tensor, network: nn.Module) -> Tensor:
        """Test-time logits ``[N, K]``."""
        return logits


class Scheme(PseudoLabelling, Part):
    """One paper's change to the pseudo-label chain. Override only what the paper changes.

    State (running priors, queues, thresholds) is registered as buffers in `setup`, so that it is checkpointed, resumed and
    moved between devices by itself. No method may synchronise with the device: no ``.item()``, no boolean indexing, no Python
    branch on a tensor's value.
    """

    acts_on: ClassVar[frozenset[str]] = frozenset({"pseudo_label"})
    """Which parts of a learner the scheme changes, any of

    * ``labelled``: the labelled loss;
    * ``pseudo_label``: the pseudo-label;
    * ``acceptance``: which pseudo-labels are used, and their weight, without which the scheme would do nothing;
    * ``views``: losses of its own on the outputs of the labelled and the strong views;
    * ``prediction``: the logits at test time.
    """
    labelled_views: ClassVar[tuple[str, ...]] = ()
    unlabelled_views: ClassVar[tuple[str, ...]] = ()
    """Views that the paper uses; the learner brings those that it does not bring by itself."""
    reads_heads: tuple[str, ...] = ()
    """Heads that another part of the method must bring."""
    whole_set: ClassVar[bool] = False
    """Whether a sample's pseudo-label depends on the others' outputs, so that relabelling must see all of them at once."""


class Chain(PseudoLabelling, nn.ModuleList):
    """Schemes applied one after the other, in the order in which the method names them; every hook joins theirs as it declares."""


def _joined(name: str) -> Callable[..., Any]:
    return lambda self, *args: call(name, self, *args)


for _name in HOOKS:
    setattr(Chain, _name, _joined(_name))
