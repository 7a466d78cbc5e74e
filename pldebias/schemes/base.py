"""The chain that every method of the field changes, and the contract of one change.

A pseudo-label is made by small, named steps::

    weak-view logits, features -> refine -> blend -> threshold -> accept -> label, weight -> loss on the strong view (margin)

A `Scheme` is one paper's change. Every step below is inherited as "do nothing", so a scheme file holds what its paper changes
and no more. A `Chain` applies several schemes in the order in which the method names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from pldebias.schemes.part import HOOKS, LifeCycle, Part, call, gather, hook, pipe
from pldebias.schemes.step import EpochEnd, Models, Network, Problem, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Chain", "EpochEnd", "Models", "Network", "Problem", "PseudoLabelling", "Scheme", "Step"]


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
        """Targets of the strong views: class ids ``[M]`` or probabilities ``[M, K]``."""
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
    def predict(self, logits: Tensor, features: Tensor, network: Network) -> Tensor:
        """Test-time logits ``[N, K]``."""
        return logits


class Scheme(PseudoLabelling, Part):
    """One paper's change to the pseudo-label chain. Override only what the paper changes.

    State (running priors, queues, thresholds) is registered as buffers in `setup`, so that it is checkpointed, resumed and
    moved between devices by itself. No method may synchronise with the device: no ``.item()``, no boolean indexing, no Python
    branch on a tensor's value.
    """

    acts_on: frozenset[str] = frozenset({"pseudo_label"})
    """Parts of a learner that the scheme changes, any of

    * ``labelled``: the labelled loss;
    * ``pseudo_label``: the pseudo-label;
    * ``acceptance``: which pseudo-labels are used, and their weight, without which the scheme would do nothing;
    * ``views``: losses of its own on the outputs of the labelled and the strong views;
    * ``prediction``: the logits at test time.
    """
    labelled_views: ClassVar[tuple[str, ...]] = ()
    unlabelled_views: tuple[str, ...] = ()
    """Views that the paper uses; the learner brings those that it does not bring by itself."""
    reads_heads: tuple[str, ...] = ()
    """Heads that another part of the method must bring."""
    blend_option: ClassVar[str] = ""
    """Option that holds the weight of a second, semantic pseudo-label, in [0, 1]; empty for a scheme that blends none. Such a scheme logs
    ``blend_weight`` ``[K]`` and has an attribute ``start``, the first step at which it blends."""
    unseen_hint: ClassVar[str] = ""
    """Hint at another scheme where relabelling cannot show this one."""
    whole_set: ClassVar[bool] = False
    """True if a sample's pseudo-label depends on the others' outputs, so that relabelling must see all of them at once."""


class Chain(PseudoLabelling, nn.ModuleList):
    """Schemes applied one after the other, in the order in which the method names them; every hook joins theirs as it declares."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Scheme]: ...


def _joined(name: str) -> Callable[..., Any]:
    return lambda self, *args: call(name, self, *args)


for _name in HOOKS:
    setattr(Chain, _name, _joined(_name))
