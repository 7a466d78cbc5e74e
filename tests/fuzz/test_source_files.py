"""Images and Parquet files that are broken, lie or are odd: decoded as Pillow does, or refused by a DataError that names them."""

import io
import json
import os
import struct
import unicodedata
import warnings
import zlib

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cases import bounded, fuzz
from hypothesis import given
from PIL import Image

from pldebias.data import DataError, SplitSpec, build, load_source
from pldebias.data.decode import decode, probe

FORMATS = [
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "CMYK"), ("PPM", "RGB"), ("WEBP", "RGB"), ("WEBP", "RGBA")),
]
BROKEN = st.tuples(st.sampled_from(["flip", "cut", "patch", "longer"]), st.floats(0, 0.999), st.binary(min_size=1, max_size=8))


def broken(data: bytes, damages) -> bytes:
    for kind, where, some in damages:
        at = int(where * len(data))
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ some[0]]) + data[at + 1 :]
        data = {"cut": data[:at], "patch": data[:at] + some + data[at + len(some) :], "longer": data + some * 50}.get(kind, data)
    return data


def encoded(kind: str, mode: str, width: int, height: int, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    """A PNG whose header says what it likes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """A JPEG of 8 x 8 pixels whose header says otherwise."""
    data = bytearray(encoded("JPEG", "RGB", 8, 8))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@fuzz(12)
@given(
    st.sampled_from(FORMATS),
    st.sampled_from([1, 2, 7, 33]),
    st.sampled_from([1, 3, 32]),
    st.sampled_from([1, 3]),
    st.sampled_from([None, 1, 8]),
    st.lists(BROKEN, max_size=3),
)
def test_broken_images(form, width, height, channels, size, damages):
    data = broken(encoded(*form, width, height), damages)
    with bounded("images"):
        try:
            probe([(data, "image 7")])
            image = decode(data, "image 7", channels, size)
        except DataError as error:
            assert "image 7" in str(error)
            return
    assert image.dtype == torch.uint8 and image.shape[0] == channels and image.ndim == 3
    assert damages or image.shape[1:] == ((size, size) if size else (height, width))


@pytest.mark.parametrize("data", [png(10**5, 10**5), png(2**31 - 1, 1), jpeg(65535, 65535), png(20_000, 20_000)], ids=range(4))
def test_images_that_claim_to_be_huge(data):
    """Refused by what the header says, before memory is taken for it."""
    with bounded("images"), pytest.raises(DataError, match=r"image 7: .*pixels"):
        decode(data, "image 7", 3, 8)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (10_000, 1), (1, 10_000), (3_000, 3_000)])
def test_thin_and_large_images(width, height):
    for kind in ("PNG", "JPEG"):
        with bounded("images"):
            assert decode(encoded(kind, "RGB", width, height), "image 7", 3, 8).shape == (3, 8, 8)


def test_sixteen_bits_are_not_cut_to_eight():
    values = np.array([[0, 255, 256, 65535]], np.uint16)
    for mode, array in (("I;16", values), ("I", values.astype(np.int32)), ("F", values.astype(np.float32))):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "TIFF")
        with bounded("images"), pytest.raises(DataError, match=r"image 7 .*: its pixels have more than 8 bits"):
            decode(buffer.getvalue(), f"image 7 {mode}", 1)


# -- Parquet --------------------------------------------------------------------------------------------------------------

LABELS = st.one_of(
    st.integers(-3, 5), st.integers(-(2**63), 2**63 - 1), st.none(), st.sampled_from(["a", "b", "", "\x00"]), st.floats(), st.booleans()
)
CLASS_LABEL = '{"info": {"features": {"label": {"_type": "ClassLabel", "names": %s}, "%s": {"_type": "Image"}}}}'
HUGGING = st.sampled_from(
    [None, b"", b"{", b"[]", b"null", b'{"info": 3}', b'{"info": {"features": [1]}}']
    + [(CLASS_LABEL % part).encode() for part in (("3", "image"), ('["a", "a", 1]', "image"), ('["a", "b", "c"]', "nowhere"))]
)


def parquet(path, images, labels, metadata=None):
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table.replace_schema_metadata({b"huggingface": metadata} if metadata is not None else None), path)


def load(path, root):
    """Build a split of a Parquet file; only a DataError may come out, and the message says which file."""
    with bounded("Parquet files"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            made = build(SplitSpec(f"parquet:{path}", n1=1, m1=1, image_size=4, root=str(root)), 0)
        except DataError as error:
            assert str(error)
            return None
    assert torch.equal(torch.bincount(made.labelled.labels, minlength=made.num_classes), made.labelled_counts)
    return made


@fuzz(2)
@given(st.lists(LABELS, min_size=1, max_size=30), HUGGING, st.sampled_from(["struct", "binary", "text", "list"]), st.booleans())
def test_labels_and_columns(tmp_path_factory, labels, metadata, column, right):
    folder = tmp_path_factory.mktemp("parquet")
    labels = [i % 3 for i in range(30)] if right else labels
    data = [encoded("PNG", "RGB", 5, 4, i) for i in range(len(labels))]
    images = {"struct": [{"bytes": d, "path": None} for d in data], "binary": data}
    images |= {"text": ["x"] * len(labels), "list": [[1]] * len(labels)}
    try:
        parquet(folder / "data.parquet", images[column], labels, metadata)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return  # no such file can be written
    made = load(folder / "data.parquet", folder / "root")
    assert made is None or (column in ("struct", "binary") and set(made.labelled.labels.tolist()) <= set(range(made.num_classes)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "data.parquet"
    parquet(path, [{"bytes": encoded("PNG", "RGB", 5, 4, i), "path": None} for i in range(30)], [i % 3 for i in range(30)])
    assert load(path, path.parent / "root") is not None
    return path.read_bytes()


@fuzz(2)
@given(st.lists(BROKEN, min_size=1, max_size=2))
def test_broken_parquet(tmp_path_factory, whole, damages):
    folder = tmp_path_factory.mktemp("broken")
    (folder / "data.parquet").write_bytes(broken(whole, damages))
    load(folder / "data.parquet", folder / "root")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([-1, 0, 1], "row 0: label -1 is out of range"),
        ([None, 0, 1], "row 0: label None is out of range"),
        ([0, 0, 0], "make 1 classes"),
        ([0.5, 1, 2], "row 0: label 0.5 of column 'label' is no whole number"),
        (["", "a", "b"], "'' is no name for a class"),
    ],
)
def test_labels_that_make_no_classes(tmp_path, labels, message):
    parquet(tmp_path / "data.parquet", [encoded("PNG", "RGB", 5, 4, i) for i in range(30)], labels * 10)
    with bounded("Parquet files"), pytest.raises(DataError, match=message):
        build(SplitSpec(f"parquet:{tmp_path / 'data.parquet'}", n1=2, m1=2, root=str(tmp_path / "root")), 0)


SIZES = st.sampled_from([None, 4])


@fuzz(0.5)
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "train", "test", ".x", "é"]), st.integers(0, 4), max_size=4), SIZES, st.booleans())
def test_folders(tmp_path_factory, classes, size, odd):
    """Empty classes, hidden folders, images of several sizes and modes."""
    folder = tmp_path_factory.mktemp("folders")
    for name, count in classes.items():
        (folder / "images" / name).mkdir(parents=True)
        for i in range(count):
            form = FORMATS[i % 12] if odd else ("PNG", "RGB")
            (folder / "images" / name / f"{i}.{form[0].lower()}").write_bytes(encoded(*form, 5 + i * odd, 4, i))
    with bounded("image folders"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            made = build(SplitSpec(f"imagefolder:{folder / 'images'}", n1=1, m1=1, image_size=size, root=str(folder / "root")), 0)
        except DataError as error:
            assert str(error)
            return
    assert set(made.class_names) <= set(classes)


# -- What goes in comes out -----------------------------------------------------------------------------------------------

NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
CLASSES = ["a", "b", NFC, NFD, "A", "10", "a b"]
SPLITS = {"train": "train", "Train": "train", "test": "test", "testing": "test", "val": "val", "valid": "val", "dev": "val"}
SPLITS |= {"unlabeled": "unlabelled", "un-labelled": "unlabelled"}
HIDDEN = [".x", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "#recycle"]
ODD = ["my_test", "query", "test_train", " ", "Thumbs.db"]
FILES = ["0.png", "1.PNG", "2.png", ".3.png", "README.md"]
ODD_FILES = ["x.txt", "cut.png", "dead.png", "up", "link.png", "self.png"]


@st.composite
def layouts(draw):
    """Paths of files, most of them sensible ones."""
    top = draw(st.lists(st.sampled_from([*SPLITS]), max_size=3, unique_by=SPLITS.get if draw(st.integers(0, 9)) else None))
    top += [] if "train" in map(SPLITS.get, top) else [draw(st.sampled_from(["train", ""]))]
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    paths = {(part, name, file) for part in top for name in classes for file in draw(st.sets(st.sampled_from(FILES[:3]), min_size=1))}
    if draw(st.booleans()):
        extra = st.tuples(
            st.sampled_from(["", *top]), st.sampled_from(["", *classes, *HIDDEN, *ODD]), st.sampled_from(["", *HIDDEN, "sub"])
        )
        paths |= {(*where, file) for where, file in draw(st.sets(st.tuples(extra, st.sampled_from(FILES + ODD_FILES)), max_size=2))}
    return sorted("/".join(part for part in path if part) for path in paths)


@fuzz(1)
@given(layouts())
def test_every_image_of_a_folder_is_where_its_path_says(tmp_path_factory, layout):
    base = tmp_path_factory.mktemp("layout") / "images"
    colours = {}
    for i, name in enumerate(layout):
        place = base / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(place):
            continue
        if place.name in ("up", "dead.png", "self.png", "link.png"):
            place.symlink_to({"up": "..", "dead.png": "nowhere", "self.png": "self.png", "link.png": base.parent / "away.png"}[place.name])
        colours[i] = tuple(name.split("/"))
        data = encoded_pixel(i)[: 50 if place.name == "cut.png" else None]
        target = base.parent / "away.png" if place.name == "link.png" else place
        if not place.is_symlink() or place.name == "link.png":
            target.write_bytes(data)
    with bounded("image folders"), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            made = load_source(f"imagefolder:{base}", root=base.parent / "root")
        except DataError as error:
            assert str(error) and "\n" not in str(error)
            return
    said, found = " ".join(str(w.message) for w in said), {}
    for part, i, label in everything(made):
        assert found.setdefault(i, (part, label)) == (part, label), "an image is in two sets"
    own_test = {"val", "test"} & {SPLITS.get(path[0]) for path in colours.values()}
    for i, path in colours.items():
        if any(part[0] == "." or part in (*HIDDEN, "Thumbs.db") for part in path) or not path[-1].lower().endswith("png"):
            assert i not in found
            assert path[-1] != "x.txt" or "x.txt" in said or {*HIDDEN, "Thumbs.db"} & {*path}
            continue
        kind, rest = (SPLITS[path[0]], path[1:]) if path[0] in SPLITS else ("train", path)
        if kind == "val" and "kept apart" in said:
            assert i not in found
            continue
        name = unicodedata.normalize("NFC", rest[0])
        wanted = made.class_names.index(name) if name in made.class_names and len(rest) > 1 else -1
        kinds = {"val": ["test"], "train": ["train"] if own_test else ["train", "test"]}
        assert found[i][0] in kinds.get(kind, [kind]) and found[i][1] == wanted, (path, found[i])


INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
NUMBERS = [*INTEGERS, pa.float16(), pa.float32(), pa.float64(), pa.dictionary(pa.int32(), pa.int64())]
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
VALUES = [
    [0, 1, 2],
    [1, 2, 3],
    [0, 2, 100],
    [9, 10],
    ["cat", "dog"],
    ["10", "9", "1"],
    ["NA", "None", "nan"],
    [NFC, "b"],
    ["true", "false"],
]


@st.composite
def shards(draw):
    """Labels by file, with the types of both columns and the order of the columns."""
    values = draw(st.sampled_from(VALUES))
    kinds = st.sampled_from(TEXTS if isinstance(values[0], str) else NUMBERS)
    names = ["train", "train test", "train-0 train-1", "0 1", "train valid un-labelled-0-of-1"]
    made = {}
    for name in draw(st.sampled_from(names)).split():
        labels = draw(st.permutations(values * 2)) + draw(st.lists(st.sampled_from(values), max_size=3))
        made[name] = labels, draw(kinds), draw(st.booleans()), draw(st.booleans())
    return made, draw(st.none() | st.sampled_from([(0, None), (0, -1), (0, "other"), (0, 0.5), (0, 77)]))


@fuzz(0.6)
@given(shards())
def test_every_row_keeps_its_label(tmp_path_factory, made):
    made, spoilt = made
    folder = tmp_path_factory.mktemp("shards")
    truth = []
    for name, (labels, kind, plain, swapped) in made.items():
        column = pa.array(labels, kind) if not pa.types.is_dictionary(kind) else pa.array(labels).cast(kind.value_type).dictionary_encode()
        if spoilt and name == next(iter(made)):
            try:
                column = pa.array([spoilt[1], *labels[1:]], None if isinstance(spoilt[1], float | str) else kind)
            except (pa.ArrowException, TypeError, OverflowError):
                spoilt = None
        data = [encoded_pixel(len(truth) + i) for i in range(len(labels))]
        truth += [(name, label) for label in labels]
        columns = {"image": data if plain else [{"bytes": d, "path": None} for d in data], "label": column}
        pq.write_table(pa.table({key: columns[key] for key in sorted(columns, reverse=swapped)}), folder / f"{name}.parquet")
    with bounded("Parquet files"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            found = load_source(f"parquet:{folder}", root=folder / "root")
        except DataError as error:
            assert spoilt and ".parquet" in str(error), error
            return
    assert not spoilt or spoilt[1] in (77, "other")  # another class, as good as any
    assert spoilt or set(found.class_names) == {str(label) for label in next(iter(made.values()))[0]}
    seen = set()
    for part, row, label in everything(found):
        name, wanted = truth[row]
        seen.add(row)
        kinds = {"test": ["test"], "valid": ["test"], "un-labelled-0-of-1": ["unlabelled"]}
        assert part in kinds.get(name, ["train"] if {"test", "valid"} & {*made} else ["train", "test"]), (part, name)
        assert (spoilt and row == 0) or found.class_names[label] == str(wanted)
    assert seen == set(range(len(truth)))


def everything(source):
    """Set, first byte and label of every image."""
    sets = {"train": (source.images, source.labels), "test": (source.test_images, source.test_labels)}
    if source.extra_images is not None:
        sets["unlabelled"] = source.extra_images, source.extra_labels
    for part, (images, labels) in sets.items():
        yield from ((part, int(image[0, 0, 0]), label) for image, label in zip(images, labels.tolist(), strict=True))


def encoded_pixel(i):
    data = io.BytesIO()
    Image.new("RGB", (2, 2), (i, 255 - i, 7)).save(data, "PNG")
    return data.getvalue()


def test_a_schema_that_is_json_of_the_wrong_type(tmp_path):
    for text in (b"{", b"[]", json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": {"0": "a"}}}}}).encode()):
        parquet(tmp_path / "data.parquet", [encoded("PNG", "RGB", 5, 4)] * 6, [0, 1] * 3, text)
        load(tmp_path / "data.parquet", tmp_path / "root")
