"""Images turned by quarters, the task of telling by how many, and the turns to draw.

References
----------
Gidaris, Singh & Komodakis, Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor


def balanced_turns(count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Quarter turns 0..3 for `count` images in random order, each turn as often as the others give or take one."""
    return torch.randperm(count, generator=generator, device=device) % 4


def quarter_turns(rows: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Random numbers of quarter turns, 0 to 3, shape ``[rows]``."""
    return torch.randint(0, 4, (rows,), generator=generator, device=device)


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each image by its number of quarter turns, counter-clockwise; ``[M, C, H, H]``, ``[M]``."""
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"rotation by quarters needs square images, these are {tuple(images.shape[-2:])}; crop them, or take rotation=0")
    turned = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
    return turned[turns, torch.arange(len(images), device=images.device)]
