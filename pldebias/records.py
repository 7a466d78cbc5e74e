"""Two records that data, networks and methods hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One training batch on the loader's device.

    Parameters
    ----------
    labelled, unlabelled : mapping of str to Tensor
        A normalised float32 tensor ``[B, C, H, W]`` (``[M, C, H, W]``) for every view.
    y : Tensor
        Labels of the labelled images, int64 ``[B]``.
    labelled_index, index : Tensor
        Positions in the labelled and in the unlabelled set, int64 ``[B]`` and ``[M]``.
    """

    labelled: Mapping[str, Tensor]
    y: Tensor
    labelled_index: Tensor
    unlabelled: Mapping[str, Tensor]
    index: Tensor


class Output(NamedTuple):
    """Features ``[N, D]`` and logits ``[N, K]`` of one forward pass."""

    features: Tensor
    logits: Tensor
