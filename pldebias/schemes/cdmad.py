"""CDMAD: subtract the logits of an image without content from those of pseudo-labels and predictions.

References
----------
Lee & Kim, CDMAD: Class-Distribution-Mismatch-Aware Debiasing for Class-Imbalanced Semi-Supervised Learning, CVPR 2024; what the paper
leaves open (soft targets, threshold 0, two strong views, white image, start) as in its public code (fixmatchcdmad.py). Its loss
``-log(softmax + 1e-8)`` ends at 18.4, where it no longer has a gradient; here it is the cross-entropy.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from pldebias.schemes.base import Network, Problem, Scheme, Step
from pldebias.schemes.part import Seen
from pldebias.settings import Range


def debias(logits: Tensor, bias: Tensor) -> Tensor:
    """Debiased logits, ``logits - bias``; ``[N, K]``, ``[K]`` to ``[N, K]``."""
    return logits - bias


def bias_logits(network: Network, image_shape: tuple[int, ...], like: Tensor, fill: float = 1.0, moves: bool = False) -> Tensor:
    """Logits ``[K]`` of an image of one value `fill` in normalised space, without gradient, on the device and in the dtype of `like`.

    The network runs in its present mode, but its running batch statistics, with which it will be tested, do not see the image unless it
    `moves` them.
    """
    tracking: list[Any] = [module for module in network.modules() if not moves and getattr(module, "track_running_stats", False)]
    for module in tracking:
        module.track_running_stats = False
    try:
        with torch.no_grad():
            return network(torch.full((1, *image_shape), fill, device=like.device, dtype=like.dtype)).logits[0]
    finally:
        for module in tracking:
            module.track_running_stats = True


class CDMAD(Scheme):
    """Debiasing by the network's answer to a solid-colour image.

    Parameters
    ----------
    start : int, optional
        First step with debiased pseudo-labels. None: that of the epoch after the one that holds a fifth of the training (official: after
        epoch 100 of 500). Predictions are always debiased.
    soft : bool, default True
        Whether targets are the probabilities of every unlabelled image; otherwise the learner's own rule holds.
    threshold : float, default 0.0
        Confidence that a soft target needs, in [0, 1].
    fill : float, default 1.0
        Value of the image in normalised space.
    image_stats : {"apart", "moving"}, default "apart"
        Whether the image leaves the running batch statistics of training as they are or moves them, as in the public code. That code also
        runs every view by itself: ``fixmatch(passes=views)``.
    """

    name = "cdmad"
    estimated = ("bias",)
    acts_on = frozenset({"pseudo_label", "prediction"})
    starts = "first"
    follows: ClassVar = {"bias": ("fill",)}

    def __init__(
        self,
        start: Annotated[int, Range("[0, inf)", "a step, or None for a fifth of the training")] | None = None,
        soft: bool = True,
        threshold: Annotated[float, Range("[0, 1]", "the confidence that a soft target needs")] = 0.0,
        fill: float = 1.0,
        image_stats: Literal["apart", "moving"] = "apart",
    ):
        super().__init__()
        if threshold and not soft:
            raise ValueError(f"cdmad(threshold={threshold}) is for soft targets; with soft=False the learner has the threshold")
        self.start, self.soft, self.confidence_threshold, self.fill, self.image_stats = start, soft, threshold, fill, image_stats
        if soft:
            self.unlabelled_views = ("strong", "strong2")

    def setup(self, problem: Problem) -> None:
        epoch = problem.steps_per_epoch
        self.first = (problem.total_steps // 5 // epoch + 1) * epoch if self.start is None else self.start
        self.register_buffer("bias", torch.zeros(problem.num_classes))  # of the student, at the latest step
        self.register_buffer("image_shape", torch.zeros(3, dtype=torch.int64))  # of the images trained on; zeros before the first step
        self.shape = None

    def before(self, step: Step) -> None:
        images = next(iter(step.batch.labelled.values()))
        if self.shape is None:  # once: the copy would hold up every step
            self.shape = tuple(images.shape[1:])
            self.image_shape.copy_(torch.tensor(self.shape))
        self.bias.copy_(bias_logits(step.models.student, self.shape, images, self.fill, self.image_stats == "moving"))

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return debias(logits, torch.where(step.t >= self.first, self.bias, 0.0))

    def target(self, target: Tensor, step: Step) -> Tensor:
        return step.probs if self.soft else target

    def accept(self, mask: Tensor, step: Step) -> Tensor:
        return (step.confidence >= self.confidence_threshold).to(mask.dtype) if self.soft else mask

    def predict(self, logits: Tensor, features: Tensor, network: Network) -> Tensor:
        shape = tuple(self.image_shape.tolist())
        return debias(logits, bias_logits(network, shape, logits, self.fill)) if all(shape) else logits

    def estimate_state(self, seen: Seen) -> None:
        raise ValueError(
            f"cdmad subtracts the network's answer to a blank image of value {self.fill:g}, which {seen.name} did not keep; pass "
            "state=run of such a cdmad training"
        )

    def series(self) -> dict[str, Tensor]:
        return {"bias": self.bias}
