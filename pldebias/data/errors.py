"""The one error class of this package's data side, the check of arguments that raises it, and words for messages."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
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


def say(message: str) -> None:
    """Warn of something that the user should know but need not change."""
    warnings.warn(message, stacklevel=3)


def some(names: Iterable, limit: int = 5) -> str:
    """The first few of `names` for a message."""
    names = [str(name) for name in names]
    return ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
