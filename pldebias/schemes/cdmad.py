"""CDMAD: subtract the logits of an image without content from those of pseudo-labels and predictions.

References
----------
Lee & Kim, CDMAD: Class-Distribution-Mismatch-Aware Debiasing for Class-Imbalanced Semi-Supervised Learning, CVPR 2024; what the paper
leaves open (soft targets without a threshold, two strong views, white image, start) as in its public code (fixmatchcdmad.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pldebias.schemes.base import Problem, Scheme, Step


def debias(logits: Tensor, bias: Tensor) -> Tensor:
    """Debiased logits, ``logits - bias``; ``[N, K]``, ``[K]`` to ``[N, K]``."""
    return logits - bias


def bias_logits(network: nn.Module, image_shape: tuple[int, ...], like: Tensor, fill: float = 1.0) -> Tensor:
    """Logits ``[K]`` of an image of one value `fill` in normalised space, without gradient, on the device and in the dtype of `like`.

    The network runs in its present mode, but its running batch statistics, with which it will be tested, do not see the image.
    """
    tracking = [module for module in network.modules() if getattr(module, "track_running_stats", False)]
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
        First step with debiased pseudo-labels; a fifth of the training when None. Predictions are always debiased.
    soft : bool, default True
        Whether targets are the probabilities of every unlabelled image, without a threshold; otherwise the learner's own rule holds.
    fill : float, default 1.0
        Value of the image in normalised space.
    """

    name = "cdmad"
    acts_on = frozenset({"pseudo_label", "prediction"})

    def __init__(self, start: int | None = None, soft: bool = True, fill: float = 1.0):
        super().__init__()
        if start is not None and start < 0:
            raise ValueError(f"cdmad(start={start}) must be a step >= 0, or None for a fifth of the training")
        self.start, self.soft, self.fill = start, soft, fill
        if soft:
            self.unlabelled_views = ("strong", "strong2")

    def setup(self, problem: Problem) -> None:
        self.first = problem.total_steps // 5 if self.start is None else self.start
        self.register_buffer("bias", torch.zeros(problem.num_classes))  # of the student, at the latest step
        self.register_buffer("image_shape", torch.zeros(3, dtype=torch.int64))  # of the images trained on; zeros before the first step
        self.shape = None

    def prepare(self, step: Step) -> None:
        images = next(iter(step.batch.labelled.values()))
        if self.shape is None:  # once: the copy would hold up every step
            self.shape = tuple(images.shape[1:])
            self.image_shape.copy_(torch.tensor(self.shape))
        self.bias.copy_(bias_logits(step.models.student, self.shape, images, self.fill))

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return debias(logits, torch.where(step.t >= self.first, self.bias, 0.0))

    def target(self, target: Tensor, step: Step) -> Tensor:
        return step.probs if self.soft else target

    def accept(self, mask: Tensor, step: Step) -> Tensor:
        return torch.ones_like(mask) if self.soft else mask

    def predict(self, logits: Tensor, features: Tensor, network: nn.Module) -> Tensor:
        shape = tuple(self.image_shape.tolist())
        return debias(logits, bias_logits(network, shape, logits, self.fill)) if all(shape) else logits

    def series(self) -> dict[str, Tensor]:
        return {"bias": self.bias}
