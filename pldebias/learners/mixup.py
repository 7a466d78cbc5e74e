"""The mixing that MixMatch and ReMixMatch share: sharpening, one mixup of a whole batch, interleaved forward passes.

References
----------
Berthelot et al., MixMatch: A Holistic Approach to Semi-Supervised Learning, NeurIPS 2019.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pldebias.learners.consistency import Consistency
from pldebias.schemes.options import Positive

if TYPE_CHECKING:
    from pldebias.schemes import Step


def sharpen(probs: Tensor, T: float) -> Tensor:
    """Sharpened probabilities ``p^(1/T)``, rows normalised; ``[N, K]`` to ``[N, K]``."""
    powers = probs ** (1 / T)
    return powers / powers.sum(1, keepdim=True)


def mixing_factor(alpha: float, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """A draw of ``max(x, 1 - x)`` with x from Beta(alpha, alpha), a scalar on the device.

    Exact for every alpha > 0, without rejection and without waiting for the device: Ulrich's formula gives Beta(alpha + 1, alpha + 1)
    from two uniforms, and a Gamma(alpha) variate is a Gamma(alpha + 1) variate times ``u^(1/alpha)``.
    """
    u = torch.rand(4, generator=generator, device=device, dtype=torch.float64).clamp(min=1e-300)
    lean = (1 - u[0] ** (2 / (2 * alpha + 1))).sqrt() * (2 * math.pi * u[1]).cos()
    logit = torch.log1p(lean) - torch.log1p(-lean) + (u[2].log() - u[3].log()) / alpha
    return logit.abs().sigmoid().float()


def permutation(rows: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """A random order of `rows` rows, drawn on the device."""
    return torch.rand(rows, generator=generator, device=device).argsort()


def interleave(chunks: Tensor) -> Tensor:
    """Swap the g-th part of the first of n chunks with that of chunk g, so that every chunk holds rows of all of them.

    Its own inverse. Batch normalisation then sees similar statistics in every chunk.

    Parameters
    ----------
    chunks : Tensor
        Shape ``[n, B, ...]``; the B rows fall into n parts, the last ``B mod n`` of which have one row more.
    """
    (n, rows), device = chunks.shape[:2], chunks.device
    size, more = divmod(rows, n)
    row, chunk = torch.arange(rows, device=device), torch.arange(n, device=device)[:, None]
    short = size * (n - more)  # rows of the parts that have no row more
    part = torch.where(row < short, row // max(size, 1), n - more + (row - short) // (size + 1))
    source = torch.where(chunk == 0, part, torch.where(chunk == part, 0, chunk))
    return chunks[source, row]


class Mixed(NamedTuple):
    """Logits and soft targets of mixed images, of the labelled part ``[B, K]`` and of the unlabelled one ``[V*M, K]``."""

    labelled_logits: Tensor
    logits: Tensor
    labelled_targets: Tensor
    targets: Tensor


class Mixing(Consistency):
    """A learner that trains on one mixup of all its images and their soft targets.

    Parameters
    ----------
    lambda_u, ramp : float
        As in `Consistency`.
    T : float
        Temperature of sharpening, positive.
    alpha : float
        Of the Beta distribution of the mixing factor, positive.
    """

    def __init__(self, lambda_u: float, ramp: float, T: Positive, alpha: Positive):
        super().__init__(lambda_u, ramp)
        self.T, self.alpha = T, alpha

    def forward_mixed(self, step: Step, views: list[Tensor]) -> Mixed:
        """Mix labelled images and unlabelled views, and run the student over interleaved chunks.

        Chunks have the B rows of the labelled batch, as published with mu=1, where that divides all rows; otherwise the next larger number
        that does.
        """
        y = step.batch.y
        images = torch.cat([*step.batch.labelled.values(), *views])
        number = next(n for n in range(max(len(images) // len(y), 1), 0, -1) if len(images) % n == 0)
        labels = torch.nn.functional.one_hot(y, step.problem.num_classes).to(step.probs.dtype)
        targets = torch.cat([labels, *[step.probs] * len(views)])
        factor = mixing_factor(self.alpha, images.device, step.generator)
        other = permutation(len(images), images.device, step.generator)
        images, targets = (factor * x + (1 - factor) * x[other] for x in (images, targets))
        chunks = interleave(images.unflatten(0, (number, -1)))
        logits = interleave(torch.stack([step.models.student(chunk).logits for chunk in chunks])).flatten(0, 1)
        return Mixed(*logits.tensor_split((len(y),)), *targets.tensor_split((len(y),)))
