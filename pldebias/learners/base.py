"""What a base SSL algorithm is made of: the views it wants, its pseudo-label, its losses."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from pldebias.nets import GradientRows
from pldebias.schemes.part import Part

if TYPE_CHECKING:
    from pldebias.schemes import Scheme, Step


class Learner(Part):
    """A base algorithm, to which schemes are added.

    A learner file holds what is particular to its algorithm: the views, the forward passes and the losses. The pseudo-label chain
    (refine, blend, threshold, accept) is inherited, and is the same for training, for the sweep over the unlabelled set and for
    relabelling cached outputs.

    Parameters
    ----------
    threshold : float, default 0.95
        Confidence a pseudo-label needs, in (0, 1].
    """

    labelled_views: tuple[str, ...] = ("weak",)
    unlabelled_views: tuple[str, ...] = ()
    """Views that a batch brings: ``identity``, ``weak``, ``strong``; a trailing digit asks for another independent draw."""
    offers: ClassVar[frozenset[str]] = frozenset({"labelled", "pseudo_label", "acceptance", "views", "prediction"})
    """The parts that schemes may change (`Scheme.acts_on`)."""
    requires_init: ClassVar[bool] = False
    """True for a second stage: it starts from the backbone of another run (``init``)."""
    trains_backbone: ClassVar[bool] = True
    """False for a learner that fits a new classifier on a backbone that stays as it is."""

    def __init__(self, threshold: float = 0.95):
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f"{self.name}(threshold={threshold}) must be in (0, 1]: the confidence a pseudo-label needs")
        self.confidence_threshold = threshold

    def serve(self, scheme: Scheme) -> None:
        """Bring the views that `scheme` asks for beside the learner's own."""
        self.labelled_views = tuple(dict.fromkeys((*self.labelled_views, *scheme.labelled_views)))
        self.unlabelled_views = tuple(dict.fromkeys((*self.unlabelled_views, *scheme.unlabelled_views)))

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Run the forward passes of one step, make its pseudo-labels and return the weighted loss terms by name.

        Implementations leave the pseudo-labels in ``step.label`` and ``step.mask``; a learner without an unlabelled loss leaves None.
        """
        raise TypeError(f"{type(self).__name__} does not define its losses")

    def forward_views(self, step: Step, weak: str | None = None, strong: tuple[str, ...] = (), constants: int = 0) -> None:
        """One forward pass of the student over labelled, weak and strong views, so that they share batch statistics.

        Weak-view outputs enter `step` without gradient: they only make targets. The last `constants` rows get no gradient at all, not
        even by way of the statistics.
        """
        images = torch.cat([*step.batch.labelled.values(), *(step.batch.unlabelled[view] for view in (weak, *strong) if view)])
        with GradientRows(len(images) - constants) if constants else nullcontext():
            features, logits = step.models.student(images)
        rows = [len(step.batch.y) * len(step.batch.labelled), len(step.batch.index) if weak else 0]
        (step.x_features, weak_features, step.strong_features) = features.tensor_split((rows[0], sum(rows)))
        (step.x_logits, weak_logits, step.strong_logits) = logits.tensor_split((rows[0], sum(rows)))
        if weak:
            step.weak_features, step.weak_logits = weak_features.detach(), weak_logits.detach()

    def labelled_loss(self, step: Step, targets: Tensor | None = None) -> Tensor:
        """Cross-entropy of the labelled views, as the schemes change it; `targets` (default: the labels) may be probabilities."""
        if targets is None:
            targets = step.batch.y.repeat(len(step.batch.labelled))
        losses = nn.functional.cross_entropy(step.chain.labelled(step.x_logits, step), targets, reduction="none")
        return step.chain.weigh_labelled(losses, step).mean()

    @torch.no_grad()
    def pseudo_label(self, step: Step) -> None:
        """The chain: fill ``probs``, ``confidence``, ``label``, ``mask`` and ``weight`` from the weak view's logits and features."""
        chain = step.chain
        step.probs = chain.blend(chain.refine(step.weak_logits, step).softmax(1), step)
        step.confidence, step.label = step.probs.max(1)
        self.accept(step)

    @torch.no_grad()
    def accept(self, step: Step) -> None:
        """The end of the chain: acceptance and weight of labels whose confidence is known."""
        threshold = step.chain.threshold(self.threshold(step), step)
        step.mask = step.chain.accept((step.confidence >= threshold).to(step.confidence.dtype), step)
        step.weight = step.chain.weigh(torch.ones_like(step.confidence), step)

    def target(self, step: Step) -> Tensor:
        """What a pseudo-labelled sample is to predict: class ids ``[M]`` or probabilities ``[M, K]``."""
        return step.chain.target(step.label, step)

    def threshold(self, step: Step) -> Tensor:
        """Confidence threshold of every row ``[M]`` before schemes change it."""
        return torch.full_like(step.confidence, self.confidence_threshold)
