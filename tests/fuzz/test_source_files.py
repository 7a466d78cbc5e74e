"""Images and Parquet files that are broken, lie or are odd: decoded as Pillow does, or refused by a DataError that names them."""

import io
import json
import struct
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

from pldebias.data import DataError, SplitSpec, build
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


def test_a_schema_that_is_json_of_the_wrong_type(tmp_path):
    for text in (b"{", b"[]", json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": {"0": "a"}}}}}).encode()):
        parquet(tmp_path / "data.parquet", [encoded("PNG", "RGB", 5, 4)] * 6, [0, 1] * 3, text)
        load(tmp_path / "data.parquet", tmp_path / "root")
