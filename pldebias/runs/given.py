"""Numbers, names and settings as users hand them over: of any type that holds their value exactly, and checked for what they mean."""

from __future__ import annotations

import argparse
import dataclasses
import decimal
import enum
import math
import numbers
import os
from collections.abc import Mapping, Sequence, Set
from datetime import date, time, timedelta

import numpy as np
import torch
from torch import Tensor

from pldebias.paths import composed
from pldebias.runs.named import by_class, drawn, is_missing, no_name, numbered


def given(what: str, values) -> Tensor | np.ndarray:
    """Real numbers as an array, or as a tensor where they lie on a device, which is not waited for.

    Parameters
    ----------
    what : str
        Name of the values in messages.
    values : tensor, array, list, pandas Series, sparse matrix ...

    Raises
    ------
    ValueError
        They are no real numbers, or some are masked or missing.
    """
    if isinstance(values, Tensor) and not values.is_cpu and values.device.type != "meta":
        values = values.detach()
        if values.is_complex():
            raise ValueError(f"{what} must be real numbers; got {values.dtype}")
        return values if values.layout == torch.strided else values.to_dense()
    try:
        values = drawn(values)
        if isinstance(values, Tensor):
            tensor = values.detach() if values.layout == torch.strided else values.detach().to_dense()
            narrow = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
            array = (tensor.float() if narrow else tensor).numpy(force=True)  # numpy has no bfloat16
        elif np.ma.is_masked(values) or (isinstance(values, list | tuple) and any(map(np.ma.is_masked, values))):
            raise ValueError("some of them are masked")
        else:
            array = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
            if array.dtype == object and all(isinstance(x, numbers.Real | decimal.Decimal | np.bool_) for x in array.flat):
                whole = all(isinstance(x, numbers.Integral | np.bool_) for x in array.flat)
                array = array.astype(np.int64 if whole and array.size else np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{what} must be a tensor or an array of numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        missing = array.dtype == object and any(map(is_missing, array.flat))
        kind = "texts" if array.dtype.kind in "US" else "missing values" if missing else "objects" if array.dtype == object else array.dtype
        raise ValueError(f"{what} must be real numbers; got {kind}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def array(what: str, values) -> np.ndarray:
    """`given` as an array, for what is asked for once in a training; waits for a device."""
    values = given(what, values)
    return values if isinstance(values, np.ndarray) else given(what, values.cpu())


def halved(values: Tensor | np.ndarray) -> tuple[Tensor | np.ndarray, Tensor | np.ndarray]:
    """Outputs ``[N, D]`` as float16, and ``[2]``: how many finite ones became infinite, and how many samples are not finite."""
    if isinstance(values, Tensor):
        half, finite = values.to(torch.float16), values.isfinite()
        return half, torch.stack([(half.isinf() & finite).sum(), (~finite).any(1).sum()])
    with np.errstate(over="ignore"):
        half, finite = values.astype(np.float16), np.isfinite(values)
    return half, np.array([(np.isinf(half) & finite).sum(), (~finite).any(1).sum()])


def shaped(what: str, values: Tensor | np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse another shape."""
    if tuple(values.shape) != shape:
        raise ValueError(f"{what} must have shape {list(shape)}; got {list(values.shape)}")


def whole(what: str, values: np.ndarray, low: int, high: int, hint: str = "") -> np.ndarray:
    """Whole numbers in ``low..high`` as int64.

    Raises
    ------
    ValueError
        Some have a fraction or lie outside; `hint` ends the message.
    """
    if values.dtype == np.float16:
        values = values.astype(np.float32)  # which holds the limits
    if values.dtype.kind == "f" and not (sound := np.isfinite(values) & (values == np.trunc(values))).all():
        raise ValueError(f"{what} must be whole numbers; got {values[~sound].flat[0]}{hint}")
    if values.size and (values.min() < low or values.max() > high):
        span = f"lie in {low}..{high}" if high < 2**53 else f"be {low} or more"
        raise ValueError(f"{what} must {span}; got {_shown(values.min())}..{_shown(values.max())}{hint}")
    return values.astype(np.int64)


def _shown(number) -> str:
    return f"{number:g}" if isinstance(number, np.floating) else str(int(number))


def mask(what: str, values: np.ndarray) -> np.ndarray:
    """A mask of 0 and 1 as bool.

    Raises
    ------
    ValueError
        There are other numbers in it, such as the weights of a soft threshold.
    """
    found = values != 0
    if values.dtype.kind != "b" and (odd := found & (values != 1)).any():
        raise ValueError(
            f"{what} must be a mask of 0 and 1, or of bool; got {values[odd][0]:g}. Of weights, say yourself from where on a row "
            "counts as accepted, such as weight >= 0.5"
        )
    return found


def kept(what: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy of `values` in another type that holds them exactly.

    Raises
    ------
    ValueError
        It does not.
    """
    with np.errstate(all="ignore"):
        copy = values.astype(dtype)
        back = copy.astype(values.dtype)
        same = ((back == values) & ((copy < 0) == (values < 0))) | ((values != values) & (dtype.kind == "f"))
    if not same.all():
        raise ValueError(
            f"{what} is kept as {dtype}, which cannot hold {values[~same].flat[0]} ({values.dtype}); keep one type for the whole run"
        )
    return copy


def number(what: str, value) -> float:
    """One real number; NaN and infinity are numbers here.

    Raises
    ------
    ValueError
        It is none, there are several, or it is a whole number that float64 would round.
    """
    if type(value) is float:
        return value
    one = value
    try:
        if not isinstance(value, numbers.Real | decimal.Decimal):
            values = array(what, value)
            one = values.item() if values.size == 1 else None
        found = float(one) if one is not None else None
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{what} must be one number that float64 holds; got {brief(value)}") from error
    if found is None:
        raise ValueError(f"{what} must be one number; got {values.size} of shape {list(values.shape)}")
    if isinstance(one, numbers.Integral) and int(found) != one:
        raise ValueError(f"{what} must be one number that float64 holds, which rounds whole numbers beyond 2**53; got {brief(value)}")
    return found


def brief(value) -> str:
    """How a message shows a value."""
    try:
        return repr(value)[:80].replace("\n", " ")
    except ValueError:
        return "a number of thousands of digits"


def whole_number(what: str, value, low: int, high: int) -> int:
    """One whole number in ``low..high``, of any type but bool.

    Raises
    ------
    ValueError
        It is none.
    """
    if isinstance(value, bool | np.bool_):
        raise ValueError(f"{what} must be a whole number; got {value}")
    values = array(what, value) if not isinstance(value, int) else np.array(value if abs(value) < 2**63 else math.copysign(2**63, value))
    if values.size != 1:
        raise ValueError(f"{what} must be one whole number; got {brief(value)}")
    return int(whole(what, values.reshape(-1), low, high)[0])


def classes(what: str, values, names: Sequence[str]) -> Tensor | np.ndarray:
    """`given` class numbers; of pandas categories that are class names, their numbers."""
    categories = getattr(getattr(values, "cat", values), "categories", None)
    if (
        categories is not None
        and hasattr(getattr(values, "cat", values), "codes")
        and not all(isinstance(c, numbers.Real) for c in categories)
    ):
        by_name, texts = numbered(names), [composed(str(c)) for c in categories]
        if strange := [text for text in texts if text not in by_name]:
            raise ValueError(f"{what}: the category {strange[0]!r} {no_name(strange[0], names)}")
        codes = np.asarray(getattr(values, "cat", values).codes)
        return np.append([by_name[text] for text in texts], -1)[codes].astype(np.int64)
    return given(what, values)


def per_class(what: str, values, names: Sequence[str]) -> np.ndarray:
    """Numbers, one for every class; of a dict or a Series of pandas by the names or the numbers of the classes.

    Raises
    ------
    ValueError
        There is not one for every class.
    """
    found = array(what, by_class(what, values, names))
    if found.shape != (len(names),):
        raise ValueError(f"{what} needs one count per class, shape [{len(names)}]; got {list(found.shape)}")
    return found


def to_json(attrs: Mapping) -> dict:
    """Attributes as JSON keeps them: tuples and sets become lists, numbers of numpy and torch plain ones, paths, dates and types texts.

    Raises
    ------
    ValueError
        JSON has no such value (NaN and infinity are none of its numbers), or two keys become one text.
    """
    if not isinstance(attrs, Mapping):
        raise ValueError(f"attrs must be a dict; got {type(attrs).__name__}")
    return {_key(key, "attrs"): _plain(value, f"attrs[{key!r}]") for key, value in _unique(attrs, "attrs")}


def _key(key, where: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, numbers.Real | np.bool_ | os.PathLike | torch.dtype | date):
        return str(_plain(key, f"a key of {where}"))
    raise ValueError(f"{where} cannot be kept as JSON: its key {key!r} is no text")


def _unique(mapping: Mapping, where: str):
    keys = [_key(key, where) for key in mapping]
    if len({*keys}) < len(keys):
        raise ValueError(
            f"{where} cannot be kept as JSON: two of its keys are {next(key for key in keys if keys.count(key) > 1)!r} as texts"
        )
    return mapping.items()


def _plain(value, where: str, depth: int = 0):
    if depth > 100:
        raise ValueError(f"{where[:80]} cannot be kept as JSON: it is nested too deeply, or holds itself")
    if isinstance(value, enum.Enum):
        value = value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | torch.dtype | torch.device | np.dtype | np.datetime64 | np.timedelta64 | timedelta):
        return str(value)
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, os.PathLike) and isinstance(os.fspath(value), str):
        return os.fspath(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real | decimal.Decimal):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which JSON does not have; give a finite number, None or a text")
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(inner, f"{where}[{key!r}]", depth + 1) for key, inner in _unique(value, where)}
    if isinstance(value, Set):
        return sorted((_plain(part, where, depth + 1) for part in value), key=lambda part: (type(part).__name__, part))
    if hasattr(value, "tolist"):  # of numpy, torch, pandas
        return _plain(value.tolist(), where, depth + 1)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(part, f"{where}[{i}]", depth + 1) for i, part in enumerate(value)]
    raise ValueError(f"{where} cannot be kept as JSON ({type(value).__name__}); give numbers, texts, lists and dicts")
