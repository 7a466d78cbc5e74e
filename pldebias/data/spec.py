"""The description of a split, and what is made from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pldebias.data.decode import LazyImages
from pldebias.data.errors import DataError


@dataclass(frozen=True)
class SplitSpec:
    """Everything that, with a seed, fixes a long-tailed semi-supervised data set.

    Parameters
    ----------
    source : str, default "glyphs"
        ``glyphs``, ``digits``, ``cifar10``, ``cifar100``, ``stl10``, ``svhn``, ``fashionmnist``, ``imagefolder:PATH``, ``parquet:PATH``.
    n1, m1 : int or None, default None
        Images of the head class in the labelled and in the unlabelled set. None takes all there is (glyphs: 20 and 2000, digits: 60
        and 64).
    gamma_l, gamma_u : float, default 1
        Imbalance ratios head / tail, at least 1.
    reverse_unlabelled : bool, default False
        The unlabelled head is the labelled tail.
    class_order : tuple of str or int, or None
        Classes from head to tail by name or id; None is the source's own order. Labels keep their class ids.
    protocol : {"daso", "usb"}, default "daso"
        Whose split, index for index, and whose normalisation constants.
    validation : int, default 0
        Images set aside first, in total, class-balanced (DASO: 5000 of CIFAR, 500 of STL-10).
    holdout : float, default 0
        Cut off the labelled set: an integer takes that many images of each class (DARP), a fraction in (0, 1) that part (SEVAL).
    include_labelled : bool, default False
        Put the labelled images into the unlabelled set too, in front.
    unknown_labels : bool, default False
        Forget the labels of the unlabelled set (all -1).
    relevance : float, default 1
        Share of the unlabelled images that belong to the classes, in [0, 1]; the others show something else and count as unknown
        (Yang & Xu, Rethinking the Value of Labels, NeurIPS 2020).
    distractors : str or None, default None
        Source of the others; None is other characters for glyphs, and must be given elsewhere (``"cifar100"`` for ``"cifar10"``, say).
    image_size : int or None, default None
        Height and width that images are stored at; None is the source's own.
    root : str or None, default None
        Data root; None is ``$PLDEBIAS_DATA`` or ``./data``. No part of the data set's identity.
    """

    source: str = "glyphs"
    n1: int | None = None
    m1: int | None = None
    gamma_l: float = 1
    gamma_u: float = 1
    reverse_unlabelled: bool = False
    class_order: tuple[str | int, ...] | None = None
    protocol: str = "daso"
    validation: int = 0
    holdout: float = 0
    include_labelled: bool = False
    unknown_labels: bool = False
    relevance: float = 1
    distractors: str | None = None
    image_size: int | None = None
    root: str | None = None

    def __post_init__(self):
        if isinstance(self.class_order, list):
            object.__setattr__(self, "class_order", tuple(self.class_order))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able fields; `from_dict` reads them back."""
        fields = dataclasses.asdict(self)
        fields["class_order"] = None if self.class_order is None else list(self.class_order)
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> SplitSpec:
        """The spec that `to_dict` wrote; unknown keys raise `DataError`."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := set(fields) - known:
            raise DataError(f"a split has no field {', '.join(map(repr, sorted(unknown)))}; allowed: {', '.join(sorted(known))}")
        return cls(**fields)


@dataclass
class Images:
    """One set of images.

    Parameters
    ----------
    images : Tensor or lazy images
        uint8 ``[N, C, H, W]``; the lazy kind has a length and gives a uint8 tensor for a list of positions.
    labels : Tensor
        int64 ``[N]``, class ids, -1 unknown.
    index : Tensor
        int64 ``[N]``, positions in the source.
    """

    images: Tensor | LazyImages
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Dataset:
    """A split with its images; `build` makes it, and the same `spec` and `seed` make it again.

    `labelled_counts` are what is left for training after the hold-out, int64 ``[K]``; `unlabelled_counts` likewise or None where
    the truth is unknown. `mean` and `std` are of pixels in [0, 1]. `fingerprint` changes when any image, label or position does.
    """

    spec: SplitSpec
    seed: int
    labelled: Images
    unlabelled: Images
    test: Images
    validation: Images | None
    holdout: Images | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    labelled_counts: Tensor
    unlabelled_counts: Tensor | None

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the stored images."""
        return tuple(self.test.images.shape[1:])
