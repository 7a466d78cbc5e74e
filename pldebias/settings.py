"""Settings as users give them: their numbers as Python's own, their types, and names that nearly exist."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

_WORDS = {str: "a text", int: "a whole number", float: "a finite number", bool: "True or False", type(None): "None"}


def nearest(name: Any, known: Iterable[Any]) -> str:
    """The known names that are most like `name`, as ``" (did you mean 'a' or 'b'?)"``; empty if none is."""
    folded = {str(one).casefold(): str(one) for one in known}
    close = [folded[one] for one in difflib.get_close_matches(str(name).casefold(), folded, 3)]
    return f" (did you mean {_either(map(repr, close))}?)" if close else ""


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def plain(value: Any) -> Any:
    """`value` with the numbers, truth values and arrays of numpy, torch and pandas as Python's own, in lists, tuples and dicts too.

    Paths and devices become texts. What is nothing of these comes back as it is.
    """
    if isinstance(value, bool | str | None):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else tuple(map(plain, value))
    if isinstance(value, range):
        return tuple(value)
    if callable(getattr(value, "tolist", None)):
        inner = value.tolist()
        value = inner if type(inner) is type(value) else plain(inner)  # numpy's long double gives itself
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value) if type(value).__name__ == "device" else value  # torch's


@cache
def _hints(of: Any, extras: bool = False) -> dict[str, Any]:
    return typing.get_type_hints(of, include_extras=extras)


def fitted(function: Any, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Arguments of a function as values of their declared types.

    Parameters
    ----------
    function : callable
        Its annotations say which values are allowed.
    values : dict
    where : str
        With which the message begins, with ``{}`` for ``name=value``.

    Raises
    ------
    ValueError
        One has no value of its type: NaN and infinity are no numbers, and 1 is no truth value.
    """
    found = {}
    for name, value in values.items():
        hint = _hints(function).get(name, Any)
        found[name] = _fitted(plain(value), hint)
        if not _fits(found[name], hint):
            raise ValueError(f"{where.format(f'{name}={_shown(value)}')}: give {_words(hint)}")
    return found


@dataclass(frozen=True)
class Range:
    """Numbers that an option may have, for its `Annotated` type.

    Parameters
    ----------
    interval : str
        As in mathematics: ``"[0, 1)"`` holds 0 and not 1; ``"(0, inf)"`` is every positive number.
    why : str, optional
        What the number means, for the message.
    """

    interval: str
    why: str = ""

    def __contains__(self, value: float) -> bool:
        low, high = map(float, self.interval[1:-1].split(","))
        return low < value < high or (value == low and self.interval[0] == "[") or (value == high and self.interval[-1] == "]")

    def __str__(self) -> str:
        known = {"(0, inf)": "must be positive", "[0, inf)": "must not be negative"}
        least = f"must be at least {self.interval[1:-6]}" if self.interval.endswith(", inf)") else f"must be in {self.interval}"
        return known.get(self.interval, least) + (self.why and f": {self.why}")


def within(function: Any, values: Mapping[str, Any], where: str) -> None:
    """Check arguments of a function against the `Range` or the `Literal` of their annotations; a `Range` is one of numbers alone.

    Raises
    ------
    ValueError
        One is outside; the message begins with `where`, in which ``name=value`` stands for ``{}``.
    """
    for name, value in values.items():
        hint = _hints(function, extras=True).get(name)
        for kind in typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,):
            allowed = typing.get_args(kind)
            if typing.get_origin(kind) is typing.Literal and value not in (*allowed, None):
                known = f"is not known{nearest(value, allowed)}; choose {_either(map(repr, allowed))}"
                raise ValueError(f"{where.format(f'{name}={value!r}')} {known}")
            for limit in allowed[1:] if typing.get_origin(kind) is typing.Annotated else ():
                if isinstance(value, int | float) and value not in limit:
                    raise ValueError(f"{where.format(f'{name}={value!r}')} {limit}")


ARGUMENTS: dict[str, Any] = {
    **dict.fromkeys(("epoch", "start", "end", "n", "columns", "bins", "hold", "digits", "per_class", "seed", "step", "generation"), int),
    **dict.fromkeys(("n_neighbors", "height"), int),
    **dict.fromkeys(("level", "min_dist", "perplexity"), float),
    **dict.fromkeys(("kind", "split", "scale", "width", "error", "metric", "statistic", "which", "choice", "of", "gamma", "score"), str),
    **dict.fromkeys(("method", "colour", "backend", "x"), str),
    **dict.fromkeys(("quality", "images", "normalise", "progress", "colourbar"), bool),
    **dict.fromkeys(("values", "rows", "cols", "differences"), tuple[str, ...] | str),
    "normalize": str | None,
    "epochs": tuple[int, ...] | None,
    "published": bool | tuple[str, ...],
    "thresholds": tuple[float, ...],
}
"""Types of the arguments of figures, tables and views, by their names, which mean one thing in all of them."""
_LEAST = {**dict.fromkeys(("n", "columns", "bins", "hold", "per_class"), 1), **dict.fromkeys(("digits", "seed", "step", "generation"), 0)}


def argument(name: str, value: Any, hint: Any = None, *, empty: bool = False) -> Any:
    """An argument as a value of its type: numbers of numpy, torch and pandas as Python's own, sequences as tuples.

    Raises
    ------
    ValueError
        It has no value of its type (see `fitted`), or is too small.
    """
    hint = ARGUMENTS[name] if hint is None else hint
    found = plain(value)
    found = _fitted((found,) if name == "epochs" and isinstance(found, int | float) else found, hint)
    if not _fits(found, hint):
        raise ValueError(f"{name}={_shown(value)} must be {_words(hint)}")
    if isinstance(found, int) and abs(found) >= 2**63:
        raise ValueError(f"{name}={found} must be below 2**63")
    if isinstance(found, int) and found < _LEAST.get(name, found):
        raise ValueError(f"{name}={found} must be at least {_LEAST[name]}")
    if found == () and not empty and name not in ("published", "epoch"):
        raise ValueError(f"{name} is empty; give at least one")
    return found


def some_of(name: str, value: Any, allowed: Iterable[str]) -> tuple[str, ...]:
    """Entries of a list that may only hold those `allowed`; one text is one entry.

    Raises
    ------
    ValueError
        No text and no list of texts, an empty list, or one that is not allowed.
    """
    found, allowed = argument(name, value, tuple[str, ...] | str), tuple(allowed)
    found = (found,) if isinstance(found, str) else found
    if unknown := [one for one in found if one not in allowed]:
        raise ValueError(
            f"{name} must be some of {', '.join(map(repr, allowed))}; got {', '.join(map(repr, unknown))}{nearest(unknown[0], allowed)}"
        )
    return found


def typed(function: Callable) -> Callable:
    """A function whose `ARGUMENTS` are checked and made plain before it is called; what is left at its default is not looked at."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **options):
        try:
            given = signature.bind(*args, **options)
        except TypeError:
            return function(*args, **options)  # which says what is wrong
        for name, value in given.arguments.items():
            declared = signature.parameters[name]
            may_be_none = value is None and "None" in str(declared.annotation)
            if name in ARGUMENTS and value is not declared.default and not may_be_none:
                given.arguments[name] = argument(name, value)
        return function(*given.args, **given.kwargs)

    return call


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 80 else shown[:80] + " ..."


def normalise(record: Any) -> str | None:
    """Set every field of a dataclass to the value of its declared type that equals it; returns what is wrong with the first that has none.

    3, 3.0, ``np.int64(3)`` and ``torch.tensor(3)`` are one whole number. NaN and infinity are no numbers, and 1 is no truth value.
    """
    for name, hint in _hints(type(record)).items():
        value = _fitted(plain(getattr(record, name)), hint)
        if not _fits(value, hint):
            where, what, wanted = _worst(name, value, hint)
            return f"{where}={_shown(what)}: give {_words(wanted)}"
        object.__setattr__(record, name, value)  # the records are frozen
    return None


def _fitted(value: Any, hint: Any) -> Any:
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer():
        return int(value)
    for kind in kinds:
        if typing.get_origin(kind) is typing.Literal and isinstance(value, float):
            return next((one for one in typing.get_args(kind) if one == value), value)
        if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
            return tuple(_fitted(one, typing.get_args(kind)[0]) for one in value)
    return value


def _worst(name: str, value: Any, hint: Any) -> tuple[str, Any, Any]:
    """The innermost entry that is to blame, as ``options['daso']['T']``, its value, and what it should be."""
    if isinstance(value, dict) and typing.get_origin(hint) is dict:
        kind = typing.get_args(hint)[1]
        return next((_worst(f"{name}[{key!r}]", one, kind) for key, one in value.items() if not _fits(one, kind)), (name, value, hint))
    return name, value, hint


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        if isinstance(value, list | tuple):
            return all(_fits(one, Any) for one in value)
        return not isinstance(value, float) or math.isfinite(value)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is typing.Literal:  # `within` says which are allowed
        return type(value) in map(type, inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(part, inner[0]) for part in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _either(_words(part) for part in sorted(inner, key=lambda part: typing.get_origin(part) is tuple))
    if origin is typing.Literal:
        return _either(map(repr, inner))
    if origin is tuple:
        return f"a list of which each entry is {_words(inner[0])}"
    if origin is dict:
        return "a dict of options by learner and scheme, such as {'daso': {'T': 0.3}}" if inner[1] is not Any else "a dict of options"
    if hint is tuple:
        return "a list of numbers"
    return _WORDS.get(hint, "a finite number, a text, True or False, or a list of them")
