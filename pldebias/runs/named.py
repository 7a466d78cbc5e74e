"""Classes by name: how lists of names, mappings and tables with labels are read, in every place that takes values of classes.

One rule: a text is a name, in either encoding of its letters; a number is a class number 0..K-1. Where a class has another one's number
as its name, a number that stands for a class in somebody's table has two meanings and is refused.
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
import unicodedata
from collections.abc import Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from typing import Any, TypeGuard

import numpy as np

from pldebias.paths import composed

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
MOST = 2**53  # beyond it float64, in which such numbers are often written, leaves some out
_TRUTHS = {"true", "false", "yes", "no", "y", "n", "t", "f"}


def number_of(text: str) -> float | int | None:
    """The number that a text is, exact where it is whole; None if it is none."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() and len(text) < 20 else float(text)


def is_whole(value: float | int | None) -> TypeGuard[float | int]:
    """Whether a number is whole and exact in float64."""
    return value is not None and math.isfinite(value) and value == math.floor(value) and abs(value) <= MOST


def numbered(names: Sequence[str]) -> dict[str, int]:
    """Class numbers by name, in composed letters."""
    return {composed(name): i for i, name in enumerate(names)}


def no_name(value: str, names: Sequence[str]) -> str:
    """What a refusal says of a text that is no class; letters that only look alike are spelled out."""
    keys = [unicodedata.normalize("NFKC", text).strip().casefold() for text in (value, *names)]
    close = difflib.get_close_matches(keys[0], keys[1:], 1, 0.6)
    near = names[keys[1:].index(close[0])] if close else None
    spelled = f" ({near!a}, not {value[:60]!a})" if near and not (near + value).isascii() else ""
    hint = f"; did you mean {near!r}{spelled}?" if near else ""
    return f"is no class; class_names has {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}{hint}"


def _shown(value) -> str:
    return repr(value)[:60].replace("\n", " ")


def listed(what: str, values, of: str) -> list:
    """`values` in a list, of whatever type that has an order.

    Raises
    ------
    ValueError
        One text or number, None, a set, or a mapping.
    """
    if isinstance(values, str | bytes | bytearray):
        raise ValueError(f"{what} must be a list of {of}; got one text, {_shown(values)}")
    bad = isinstance(values, Mapping) or (isinstance(values, Set) and not isinstance(values, KeysView))
    if bad or getattr(values, "ndim", 1) != 1 or not hasattr(values, "__iter__"):
        shown = f"{type(values).__name__} of shape {list(values.shape)}" if getattr(values, "ndim", 0) > 1 else _shown(values)
        raise ValueError(f"{what} must be a list of {of}; got {shown}")
    return values.tolist() if hasattr(values, "tolist") else list(values)


def mapping(what: str, values, of: str) -> dict:
    """`values` as a dict, those of a table by its columns; None is an empty one.

    Raises
    ------
    ValueError
        Something else.
    """
    if values is None:
        return {}
    if hasattr(values, "iloc") and getattr(values, "ndim", 0) == 2:
        if not values.columns.is_unique:
            raise ValueError(f"{what}: two columns of the table have one name; rename one of them")
        return {name: values[name] for name in values.columns}
    if hasattr(values, "iloc") and values.index.is_unique:
        return values.to_dict()
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} must be a dict {of}; got {type(values).__name__} {_shown(values)}")
    return dict(values)


def names_of(class_names) -> tuple[str, ...]:
    """Names of the classes as texts, in their order; of a dict from names to numbers, or from numbers to names, too.

    Parameters
    ----------
    class_names : sequence of str, or mapping
        Numbers are names only as 0..K-1 in this order, where name and class number are one.

    Raises
    ------
    ValueError
        They have no order, two are alike, or they are no texts.
    """
    names = class_names
    if hasattr(names, "to_dict") and getattr(names, "ndim", 0) == 1:  # a Series of pandas
        pairs = names.to_dict()
        is_number = all(isinstance(value, numbers.Integral) for value in pairs.values())
        names = pairs if len(pairs) == len(names) and (is_number or {*pairs} == {*range(len(names))}) else names.tolist()
    if isinstance(names, Mapping):
        flip = not all(isinstance(key, numbers.Integral) for key in names)
        by_number = {number: name for name, number in names.items()} if flip else dict(names)
        if len(by_number) < len(names) or set(by_number) != {*range(len(names))}:
            raise ValueError(f"class_names as a dict needs the numbers 0..{len(names) - 1}, one for each name")
        names = [by_number[i] for i in range(len(names))]
    names = listed("class_names", names, "texts")
    if names and all(isinstance(name, numbers.Integral) for name in names) and not any(isinstance(name, bool) for name in names):
        if names != [*range(len(names))]:
            raise ValueError(
                f"class_names must be texts; got the numbers {_shown(names)}, which could be names or class numbers: write names as texts, "
                f"such as {str(names[0])!r}"
            )
        names = list(map(str, names))
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise ValueError(f"class_names must be texts; got {_shown(wrong[0])}")
    names = [str.__str__(name) for name in names]  # of an enum, too, the text itself
    if not 1 <= len(names) <= 32767:
        raise ValueError(f"1 to 32767 classes can be recorded; got {len(names)} class names")
    if blank := [name for name in names if not name.strip()]:
        raise ValueError(f"class_names must be texts that can be seen; got {blank[0]!r}, which in a table means no class")
    seen: dict[str, str] = {}
    for name in names:
        if composed(name) in seen:
            other = seen[composed(name)]
            alike = "is there twice" if other == name else f"is there in two encodings of the same letters: {other!a}, {name!a}"
            raise ValueError(f"class_names must differ; {name!r} {alike}")
        seen[composed(name)] = name
    return tuple(names)


def refuse_two_readings(what: str, names: Sequence[str], truths: bool = False) -> None:
    """Refuse numbers (or truth values) for classes whose names are numbers of others (or words for truth values).

    Raises
    ------
    ValueError
        A class has another one's number as its name.
    """
    for i, name in enumerate(names):
        number = number_of(name)
        if is_whole(number) and 0 <= number < len(names) and number != i:
            raise ValueError(
                f"{what}: the number {int(number)} could be the class named {name!r} or the class at position {int(number)}, "
                f"{names[int(number)]!r}; give names as texts, such as numpy.array(class_names)[numbers] of positions"
            )
        if truths and name.lower() in _TRUTHS:
            raise ValueError(f"{what}: truth values could be names, such as {name!r}, or the classes 0 and 1; give names as texts")


def order_of(what: str, keys, names: Sequence[str]) -> list[int]:
    """Where among `keys`, which name every class once or give its number, each class stands.

    Raises
    ------
    ValueError
        A key is no class, a class is missing or there twice, or numbers could be names.
    """
    keys, k = [*keys], len(names)
    by_name = numbered(names)
    if keys and all(isinstance(key, str) for key in keys):
        found = [by_name.get(composed(key)) for key in keys]
        if all(i is None for i in found) and all(number_of(name) is None for name in names):
            found = [int(key) if key.isascii() and key.isdigit() and len(key) < 6 and int(key) < k else None for key in keys]
    else:
        sound = [isinstance(key, numbers.Real | np.bool_) and is_whole(float(key)) and 0 <= key < k for key in keys]
        if any(sound):
            refuse_two_readings(what, names, all(isinstance(key, bool | np.bool_) for key in keys))
        found = [int(key) if fine else None for key, fine in zip(keys, sound, strict=True)]
    if len({isinstance(key, str) for key in keys}) > 1:
        raise ValueError(f"{what}: one entry per class, by its name or number, is needed; got both, {_shown(keys)}")
    where: dict[int, int] = {}
    for position, (key, i) in enumerate(zip(keys, found, strict=True)):
        if i is None:
            told = no_name(key, names) if isinstance(key, str) else f"is no class: numbers of classes are 0..{k - 1}, and names are texts"
            raise ValueError(f"{what}: one entry per class, by its name or number, is needed; {_shown(key)} {told}")
        if where.setdefault(i, position) != position:
            raise ValueError(f"{what}: one entry per class is needed; {names[i]!r} is there twice")
    if missing := [name for i, name in enumerate(names) if i not in where]:
        raise ValueError(
            f"{what}: one entry per class is needed; {missing[0]!r} is missing. Give 0 for a class that does not occur, as reindex can"
        )
    return [where[i] for i in range(k)]


def by_class(what: str, values, names: Sequence[str], axes: Sequence[int] = (0,), *, strict: bool = True) -> Any:
    """`values` in the order of the classes along `axes`, where they have labels: mappings, tables and series of pandas, xarray's arrays.

    Parameters
    ----------
    what : str
        Name of the values in messages.
    values : anything
        What has no labels, or those that pandas gives by itself, is left as it is.
    names : sequence of str
    axes : sequence of int
        The axes with one entry per class.
    strict : bool
        Whether the axes must be classes; else labels that are not just the class names are left as they are.

    Raises
    ------
    ValueError
        See `order_of`.
    """
    values = labelled(values)
    if isinstance(values, Mapping) and axes == (0,):
        entries = [*values.values()]
        return [entries[i] for i in order_of(what, values, names)]
    if not hasattr(values, "iloc"):
        return values
    for axis in axes:
        labels = values.axes[axis] if axis < values.ndim else None
        if labels is None or (getattr(labels, "start", None) == 0 and getattr(labels, "step", None) == 1):  # a RangeIndex
            continue
        if not strict and ({*labels} != {*names} or len(labels) != len(names)):
            continue
        part = f"{('rows', 'columns')[axis]} of {what}" if values.ndim > 1 else what
        values = values.take(order_of(part, labels, names), axis=axis)
    return values


def labelled(values) -> Any:
    """What xarray (or polars) holds as pandas does, with its labels; everything else as it is."""
    return values.to_pandas() if hasattr(values, "to_pandas") and getattr(values, "ndim", 2) <= 2 else values


def drawn(values) -> Any:
    """What can only be iterated, such as a generator or the values of a dict, in a list; everything else as it is."""
    return list(values) if isinstance(values, Iterator | ValuesView | KeysView) else values


def in_rows(what: str, values):
    """`values` of samples, in their order.

    Raises
    ------
    ValueError
        A table or Series of pandas counts its rows in another order, as one that was sorted does.
    """
    labels = values.index if hasattr(values, "iloc") else None
    if labels is None or labels.dtype.kind not in "iu" or labels.is_monotonic_increasing or {*labels} != {*range(len(labels))}:
        return values
    raise ValueError(
        f"{what}: it is numbered {', '.join(map(str, labels[:5].tolist()))}, not in order; give it in the order of the samples, as "
        "sort_index() does, or without numbers, as to_numpy() does"
    )


def is_missing(value) -> bool:
    """Whether one of somebody's values says that there is none: None, NaN, pandas' NA and NaT, or a masked value of numpy."""
    if value is None or value is np.ma.masked:
        return True
    return value != value if isinstance(value, numbers.Real) else not isinstance(value, str) and str(value) in ("<NA>", "NaT")


def unmasked(values) -> Any:
    """`values` with None where numpy masks them, also in a list of masked arrays."""
    values = drawn(values)
    if isinstance(values, list | tuple) and any(isinstance(part, np.ma.MaskedArray) for part in values):
        values = np.ma.array(values)
    if isinstance(values, np.ma.MaskedArray):
        masked, values = np.ma.getmaskarray(values), values.data.astype(object)
        values[masked] = None
    return values
