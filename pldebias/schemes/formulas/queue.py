"""Per-class feature queues and their means, the prototypes of semantic pseudo-labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """One first-in-first-out queue of labelled features per class, all in one tensor.

    A push is exact and never waits for the device: every row's slot follows from its rank among the rows of its class. Where a
    batch brings more rows of a class than its queue holds, the last ones stay.

    Parameters
    ----------
    capacity : Tensor
        Length of each class's queue, shape ``[K]``, int64, at least 1.
    dim : int
        Feature width D.
    """

    capacity: Tensor  # [K]
    features: Tensor  # [K + 1, longest, D]
    head: Tensor  # [K]
    size: Tensor  # [K]

    def __init__(self, capacity: Tensor, dim: int):
        super().__init__()
        classes, longest = len(capacity), int(capacity.max())
        self.register_buffer("capacity", capacity.clone())
        # The extra class takes the rows that a full batch pushes out at once; nobody reads it.
        self.register_buffer("features", torch.zeros(classes + 1, longest, dim))
        self.register_buffer("head", torch.zeros(classes, dtype=torch.int64))  # next slot to write
        self.register_buffer("size", torch.zeros(classes, dtype=torch.int64))

    @torch.no_grad()
    def push(self, features: Tensor, labels: Tensor) -> None:
        """Append features ``[B, D]`` to the queues of their labels ``[B]``, in order."""
        classes = len(self.capacity)
        member = F.one_hot(labels, classes)
        count = member.sum(0)
        rank = (member.cumsum(0) * member).sum(1) - 1
        capacity = self.capacity[labels]
        stays = rank >= count[labels] - capacity
        slot = (self.head[labels] + rank) % capacity
        self.features.index_put_((torch.where(stays, labels, classes), torch.where(stays, slot, 0)), features.to(self.features.dtype))
        self.head.copy_((self.head + count) % self.capacity)
        self.size.copy_(torch.minimum(self.size + count, self.capacity))

    def prototypes(self) -> Tensor:
        """Mean feature of every class, shape ``[K, D]``; zero for a class that was never seen."""
        return self.features[:-1].sum(1) / self.size.clamp(min=1)[:, None]


def cosine(features: Float[Tensor, "N D"], prototypes: Float[Tensor, "K D"]) -> Float[Tensor, "N K"]:
    """Cosine similarity of features ``[N, D]`` to prototypes ``[K, D]``; zero towards a prototype that is zero."""
    return F.normalize(features, dim=1) @ F.normalize(prototypes, dim=1).T
