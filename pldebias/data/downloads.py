"""Benchmark data sets through torchvision, which downloads them, checks their checksums and shows progress."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pldebias.data.errors import DataError
from pldebias.progress import of_downloads

Part = tuple[Tensor, Tensor]


def load(name: str, root: Path, *, splits: Sequence[str] = (), folder: str = "") -> tuple[list[Part], tuple[str, ...]]:
    """Training, test and any further images with their labels, and the class names, of torchvision's class `name`.

    Parameters
    ----------
    name : str
        Of a class in `torchvision.datasets`.
    root : Path
        Data root; the files lie in its `folder`.
    splits : sequence of str
        Values of ``split=`` for training, testing and further images; empty where the class takes ``train=True`` and ``False``.

    Returns
    -------
    list of (Tensor, Tensor)
        Images uint8 ``[N, C, H, W]`` and labels int64 ``[N]``.
    tuple of str
        Empty if the class knows no names.
    """
    parts, names = [], ()
    for options in [{"split": split} for split in splits] or [{"train": True}, {"train": False}]:
        data = _open(name, root / folder, options)
        names = names or tuple(getattr(data, "classes", ()))
        labels = data.targets if hasattr(data, "targets") else data.labels
        parts.append((_images(data.data), torch.as_tensor(np.asarray(labels), dtype=torch.int64)))
    return parts, names


def _open(name: str, root: Path, options: dict):
    from torchvision import datasets

    maker = getattr(datasets, name)
    try:
        return maker(str(root), download=False, **options)
    except RuntimeError:
        pass  # not there, or incomplete
    except ImportError as error:
        raise DataError(f"{name.lower()} needs a package that is not installed: pip install {error.name or 'it'} ({error})") from error
    try:
        root.mkdir(parents=True, exist_ok=True)
        with of_downloads():
            return maker(str(root), download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{name.lower()} is not in {root} and could not be downloaded ({error}). Connect to the internet once, or copy torchvision's "
            f"files for {name} there, or set root (or PLDEBIAS_DATA) to the folder that has them; glyphs and digits need no download"
        ) from error


def _images(data: np.ndarray | Tensor) -> Tensor:
    images = torch.as_tensor(data)
    if images.ndim == 3:
        return images[:, None].contiguous()
    return images if images.shape[1] in (1, 3) else images.permute(0, 3, 1, 2).contiguous()
