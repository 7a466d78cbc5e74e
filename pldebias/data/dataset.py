"""From a split's description and a seed to the images of a semi-supervised data set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pldebias.data import glyphs, longtail
from pldebias.data.decode import LazyImages
from pldebias.data.errors import DataError
from pldebias.data.sources import KNOWN, Known, Source, glyph_test_set, load_source, parse_source, render_glyphs

PROTOCOLS = ("daso", "usb")


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

    images: Tensor
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


def build(spec: SplitSpec, seed: int = 0, progress: bool = False) -> Dataset:
    """Make the data set that `spec` describes.

    Parameters
    ----------
    spec : SplitSpec
        The description.
    seed : int, default 0
        Of the split; for glyphs also of the images. Test sets do not depend on it.
    progress : bool, default False
        Show progress bars while downloading or decoding.

    Raises
    ------
    DataError
        For anything impossible or unreadable; what can be checked before reading images is.
    """
    kind, known = check_spec(spec)
    if kind == "glyphs":
        source, parts = _glyph_parts(spec, known, seed)
    else:
        source = load_source(spec.source, root=spec.root, image_size=spec.image_size, protocol=spec.protocol, progress=progress)
        parts = _split(spec, source, seed)
    return _assemble(spec, seed, source, parts)


def check_spec(spec: SplitSpec) -> tuple[str, Known]:
    """Find what is wrong with `spec` without reading an image; returns the kind of source and what is known of it."""
    kind, _ = parse_source(spec.source)
    known = KNOWN.get(kind, Known())
    if spec.protocol not in PROTOCOLS:
        raise DataError(f"protocol={spec.protocol!r}; allowed: {', '.join(map(repr, PROTOCOLS))}")
    longtail.check_gamma("gamma_l", spec.gamma_l)
    longtail.check_gamma("gamma_u", spec.gamma_u)
    for name in ("n1", "m1", "image_size"):
        value = getattr(spec, name)
        if value is not None and (value != int(value) or value < 1):
            raise DataError(f"{name}={value!r}: give a whole number of at least 1, or None")
    if spec.holdout < 0 or (spec.holdout >= 1 and spec.holdout != int(spec.holdout)):
        raise DataError(f"holdout={spec.holdout!r}: give 0 (none), a fraction below 1 of every class, or a whole number per class")
    if spec.validation < 0 or spec.validation != int(spec.validation):
        raise DataError(f"validation={spec.validation!r}: give a whole number of images, 0 for none")
    if known.own_unlabelled and (spec.m1 is not None or spec.gamma_u != 1 or spec.reverse_unlabelled):
        raise DataError(
            f"{kind} has an unlabelled set of its own whose labels nobody knows; m1, gamma_u and reverse_unlabelled cannot shape it: leave "
            "them out"
        )
    sizes = known.sizes
    if known.class_names is not None or sizes is not None:
        count = len(known.class_names or sizes)
        names = known.class_names or tuple(map(str, range(count)))
        order = known.order or tuple(range(count))
        # CIFAR-100's names come with its files, so an order by name is looked at once they are there.
        if known.class_names is not None or spec.class_order is None:
            order = longtail.resolve_order(spec.class_order, names, order)
        _plan(spec, known, sizes or (10**9,) * count, names, order, shared=not known.own_unlabelled)
    return kind, known


def _plan(spec: SplitSpec, known: Known, sizes, names, order, shared: bool) -> tuple[list[int], list[int]]:
    count = len(names)
    if spec.validation % count:
        raise DataError(f"validation={spec.validation} is cut class-balanced and must be a multiple of the {count} classes")
    per_class = spec.validation // count
    smallest = min(range(count), key=lambda c: sizes[c])
    if per_class >= sizes[smallest]:
        raise DataError(
            f"validation={spec.validation} takes {per_class} images of every class, but class {names[smallest]!r} has only "
            f"{sizes[smallest]}: lower validation below {sizes[smallest] * count}"
        )
    return longtail.plan_counts(
        [s - per_class for s in sizes], names, order,
        n1=known.n1 if spec.n1 is None else spec.n1, m1=known.m1 if spec.m1 is None else spec.m1,
        gamma_l=spec.gamma_l, gamma_u=spec.gamma_u, reverse=spec.reverse_unlabelled, shared=shared,
    )  # fmt: skip


def _split(spec: SplitSpec, source: Source, seed: int) -> dict[str, Images]:
    labels, count = source.labels.numpy(), len(source.class_names)
    if len(labels) and (labels.min() < 0 or labels.max() >= count):
        raise DataError(f"{spec.source}: labels must lie in 0..{count - 1} for its {count} classes; found {labels.min()}..{labels.max()}")
    order = longtail.resolve_order(spec.class_order, source.class_names, source.order)
    shared = source.extra_images is None
    sizes = np.bincount(labels, minlength=count).tolist()
    n, m = _plan(spec, KNOWN.get(parse_source(spec.source)[0], Known()), sizes, source.class_names, order, shared)
    if spec.protocol == "daso":
        positions = longtail.split_daso(labels, n, m, order=order, reverse=spec.reverse_unlabelled, validation=spec.validation, seed=seed)
    else:
        positions = longtail.split_usb(labels, n, m, validation=spec.validation, seed=seed)
    labelled, unlabelled, validation = (_take(source.images, source.labels, p) for p in positions)
    if not shared:
        unlabelled = _own_unlabelled(spec, source, order, seed)
    test = Images(source.test_images, source.test_labels, torch.arange(len(source.test_labels)))
    return {"labelled": labelled, "unlabelled": unlabelled, "validation": validation, "test": test}


def _own_unlabelled(spec: SplitSpec, source: Source, order: tuple[int, ...], seed: int) -> Images:
    labels = source.extra_labels.numpy()
    everything = torch.arange(len(labels))
    untouched = spec.m1 is None and spec.gamma_u == 1
    if (labels < 0).any():
        if not untouched or spec.reverse_unlabelled:
            raise DataError(f"{spec.source}: without true labels of the unlabelled images m1, gamma_u and reverse_unlabelled must be left out")
    elif not untouched:
        sizes = np.bincount(labels, minlength=len(order)).tolist()
        ranks = order[::-1] if spec.reverse_unlabelled else order
        counts, _ = longtail.plan_counts(
            sizes, source.class_names, ranks, n1=spec.m1, m1=None, gamma_l=spec.gamma_u, gamma_u=1, shared=False, what="unlabelled"
        )
        return _take(source.extra_images, source.extra_labels, longtail.imbalance(labels, counts, ranks, seed))
    return Images(source.extra_images, source.extra_labels, everything)


def _glyph_parts(spec: SplitSpec, known: Known, seed: int) -> tuple[Source, dict[str, Images]]:
    names, count = known.class_names, len(known.class_names)
    order = longtail.resolve_order(spec.class_order, names, range(count))
    per_class = spec.validation // count
    n, m = _plan(spec, known, (10**9,) * count, names, order, shared=True)
    size = spec.image_size or 16
    ranks = tuple(range(count)) if spec.protocol == "usb" else order
    ranks_u = ranks[::-1] if spec.reverse_unlabelled and spec.protocol == "daso" else ranks
    wanted = [{c: n[c] for c in ranks}, {c: m[c] for c in ranks_u}, dict.fromkeys(range(count), per_class)]
    parts, start = {}, 0
    for name, (images, labels) in zip(("labelled", "unlabelled", "validation"), render_glyphs(wanted, seed, size), strict=True):
        parts[name] = Images(images, labels, torch.arange(start, start + len(labels)))
        start += len(labels)
    images, labels = glyph_test_set(size)
    parts["test"] = Images(images, labels, torch.arange(len(labels)))
    return Source(images, labels, images, labels, names, glyphs.MEAN, glyphs.STD, order), parts


def _take(images, labels: Tensor, positions: np.ndarray | Tensor) -> Images:
    index = torch.as_tensor(positions, dtype=torch.int64)
    chosen = images[index] if isinstance(images, Tensor) else images.select(index)
    return Images(chosen, labels[index], index)


def _cut_holdout(spec: SplitSpec, source: Source, parts: dict[str, Images]) -> None:
    labelled, count = parts["labelled"], len(source.class_names)
    counts = torch.bincount(labelled.labels, minlength=count)
    if spec.holdout >= 1 and counts.min() <= spec.holdout:
        # DASO's code for DARP: a labelled set too small for it gives nothing, the balanced validation set does.
        validation, tail = parts["validation"], int(counts.argmin())
        if len(validation) < spec.holdout * count:
            raise DataError(
                f"holdout={int(spec.holdout)} leaves class {source.class_names[tail]!r}, which has {int(counts[tail])} labelled images, "
                f"without any: lower holdout, or set validation to at least {int(spec.holdout) * count} to cut it from there"
            )
        _, held = longtail.cut_holdout(validation.labels.numpy(), spec.holdout, count)
        parts["holdout"] = _subset(validation, held)
        return
    rest, held = longtail.cut_holdout(labelled.labels.numpy(), spec.holdout, count)
    parts["holdout"], parts["labelled"] = _subset(labelled, held), _subset(labelled, rest)


def _subset(part: Images, positions: np.ndarray) -> Images:
    taken = _take(part.images, part.labels, positions)
    taken.index = part.index[taken.index]
    return taken


def _assemble(spec: SplitSpec, seed: int, source: Source, parts: dict[str, Images]) -> Dataset:
    count = len(source.class_names)
    if spec.holdout:
        _cut_holdout(spec, source, parts)
    if spec.include_labelled:
        parts["unlabelled"] = _join(spec, parts["labelled"], parts["unlabelled"])
    unlabelled = parts["unlabelled"]
    if spec.unknown_labels:
        unlabelled = Images(unlabelled.images, torch.full_like(unlabelled.labels, -1), unlabelled.index)
    unknown = spec.unknown_labels or bool((unlabelled.labels < 0).any())
    validation = parts["validation"] if spec.validation else None
    return Dataset(
        spec, seed, parts["labelled"], unlabelled, parts["test"], validation, parts.get("holdout"), source.class_names,
        source.mean, source.std, _fingerprint(source, parts | {"unlabelled": unlabelled}), torch.bincount(parts["labelled"].labels, minlength=count),
        None if unknown else torch.bincount(unlabelled.labels, minlength=count),
    )  # fmt: skip


def _join(spec: SplitSpec, first: Images, second: Images) -> Images:
    labels, index = torch.cat([first.labels, second.labels]), torch.cat([first.index, second.index])
    if isinstance(first.images, Tensor) and isinstance(second.images, Tensor):
        return Images(torch.cat([first.images, second.images]), labels, index)
    if getattr(first.images, "reader", 0) is not getattr(second.images, "reader", 1):
        raise DataError(f"include_labelled: {spec.source} is too large to copy its labelled images to its own unlabelled set; leave it out")
    return Images(LazyImages(first.images.reader, torch.cat([first.images.rows, second.images.rows])), labels, index)


def _fingerprint(source: Source, parts: dict[str, Images]) -> str:
    digest = hashlib.sha256(json.dumps([source.class_names, source.mean, source.std, source.content]).encode())
    for name in sorted(parts):
        part = parts[name]
        digest.update(f"{name} {tuple(part.images.shape)}".encode())
        for tensor in (part.labels, part.index, part.images):
            if isinstance(tensor, Tensor):
                digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()
