"""How a run lies on disk: the table of its arrays, what their metadata may say, and the version of both.

A run may come from a stranger or a failing disk: nothing of it is read before its metadata have passed here.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
import zlib
from functools import lru_cache
from typing import NamedTuple

FORMAT = 2
"""Version of the layout; readers refuse a newer one. Runs of format 1 (pldebias 0.1) are read, and become format 2 when they go on."""
ROWS, COLUMNS = 256, 32
"""Most rows and columns of a table in one file."""
EPOCHS = 2**21
"""More epochs than anybody records."""
TABLE = 2**28
"""Bytes that one of the small tables may take in memory."""
FILES = 200_000
"""Files that one of them may be spread over."""
REQUIRED = ("done", "iteration", "snapshot", "scalars", "written", "true_labels")
MATRICES = ("visits", "sweep", "test")
SNAPSHOTS = ("logits", "semantic", "features")
_CONTROL = ("Cc", "Cs", "Zl", "Zp")


class RunError(OSError):
    """A run could not be created, written, opened or trusted; the message says which, why and what to do."""


class NotLogged(KeyError):
    """Asked for something that the run does not hold; the message lists what it does hold."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


# -- the arrays -----------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """What an array of one name must be.

    `role` is how it is cut: a "table" has a row per epoch or snapshot, many rows to a file, each with its checksum; of a "chunk" array
    every epoch or snapshot is one file; a "whole" array is one file; "names" are texts. The first of `dtypes` is the usual one, `fill`
    the value of what was not written (None: the type's own).
    """

    role: str
    dims: tuple[str, ...]
    dtypes: tuple[str, ...]
    fill: int | None = None


_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_SERIES = Kind("table", ("epoch", "klass"), ("float32", "float64"))
_STATE = Kind("chunk", ("snapshot",), ("bool", *_INTEGERS, "float16", "float32", "float64"))
_ALL = [f"{kind}{split}" for kind in ("visits", "sweep") for split in ("", "_accepted")]
_KNOWN: dict[str, Kind] = {
    "done": Kind("table", ("epoch",), ("bool",)),
    "iteration": Kind("table", ("epoch",), ("int64",), -1),
    "snapshot": Kind("table", ("snapshot",), ("int64",), -1),
    "scalars": Kind("table", ("epoch", "scalar"), ("float64",)),
    "written": Kind("table", ("epoch", "item"), ("int64",)),
    "crc32c": Kind("table", ("epoch", "entry"), ("uint32",)),
    "crc32": Kind("table", ("epoch", "entry"), ("uint32",)),  # of format 1
    "true_labels": Kind("whole", ("sample",), ("int16",)),
    "test_labels": Kind("whole", ("test_sample",), ("int16",)),
    "history": Kind("chunk", ("epoch", "sample"), ("int16",)),
    "history_accepted": Kind("chunk", ("epoch", "sample"), ("bool",)),
    "test": Kind("chunk", ("epoch", "true", "pred"), ("uint32",)),
    "features": Kind("chunk", ("snapshot", "sample", "feature"), ("float16",)),
    **{name: Kind("chunk", ("snapshot", "sample", "klass"), ("float16",)) for name in ("logits", "semantic")},
    **{name: Kind("chunk", ("epoch", "true", "pseudo"), ("uint32",)) for name in _ALL},
    **{f"{name}_unknown": Kind("chunk", ("epoch", "pseudo"), ("uint32",)) for name in _ALL},
    **{name: Kind("names", (name,), ("string",)) for name in ("true", "pseudo", "pred", "klass", "scalar")},
}


def is_ours(name: str) -> bool:
    """Whether this is the name of an array of a run."""
    return name.startswith(("scheme/", "snapshot_state/")) or name in _KNOWN


def kind_of(name: str) -> Kind:
    """What an array of this name must be; a KeyError for anything that is not ours."""
    return _SERIES if name.startswith("scheme/") else _STATE if name.startswith("snapshot_state/") else _KNOWN[name]


def chunk_shape(meta: dict) -> tuple[int, ...]:
    """Shape of every chunk of an array; of a table that of its files."""
    return tuple(meta["chunk_grid"]["configuration"]["chunk_shape"])


def chunk_name(index) -> str:
    """File name of a chunk: ``c.3.0.0``, flat, so that an epoch costs no directories."""
    return ".".join(["c", *(str(int(i)) for i in index)])


def entry(name: str, columns: tuple[int, ...] = ()) -> str:
    """Name under which `crc32c` holds the checksum of an array's chunk, or of the part of a table's row in one of its files."""
    return "/".join([name, *map(str, columns)])


def fill_value(meta: dict):
    """Value of what was never written."""
    return math.nan if meta["fill_value"] == "NaN" else meta["fill_value"]


def codecs(meta: dict) -> list[str]:
    """Names of the codecs of a chunk; of a table whose rows are chunks of their own in one file (a shard), of a row."""
    return [codec["name"] for codec in (meta["codecs"][0]["configuration"]["codecs"] if in_rows(meta) else meta["codecs"])]


def in_rows(meta: dict) -> bool:
    """Whether every row of a file has its own checksum: a Zarr shard, as tables are since format 2."""
    return meta["codecs"][0]["name"] == "sharding_indexed"


# -- names ----------------------------------------------------------------------------------------------------------------


def is_plain(text) -> bool:
    """Whether `text` is a string of one line without control characters, which a page, a figure or a terminal would obey."""
    return isinstance(text, str) and (text.isprintable() or not any(unicodedata.category(c) in _CONTROL for c in text))


@lru_cache(4096)
def is_name(name) -> bool:
    """Whether `name` may be that of an array: relative, no step upwards, nothing hidden."""
    if not is_plain(name) or not name or len(name) > 400 or set(name) & set('\\:*?"<>|'):
        return False
    return all(part and part[0] != "." and part[-1] not in ". " and part != "zarr.json" for part in name.split("/"))


OURS = ("epoch", "iteration", "recall_<kind>/<head, medium or tail>")
"""Names that tables and exports of scalars give to columns of their own."""
_COLUMN = re.compile(rf"epoch|iteration|recall_({'|'.join(MATRICES)})/(head|medium|tail)")


def is_scalar(name) -> bool:
    """Whether `name` may be that of a scalar: plain, not blank, and no column that a table or an export adds."""
    return is_plain(name) and bool(name.strip()) and not _COLUMN.fullmatch(name)


def is_state(name) -> bool:
    """Whether `name` may be that of state: of folders on any system, and no dimension, whose coordinate an array of that name would be."""
    if not is_name(name) or name.rpartition("/")[2] in ("epoch", "snapshot", "klass"):
        return False
    parts = name.casefold().split("/")
    return not any(len(part.encode()) > 200 or part.startswith("zarr.json") for part in parts)


def clash(name: str, others) -> str | None:
    """What keeps an array from being stored beside `others`; None if nothing does.

    Arrays are folders, so one cannot lie inside another, nor can names differ by case alone; in netCDF "/" becomes ".".
    """
    mine = _folded(name)
    for other in others:
        if name.startswith(f"{other}/") or other.startswith(f"{name}/"):
            return f"lies inside another array or around it: {other!r} is there, too; choose another name"
        if mine == _folded(other):
            return f"cannot be told from {other!r} in every file system and format; choose another name"
    return None


@lru_cache(4096)
def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().replace("/", ".")


# -- metadata -------------------------------------------------------------------------------------------------------------


def _whole(value, most: int = 2**53) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def attributes(attrs: dict) -> str | None:
    """What is wrong with the attributes of a run; None if they can be used."""
    if missing := [key for key in ("unlabelled_counts", "num_epochs") if key not in attrs]:
        return f"{missing[0]} is missing"
    names = attrs.get("class_names")
    if not isinstance(names, list) or not 1 <= len(names) <= 32767 or not all(is_plain(name) for name in names):
        return "class_names must be 1 to 32767 texts of one line, without control characters"
    for key in ("labelled_counts", "unlabelled_counts"):
        counts = attrs.get(key)
        if counts is None and key == "unlabelled_counts":
            continue
        if not isinstance(counts, list) or len(counts) != len(names) or not all(_whole(n) for n in counts):
            return f"{key} must be {len(names)} counts, 0 or more; got {str(counts)[:80]}"
    if attrs.get("num_epochs") is not None and not _whole(attrs["num_epochs"], EPOCHS):
        return f"num_epochs must be null or 0..{EPOCHS}; got {str(attrs['num_epochs'])[:80]}"
    if not isinstance(attrs.get("finished"), bool):
        return f"finished must be true or false; got {str(attrs.get('finished'))[:80]}"
    for key in ("method", "data", "fingerprint"):
        if attrs.get(key) is not None and not is_plain(attrs[key]):
            return f"{key} must be a text of one line, without control characters"
    seed = attrs.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        return f"seed must be a whole number; got {str(seed)[:80]!r}"
    if attrs.get("config") is not None and not isinstance(attrs["config"], dict):
        return "config must be a dict of settings"
    return None


def parse(text: bytes, where: str) -> tuple[dict, dict[str, dict], dict[str, dict]]:
    """Read the content of a run's ``zarr.json``.

    Returns
    -------
    attrs : dict
        Attributes of the run.
    arrays : dict of str to dict
        Metadata of the arrays that are pldebias's own; every shape, type and chunk in it is what this version would write.
    others : dict of str to dict
        What else the group holds: kept, never read.

    Raises
    ------
    RunError
        This is no run, a newer one, or a damaged one.
    """
    damaged = f"{where} is no run: its zarr.json is damaged or was written by another program"
    try:
        root = json.loads(text)
        attrs, tree = root["attributes"], root["consolidated_metadata"]["metadata"]
        if not isinstance(attrs, dict) or not isinstance(tree, dict):
            raise TypeError("attributes and metadata must be objects")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(damaged) from error
    version = attrs.get("pldebias_format")
    if version is None:
        raise RunError(f"{where} is a Zarr group, but no run of pldebias (no attribute pldebias_format)")
    if not _whole(version) or version < 1:
        raise RunError(f"{damaged} (pldebias_format is {str(version)[:40]})")
    if version > FORMAT:
        raise RunError(
            f"{where} has store format {version}; this pldebias reads up to {FORMAT}. Upgrade pldebias, "
            "or read the arrays with xarray.open_zarr"
        )
    if problem := attributes(attrs):
        raise RunError(f"{where} is damaged: {problem}")
    arrays, others = _arrays(tree, where, len(attrs["class_names"]))
    checksum = attrs.pop("checksum", None)
    if checksum is not None and checksum != seal(attrs, arrays):
        raise RunError(
            f"{where} is damaged: the attributes in its zarr.json are not those that were recorded. If you changed them on purpose, "
            'remove the entry "checksum" there'
        )
    return attrs, arrays, others


def seal(attrs: dict, arrays: dict[str, dict]) -> int:
    """Checksum of the attributes and of the names of the tables' columns."""
    columns = [arrays[name]["attributes"].get("names") for name in ("scalars", "written", "crc32c", "crc32") if name in arrays]
    kept = {key: value for key, value in attrs.items() if key != "checksum"}
    try:
        return zlib.crc32(json.dumps([kept, columns], sort_keys=True).encode())
    except RecursionError:
        return -1


def _arrays(tree: dict, where: str, k: int) -> tuple[dict[str, dict], dict[str, dict]]:
    arrays: dict[str, dict] = {}
    others: dict[str, dict] = {}
    for name, meta in tree.items():
        if not is_name(name) or not isinstance(meta, dict):
            raise RunError(f"{where} is damaged: its zarr.json lists {name[:80]!r}, which cannot be the name of an array")
        if meta.get("node_type") == "group":
            continue
        if not is_ours(name):
            others[name] = meta
            continue
        try:
            if problem := _structure(meta, kind_of(name)):
                raise RunError(f"{where} is damaged: the metadata of {name} are not those of a run ({problem})")
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise RunError(f"{where} is damaged: the metadata of {name} lack something ({error})") from error
        arrays[name] = meta
    if missing := [name for name in REQUIRED if name not in arrays]:
        raise RunError(f"{where} is damaged: its zarr.json does not list {', '.join(missing)}")
    _lengths(arrays, where, k)
    return arrays, others


_CRC, _PLAIN, _BYTES = {"name": "crc32c"}, {"name": "bytes"}, {"name": "bytes", "configuration": {"endian": "little"}}
_CODECS = {
    "table": ([],),  # of format 1; since format 2 they are shards
    "chunk": ([], ["zstd"], ["crc32c"], ["zstd", "crc32c"]),
    "whole": ([], ["zstd"], ["crc32c"], ["zstd", "crc32c"]),
    "names": ([], ["crc32c"]),
}


def _structure(meta: dict, kind: Kind) -> str | None:
    """What is wrong with the metadata of an array."""
    shape, chunks, dims = meta["shape"], meta["chunk_grid"]["configuration"]["chunk_shape"], meta["dimension_names"]
    if not isinstance(shape, list) or not all(_whole(n, 2**40) for n in shape):
        return f"shape {str(shape)[:60]}"
    if not isinstance(chunks, list) or len(chunks) != len(shape) or not all(_whole(n, 2**40) and n for n in chunks):
        return f"chunks {str(chunks)[:60]}"
    if not isinstance(dims, list) or len(dims) != len(shape) or not all(map(is_plain, dims)) or tuple(dims[: len(kind.dims)]) != kind.dims:
        return f"dimensions {str(dims)[:60]}"
    if kind is not _STATE and len(dims) != len(kind.dims):
        return f"{len(dims)} dimensions"
    if meta["data_type"] not in kind.dtypes:
        return f"type {str(meta['data_type'])[:60]}"
    fill = kind.fill if kind.fill is not None else {"f": "NaN", "b": False, "s": ""}.get(meta["data_type"][0], 0)
    if meta["fill_value"] != fill or isinstance(meta["fill_value"], bool) != isinstance(fill, bool):
        return f"fill value {str(meta['fill_value'])[:60]}"
    if meta["chunk_key_encoding"] != {"name": "default", "configuration": {"separator": "."}}:
        return "names of chunks"
    if not _as_written(meta["codecs"], chunks, kind.role, meta["data_type"]):
        return f"codecs {str(meta['codecs'])[:60]}"
    whole = [1 if kind.role == "chunk" else max(1, shape[0]), *(max(1, n) for n in shape[1:])]
    if kind.role in ("chunk", "whole") and chunks != whole:
        return f"chunks {chunks} of shape {shape}"
    if kind.dims[1:] in (("scalar",), ("item",), ("entry",)):
        names = meta["attributes"].get("names")
        if not isinstance(names, list) or not all(map(is_plain, names)) or len({*names}) != shape[1] or len(names) != shape[1]:
            return "names of its columns"
    return None if _whole(meta["attributes"].get("crc32", 0), 2**32 - 1) else "checksum"


def _as_written(found: list[dict], chunks: list[int], role: str, dtype: str) -> bool:
    """Whether these are codecs that this version or 0.1 gives an array."""
    if role == "table" and found[0]["name"] == "sharding_indexed":
        rows = {"chunk_shape": [1, *chunks[1:]], "index_codecs": [_BYTES, _CRC], "index_location": "end"}
        first = found[0]["configuration"]["codecs"][0]
        return first in (_PLAIN, _BYTES) and found == [{"name": "sharding_indexed", "configuration": {**rows, "codecs": [first, _CRC]}}]
    return (
        found[0]["name"] == ("vlen-utf8" if dtype == "string" else "bytes")
        and found[0].get("configuration", {}).get("endian", "little") == "little"
        and [codec["name"] for codec in found[1:]] in _CODECS[role]
    )


def _lengths(arrays: dict[str, dict], where: str, k: int) -> None:
    """Every dimension has one length in all arrays, and tables have a size that somebody may have recorded."""
    lengths = {"true": k, "pseudo": k, "pred": k, "klass": k, "sample": arrays["true_labels"]["shape"][0]}
    lengths |= {"epoch": arrays["done"]["shape"][0], "snapshot": arrays["snapshot"]["shape"][0]}
    for name, meta in arrays.items():
        for dim, n in zip(meta["dimension_names"], meta["shape"], strict=True):
            if lengths.get(dim, n) != n:
                raise RunError(f"{where} is damaged: {name} has {n} entries along {dim}, not {lengths[dim]} as the others")
        if kind_of(name).role in ("table", "names"):
            chunks = chunk_shape(meta)
            if is_too_large(meta["shape"], chunks):
                raise RunError(f"{where} is damaged: {name} of shape {meta['shape']} in chunks {list(chunks)} is larger than any run's")


def grown(epoch: int, length: int) -> int:
    """Length of the arrays once `epoch` is in them."""
    return length if epoch < length else max(epoch + 1, min(2 * length, EPOCHS))


def is_too_large(shape, chunks) -> bool:
    """Whether a table of this shape is larger than may be read into memory."""
    files = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
    return shape[0] > EPOCHS or 8 * max(math.prod(shape), math.prod(chunks)) > TABLE or files > FILES
