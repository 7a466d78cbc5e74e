"""Augmentation policies by name."""

from __future__ import annotations

from collections.abc import Sequence

from pldebias.data.augment import Augment
from pldebias.data.errors import DataError
from pldebias.data.pixel import DasoAugment, ImagenetAugment, UsbAugment
from pldebias.data.warp import DigitsAugment, GlyphsAugment
from pldebias.settings import nearest

POLICIES = {cls.policy: cls for cls in (DasoAugment, UsbAugment, ImagenetAugment, GlyphsAugment, DigitsAugment)}


def make_augment(policy: str, mean: Sequence[float], std: Sequence[float], image_size: int) -> Augment:
    """The policy called `policy`.

    Parameters
    ----------
    policy : {"daso", "usb", "imagenet", "glyphs", "digits"}
        Whose recipe; see the classes in `pldebias.data.pixel` and `pldebias.data.warp`.
    mean, std, image_size
        As for `Augment`.

    Raises
    ------
    DataError
        For an unknown name.
    """
    if policy not in POLICIES:
        raise DataError(f"augmentation {policy!r} is not known{nearest(policy, POLICIES)}; choose one of {', '.join(POLICIES)}")
    return POLICIES[policy](mean, std, image_size)
