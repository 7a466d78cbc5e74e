"""The one error class of this package's data side, and the check of arguments that raises it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pldebias.settings import fitted

LARGEST = 8192
"""Most pixels a side that images are resized to."""


class DataError(ValueError):
    """Bad data or an impossible split; the message says what was given, what is allowed and what to do."""


def checked(function: Callable, **values: Any) -> tuple:
    """Arguments of a public function of the data side as values of their declared types; `DataError` names the first that is none."""
    try:
        found = fitted(function, values, "{}")
    except ValueError as error:
        raise DataError(str(error)) from None
    if found.get("image_size") is not None and not 1 <= found["image_size"] <= LARGEST:
        raise DataError(f"image_size={found['image_size']}: give a whole number of pixels in 1..{LARGEST}, or None")
    return tuple(found.values())
