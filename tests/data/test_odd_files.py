"""Folders and files as other people have them: each is read right, with what is odd said, or refused by name."""

import io
import json
import os
import re
import shutil
import unicodedata
import warnings
from decimal import Decimal

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pldebias.data import DataError, SplitSpec, build, files, load_source
from pldebias.data.decode import coloured, decode


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GREY, RED = encode(Image.new("L", (4, 4), 90)), encode(Image.new("RGB", (4, 4), (90, 0, 0)))
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def lay(base, layout):
    """Make ``a/b*3``, a folder of three images, ``a>b``, a link from a to b, ``a/``, an empty folder, and other files below `base`."""
    base.mkdir(exist_ok=True)
    for word in layout.split("|"):
        path, link, target = word.partition(">")
        name, images, count = path.partition("*")
        place = base / name
        (place if images or name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if link:
            place.symlink_to(base / target)
        elif images:
            for i in range(int(count)):
                (place / f"{i}.png").write_bytes(RED)
        elif not name.endswith("/"):
            place.write_bytes(RED if files.is_image(name) else b"x")
    return base


def read(source, root, **options):
    """The `Source`, and everything that was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = load_source(source, root=root, **options)
    return found, "\n".join(str(w.message) for w in said)


def sizes(source):
    return len(source.labels), len(source.test_labels), 0 if source.extra_labels is None else len(source.extra_labels)


# -- Folders --------------------------------------------------------------------------------------------------------------

WORDS = {
    "train": "Train TRAIN training Train_Set train-images train2017 train_64x64 labeled Labelled",
    "test": "test Test TESTING test_set test-32x32 testdata",
    "validation": "val Val valid VALID validation dev eval Evaluation val2017 valset dev_images",
    "unlabelled": "unlabeled Unlabelled UNLABELED un-labelled unsupervised extra non_labeled unlabeled_images",
}


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in WORDS.items() for word in words.split()])
def test_every_usual_name_of_a_split(tmp_path, kind, word):
    train = word if kind == "train" else "train"
    lay(tmp_path / "folder", f"{train}/cat*4|{train}/dog*4" + (f"|{word}/cat*2|{word}/dog*2" if kind != "train" else ""))
    write(tmp_path / "files" / f"{train}.parquet", table(["cat", "dog"] * 4))
    if kind != "train":
        write(tmp_path / "files" / f"{word}-00000-of-00001.parquet", table(["cat", "dog"] * 2))
    for source in (f"imagefolder:{tmp_path / 'folder'}", f"parquet:{tmp_path / 'files'}"):
        found, said = read(source, tmp_path / "root")
        assert found.class_names == ("cat", "dog")
        assert sizes(found) == {"train": (6, 2, 0), "unlabelled": (6, 2, 4)}.get(kind, (8, 4, 0))
        assert ("is the test set, for there is no other" in said) if kind == "validation" else not said


@pytest.mark.parametrize(
    ("layout", "counts", "wanted"),
    [
        ("train/a*4|train/b*4|val/a*1|val/b*1|test/a*2|test/b*2", (8, 4, 0), "val is kept apart.* the test set is test"),
        ("a*4|b*4|test/a*2|test/b*2", (8, 4, 0), ""),
        ("train/a*4|train/b*4|val/a*1|val/b*1|unlabeled/x.png|unlabeled/deep/er*2", (8, 2, 3), "val is the test set"),
        ("a*5|b*5|.git/x|__MACOSX/a*3|a/.ipynb_checkpoints*2|a/@eaDir*2|b/#recycle*1|b/__pycache__/x.pyc|a/.x/y*1", (8, 2, 0), ""),
        ("a*5|b*5|a/.DS_Store|b/Thumbs.db|b/Desktop.ini|a/._0.png|.ipynb_checkpoints/x|train.csv", (8, 2, 0), r"not read.* train\.csv"),
        ("a*5|b*5|README.md|LICENSE|a/readme.txt|CITATION.cff", (8, 2, 0), ""),
        ("a*5|b*5|labels.csv|images.zip", (8, 2, 0), r"not read.* images\.zip, labels\.csv"),
        ("a/x*3|a/y/z*2|b*5", (8, 2, 0), ""),
        ("../pool/one*5|../pool/two*5|a>../pool/one|b>../pool/two", (8, 2, 0), ""),
        ("../pool*1|a*4|b*5|a/linked.png>../pool/0.png", (8, 2, 0), ""),
        (f"train/{NFC}*4|train/b*4|test/{NFD}*2|test/b*2", (8, 4, 0), ""),
        ("train/a*4|train/b*4|test/a*2", (8, 2, 0), "no test image of the classes b"),
        ("a*5|A*5", (8, 2, 0), "'A' and 'a' differ in capitals"),
        ("a*5|a *5", (8, 2, 0), "'a' and 'a ' differ in capitals, spaces"),
        ("test tube*5|bullet train*5", (8, 2, 0), ""),
        ("train/a*4|train/b*4|unlabeled/a*2|unlabeled/unsure*1|unlabeled/0.png", (6, 2, 4), "unsure are no classes"),
    ],
)  # fmt: skip
def test_folders_that_are_read(tmp_path, layout, counts, wanted):
    found, said = read(f"imagefolder:{lay(tmp_path / 'base', layout)}", tmp_path / "root")
    assert sizes(found) == counts
    assert (re.search(wanted, said) and "\n" not in said) if wanted else not said, said


@pytest.mark.parametrize(
    ("layout", "wanted"),
    [
        ("train/a*2|train/b*2|Train/a*2|Train/b*2", "train: Train beside it is the train set too"),
        ("train/a*2|train/b*2|training/a*2", "training: train beside it"),
        ("train/a*2|train/b*2|val/a*2|valid/a*2", "valid: val beside it is the validation set too"),
        ("train/a*2|train/b*2|test/a*2|testing/a*2", "testing: test beside it"),
        ("train/a*2|train/b*2|trn/a*2", "beside train it holds trn"),
        ("train/a*2|train/b*2|holdout/a*2|query/a*2", "beside train it holds holdout, query"),
        ("my_train/a*2|my_train/b*2|my_test/a*2|my_test/b*2", "my_test: its name says test"),
        ("test/a*2|test/b*2", "holds test but no training images"),
        ("val/a*2|test/b*2", "holds test, val but no training images"),
        ("bus*2|car*2|val*2", "val: read as the validation set, it must hold one folder per class.*if val is a class itself"),
        ("train_test/a*2|train_test/b*2", "its name says train and test; rename it"),
        ("data/a*2|data/b*2", r"1 class folders.* for the folders in it \(a, b\) give imagefolder:.*data"),
        ("a*2|b*2|c/", "c: class 'c' has no image"),
        ("a*2|b*2|c/.hidden*2", "class 'c' has no image"),
        ("train/a*2|train/b*2|test/", "test: holds no class folders"),
        ("train/a*2|train/b*2|test*3", "test: holds no class folders"),
        ("train/a*2|train/b*2|test/c*1", "the folders c are no classes of the training images"),
        ("train/a*2|train/b*2|test/A*1", "did you mean 'a'"),
        ("train/a*2|train/b*2|train/0.png", r"images lie beside the class folders \(0\.png\)"),
        ("train/a*2|train/b*2|lost.png", r"images lie beside the class folders \(lost\.png\)"),
        ("train/a*2|train/b*2|test/a*1|test/0.png", r"test: images lie beside"),
        ("a*2|b*2|a/train*1", "a/train: a folder named as a split"),
        ("a*2|b*2|a/b*1", "a/b: a folder named as a class"),
        ("a*2|b*2|a/away.png>nowhere", r"a/away\.png: this link leads nowhere"),
        ("a*2|b*2|c>nowhere", "c: this link leads nowhere"),
        ("a*2|b*2|a/self.png>a/self.png", r"a/self\.png: cannot be read"),
        ("a*2|b*2|a/up>.", "a/up: this link leads to a folder that it lies in"),
        ("a*2|b*2|a/x>b|b/y>a", "a/x/y: a link on this path leads back to"),
        ("a*2|b*2|c>a", "c and .*a are one folder"),
        ("train/a*2|train/b*2|test>train", "are one folder, through a link"),
        (f"{NFC}*2|{NFD}*2", "two folders are named 'café', in two encodings"),
        (f"train/{NFC}*2|train/b*2|test/{NFC}*1|test/{NFD}*1", "two folders are named 'café', in two encodings"),
        (" *2|b*2", "' ' is no name for a class"),
        *((f"a*2|b*2|a/{name}", f"a/{re.escape(name)}: not an image file") for name in
          ("x.txt", "x.csv", "x.svg", "x.heic", "x.npy", "0.png~", "0.png.part", "noending", "x.json", "x.mp4")),
        ("a*1|b*1", "no class has two images"),
    ],
)  # fmt: skip
def test_folders_that_are_refused(tmp_path, layout, wanted):
    with warnings.catch_warnings(), pytest.raises(DataError, match=wanted):
        warnings.simplefilter("ignore")
        load_source(f"imagefolder:{lay(tmp_path / 'base', layout)}", root=tmp_path / "root")
    assert not (tmp_path / "root").exists() or not [*(tmp_path / "root").rglob("*.partial")]


def test_the_order_of_classes(tmp_path):
    base = lay(tmp_path / "base", "|".join(f"{c}*20" for c in range(11)))
    names = load_source(f"imagefolder:{base}", root=tmp_path / "root").class_names
    assert names == tuple(sorted(map(str, range(11)))) and names[2] == "10"
    counts = []
    for order in (range(10, -1, -1), map(str, range(10, -1, -1)), np.arange(10, -1, -1)):
        made = build(SplitSpec(f"imagefolder:{base}", n1=8, m1=2, gamma_l=8, class_order=tuple(order), root=str(tmp_path / "root")))
        counts.append(dict(zip(made.class_names, made.labelled_counts.tolist(), strict=True)))
    assert counts[0] == counts[1] == counts[2] and (counts[0]["10"], counts[0]["0"]) == (8, 1)


def test_copies_are_the_same_data_and_changes_are_seen(tmp_path):
    def made(place):
        return build(SplitSpec(f"imagefolder:{tmp_path / place / 'pets'}", n1=2, root=str(tmp_path / "root"))).fingerprint

    lay(tmp_path / "one", "pets/a*5|pets/b*5")
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copyfile)
    first = made("one")
    assert made("two") == first
    os.utime(tmp_path / "two" / "pets" / "a" / "0.png", ns=(1, 1))
    assert made("two") == first
    (tmp_path / "two" / "pets" / "a" / "0.png").write_bytes(encode(Image.new("RGB", (4, 4), (91, 0, 0))))
    assert made("two") != first and made("one") == first


@pytest.mark.parametrize("way", ["~", "$MINE", "${MINE}", "relative", "file://", "slash"])
@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
def test_ways_to_write_a_path(tmp_path, monkeypatch, kind, way):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MINE", str(tmp_path / "a b"))
    monkeypatch.chdir(tmp_path)
    lay(tmp_path, "a b/d/cat*5|a b/d/dog*5") if kind == "imagefolder" else write(tmp_path / "a b" / "d", table(["cat", "dog"] * 5))
    path = {"~": "~/a b/d", "$MINE": "$MINE/d", "${MINE}": "${MINE}/d", "relative": "a b/d", "slash": f"{tmp_path}/a b/d/"}
    path["file://"] = f"file://{tmp_path}/a b/d"
    if way == "slash" and kind == "parquet":
        path["slash"] = f"{tmp_path}/a b/../a b/d"
    assert sizes(read(f"{kind}:{path[way]}", tmp_path / "root")[0]) == (8, 2, 0)


@pytest.mark.parametrize("path", ["https://example.org/x", "s3://bucket/x", "$NOT_SET/x", " "])
@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
def test_paths_that_are_no_place_here(kind, path):
    with pytest.raises(DataError, match=rf"{kind}:.*(address|not set|is no path)"):
        load_source(f"{kind}:{path}")


def test_a_long_path(tmp_path):
    base = tmp_path.joinpath(*["a_rather_long_name_of_a_folder_of_images"] * 7)
    base.mkdir(parents=True)
    assert sizes(read(f"imagefolder:{lay(base / ('é' * 100), 'a*5|b*5')}", tmp_path / "root")[0]) == (8, 2, 0)


# -- Images ---------------------------------------------------------------------------------------------------------------

CORNERS = np.zeros((8, 16, 3), np.uint8)
CORNERS[:4, :8], CORNERS[4:, :8], CORNERS[:4, 8:], CORNERS[4:, 8:] = (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 250)
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 100, "subsampling": 0}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("CMYK", {"quality": 100})],
)
@pytest.mark.parametrize("orientation", [0, *UPRIGHT, 9])
def test_exif_orientation(kind, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(CORNERS)
    data = encode(image.convert("CMYK"), "JPEG", exif=exif, **options) if kind == "CMYK" else encode(image, kind, exif=exif, **options)
    for channels in (3, 1):
        wanted = UPRIGHT.get(orientation, UPRIGHT[1])(CORNERS)
        wanted = wanted if channels == 3 else np.array(Image.fromarray(wanted).convert("L"))[..., None]
        found = decode(data, "x", channels).permute(1, 2, 0).numpy()
        assert found.shape == wanted.shape and np.abs(found.astype(int) - wanted).max() <= 4


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *((mode, "TIFF") for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")),
        *((mode, kind) for mode in ("L", "RGB") for kind in ("JPEG", "BMP", "GIF", "PPM", "WEBP", "MPO")),
        *((("CMYK", "JPEG"), ("P", "GIF"), ("P", "BMP"), ("RGBA", "WEBP"))),
    ],
)
def test_colours_are_kept(mode, kind):
    data = encode(Image.fromarray(CORNERS).convert(mode), kind)
    is_grey = mode in ("1", "L", "LA")
    assert is_grey or coloured(data, "x")  # a grey image may be taken for a coloured one, which costs memory alone
    wanted = np.array(Image.fromarray(CORNERS).convert("L" if is_grey else "RGB").convert("RGB")).astype(int)
    found = decode(data, "x", 3).permute(1, 2, 0).numpy()
    centres = np.ix_([1, 6], [3, 12])  # away from the edges, which JPEG blurs
    assert found.shape == wanted.shape and (mode == "1" or np.abs(found - wanted)[centres].max() <= 40)


def test_transparent_pixels_are_white():
    image = Image.fromarray(np.dstack([CORNERS, np.full((8, 16), 0, np.uint8)]))
    palette = encode(image.convert("P"), transparency=0)
    for data in (encode(image), encode(image, "WEBP", lossless=True), encode(image.convert("LA")), palette):
        assert (decode(data, "x", 3)[:, 5, 3] == 255).all()


def test_one_coloured_image_makes_all_coloured(tmp_path):
    base = lay(tmp_path / "base", "train/a*3|train/b*100|test/a*1|test/b*1")
    for file in base.rglob("*.png"):
        file.write_bytes(GREY)
    assert load_source(f"imagefolder:{base}", root=tmp_path / "root").images.shape[1] == 1
    for place in ("train/b/97.png", "test/a/0.png"):
        (base / place).write_bytes(RED)
        found = load_source(f"imagefolder:{base}", root=tmp_path / "root")
        assert found.images.shape[1] == found.test_images.shape[1] == 3
        (base / place).write_bytes(GREY)
    path = write(tmp_path / "d", pa.table({"image": [GREY] * 99 + [RED], "label": ["a", "b"] * 50}))
    assert load_source(f"parquet:{path}", root=tmp_path / "root").images.shape[1] == 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0, 0.1, 0.6, 0.97])
def test_images_that_are_cut_off(kind, share):
    data = encode(Image.fromarray(np.random.RandomState(0).randint(0, 256, (32, 32, 3), np.uint8)), kind)
    with pytest.raises(DataError, match="image 7: not a readable image") as error:
        decode(data[: int(share * len(data))], "image 7", 3)
    assert "0x" not in str(error.value) and (share or "the file is empty" in str(error.value))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><title>404</title>", "of no format that Pillow knows"),
        (RED[:45] + bytes([RED[45] ^ 1]) + RED[46:], "its pixels are damaged"),
        (encode(Image.fromarray(np.zeros((4, 4), np.uint16))), "more than 8 bits"),
        (encode(Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF"), "more than 8 bits"),
        *((encode(Image.new("RGB", (4, 4)), kind, save_all=True, append_images=[Image.new("RGB", (4, 4), "red")]), "it holds 2 frames")
          for kind in ("GIF", "TIFF", "PNG", "WEBP")),
    ],
)  # fmt: skip
def test_images_that_are_refused(data, wanted):
    with pytest.raises(DataError, match=f"image 7: .*{wanted}"):
        decode(data, "image 7", 3)


# -- Parquet --------------------------------------------------------------------------------------------------------------


def table(labels, **more):
    return pa.table({"image": [RED] * len(labels), "label": labels, **more})


def write(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path) if isinstance(made, pa.Table) else made.to_parquet(path)
    return path


def hub(made, **features):
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def pets(*names):
    return {"_type": "ClassLabel", "names": names or ("cat", "dog", "owl")}


def labels_of(source):
    """Labels in the order of the rows, although a test set was cut off."""
    labels = torch.empty(len(source.labels) + len(source.test_labels), dtype=torch.int64)
    labels[source.positions], labels[source.test_positions] = source.labels, source.test_labels
    return labels.tolist()


def frame(labels):
    return pandas.DataFrame({"image": [RED] * len(labels), "label": labels})


IDS, TEXTS = [0, 1, 2] * 4, ["cat", "dog", "owl"] * 4


@pytest.mark.parametrize(
    ("made", "names", "wanted"),
    [
        *((table(pa.array(np.array(IDS, kind))), "0 1 2", "") for kind in "bBhHiIqQefd"),
        (table(pa.array([Decimal(i) for i in IDS])), "0 1 2", ""),
        (table([True, False] * 6), "0 1", ""),
        *((table(pa.array(TEXTS, t)), "cat dog owl", "") for t in (pa.string(), pa.large_string(), pa.string_view())),
        *((table(pa.array(TEXTS, t).dictionary_encode()), "cat dog owl", "") for t in (pa.string(), pa.large_string())),
        (table(pa.array([5, 7, 9] * 4).dictionary_encode()), "5 7 9", "5, 7, 9 do not count from 0"),
        (table([0, 2, 5] * 4), "0 2 5", "0, 2, 5 do not count from 0 without gaps"),
        (table([1, 2, 3] * 4), "1 2 3", "1, 2, 3 do not count from 0"),
        (table([*range(11), *range(11)]), " ".join(map(str, range(11))), "1 test|"),
        (table([*map(str, range(11)), *map(str, range(11))]), "0 1 10 2 3 4 5 6 7 8 9", "1 test|"),
        (table(["NA", "None", "nan"] * 4), "NA None nan", ""),
        (table(["true", "false"] * 6), "false true", ""),
        (table(["a", "A"] * 6), "A a", "differ in capitals"),
        (table([NFC, NFD, "b"] * 4), f"b {NFC}", ""),
        (frame(pandas.array(IDS, "Int64")), "0 1 2", ""),
        (frame(pandas.array([True, False] * 6, "boolean")), "0 1", ""),
        (frame(pandas.Categorical(TEXTS, ["owl", "dog", "cat", "never"])), "cat dog owl", ""),
        (frame(TEXTS).set_index("label"), "cat dog owl", ""),
        (hub(table(IDS), label=pets()), "cat dog owl", ""),
        (hub(table(pa.array(np.array(IDS, "uint8"))), label=pets("z", "y", "x")), "z y x", ""),
        (hub(table([float(i) for i in IDS]), label=pets()), "cat dog owl", ""),
        (hub(table(TEXTS), label=pets("owl", "dog", "cat")), "owl dog cat", ""),
        (hub(table(IDS), label={"_type": "ClassLabel", "num_classes": 3}), "0 1 2", ""),
        (hub(table(IDS, kind=[0, 1] * 6), kind=pets("a", "b"), label=pets()), "cat dog owl", "from the column 'label', not from 'kind'"),
        (table(IDS, width=[7, 8] * 6, mask=[GREY] * 12), "0 1 2", ""),
        (pa.table({"x": IDS, "y": [0, 1] * 6, "image": [RED] * 12}), "0 1", "labels are read from the column 'y', not from 'x'"),
        (pa.table({"img": [RED] * 12, "coarse_label": [0, 1] * 6, "fine_label": IDS}), "0 1 2", "not from 'coarse_label'"),
        (pa.table({"img": [RED] * 12, "width": IDS}), "0 1 2", "labels are read from the column 'width'"),
        (pa.table({"Image": [RED] * 12, "Label": IDS}), "0 1 2", ""),
        (pa.table({"img": pa.array([RED] * 12, pa.large_binary()), "label": IDS}), "0 1 2", ""),
        (pa.table({"img": pa.array([RED] * 12, pa.binary_view()), "label": IDS}), "0 1 2", ""),
        (pa.table({"img": [{"path": "x", "bytes": RED}] * 12, "label": IDS}), "0 1 2", ""),
    ],
)  # fmt: skip
def test_labels_that_are_read(tmp_path, made, names, wanted):
    path = write(tmp_path / "d.parquet", made)
    found, said = read(f"parquet:{path}", tmp_path / "root")
    assert found.class_names == tuple(names.split())
    given = pq.read_table(path)
    column = next(name for name in ("label", "Label", "fine_label", "y", "width") if name in given.column_names)
    texts = [unicodedata.normalize("NFC", str(int(x) if isinstance(x, float | bool | Decimal) else x)) for x in given[column].to_pylist()]
    if set(texts) <= set(found.class_names):
        assert [found.class_names[c] for c in labels_of(found)] == texts
    else:  # numbers of classes that the schema names
        assert labels_of(found) == [int(text) for text in texts]
    assert (re.search(wanted, said) and "\n" not in said) if wanted else not said, said


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (table([0, 0.5] * 6), r"d\.parquet, row 1: label 0\.5 of column 'label' is no whole number"),
        (table([0.0, float("inf")] * 6), "row 1: label inf .* is no whole number"),
        (table([0.0, 1e300] * 6), r"row 1: label 1e\+300"),
        (table([0, None, 1] * 4), "row 1: label None .* belong into an unlabelled file"),
        (table([0.0, float("nan"), 1.0] * 4), "row 1: label None"),
        (frame(pandas.array([0, 1, None] * 4, "Int64")), "row 2: label None"),
        (table([0, -1, 1] * 4), "row 1: label -1 is out of range"),
        (table(["", "a"] * 6), "'' is no name for a class"),
        (table(["a\n", "b"] * 6), "is no name for a class"),
        (table(["a"] * 12), "make 1 classes"),
        *((table(pa.array(labels)), f"'label' is of type {kind}.* no label column") for labels, kind in
          (([None] * 12, "null"), ([[0], [1]] * 6, "list"), ([b"a", b"b"] * 6, "binary"), ([{"x": 1}] * 12, "struct"))),
        (table(pandas.date_range("2020", periods=12)), "'label' is of type timestamp"),
        (pa.table({"image": [RED] * 12, "label": [[0]] * 12, "id": IDS}), "'label' is of type list"),
        (pa.table({"image": [RED] * 12}), "no label column"),
        (pa.table({"image": [RED] * 12, "width": IDS, "category": TEXTS}), "any of the columns 'width', 'category'"),
        (pa.table({"image": [RED] * 12, "label": IDS, "target": IDS}), "any of the columns 'label', 'target'"),
        (pa.table({"image": [RED] * 12, "label": IDS, "Label": IDS}), "any of the columns 'label', 'Label'"),
        (pa.table({"image": [RED] * 12, "img": [RED] * 12, "label": IDS}), "the image may be in any of the columns 'image', 'img'"),
        (pa.table({"image": ["a.png"] * 12, "label": IDS}), "'image' is of type string"),
        (pa.table({"image": [{"path": "a.png"}] * 12, "label": IDS}), "'image' is of type struct<path"),
        (pa.table({"image": [{"path": "a.png", "bytes": None}] * 12, "label": IDS}, pa.schema(
            {"image": pa.struct({"path": pa.string(), "bytes": pa.binary()}), "label": pa.int64()})), "row 0: the image has no bytes"),
        (pa.Table.from_arrays([pa.array([RED] * 12), pa.array(IDS), pa.array(IDS)], ["image", "label", "label"]), "two columns are named"),
        (table(IDS).slice(0, 0), "no row"),
        (hub(table([0, 1] * 6), label=pets()), "no training image of the classes 'owl', which the schema"),
        (hub(table([0, 1, 3] * 4), label=pets()), "row 2: label 3 is out of range; .* 0, 1, 2"),
        (hub(table([0, 1, -1] * 4), label=pets()), "row 2: label -1 is out of range"),
        (hub(table(["0", "1", "2"] * 4), label=pets()), "row 0: label '0' is out of range; .*'cat'"),
        (hub(table(IDS), label=pets("a", "a", "b")), "no list of different texts"),
        (hub(table(IDS), label=pets(NFC, NFD, "b")), "no list of different texts"),
        (hub(table(IDS), label={"_type": "ClassLabel", "names": {"0": "a"}}), "no list of different texts"),
        (hub(pa.table({"image": [RED] * 12, "a": IDS, "b": IDS}), a=pets(), b=pets()), "any of the columns 'a', 'b'"),
    ],
)  # fmt: skip
def test_labels_that_are_refused(tmp_path, made, wanted):
    path = write(tmp_path / "d.parquet", made)
    with pytest.raises(DataError, match=wanted):
        load_source(f"parquet:{path}", root=tmp_path / "root")


@pytest.mark.parametrize(
    ("columns", "names", "channels"),
    [("#target", "0 1", 3), ("#image,target", "0 1", 3), ("#label", "cat dog owl", 3), ("#mask, label", "cat dog owl", 1)],
)
def test_columns_are_chosen_by_name(tmp_path, columns, names, channels):
    path = write(tmp_path / "a#b.parquet", table(TEXTS, target=[0, 1] * 6, mask=[GREY] * 12))
    found = load_source(f"parquet:{path}{columns}", root=tmp_path / "root")
    assert found.class_names == tuple(names.split()) and found.images.shape[1] == channels


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [("#nope", "no column 'nope'"), ("#mask", "any of the columns 'label', 'target'"), ("#label,target", "labels are read from one column"),
     ("#box", "'box' is of type list")],
)  # fmt: skip
def test_columns_that_cannot_be_chosen(tmp_path, columns, wanted):
    path = write(tmp_path / "d.parquet", table(TEXTS, target=[0, 1] * 6, mask=[GREY] * 12, box=[[1]] * 12))
    with pytest.raises(DataError, match=wanted):
        load_source(f"parquet:{path}{columns}", root=tmp_path / "root")


SHARD = table(IDS)


@pytest.mark.parametrize(
    ("made", "counts", "wanted"),
    [
        ({"train-00000-of-00002": SHARD, "train-00001-of-00002": SHARD.select(["label", "image"])}, (18, 6, 0), ""),
        ({"train-0": table(pa.array(IDS, pa.int8())), "train-1": table(pa.array(IDS, pa.uint64()))}, (18, 6, 0), ""),
        ({"train-0": SHARD, "train-1": table([float(i) for i in IDS])}, (18, 6, 0), ""),
        ({"train-0": table(TEXTS), "train-1": table(pa.array(TEXTS).dictionary_encode())}, (18, 6, 0), ""),
        ({"train-0": table([True, False] * 6), "train-1": table([0, 1] * 6)}, (20, 4, 0), ""),
        ({"train-0": SHARD, "train-1": pa.table({"image": [{"bytes": RED, "path": None}] * 12, "label": IDS})}, (18, 6, 0), ""),
        ({"train-0": SHARD, "train-1": table(IDS, width=IDS)}, (18, 6, 0), ""),
        ({f"train-{i}": table([i] * 12) for i in range(11)}, (110, 22, 0), ""),
        ({"train-00000-of-00003": SHARD, "train-00002-of-00003": SHARD}, (18, 6, 0), "parts 1 of the 3 files .* are missing"),
        ({"train/0": SHARD, "valid/0": SHARD, "test/0": SHARD, ".cache/x": SHARD}, (12, 12, 0), "valid/0.parquet is kept apart"),
        ({"train": SHARD, "unlabeled": SHARD.select(["image"])}, (9, 3, 12), ""),
        ({"train": SHARD, "unlabeled": table(pa.array([None] * 12))}, (9, 3, 12), ""),
        ({"train": SHARD, "unlabeled": table([0, 7] * 6)}, (9, 3, 12), "the labels 7 are no classes"),
        ({"0": SHARD, "1": SHARD}, (18, 6, 0), ""),
    ],
)  # fmt: skip
def test_files_that_are_read(tmp_path, made, counts, wanted):
    for name, part in made.items():
        write(tmp_path / "d" / f"{name}.parquet", part)
    found, said = read(f"parquet:{tmp_path / 'd'}", tmp_path / "root")
    assert sizes(found) == counts and all((found.labels == c).any() for c in range(len(found.class_names)))
    assert (re.search(wanted, said) and "\n" not in said) if wanted else not said, said


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ({"train-0": SHARD, "train-1": table(TEXTS)}, r"texts in .*train-1\.parquet but numbers in .*train-0\.parquet"),
        ({"train-0": SHARD, "train-1": SHARD.select(["image"])}, r"train-1\.parquet: no column 'label'"),
        ({"train-0": SHARD, "train-1": SHARD.rename_columns(["picture", "label"])}, r"train-1\.parquet: no column 'image'"),
        ({"train-0": SHARD, "train-1": table([[0]] * 12)}, r"train-1\.parquet: column 'label' is of type list"),
        ({"train-0": SHARD, "train-1": table(pa.array([None] * 12))}, r"train-1\.parquet, row 0: label None"),
        ({"train": SHARD, "test": table([0, 1, 3] * 4)}, r"test\.parquet, row 2: label 3"),
        ({"train": SHARD, "test": table([-1] * 12)}, r"test\.parquet, row 0: label -1"),
        ({"train": hub(SHARD, label=pets()), "test": hub(SHARD, label=pets("dog", "cat", "owl"))}, "its schema names the classes dog, cat"),
        ({"train": SHARD, "holdout": SHARD}, r"holdout\.parquet say no split"),
        ({"a/train": SHARD, "b/train": SHARD}, "are both train files, but not of one set"),
        ({"train": SHARD, "val": SHARD, "valid": SHARD}, "are both validation files"),
        ({"train/label=0/x": SHARD.select(["image"]), "train/label=1/x": SHARD.select(["image"])}, "no label column"),
        ({"train-00000-of-00002": SHARD, "train-00000-of-00003": SHARD}, "parts of 2 and of 3 files are mixed"),
        ({"train_test": SHARD}, "its name says train and test"),
        ({"test": SHARD}, r"no train\*\.parquet"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path, made, wanted):
    for name, part in made.items():
        write(tmp_path / "d" / f"{name}.parquet", part)
    with pytest.raises(DataError, match=wanted):
        load_source(f"parquet:{tmp_path / 'd'}", root=tmp_path / "root")


def test_a_full_disk_costs_time_alone(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    base = lay(tmp_path / "base", "a*5|b*5")
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    found, said = read(f"imagefolder:{base}", tmp_path / "root")
    assert sizes(found) == (8, 2, 0) and "No space left" in said and not [*(tmp_path / "root").rglob("*.*")]
