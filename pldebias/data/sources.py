"""Sources of images: one `Source` for every data set, found by the name in a split's `source`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pldebias.data import digits, downloads, files, glyphs, ops, parquet
from pldebias.data.errors import DataError, checked, say, some
from pldebias.data.names import CIFAR10, FASHION, STL10
from pldebias.paths import local
from pldebias.registry import Registry
from pldebias.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels in [0, 1]."""
PATH_SOURCES = ("imagefolder", "parquet", "huggingface")
"""Sources with a path; the last two are read by one reader."""


@dataclass
class Source:
    """A data set before any split.

    Parameters
    ----------
    images, test_images : Tensor or lazy images
        uint8 ``[N, C, H, W]``.
    labels, test_labels : Tensor
        int64 ``[N]``.
    class_names : tuple of str
        K names.
    mean, std : tuple of float
        Of pixels in [0, 1], per channel; measured on the training images if empty.
    order : tuple of int
        Class ids from head to tail that the source proposes; empty is 0..K-1.
    extra_images, extra_labels : optional
        An unlabelled set of its own; labels -1 where unknown.
    content : str
        Changes when the images change; only for sources too large to hash.
    positions, test_positions : Tensor or None
        Where the images stand in the user's files, int64 ``[N]``, if that is not their order here.
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    order: tuple[int, ...] = ()
    extra_images: Tensor | None = None
    extra_labels: Tensor | None = None
    content: str = ""
    positions: Tensor | None = None
    test_positions: Tensor | None = None


@dataclass(frozen=True)
class Known:
    """Facts about a named source, known before anything is read."""

    class_names: tuple[str, ...] | None = None
    sizes: tuple[int, ...] | None = None  # training images per class; None where the supply is endless
    order: tuple[int, ...] | None = None  # class ids, head to tail; None is 0..K-1
    n1: int | None = None  # head class sizes used when the split names none
    m1: int | None = None
    own_unlabelled: bool = False  # brings an unlabelled set of unknown labels
    load: Callable[[Path], Source] | None = None  # the source, given the folder for downloads; None if it is rendered
    statistics: Mapping[str, Statistics] | None = None  # by protocol; that of "daso" stands for one that is not there


def _torchvision(name: str, class_names: tuple[str, ...] | None = None, **options) -> Callable[[Path], Source]:
    def load(root: Path) -> Source:
        parts, found = downloads.load(name, root, **options)
        return Source(*parts[0], *parts[1], class_names or found, (), (), (), *(parts[2:] and parts[2]))

    return load


def _digits(root: Path) -> Source:
    return Source(*digits.load(), digits.NAMES, order=digits.ORDER)


_CIFAR = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _bytes(*values: float) -> tuple[float, ...]:
    return tuple(v / 255 for v in values)


# Mean and standard deviation are those of the protocols' codes; USB normalises CIFAR-10 by the ImageNet constants.
_OWN = {
    "glyphs": Known(glyphs.CHARACTERS, n1=20, m1=2000, statistics={"daso": (glyphs.MEAN, glyphs.STD)}),
    "digits": Known(
        digits.NAMES, (128, 132, 127, 133, 131, 132, 131, 129, 124, 130), digits.ORDER, 60, 64,
        load=_digits, statistics={"daso": (digits.MEAN, digits.STD)},
    ),
    "cifar10": Known(
        CIFAR10, (5000,) * 10, load=_torchvision("CIFAR10", CIFAR10), statistics={"daso": _CIFAR, "usb": _IMAGENET}
    ),
    "cifar100": Known(
        None, (500,) * 100, load=_torchvision("CIFAR100"),
        statistics={
            "daso": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
            "usb": (_bytes(129.3, 124.1, 112.4), _bytes(68.2, 65.4, 70.4)),
        },
    ),
    "stl10": Known(
        STL10, (500,) * 10, own_unlabelled=True, load=_torchvision("STL10", STL10, splits=("train", "test", "unlabeled")),
        statistics={"daso": _CIFAR, "usb": (_bytes(112.4, 109.1, 98.6), _bytes(68.4, 66.6, 68.5))},
    ),
    "svhn": Known(
        digits.NAMES, (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
        load=_torchvision("SVHN", digits.NAMES, splits=("train", "test"), folder="svhn"),
        statistics={"daso": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))},
    ),
    "fashionmnist": Known(
        FASHION, (6000,) * 10, load=_torchvision("FashionMNIST", FASHION), statistics={"daso": ((0.2860,), (0.3530,))}
    ),
}  # fmt: skip
KNOWN: Registry[Known] = Registry("data set", _OWN)


def data_root(root: str | os.PathLike | None) -> Path:
    """Folder for downloads and decoded images: `root`, else ``$PLDEBIAS_DATA``, else ``./data``."""
    return local(root or os.environ.get("PLDEBIAS_DATA") or "data")


def parse_source(name: str) -> tuple[str, str]:
    """Split ``"parquet:PATH"`` into its kind and path (empty for the named sources); raises `DataError` for an unknown name."""
    kind, _, path = str(name).partition(":")
    if kind in PATH_SOURCES:
        if not path:
            raise DataError(f"source {name!r} needs a path: {kind}:PATH")
        return ("parquet" if kind == "huggingface" else kind), path
    if name in KNOWN:
        return name, ""
    allowed = [*KNOWN, *(f"{kind}:PATH" for kind in PATH_SOURCES)]
    near = nearest(kind.replace("-", "").replace("_", ""), [*KNOWN, *PATH_SOURCES])
    raise DataError(f"source {name!r} is not known{near}; choose one of {', '.join(allowed)}")


def statistics(kind: str, protocol: str) -> Statistics | None:
    """Mean and std per channel that a protocol normalises a named source with; None for a user's own images."""
    known = KNOWN[kind].statistics if kind in KNOWN else None
    return known and known.get(protocol, known["daso"])


def load_source(
    name: str, *, root: str | os.PathLike | None = None, image_size: int | None = None, protocol: str = "daso", progress: bool = False
) -> Source:
    """Read a whole source, downloading or decoding where needed. Glyphs are not read but rendered: see `build`.

    Parameters
    ----------
    name : str
        ``digits``, ``cifar10``, ``cifar100``, ``stl10``, ``svhn``, ``fashionmnist``, ``imagefolder:PATH``, ``parquet:PATH``,
        ``huggingface:PATH`` (a folder that `datasets` saved, or a clone of a repository), or one that
        `pldebias.register` was given.
    root : path, optional
        Data root, see `data_root`.
    image_size : int, optional
        Resize to this height and width (bilinear with antialiasing, the pixels of Pillow); None keeps the images' own size.
    protocol : str, default "daso"
        Chooses the normalisation constants.
    progress : bool, default False
        Show progress bars for downloads and decoding.
    """
    image_size, progress = checked(load_source, image_size=image_size, progress=progress)
    kind, path = parse_source(name)
    if kind in PATH_SOURCES:
        return _load_files(kind, path, data_root(root), image_size, progress)
    if (load := KNOWN[kind].load) is None:
        raise DataError(f"{kind} are rendered to the counts of a split and cannot be loaded whole; use pldebias.data.build")
    source = _completed(name, load(data_root(root)), statistics(kind, protocol))
    if image_size is not None:
        for field_name in ("images", "test_images", "extra_images"):
            setattr(source, field_name, _resized(getattr(source, field_name), image_size))
    return source


def _completed(name: str, source: Source, known: Statistics | None) -> Source:
    """A source with the mean, deviation and order of classes that it leaves out; raises `DataError` where a plugin gives none."""
    if not isinstance(source, Source):
        raise DataError(f"data set {name!r} gives {type(source).__name__}: its function must return a pldebias.data.Source")
    for part in ("images", "test_images", "extra_images"):
        images = getattr(source, part)
        labels = getattr(source, part.replace("images", "labels"))
        if images is None and part == "extra_images":
            continue
        shape, kind = tuple(getattr(images, "shape", ())), getattr(images, "dtype", torch.uint8)  # images read later state no type
        if len(shape) != 4 or kind != torch.uint8 or not isinstance(labels, Tensor) or len(labels) != shape[0]:
            raise DataError(
                f"data set {name!r}: {part} must be uint8 tensors [N, C, H, W], with labels, an int64 tensor [N]; got {kind} of shape "
                f"{shape} and {type(labels).__name__} of {len(labels) if hasattr(labels, '__len__') else 'no'} labels"
            )
    mean, std = (source.mean, source.std) if source.mean and source.std else known or _measure(source.images)
    return replace(source, mean=mean, std=std, order=source.order or tuple(range(len(source.class_names))))


def _resized(images: Tensor | None, size: int) -> Tensor | None:
    if images is None or tuple(images.shape[2:]) == (size, size):
        return images
    return torch.cat([ops.resize(chunk, size) for chunk in images.split(1024)])


def _load_files(kind: str, path: str, root: Path, image_size: int | None, progress: bool) -> Source:
    read = files.load_imagefolder if kind == "imagefolder" else parquet.load_parquet
    parts, names = read(path, root, image_size, progress)
    if "test" not in parts:
        parts["train"], parts["test"] = files.cut_test(parts["train"], len(names))
        if not len(parts["test"].labels):
            raise DataError(f"{kind}:{path}: no class has two images, so that none can be set aside for a test; add images or a test set")
    if missing := [name for k, name in enumerate(names) if not (parts["test"].labels == k).any()]:
        say(f"{kind}:{path}: no test image of the classes {some(missing)}; their test accuracy is undefined")
    shapes = {part: tuple(p.images.shape[1:]) for part, p in parts.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{kind}:{path}: images of different shapes ({shapes}): give image_size")
    train, test, extra = parts["train"], parts["test"], parts.get("unlabelled")
    mean, std = _measure(train.images)
    return Source(
        images=train.images,
        labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
        class_names=names,
        mean=mean,
        std=std,
        order=tuple(range(len(names))),
        extra_images=extra and extra.images,
        extra_labels=extra and extra.labels,
        content="".join(p.content for p in parts.values()),
        positions=train.positions,
        test_positions=test.positions,
    )


def _measure(images, sample: int = 4096) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of a fixed random sample of images, to four digits."""
    drawn = np.sort(np.random.RandomState(0).permutation(len(images))[:sample])
    chosen = images[torch.from_numpy(drawn)].double().div(255)
    mean, std = chosen.mean((0, 2, 3)), chosen.std((0, 2, 3)).clamp(min=1e-4)
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) for v in std.tolist())


def render_glyphs(counts: list[dict[int, int]], seed: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """Images and labels for every requested set, in turn from one stream: generator ``10000 + seed``."""
    generator = torch.Generator().manual_seed(10000 + seed)
    sets = []
    for wanted in counts:
        labels = torch.tensor(list(wanted)).repeat_interleave(torch.tensor(list(wanted.values())))
        sets.append((glyphs.render(labels, generator, size), labels))
    return sets


def glyph_test_set(size: int) -> tuple[Tensor, Tensor]:
    """The one test set of all glyph splits, 200 images a class, whatever the seed."""
    labels = torch.arange(len(glyphs.CHARACTERS)).repeat_interleave(glyphs.TEST_PER_CLASS)
    return glyphs.render(labels, torch.Generator().manual_seed(glyphs.TEST_SEED), size), labels
