"""Tables as Hugging Face writes them, in Parquet and Arrow files: images as bytes, and a column of labels."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pldebias.data import files as trees
from pldebias.data import huggingface
from pldebias.data.decode import mapped, probe
from pldebias.data.errors import DataError, say, some
from pldebias.data.files import Part
from pldebias.optional import needed

CLASSES = 32767  # what a run can count
USUAL = {
    "image": frozenset(["image", "img", "images", "picture", "photo"]),
    "label": frozenset(["label", "labels", "class", "target", "y", "fine_label"]),
}
_ENDINGS = (".parquet", ".parq", ".pq")
_SERVICE = re.compile(r"_SUCCESS|_(common_)?metadata|_(started|committed)_.*|dataset_(infos?|dict)\.json|.*\.(md|py|ya?ml)", re.IGNORECASE)


@dataclass
class _Columns:
    """Columns that are read of a table."""

    image: str
    label: str
    names: tuple[str, ...] | None  # of the classes, where the schema tells them


def load_parquet(path: str, root: Path, image_size: int | None, progress: bool) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Read one Parquet file, a folder of train, test, validation and unlabelled files, or a folder that Hugging Face's `datasets` saved.

    The image column is a struct with ``bytes`` (or plain binary), the label column whole numbers, truth values, strings or categories;
    ``PATH#COLUMN`` (or ``PATH#IMAGE,LABEL``) names columns where several could be meant, and ``PATH#config=NAME`` a configuration of a
    repository whose ``README.md`` names several. Class names come from the "huggingface" entry of the schema, ``dataset_info.json`` or
    ``README.md``; else they are the labels that occur. Validation files are the test set where there are no test files, and else left
    out, which is said. Returns the parts by name and the class names.
    """
    source = f"parquet:{path}"
    base, wanted, config = _place(path)
    found, declared = _described(base, source, config)
    groups = trees.choose_test(found, lambda group: some(file.relative_to(base) for file in group))
    columns = _columns(groups["train"][0], wanted, declared)
    for part, group in groups.items():
        for file in group:
            _check_columns(file, columns, part, groups["train"][0])
    raw = {part: [value for file in group for value in _labels(file, columns.label)] for part, group in groups.items()}
    for part, values in raw.items():
        if not values:
            raise DataError(f"{some(groups[part])}: no row")
    _check_kinds(raw, groups)
    names, ids = _names(raw["train"], columns, source, groups["train"])
    trees.check_names(names, source)
    makers = {}
    for part, group in groups.items():
        labels = torch.from_numpy(_to_ids(raw[part], ids, names, part, group))
        if part == "train" and (absent := sorted(set(range(len(names))) - set(labels.tolist()))):
            raise DataError(
                f"{source}: no training image of the classes {some(repr(names[c]) for c in absent)}, which the schema of {group[0].name} "
                "names; add some, or write the file with the names of the classes that occur"
            )
        makers[part] = partial(_parquet_part, group, columns.image, labels, base, root, image_size, progress, part)
    return trees.together(makers), names


def _place(path: str) -> tuple[Path, list[str], str | None]:
    """The file or folder, and the columns and the configuration that are named behind ``#``."""
    base, words = trees.place("parquet", path), ""
    if not base.exists() and "#" in path:
        path, _, words = path.rpartition("#")
        base = trees.place("parquet", path)
    if not base.exists():
        raise DataError(f"parquet:{path}: there is no such file or folder")
    named = [name.strip() for name in words.split(",") if name.strip()]
    configs = [name.removeprefix("config=") for name in named if name.startswith("config=")]
    return base, [name for name in named if not name.startswith("config=")], configs[-1] if configs else None


def _described(base: Path, source: str, config: str | None) -> tuple[dict[str, list[Path]], dict]:
    """Files by the kind of their split, and columns that are described beside them."""
    if base.is_file():
        return {"train": [base]}, {}
    if huggingface.is_saved(base):
        splits = huggingface.saved(base)
        return _kinds(splits, base, source), huggingface.described(next(iter(splits.values()))[0].parent)
    found, declared = huggingface.configuration(base, huggingface.header(base), config)
    if isinstance(found, dict) and found:
        return _kinds(found, base, source), declared
    return _groups(found or base, source), declared


def _kinds(splits: huggingface.Splits, base: Path, source: str) -> dict[str, list[Path]]:
    """Files by the kind that the name of their split says; the only split of a set may have any name."""
    groups: dict[str, list[Path]] = {}
    for name, files in splits.items():
        words, more = trees.split_words(name)
        kind = None if more else trees.split_of(words, f"{source}, split {name!r}")
        if kind is None and len(splits) > 1:
            raise DataError(f"{source}: its split {name!r} is none of {trees.SPLITS}; rename it where it was made, or move it away")
        if (kind or "train") in groups:
            raise DataError(f"{source}: {some(splits)} name the {kind} set twice; join the two, or move one away")
        groups[kind or "train"] = files
    if "train" not in groups:
        raise DataError(f"{source}: no training split among {some(splits)}")
    return groups


def _groups(base: Path, source: str) -> dict[str, list[Path]]:
    """Files by the split that their name, or else the folder that they lie in, says."""
    everything = [Path(file) for file in trees.below(base)]
    files = [file for file in everything if file.suffix.lower() in _ENDINGS]
    more = [file.name for file in everything if file.suffix.lower() not in _ENDINGS]
    if not files:
        hint = f"; for folders of images give imagefolder:{base}" if any(map(trees.is_image, more)) else ""
        raise DataError(f"{source}: no .parquet file in this folder" + (f", only {some(more)}{hint}" if more else ""))
    if more := [name for name in more if not trees.is_about(Path(name)) and not _SERVICE.fullmatch(name)]:
        say(f"{source}: not read, as only .parquet files are: {some(more)}")
    groups: dict[str, list[Path]] = {}
    origins: dict[str, tuple] = {}
    unnamed = []
    for file in files:
        parts = file.relative_to(base).parts
        depth, words = next(((i, w) for i in reversed(range(len(parts))) if (w := _words(parts[i]))), (0, {}))
        kind = trees.split_of(words, str(file))
        if kind is None:
            unnamed.append(file)
            continue
        origin = (parts[:depth], frozenset(words))
        if origins.setdefault(kind, origin) != origin:
            raise DataError(
                f"{source}: {groups[kind][0].relative_to(base)} and {file.relative_to(base)} are both {kind} files, but not of one set; "
                "give the folder of one of them, or move one away"
            )
        groups.setdefault(kind, []).append(file)
    if not groups:
        groups, unnamed = {"train": unnamed}, []
    if unnamed:
        raise DataError(
            f"{source}: the names of {some(f.relative_to(base) for f in unnamed)} say no split, beside {some(f.name for f in files)}; "
            "rename them so that they say train, test, validation or unlabelled, or move them away"
        )
    if "train" not in groups:
        raise DataError(f"{source}: no train*.parquet among {some(f.name for f in files)}; name the training files so")
    for group in groups.values():
        _check_shards(group)
    return groups


def _words(name: str) -> dict[str, str]:
    """Words of a file's or folder's name that name splits; in ``NAME-SPLIT-00000-of-00002`` the one before the numbers alone."""
    numbered = re.search(r"((?:\b|_)(?:un|non?|not)[-_ ])?([A-Za-z]+)-\d+-of-\d+", name, re.IGNORECASE)
    return (numbered and trees.split_words(f"{numbered[1] or ''}{numbered[2]}")[0]) or trees.split_words(name)[0]


def _check_shards(files: list[Path]) -> None:
    """Say which of numbered files are missing, and refuse two sets of them."""
    numbers = [match for file in files if (match := re.search(r"(\d+)-of-(\d+)", file.name))]
    totals = {int(match[2]) for match in numbers}
    if len(totals) > 1:
        raise DataError(f"{some(files)}: parts of {' and of '.join(map(str, sorted(totals)))} files are mixed; keep one of the sets")
    if totals and (missing := sorted(set(range(*_bounds(numbers, *totals))) - {int(match[1]) for match in numbers})):
        say(f"{files[0].parent}: parts {some(missing)} of the {totals.pop()} files like {files[0].name} are missing; the others are read")


def _bounds(numbers: list[re.Match], total: int) -> tuple[int, int]:
    first = int(all(int(match[1]) > 0 for match in numbers) and max(int(match[1]) for match in numbers) == total)
    return first, total + first


class _Table:
    """A Parquet file, or an Arrow file (a stream of batches, as `datasets` saves it)."""

    def __init__(self, file: Path):
        self.file, self.arrow = file, file.suffix.lower() == ".arrow"
        pa, pq = needed("a Parquet file", "files", "pyarrow", "pyarrow.parquet")
        with _readable(file):
            self.found = pa.ipc.open_stream(pa.memory_map(str(file))) if self.arrow else pq.ParquetFile(file)
        self.schema = self.found.schema if self.arrow else self.found.schema_arrow

    @property
    def rows(self) -> int:
        if not self.arrow:
            return self.found.metadata.num_rows
        return sum(len(batch) for batch in self._batches(iter(self.found)))

    def column(self, name: str) -> Iterator:
        """The arrays of a column, one after the other."""
        with _readable(self.file):
            batches = iter(self.found) if self.arrow else self.found.iter_batches(batch_size=1024, columns=[name])
        for batch in self._batches(batches):
            yield batch.column(name)

    def _batches(self, batches: Iterator) -> Iterator:
        while True:
            with _readable(self.file):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


@contextmanager
def _readable(file: Path):
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        kind = "Arrow" if file.suffix.lower() == ".arrow" else "Parquet"
        raise DataError(f"{file}: not a readable {kind} file ({str(error) or type(error).__name__})") from error


# -- Columns --------------------------------------------------------------------------------------------------------------


def _is(kind: str, found: Any) -> bool:
    """Return True if a column of this type can hold images or labels."""
    import pyarrow.types as types

    if kind == "image":
        kinds = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, getattr(types, "is_binary_view", types.is_binary))
        return any(is_kind(found) for is_kind in kinds) or (types.is_struct(found) and found.get_field_index("bytes") >= 0)
    if types.is_dictionary(found):
        return _is(kind, found.value_type)
    kinds = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    return _is_text(found) or any(is_kind(found) for is_kind in kinds)


def _is_text(found: Any) -> bool:
    import pyarrow.types as types

    return types.is_string(found) or types.is_large_string(found) or getattr(types, "is_string_view", lambda _: False)(found)


def _columns(file: Path, wanted: list[str], declared: dict) -> _Columns:
    """The image and the label column of a file; several that could be meant are refused, and a choice among several is said.

    What is `declared` beside the file counts where its schema says nothing.
    """
    schema = _Table(file).schema
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise DataError(f"{file}: two columns are named {some(map(repr, twice))}; rename one")
    if strange := [name for name in wanted if name not in schema.names]:
        raise DataError(f"{file}: no column {strange[0]!r}; its columns are {', '.join(schema.names)}")
    features = _features(schema.metadata or {}, file) or declared
    image = _column("image", "Image", schema, features, wanted, file)
    label = _column("label", "ClassLabel", schema, features, [name for name in wanted if name != image], file)
    names, beside = _class_names(features, label, file), _class_names(declared, label, file)
    if beside not in (None, names):
        raise DataError(f"{file}: its schema names the classes {some(names or ())}, but the description beside it {some(beside)}")
    return _Columns(image, label, names)


def _column(kind: str, tag: str, schema: Any, features: dict, wanted: list[str], file: Path) -> str:
    what = "image column (struct with bytes)" if kind == "image" else "label column (whole numbers, truth values, strings or categories)"
    fit = [field.name for field in schema if _is(kind, field.type)]
    if kind == "label" and (strange := [name for name in wanted if name not in fit]):
        raise DataError(f"{file}: column {strange[0]!r} is of type {schema.field(strange[0]).type}, which is no {what}")
    if kind == "label" and len(wanted) > 1:
        raise DataError(f"{file}: labels are read from one column; {' and '.join(map(repr, wanted))} are named")
    if chosen := [name for name in wanted if name in fit]:
        return chosen[0]
    usual = [field.name for field in schema if field.name.lower() in USUAL[kind]]
    tagged = [name for name in fit if isinstance(features.get(name), dict) and features[name].get("_type") == tag]
    if (odd := [name for name in usual if name not in fit]) and not tagged and (kind == "label" or not fit):
        types = ", ".join(f"{name!r} is of type {schema.field(name).type}" for name in odd)
        raise DataError(f"{file}: {types}, which is no {what}; name another column as parquet:PATH#COLUMN, or write this one so")
    usual = [name for name in usual if name in fit]
    best = next((names for names in (tagged, usual, fit) if names), [])
    if len(best) > 1 and len([name for name in best if name in usual]) == 1:
        chosen = next(name for name in best if name in usual)
    elif len(best) == 1:
        chosen = best[0]
    elif not best:
        raise DataError(f"{file}: no {what} among its columns {', '.join(schema.names)}")
    else:
        raise DataError(
            f"{file}: the {kind} may be in any of the columns {', '.join(map(repr, best))}; name one as parquet:PATH#{best[-1]}"
        )
    rest = [name for name in dict.fromkeys([*tagged, *usual]) if name != chosen]
    if kind == "label" and chosen not in tagged and chosen.lower() not in ("label", "labels"):
        rest = [name for name in fit if name != chosen]
    if rest or (kind == "label" and chosen not in tagged + usual):
        beside = f", not from {', '.join(map(repr, rest))}" if rest else ""
        say(f"{file}: {kind}s are read from the column {chosen!r}{beside}; name a column as parquet:PATH#COLUMN")
    return chosen


def _features(metadata: dict[bytes, bytes], file: Path) -> dict:
    """The columns by the "huggingface" entry of a schema; empty if there is none, or with a warning if it cannot be understood."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))
        for key in ("info", "features"):
            found = found.get(key, {})
        return dict(found)
    except (ValueError, TypeError, AttributeError, RecursionError):
        say(f"{file}: the entry 'huggingface' of its schema is damaged, so that no class names are known from it")
        return {}


def _class_names(features: dict, label: str, file: Path) -> tuple[str, ...] | None:
    feature = features.get(label)
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    if names is None:
        return None
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    found = tuple(map(trees.composed, names)) if texts else ()
    if not found or len(set(found)) < len(found):
        raise DataError(f"{file}: the class names in its schema are no list of different texts: {str(names)[:100]}")
    return found


def _check_columns(file: Path, columns: _Columns, part: str, first: Path) -> None:
    """Refuse a file whose columns or classes are others than those of the first training file."""
    schema = _Table(file).schema
    for kind, name in (("image", columns.image), ("label", columns.label)):
        if schema.names.count(name) != 1:
            if kind == "label" and part == "unlabelled" and name not in schema.names:
                continue
            raise DataError(f"{file}: no column {name!r}, the {kind} column of {first.name}, among its columns {', '.join(schema.names)}")
        found = schema.field(name).type
        if not _is(kind, found) and not (kind == "label" and str(found) == "null"):
            raise DataError(f"{file}: column {name!r} is of type {found}, which holds no {kind}s; in {first.name} it does")
    names = _class_names(_features(schema.metadata or {}, file), columns.label, file)
    if names is not None and columns.names is not None and names != columns.names:
        raise DataError(
            f"{file}: its schema names the classes {some(names)}, but that of {first.name} {some(columns.names)}; write both with the same"
        )


# -- Labels ---------------------------------------------------------------------------------------------------------------


def _labels(file: Path, column: str) -> list:
    """Texts, whole numbers and None, where there is no label."""
    import pyarrow.types as types

    table, values = _Table(file), []
    if column not in table.schema.names:
        return [None] * table.rows
    for part in table.column(column):
        with _readable(file):
            values += (part.cast(part.type.value_type) if types.is_dictionary(part.type) else part).to_pylist()
    for row, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, str):
            values[row] = trees.composed(value)
        elif value != value:  # pandas writes a gap as NaN
            values[row] = None
        elif value % 1 == 0 and (isinstance(value, int) or abs(value) <= 2**53):
            values[row] = int(value)
        else:
            raise DataError(f"{file}, row {row}: label {value} of column {column!r} is no whole number, and so no class")
    return values


def _check_kinds(raw: dict[str, list], groups: dict[str, list[Path]]) -> None:
    """Refuse texts in one file and numbers in another."""
    seen: dict[bool, tuple[Path, int]] = {}
    for part, values in raw.items():
        for kind in (True, False):
            row = next((i for i, value in enumerate(values) if value is not None and isinstance(value, str) == kind), None)
            if row is not None:
                seen.setdefault(kind, _locate(groups[part], row))
    if len(seen) == 2:
        raise DataError(f"labels are texts in {seen[True][0]} but numbers in {seen[False][0]}; write both in one way")


def _names(values: list, columns: _Columns, source: str, files: list[Path]) -> tuple[tuple[str, ...], dict]:
    """Class names, and the class id of every label."""
    found = set(values) - {None}
    texts = any(isinstance(value, str) for value in found)
    if columns.names is not None:
        ids = {name: k for k, name in enumerate(columns.names)} if texts else {k: k for k in range(len(columns.names))}
        names = columns.names
    else:
        if not texts and (below_zero := [row for row, value in enumerate(values) if value is not None and value < 0]):
            file, row = _locate(files, below_zero[0])
            raise DataError(f"{file}, row {row}: label {values[below_zero[0]]} is out of range; allowed are whole numbers from 0")
        ids = {label: k for k, label in enumerate(sorted(found))}
        names = tuple(map(str, ids))
    if not 2 <= len(names) <= CLASSES:
        raise DataError(f"{source}: its labels ({some(names)}) make {len(names)} classes; 2 to {CLASSES} can be trained")
    if not texts and columns.names is None and any(label != k for label, k in ids.items()):
        say(f"{source}: the labels {some(ids)} do not count from 0 without gaps; they become the classes 0..{len(ids) - 1}, named by label")
    return names, ids


def _to_ids(values: list, ids: dict, names: tuple[str, ...], part: str, files: list[Path]) -> np.ndarray:
    """Class ids, -1 where the label of an unlabelled image is none or no class."""
    found = np.array([ids.get(value, -1) for value in values], np.int64)
    wrong = np.flatnonzero(found < 0)
    if len(wrong) and part != "unlabelled":
        file, row = _locate(files, int(wrong[0]))
        value, allowed = values[wrong[0]], f"allowed are the {len(names)} classes of the training images, {some(map(repr, ids), 8)}"
        raise DataError(
            f"{file}, row {row}: label {value!r} is out of range; {allowed}"
            + ("; images without a label belong into an unlabelled file" if value in (None, -1) else "")
        )
    if part == "unlabelled" and (strange := {values[row] for row in wrong} - {None, -1}):
        say(f"{some(files)}: the labels {some(sorted(strange))} are no classes of the training images; the true class of these is unknown")
    return found


def _locate(files: list[Path], position: int) -> tuple[Path, int]:
    for file in files:
        rows = _Table(file).rows
        if position < rows:
            return file, position
        position -= rows
    raise IndexError(position)


# -- Images ---------------------------------------------------------------------------------------------------------------


def _parquet_part(
    files: list[Path], column: str, labels: Tensor, base: Path, root: Path, size: int | None, progress: bool, part: str, channels: int
) -> Part:
    digest = hashlib.sha256(f"{size} {column}".encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    content = digest.hexdigest()
    cache = trees.cache_path(root, base.stem, part, channels, content)
    if cache.exists():
        return Part(mapped(cache), labels, content)
    if channels == 1:
        channels = probe(sample for sample, _ in zip(_encoded(files, column), range(trees.PROBES), strict=False))
    images = trees.decode_all(
        lambda: _encoded(files, column), len(labels), cache,
        channels=channels, size=size, description=f"decoding {base.stem} {part}", progress=progress,
    )  # fmt: skip
    return Part(images, labels, content)


def _encoded(files: list[Path], column: str) -> Iterator[tuple[bytes, str]]:
    """The bytes of every image and where it stands."""
    import pyarrow.types as types

    for file in files:
        row = 0
        for values in _Table(file).column(column):
            with _readable(file):
                content = (values.field("bytes") if types.is_struct(values.type) else values).to_pylist()
            for data in content:
                if not isinstance(data, bytes):
                    raise DataError(f"{file}, row {row}: the image has no bytes; a path alone is not enough")
                yield data, f"{file}, row {row}"
                row += 1
