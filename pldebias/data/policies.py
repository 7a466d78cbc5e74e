"""Augmentation policies by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pldebias.data.augment import Augment
from pldebias.data.errors import DataError
from pldebias.data.pixel import DasoAugment, ImagenetAugment, UsbAugment
from pldebias.data.warp import DigitsAugment, GlyphsAugment

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
        close = difflib.get_close_matches(str(policy), POLICIES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise DataError(f"unknown augmentation {policy!r}{hint}. Allowed: {', '.join(POLICIES)}")
    return POLICIES[policy](mean, std, image_size)
