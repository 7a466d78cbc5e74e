"""Whether the values of a dataclass are of the types that it declares."""

from __future__ import annotations

import math
import numbers
import types
import typing
from functools import cache
from typing import Any

_WORDS = {str: "a text", int: "a whole number", float: "a finite number", bool: "True or False", type(None): "None"}


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def wrong_type(record: Any) -> str | None:
    """What is wrong with the first field whose value is not of its declared type, as a message; None if all are.

    A whole number will do where a number is asked for, numpy's numbers are numbers, and NaN and infinity are none.
    """
    for name, hint in _hints(type(record)).items():
        value = getattr(record, name)
        if not _fits(value, hint):
            shown = repr(value)
            return f"{name}={shown if len(shown) < 80 else shown[:80] + ' ...'}: give {_words(hint)}"
    return None


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(part, inner[0]) for part in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(part) for part in inner)
    if origin is tuple:
        return f"a sequence, each {_words(inner[0])}"
    return _WORDS.get(hint, "a dict of settings")
