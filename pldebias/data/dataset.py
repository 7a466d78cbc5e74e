"""From a split's description and a seed to the images of a semi-supervised data set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pldebias.data import glyphs, longtail
from pldebias.data.decode import LazyImages, subset
from pldebias.data.errors import DataError, checked
from pldebias.data.plan import plan_counts, resolve_order
from pldebias.data.sources import KNOWN, Known, Source, glyph_test_set, load_source, parse_source, render_glyphs
from pldebias.data.spec import Dataset, Images, SplitSpec
from pldebias.settings import nearest, normalise

PROTOCOLS = ("daso", "usb")


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
    seed, progress = checked(build, seed=seed, progress=progress)
    if not 0 <= seed < 2**32:
        raise DataError(f"seed={seed}: give a whole number in 0..{2**32 - 1}")
    if kind == "glyphs":
        source, parts = _glyph_parts(spec, known, seed)
    else:
        source = load_source(spec.source, root=spec.root, image_size=spec.image_size, protocol=spec.protocol, progress=progress)
        parts = _split(spec, source, seed)
    return _assemble(spec, seed, source, parts)


def check_spec(spec: SplitSpec) -> tuple[str, Known]:
    """Find what is wrong with `spec` without reading an image; returns the kind of source and what is known of it."""
    if problem := normalise(spec):
        raise DataError(problem)
    kind, _ = parse_source(spec.source)
    known = KNOWN.get(kind, Known())
    if spec.protocol not in PROTOCOLS:
        raise DataError(f"protocol={spec.protocol!r}{nearest(spec.protocol, PROTOCOLS)}; allowed: {', '.join(map(repr, PROTOCOLS))}")
    longtail.check_gamma("gamma_l", spec.gamma_l)
    longtail.check_gamma("gamma_u", spec.gamma_u)
    checked(load_source, image_size=spec.image_size)
    for name in ("n1", "m1"):
        value = getattr(spec, name)
        if value is not None and (value != int(value) or value < 1):
            raise DataError(f"{name}={value!r}: give a whole number of at least 1, or None")
    if spec.holdout < 0 or (spec.holdout >= 1 and spec.holdout != int(spec.holdout)):
        raise DataError(f"holdout={spec.holdout!r}: give 0 (none), a fraction below 1 of every class, or a whole number per class")
    if spec.validation < 0 or spec.validation != int(spec.validation):
        raise DataError(f"validation={spec.validation!r}: give a whole number of images, 0 for none")
    if not 0 <= spec.relevance <= 1:
        raise DataError(f"relevance={spec.relevance!r}: give the share of unlabelled images that belong to the classes, in [0, 1]")
    if spec.relevance < 1 and spec.distractors is None and kind != "glyphs":
        raise DataError(f"relevance={spec.relevance!r} needs distractors, a source of other images, such as distractors='cifar100'")
    if spec.distractors is not None:
        parse_source(spec.distractors)
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
            order = resolve_order(spec.class_order, names, order)
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
    return plan_counts(
        [s - per_class for s in sizes], names, order,
        n1=known.n1 if spec.n1 is None else spec.n1, m1=known.m1 if spec.m1 is None else spec.m1,
        gamma_l=spec.gamma_l, gamma_u=spec.gamma_u, reverse=spec.reverse_unlabelled, shared=shared,
    )  # fmt: skip


def _split(spec: SplitSpec, source: Source, seed: int) -> dict[str, Images]:
    labels, count = source.labels.numpy(), len(source.class_names)
    if len(labels) and (labels.min() < 0 or labels.max() >= count):
        raise DataError(f"{spec.source}: labels must lie in 0..{count - 1} for its {count} classes; found {labels.min()}..{labels.max()}")
    order = resolve_order(spec.class_order, source.class_names, source.order)
    shared = source.extra_images is None
    sizes = np.bincount(labels, minlength=count).tolist()
    n, m = _plan(spec, KNOWN.get(parse_source(spec.source)[0], Known()), sizes, source.class_names, order, shared)
    if spec.protocol == "daso":
        positions = longtail.split_daso(labels, n, m, order=order, reverse=spec.reverse_unlabelled, validation=spec.validation, seed=seed)
    else:
        positions = longtail.split_usb(labels, n, m, validation=spec.validation, seed=seed)
    labelled, unlabelled, validation = (_take(source.images, source.labels, p) for p in positions)
    for part in (labelled, unlabelled, validation):
        part.index = part.index if source.positions is None else source.positions[part.index]
    if not shared:
        unlabelled = _own_unlabelled(spec, source, order, seed)
    test_index = torch.arange(len(source.test_labels)) if source.test_positions is None else source.test_positions
    test = Images(source.test_images, source.test_labels, test_index)
    return {"labelled": labelled, "unlabelled": unlabelled, "validation": validation, "test": test}


def _own_unlabelled(spec: SplitSpec, source: Source, order: tuple[int, ...], seed: int) -> Images:
    labels = source.extra_labels.numpy()
    everything = torch.arange(len(labels))
    untouched = spec.m1 is None and spec.gamma_u == 1
    if (labels < 0).any():
        if not untouched or spec.reverse_unlabelled:
            raise DataError(f"{spec.source}: m1, gamma_u and reverse_unlabelled need true labels of the unlabelled set; leave them out")
    elif not untouched:
        sizes = np.bincount(labels, minlength=len(order)).tolist()
        ranks = order[::-1] if spec.reverse_unlabelled else order
        counts, _ = plan_counts(
            sizes, source.class_names, ranks, n1=spec.m1, m1=None, gamma_l=spec.gamma_u, gamma_u=1, shared=False, what="unlabelled"
        )
        return _take(source.extra_images, source.extra_labels, longtail.imbalance(labels, counts, ranks, seed))
    return Images(source.extra_images, source.extra_labels, everything)


def _glyph_parts(spec: SplitSpec, known: Known, seed: int) -> tuple[Source, dict[str, Images]]:
    names, count = known.class_names, len(known.class_names)
    order = resolve_order(spec.class_order, names, range(count))
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
    return Images(subset(images, index), labels[index], index)


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
    if spec.relevance < 1:
        parts["unlabelled"] = _mix_distractors(spec, parts["unlabelled"], count, seed)
    if spec.include_labelled:
        parts["unlabelled"] = _join(spec, parts["labelled"], parts["unlabelled"])
    unlabelled = parts["unlabelled"]
    if spec.unknown_labels:
        unlabelled = Images(unlabelled.images, torch.full_like(unlabelled.labels, -1), unlabelled.index)
    unknown = spec.unknown_labels or bool((unlabelled.labels < 0).any())
    validation = parts["validation"] if spec.validation else None
    fingerprint = _fingerprint(source, parts | {"unlabelled": unlabelled})
    return Dataset(
        spec=spec,
        seed=seed,
        labelled=parts["labelled"],
        unlabelled=unlabelled,
        test=parts["test"],
        validation=validation,
        holdout=parts.get("holdout"),
        class_names=source.class_names,
        mean=source.mean,
        std=source.std,
        fingerprint=fingerprint,
        labelled_counts=torch.bincount(parts["labelled"].labels, minlength=count),
        unlabelled_counts=None if unknown else torch.bincount(unlabelled.labels, minlength=count),
    )


def _mix_distractors(spec: SplitSpec, unlabelled: Images, count: int, seed: int) -> Images:
    """Keep the relevant share of every class, and fill the set up to its size with images of something else, label -1."""
    labels = unlabelled.labels.numpy()
    kept = np.sort(np.concatenate([np.flatnonzero(labels == c)[: round(spec.relevance * (labels == c).sum())] for c in range(-1, count)]))
    relevant, wanted = _subset(unlabelled, kept), len(labels) - len(kept)
    if spec.distractors is None:
        generator = torch.Generator().manual_seed(20000 + seed)
        ids = torch.randint(0, len(glyphs.DISTRACTORS), (wanted,), generator=generator)
        other = Images(glyphs.render(ids, generator, unlabelled.images.shape[-1], glyphs.DISTRACTORS), ids, torch.arange(wanted))
    else:
        size = unlabelled.images.shape[-1]
        source = load_source(spec.distractors, root=spec.root, image_size=size, protocol=spec.protocol)
        if source.images.shape[1:] != unlabelled.images.shape[1:] or len(source.images) < wanted:
            raise DataError(
                f"distractors={spec.distractors!r} has {len(source.images)} images of shape {tuple(source.images.shape[1:])}; "
                f"{wanted} of shape {tuple(unlabelled.images.shape[1:])} are needed: raise relevance, or choose another source"
            )
        other = _take(source.images, source.labels, np.random.RandomState(seed).permutation(len(source.images))[:wanted])
    other.labels = torch.full_like(other.labels, -1)
    return _join(spec, relevant, other)


def with_labelled(dataset: Dataset, index: Tensor, labels: Tensor) -> Dataset:
    """The data set with rows `index` of its unlabelled set added, under `labels`, to the labelled one; counts stay the original ones."""
    more = _subset(dataset.unlabelled, index.numpy())
    more.labels = labels
    return replace(dataset, labelled=_join(dataset.spec, dataset.labelled, more))


def _join(spec: SplitSpec, first: Images, second: Images) -> Images:
    labels, index = torch.cat([first.labels, second.labels]), torch.cat([first.index, second.index])
    if isinstance(first.images, Tensor) and isinstance(second.images, Tensor):
        return Images(torch.cat([first.images, second.images]), labels, index)
    if getattr(first.images, "reader", 0) is not getattr(second.images, "reader", 1):
        raise DataError(f"{spec.source} is too large to hold, and two of its parts lie in different files: they cannot be joined")
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
