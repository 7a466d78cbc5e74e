"""Benchmark data sets through torchvision, which downloads them, checks their checksums and shows progress."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pldebias.data.errors import DataError
from pldebias.progress import of_downloads

# torchvision's class, its folder under the data root, and the arguments of its training, test and unlabelled parts.
_TABLE = {
    "cifar10": ("CIFAR10", "", {"train": True}, {"train": False}, None),
    "cifar100": ("CIFAR100", "", {"train": True}, {"train": False}, None),
    "stl10": ("STL10", "", {"split": "train"}, {"split": "test"}, {"split": "unlabeled"}),
    "svhn": ("SVHN", "svhn", {"split": "train"}, {"split": "test"}, None),
    "fashionmnist": ("FashionMNIST", "", {"train": True}, {"train": False}, None),
}


def load(kind: str, root: Path) -> tuple[list[tuple[Tensor, Tensor] | None], tuple[str, ...] | None]:
    """Training, test and unlabelled (or None) images with labels, uint8 ``[N, C, H, W]`` and int64 ``[N]``, and the class names."""
    name, folder, *arguments = _TABLE[kind]
    parts, names = [], None
    for kwargs in arguments:
        if kwargs is None:
            parts.append(None)
            continue
        data = _open(kind, name, root / folder, kwargs)
        names = names or getattr(data, "classes", None)
        labels = data.targets if hasattr(data, "targets") else data.labels
        parts.append((_images(data.data), torch.as_tensor(np.asarray(labels), dtype=torch.int64)))
    return parts, tuple(names) if names else None


def _open(kind: str, name: str, root: Path, kwargs: dict):
    from torchvision import datasets

    maker = getattr(datasets, name)
    try:
        return maker(str(root), download=False, **kwargs)
    except RuntimeError:
        pass  # not there, or incomplete
    except ImportError as error:
        raise DataError(f"{kind} needs a package that is not installed: pip install {error.name or 'it'} ({error})") from error
    try:
        root.mkdir(parents=True, exist_ok=True)
        with of_downloads():
            return maker(str(root), download=True, **kwargs)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{kind} is not in {root} and could not be downloaded ({error}). Connect to the internet once, or copy torchvision's files for "
            f"{name} there, or set root (or PLDEBIAS_DATA) to the folder that has them; glyphs and digits need no download"
        ) from error


def _images(data: np.ndarray | Tensor) -> Tensor:
    images = torch.as_tensor(data)
    if images.ndim == 3:
        return images[:, None].contiguous()
    return images if images.shape[1] in (1, 3) else images.permute(0, 3, 1, 2).contiguous()
