"""Columns of other people's tables and arrays, read with this package's own types; a refusal names the value and the row."""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pldebias.optional import needed
from pldebias.paths import composed, is_address, local
from pldebias.runs.named import MOST, is_missing, is_whole, no_name, number_of, numbered, refuse_two_readings, unmasked

TRUTHS = {"yes": 1, "no": 0, "true": 1, "false": 0, "y": 1, "n": 0, "t": 1, "f": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}
TRUTHS |= {"accepted": 1, "rejected": 0}
SEPARATORS = ",;\t|"


class Column(NamedTuple):
    """Values of one kind: the different ones (texts, or numbers), and which of them stands at each place."""

    values: list
    codes: np.ndarray


# -- files ----------------------------------------------------------------------------------------------------------------


def read_table(source, required: Sequence[str], optional: Sequence[str]) -> dict[str, Column]:
    """Columns of a text table, by heading in lower case.

    Parameters
    ----------
    source : path, URL or file
        UTF-8 (or UTF-16 that says so), also compressed; fields are separated by comma, semicolon, tab or bar, and may be quoted.
    required, optional : sequence of str
        Headings that are read; capitals and spaces around them do not matter.

    Raises
    ------
    ValueError
        The file cannot be read, holds no row, or lacks a column; rows have different lengths; a heading stands twice or is misspelt.
    """
    name = name_of(source)
    data = _utf8(_bytes(source, name), name)
    first = next((line for line in io.StringIO(data[: 2**20].decode(errors="ignore"), newline=None) if line.strip()), "")
    if not first:
        raise ValueError(f"{name} holds no rows; its first row must be the heading, with {', '.join(required)}")
    known, heads = (*required, *optional), {}
    for separator in SEPARATORS:
        try:
            heads[separator] = [head.strip().lower() for head in next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])]
        except csv.Error as error:
            raise ValueError(f"{name} has a heading that cannot be read: {error}") from error
    separator = max(SEPARATORS, key=lambda s: (len({*heads[s]} & {*known}), len(heads[s])))
    head = heads[separator]
    _check_heading(name, head, required, optional)
    table = _parse(data, separator, len(head), name)
    if not len(table):
        raise ValueError(f"{name} holds no rows, only the heading {', '.join(head)}")
    found = {}
    for i, column in enumerate(head):
        if column in known:
            encoded = table.column(i).combine_chunks().dictionary_encode()
            found[column] = Column(encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False))
    return found


_PACKED = {".zst": "zstandard", ".lz4": "lz4", ".snappy": "python-snappy"}
"""Packages that fsspec needs for a file's ending, and knows the ending by."""


def name_of(source) -> str:
    """What messages call a source."""
    return str(getattr(source, "name", "the table") if hasattr(source, "read") else source)


def _bytes(source: Any, name: str) -> bytes:
    import fsspec
    from fsspec.compression import compr
    from fsspec.utils import infer_compression

    try:
        if hasattr(source, "read"):
            data = source.read()
            return data.encode() if isinstance(data, str) else bytes(data)
        if is_address(source):
            with fsspec.open(str(source), "rb", compression="infer") as file:
                return file.read()
        with local(source).open("rb") as file:
            kind = infer_compression(str(local(source)))
            if kind is None and (package := _PACKED.get(local(source).suffix)):
                raise ValueError(f"{name} is packed in a way that cannot be read here: unpack it, or pip install {package}")
            packed: Any = compr  # its declared type has no keys
            return (packed[kind](file) if kind else file).read()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {name}") from error
    except ValueError:
        raise
    except Exception as error:  # the system, each file system of fsspec and each kind of compression have errors of their own
        raise ValueError(f"cannot read {name}: {getattr(error, 'strerror', None) or error or type(error).__name__}") from error


def _utf8(data: bytes, name: str) -> bytes:
    """The text as UTF-8 without a byte order mark."""
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            data = data.decode("utf-16").encode()
        data = data.removeprefix(b"\xef\xbb\xbf")
        data.decode()
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n")
        raise ValueError(
            f"{name} is no text in UTF-8 (line {row + 1} is not); save it as UTF-8, in a spreadsheet as 'CSV UTF-8'"
        ) from error
    if b"\0" in data:
        raise ValueError(f"{name} is no text: it holds null characters")
    return data


def _check_heading(name: str, head: list[str], required: Sequence[str], optional: Sequence[str]) -> None:
    known = (*required, *optional)
    shown = ", ".join(head[:12]) + (" ..." if len(head) > 12 else "")
    if twice := [column for column in known if head.count(column) > 1]:
        raise ValueError(f"{name} has {head.count(twice[0])} columns {twice[0]}; keep one")
    left = [column for column in head if column and column not in known]
    absent = [column for column in known if column not in head]
    near = {column: found[0] for column in left if (found := difflib.get_close_matches(column, absent, 1, 0.75))}
    hint = "".join(f"; did you mean {right} by {wrong}?" for wrong, right in near.items())
    if missing := [column for column in required if column not in head]:
        raise ValueError(f"{name} has no column {', '.join(missing)}; it has {shown}{hint}")
    if near:
        raise ValueError(f"{name} has the columns {shown}{hint} Give a column that is something else another heading")
    if left:
        warnings.warn(f"{name}: the columns {', '.join(left[:12])} are not read, only {', '.join(known)}", stacklevel=4)


def _parse(data: bytes, separator: str, columns: int, name: str):
    pyarrow, arrow = needed("a table in a file", "files", "pyarrow", "pyarrow.csv")

    try:
        table = arrow.read_csv(
            pyarrow.BufferReader(data),
            arrow.ReadOptions(use_threads=False, autogenerate_column_names=True, block_size=min(max(len(data), 1), 2**30)),
            arrow.ParseOptions(delimiter=separator, newlines_in_values=True),
            arrow.ConvertOptions(column_types={f"f{i}": pyarrow.string() for i in range(columns)}, strings_can_be_null=False),
        )
    except pyarrow.ArrowInvalid as error:
        told = re.sub(r"^CSV parse error: ", "", str(error).partition("\n")[0])[:200]
        raise ValueError(f"{name} cannot be read as a table separated by {separator!r}: {told} (row 1 is the heading)") from error
    if table.num_columns != columns:
        raise ValueError(f"{name} cannot be read as a table separated by {separator!r}: its heading is no single line")
    return table.slice(1)


# -- what they mean -------------------------------------------------------------------------------------------------------


def row_of(i: int) -> str:
    """Where row `i` of a table is; the heading is row 1, as in a spreadsheet."""
    return f"row {i + 2}"


def _shown(value) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}...")
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def column(what: str, values) -> Column:
    """Values of any kind by their different ones.

    Raises
    ------
    ValueError
        They are neither texts nor numbers.
    """
    import pandas

    if isinstance(values, Column):
        return values
    if hasattr(values, "detach"):  # a tensor; numpy has no bfloat16
        values = values.detach().cpu()
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    try:
        array = np.asarray(unmasked(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what} must be an array of numbers or names, with rows of one length ({error})") from error
    shape, flat = array.shape, array.ravel()
    if array.dtype.kind in "biuf":
        narrow = array.dtype.kind == "f" and array.dtype != np.float32
        flat = flat.astype(np.float64 if narrow else array.dtype.newbyteorder("="))
    else:
        flat, given = np.empty(flat.size, object), flat.tolist()
        texts = any(isinstance(value, str) for value in given)
        try:
            flat[:] = [("" if texts else math.nan) if is_missing(x) else str(x) if texts else float(x) for x in given]
        except (TypeError, ValueError, OverflowError) as error:
            got = type(values).__name__ if not array.ndim else f"{array.dtype} such as {_shown(given[0])}"
            raise ValueError(f"{what} must be an array of numbers or names; got {got}") from error
    codes, different = pandas.factorize(flat, use_na_sentinel=False)
    return Column(different.tolist(), codes.reshape(shape))


def _refuse(column: Column, bad: Sequence[bool], what: str, why: str | Callable[[Any], str], where: Callable[[int], str]) -> None:
    """Raise for the first place at which stands one of the different values that are `bad`."""
    if any(bad):
        i = int(np.flatnonzero(np.array(bad)[column.codes])[0])
        value = column.values[column.codes.flat[i]]
        raise ValueError(f"{what} {_shown(value)} ({where(i)}) {why if isinstance(why, str) else why(value)}")


def _number(value) -> float | int | None:
    return number_of(value) if isinstance(value, str) else value


def whole(what: str, values, low: int, where: Callable[[int], str] = row_of) -> np.ndarray:
    """Whole numbers, `low` or more, as int64.

    Raises
    ------
    ValueError
        Some are not; the message names the first.
    """
    values = column(what, values)
    found: list[Any] = [_number(value) for value in values.values]
    _refuse(values, [not is_whole(number) or number < low for number in found], what, f"is no whole number from {low} on", where)
    return np.array([int(number) for number in found], np.int64)[values.codes]


def truths(what: str, values, where: Callable[[int], str] = row_of) -> np.ndarray:
    """A mask as bool, from truth values, 0 and 1, or words for them.

    Raises
    ------
    ValueError
        There is something else in it.
    """

    def why(value) -> str:
        if isinstance(value, str):
            return "is neither yes nor no; it may be yes/no, true/false, y/n, t/f, accepted/rejected or 1/0"
        return "is neither 0 nor 1; of weights, say yourself from where on a label counts as accepted"

    values = column(what, values)
    found = [TRUTHS.get(value.strip().lower()) if isinstance(value, str) else {0: 0, 1: 1}.get(value) for value in values.values]
    _refuse(values, [truth is None for truth in found], what, why, where)
    return np.array(found, bool)[values.codes]


def classes(what: str, values, names: Sequence[str], where: Callable[[int], str] = row_of) -> np.ndarray:
    """Class numbers as int64, -1 where there is none.

    A text that is a class name, in either encoding of its letters, is that class. Only where no text is one, and the names are no numbers
    themselves, are they read as class numbers 0..K-1. Numbers are class numbers; where a name is the number of another class, they are
    refused. An empty text, a value that is missing or masked, and -1 are no class.

    Raises
    ------
    ValueError
        A value is no class; the message names the first.
    """
    values = column(what, values)
    given, k, by_name = values.values, len(names), numbered(names)
    loose = {name.strip(): i for name, i in by_name.items()}
    loose = loose if len(loose) == k else {}
    found: list[Any] = [
        _named(composed(value), by_name, loose) if isinstance(value, str) else -1 if value != value else value for value in given
    ]
    if any(isinstance(value, str) for value in given):
        named = any(i is not None and i >= 0 for i in found) or any(math.isfinite(n) for n in map(number_of, names) if n is not None)
        found = found if named else [number_of(value) if i is None else -1 for i, value in zip(found, given, strict=True)]
        _refuse(values, [i is None for i in found], what, lambda value: no_name(value, names), where)
    fractions = [not math.isfinite(i) or i != math.floor(i) or abs(i) > MOST for i in found]
    _refuse(values, fractions, what, "is no whole number, and a class is a name or a whole number; is it the wrong column?", where)
    if any(i >= 0 and not isinstance(value, str) for i, value in zip(found, given, strict=True)):
        refuse_two_readings(what, names, all(isinstance(value, bool) for value in given))
    from_one = min((i for i in found if i >= 0), default=0) >= 1
    hint = "; they seem to be counted from 1: subtract 1, or write the names"

    def why(value) -> str:
        return f"is no class: the numbers of classes are 0..{k - 1}{hint if from_one and _number(value) == k else ''}"

    _refuse(values, [not -1 <= i < k for i in found], what, why, where)
    return np.array([int(i) for i in found], np.int64)[values.codes]


def _named(text: str, by_name: dict[str, int], loose: dict[str, int]) -> int | None:
    """Class of a name, -1 of no name at all, None of another text; 1.0 is the class 1, as a float column writes it."""
    number, found = number_of(text), by_name.get(text, loose.get(text.strip()))
    if found is not None:
        return found
    if not text.strip() or number == -1:
        return -1
    return by_name.get(str(int(number))) if is_whole(number) and "." in text else None
