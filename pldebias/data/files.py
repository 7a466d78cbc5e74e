"""A user's own images: a folder of class folders, or Parquet files as Hugging Face writes them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pldebias.data.decode import SUFFIXES, FileReader, LazyImages, decode, decoded, mapped, probe
from pldebias.data.errors import DataError
from pldebias.paths import PathError, local

PARTS = {"train": ("train", "training"), "test": ("test", "val", "validation"), "unlabelled": ("unlabelled", "unlabeled", "unsupervised")}
TEST_FRACTION, TEST_SEED = 0.2, 77
LAZY_ABOVE = 32 * 2**30  # decoded bytes of a folder beyond which nothing is cached and files are decoded as they are needed
PROBES = 64
CLASSES = 32767  # what a run can count


@dataclass
class Part:
    """Images with labels (-1 unknown), and what identifies their content."""

    images: Tensor | LazyImages
    labels: Tensor
    content: str
    positions: Tensor | None = None  # in the list of files or rows; None where nothing was cut off


def _place(source: str, path: str) -> Path:
    """Where the `path` of a `source` is on this machine."""
    try:
        return local(path)
    except PathError as error:
        raise DataError(f"{source}:{error}") from error


def load_imagefolder(path: str, root: Path, image_size: int | None, progress: bool) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Read a tree of images: ``PATH/CLASS/...`` or ``PATH/train/CLASS/...`` with optional ``test`` and ``unlabelled`` trees.

    Class names are the sorted folder names. Folders of classes in ``unlabelled`` give true labels; images lying elsewhere in it have
    none. Returns the parts by name and the class names.
    """
    base = _place("imagefolder", path)
    if not base.is_dir():
        raise DataError(f"imagefolder:{path}: there is no such folder; give the folder that holds one folder per class")
    trees = {part: next((base / n for n in names if (base / n).is_dir()), None) for part, names in PARTS.items()}
    special = {p.name for p in trees.values() if p is not None}
    top = trees["train"] or base
    names = tuple(sorted(_folders(top) - (special if top == base else set())))
    if len(names) < 2:
        raise DataError(f"imagefolder:{path}: {top} holds {len(names)} class folders; at least 2 are needed, one per class")
    parts = {}
    for part, tree in (("train", top), ("test", trees["test"]), ("unlabelled", trees["unlabelled"])):
        if tree is not None:
            files, labels = _walk(tree, names, part)
            parts[part] = _folder_part(files, labels, base, root, image_size, progress, part)
    return parts, names


def _folders(tree: Path) -> set[str]:
    return {p.name for p in tree.iterdir() if p.is_dir() and not p.name.startswith(".")}


def _walk(tree: Path, names: Sequence[str], part: str) -> tuple[list[Path], list[int]]:
    files, labels = [], []
    folders = _folders(tree)
    if part == "unlabelled" and not (folders and folders <= set(names)):
        files = _images(tree)
        labels = [-1] * len(files)
    elif part == "test" and not folders <= set(names):
        raise DataError(f"{tree}: the folders {', '.join(sorted(folders - set(names)))} are no classes of the training images")
    else:
        for label, name in enumerate(names):
            found = _images(tree / name) if (tree / name).is_dir() else []
            if part == "train" and not found:
                raise DataError(f"{tree / name}: class {name!r} has no image; add some or remove the folder")
            files += found
            labels += [label] * len(found)
    if not files:
        raise DataError(f"{tree}: no image found")
    return files, labels


def _images(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            raise DataError(f"{file}: not an image file; remove it, or use one of {' '.join(sorted(SUFFIXES))}")
    return files


def _folder_part(files: list[Path], labels: list[int], base: Path, root: Path, size: int | None, progress: bool, part: str) -> Part:
    digest = hashlib.sha256(json.dumps([size, labels]).encode())
    for file in files:
        stat = file.stat()
        digest.update(f"{file.relative_to(base)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    content = digest.hexdigest()
    cache = _cache_path(root, base.name, part, content)
    if not cache.exists():
        step = max(len(files) // PROBES, 1)
        channels = probe((f.read_bytes(), str(f)) for f in files[::step])
        if size is not None and len(files) * channels * size * size > LAZY_ABOVE:
            return Part(LazyImages(FileReader([str(f) for f in files], channels, size)), torch.tensor(labels), content)
        stream = (decode(f.read_bytes(), str(f), channels, size) for f in files)
        images = decoded(stream, len(files), cache, description=f"decoding {base.name} {part}", progress=progress)
        return Part(images, torch.tensor(labels), content)
    return Part(mapped(cache), torch.tensor(labels), content)


def _cache_path(root: Path, name: str, part: str, content: str) -> Path:
    return root / "decoded" / f"{name}-{part}-{content[:20]}.npy"


def load_parquet(path: str, root: Path, image_size: int | None, progress: bool) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Read one Parquet file, or a folder of ``train*``, ``test*`` (or ``val*``) and ``unlabelled*`` files, in Hugging Face's layout.

    The image column is a struct with ``bytes`` (or plain binary), the label column integers or strings. Class names come from the
    "huggingface" entry of the schema where there is one. Returns the parts by name and the class names.
    """
    base = _place("parquet", path)
    if not base.exists():
        raise DataError(f"parquet:{path}: there is no such file or folder")
    files = [base] if base.is_file() else sorted(base.rglob("*.parquet"))
    if not files:
        raise DataError(f"parquet:{path}: no .parquet file in this folder")
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(_part_of(file, base), []).append(file)
    if "train" not in groups:
        raise DataError(f"parquet:{path}: no train*.parquet among {', '.join(f.name for f in files[:5])}; name the training files so")
    image_column, label_column, names = _columns(groups["train"][0])
    raw = {part: _labels(group, label_column) for part, group in groups.items()}
    try:
        names = names or _names(raw["train"])
    except DataError as error:
        raise DataError(f"parquet:{path}: {error}") from error
    parts = {}
    for part, group in groups.items():
        labels = _to_ids(raw[part], names, part, group)
        parts[part] = _parquet_part(group, image_column, torch.from_numpy(labels), base, root, image_size, progress, part)
    return parts, names


def _part_of(file: Path, base: Path) -> str:
    if file == base:
        return "train"
    words = re.split(r"[^a-z]+", "/".join(file.relative_to(base).parts).lower())
    return next((part for part, names in PARTS.items() if any(n in words for n in names)), "train")


def _open(file: Path):
    import pyarrow.parquet as pq

    with _readable(file):
        return pq.ParquetFile(file)


@contextmanager
def _readable(file: Path):
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({str(error) or type(error).__name__})") from error


def _columns(file: Path) -> tuple[str, str, tuple[str, ...] | None]:
    """Names of the image and the label column, and the class names if the schema tells them."""
    import pyarrow.types as types

    schema = _open(file).schema_arrow
    features = _features(schema.metadata or {})
    tagged = {
        kind: [n for n, f in features.items() if isinstance(f, dict) and f.get("_type") == kind and n in schema.names]
        for kind in ("Image", "ClassLabel")
    }
    binary = [f.name for f in schema if types.is_binary(f.type) or types.is_large_binary(f.type)]
    structs = [f.name for f in schema if types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    images = tagged["Image"] or structs or binary
    plain = [f.name for f in schema if types.is_integer(f.type) or types.is_string(f.type) or types.is_large_string(f.type)]
    labels = tagged["ClassLabel"] or sorted(plain, key=lambda n: n not in ("label", "labels", "class", "target", "y", "fine_label"))
    if not images or not labels:
        missing = "image column (struct with bytes)" if not images else "label column (integers or strings)"
        raise DataError(f"{file}: no {missing} among its columns {', '.join(schema.names)}")
    names = features[labels[0]].get("names") if tagged["ClassLabel"] else None
    if names is not None and not (isinstance(names, list) and all(isinstance(n, str) for n in names) and len(set(names)) == len(names)):
        raise DataError(f"{file}: the class names in its schema are no list of different texts: {str(names)[:100]}")
    return images[0], labels[0], tuple(names) if names else None


def _features(metadata: dict[bytes, bytes]) -> dict:
    """What the "huggingface" entry of a schema says of its columns; empty if it says nothing that can be understood."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))
        for key in ("info", "features"):
            found = found.get(key, {})
        return dict(found)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _labels(files: list[Path], column: str) -> list:
    values = []
    for file in files:
        parquet = _open(file)
        if column not in parquet.schema_arrow.names:
            values += [-1] * parquet.metadata.num_rows
            continue
        with _readable(file):
            values += parquet.read(columns=[column]).column(0).to_pylist()
    return values


def _names(values: list) -> tuple[str, ...]:
    if any(isinstance(v, str) for v in values):
        return tuple(sorted({str(v) for v in values if v is not None}))
    most = max((v for v in values if v is not None), default=-1)
    if most >= CLASSES:
        raise DataError(f"its labels go up to {most}; at most {CLASSES} classes, numbered from 0, can be trained")
    return tuple(str(k) for k in range(most + 1))


def _to_ids(values: list, names: tuple[str, ...], part: str, files: list[Path]) -> np.ndarray:
    lookup = {name: k for k, name in enumerate(names)}
    # Anything beyond the classes is as wrong as -2, and fits the type.
    ids = np.array(
        [-1 if v is None else lookup.get(v, -2) if isinstance(v, str) else v if -1 <= v < len(names) else -2 for v in values], np.int64
    )
    wrong = np.flatnonzero((ids >= len(names)) | (ids < (-1 if part == "unlabelled" else 0)))
    if len(wrong):
        file, row = _locate(files, int(wrong[0]))
        raise DataError(
            f"{file}, row {row}: label {values[wrong[0]]!r} is out of range; allowed are 0..{len(names) - 1} for the {len(names)} classes"
        )
    return ids


def _locate(files: list[Path], position: int) -> tuple[Path, int]:
    for file in files:
        rows = _open(file).metadata.num_rows
        if position < rows:
            return file, position
        position -= rows
    raise IndexError(position)


def _parquet_part(
    files: list[Path], column: str, labels: Tensor, base: Path, root: Path, size: int | None, progress: bool, part: str
) -> Part:
    digest = hashlib.sha256(f"{size} {column}".encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    content = digest.hexdigest()
    cache = _cache_path(root, base.stem, part, content)
    if cache.exists():
        return Part(mapped(cache), labels, content)
    channels = probe(data for data, _ in zip(_encoded(files, column), range(PROBES), strict=False))
    images = (decode(data, where, channels, size) for data, where in _encoded(files, column))
    return Part(decoded(images, len(labels), cache, description=f"decoding {base.stem} {part}", progress=progress), labels, content)


def _encoded(files: list[Path], column: str) -> Iterator[tuple[bytes, str]]:
    """The bytes of every image and where it stands."""
    import pyarrow.types as types

    for file in files:
        row = 0
        with _readable(file):
            batches = _open(file).iter_batches(batch_size=1024, columns=[column])
        while True:
            with _readable(file):
                batch = next(batches, None)
                if batch is None:
                    break
                values = batch.column(0)
                content = (values.field("bytes") if types.is_struct(values.type) else values).to_pylist()
            for data in content:
                if not isinstance(data, bytes):
                    raise DataError(f"{file}, row {row}: the image has no bytes; a path alone is not enough")
                yield data, f"{file}, row {row}"
                row += 1


def cut_test(part: Part, num_classes: int) -> tuple[Part, Part]:
    """Where no test images are given: 20 % of every class, the same whatever the seed of the split; returns (train, test)."""
    rng, labels = np.random.RandomState(TEST_SEED), part.labels.numpy()
    test = []
    for c in range(num_classes):
        index = rng.permutation(np.flatnonzero(labels == c))
        test.append(index[: round(len(index) * TEST_FRACTION)])
    chosen = torch.from_numpy(np.sort(np.concatenate(test)))
    rest = torch.from_numpy(np.setdiff1d(np.arange(len(labels)), chosen.numpy()))

    def take(index: Tensor) -> Part:
        images = part.images[index] if isinstance(part.images, Tensor) else part.images.select(index)
        return Part(images, part.labels[index], part.content, index)

    return take(rest), take(chosen)
