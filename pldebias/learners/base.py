"""The base class of learners: the views of a base SSL algorithm, its pseudo-label, its losses."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from pldebias._deprecate import renamed
from pldebias.nets import GradientRows
from pldebias.records import Output
from pldebias.schemes.options import Threshold
from pldebias.schemes.part import Part, call

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
    settings: ClassVar[dict[str, dict[str, Any]]] = {}
    """Settings of a training, fields of `Config`, that a preset has otherwise for this learner, by preset."""
    requires_init: ClassVar[bool] = False
    """True for a second stage: it starts from the backbone of another run (``init``)."""
    labels_with: ClassVar[str] = "trains without pseudo-labels"
    """Of a learner that makes none: what it trains on in their place, in words."""
    trains_backbone: ClassVar[bool] = True
    """False for a learner that fits a new classifier on a backbone that stays as it is."""

    def __init__(self, threshold: Threshold = 0.95):
        super().__init__()
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

    def draws(self, step: Step, view: str) -> list[Tensor]:
        """Images of a view: ``"labelled"`` ones, or every draw of an unlabelled view."""
        if view == "labelled":
            return list(step.batch.labelled.values())
        return [images for name, images in step.batch.unlabelled.items() if name.rstrip("0123456789") == view]

    def forward(self, step: Step, views: tuple[str, ...] = (), draws: int | None = None, constant: str = "") -> dict[str, Output]:
        """Run the student once over the labelled images and the given views, so that they share batch statistics.

        Parameters
        ----------
        step : Step
        views : tuple of str
            Unlabelled views, such as ``("weak", "strong")``.
        draws : int, optional
            Draws of each view to run; all when None.
        constant : str, optional
            The last view, if its rows get no gradient at all, not even by way of the statistics.

        Returns
        -------
        dict of str to Output
            ``step.outputs``, which gains ``"labelled"`` and the views; draws of a view are stacked, ``[V*M, ...]``.
        """
        images = {view: self.draws(step, view)[: None if view == "labelled" else draws] for view in ("labelled", *views)}
        sizes = {view: sum(map(len, each)) for view, each in images.items()}
        joined = torch.cat([one for each in images.values() for one in each])
        with GradientRows(len(joined) - sizes[constant]) if constant else nullcontext():
            outputs = step.models.student(joined)
        features, logits = (column.split(list(sizes.values())) for column in outputs)
        step.outputs.update(zip(images, map(Output, features, logits), strict=True))
        return step.outputs

    @renamed("Learner.forward and Learner.label")
    def forward_views(self, step: Step, weak: str | None = None, strong: tuple[str, ...] = ()) -> None:
        """Run labelled, weak and strong views, as version 0.1 called `forward`."""
        views = dict.fromkeys(view.rstrip("0123456789") for view in (weak, *strong) if view)
        outputs = self.forward(step, tuple(views))
        if weak:
            step.features, step.logits = (column.detach() for column in outputs[weak])

    def label(self, step: Step, output: Output) -> list[Step]:
        """Pseudo-label outputs of the unlabelled images, between the `prepare` and the `observe` of all parts.

        Parameters
        ----------
        step : Step
        output : Output
            Of ``M`` rows, or of several draws stacked, ``V*M``. Then every draw is labelled, and the mean of their outputs, which is what
            `step` holds.

        Returns
        -------
        list of Step
            What was labelled; the last one is `step`.
        """
        features, logits = (column.detach().unflatten(0, (-1, len(step.index))) for column in output)
        draws = list(zip(features, logits, strict=True))
        step.features, step.logits = draws.pop() if len(draws) == 1 else (features.mean(0), logits.mean(0))
        parts = (self, *step.chain)
        call("prepare", parts, step)
        labelled = [*(replace(step, features=f, logits=z, memo=dict(step.memo)) for f, z in draws), step]
        for one in labelled:  # `step` itself comes last: schemes that keep what they saw keep the mean's
            self.pseudo_label(one)
        call("observe", parts, step)
        return labelled

    def labelled_loss(self, step: Step, logits: Tensor | None = None, targets: Tensor | None = None) -> Tensor:
        """Cross-entropy of the labelled views, as the schemes change it; or of other `logits` and `targets`, which may be probabilities."""
        logits = step.outputs["labelled"].logits if logits is None else logits
        targets = step.labels if targets is None else targets
        losses = nn.functional.cross_entropy(step.chain.labelled(logits, step), targets, reduction="none")
        return step.chain.weigh_labelled(losses, step).mean()

    @torch.no_grad()
    def pseudo_label(self, step: Step) -> None:
        """The chain: fill ``probs``, ``confidence``, ``label``, ``mask`` and ``weight`` from the weak view's logits and features."""
        chain = step.chain
        step.probs = chain.blend(chain.refine(step.logits, step).softmax(1), step)
        step.confidence, step.label = step.probs.max(1)
        self.accept(step)

    @torch.no_grad()
    def accept(self, step: Step) -> None:
        """The end of the chain: acceptance and weight of labels whose confidence is known."""
        threshold = step.chain.threshold(self.threshold(step), step)
        step.mask = step.chain.accept((step.confidence >= threshold).to(step.confidence.dtype), step)
        step.weight = step.chain.weigh(torch.ones_like(step.confidence), step)

    def target(self, step: Step) -> Tensor:
        """Targets of pseudo-labelled samples: class ids ``[M]`` or probabilities ``[M, K]``."""
        return step.chain.target(step.label, step)

    def threshold(self, step: Step) -> Tensor:
        """Confidence threshold of every row ``[M]`` before schemes change it."""
        return torch.full_like(step.confidence, self.confidence_threshold)
