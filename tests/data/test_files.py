"""A user's own images: folders and Parquet files, whole and broken."""

import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pillow_reference import smooth, to_image

from pldebias.data import DataError, ResidentLoader, SplitSpec, StreamLoader, build, decode, files, make_augment

CLASSES = ("ant", "bee", "cat")


def encode(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def pictures(n=10, channels=3, size=16, seed=0):
    return [to_image(x) for x in smooth(n, channels, size, seed)]


def make_folder(root, counts=(10, 10, 10), **kwargs):
    for seed, (name, n) in enumerate(zip(CLASSES, counts, strict=True)):
        (root / name).mkdir(parents=True)
        for i, picture in enumerate(pictures(n, seed=seed, **kwargs)):
            picture.save(root / name / f"{i:03d}.png")
    return root


def make_parquet(path, images, labels, names=CLASSES, column="image"):
    table = pa.table({column: [{"bytes": b, "path": None} for b in images], "label": labels})
    if names:
        features = {column: {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=7)
    return path


@pytest.fixture
def spec(tmp_path):
    def make(source, **kwargs):
        return SplitSpec(source, **{"n1": 2, "m1": 3, "root": str(tmp_path / "root"), **kwargs})

    return make


def test_flat_folder_gives_a_fixed_test_set(tmp_path, spec):
    source = f"imagefolder:{make_folder(tmp_path / 'flat')}"
    d, other = build(spec(source), seed=0), build(spec(source), seed=1)
    assert d.class_names == CLASSES and d.image_shape == (3, 16, 16) and torch.bincount(d.test.labels).tolist() == [2, 2, 2]
    assert torch.equal(d.test.images, other.test.images) and not torch.equal(d.labelled.index, other.labelled.index)
    assert d.labelled_counts.tolist() == [2, 2, 2] and d.unlabelled_counts.tolist() == [3, 3, 3]
    everything = torch.cat([smooth(10, 3, 16, seed) for seed in range(3)])
    assert (everything == d.labelled.images[0]).flatten(1).all(1).any()
    assert 0 < d.mean[0] < 1 and d.std[0] > 0.05


def test_tree_with_test_and_unlabelled(tmp_path, spec):
    make_folder(tmp_path / "tree" / "train")
    make_folder(tmp_path / "tree" / "test", (4, 0, 2))
    make_folder(tmp_path / "tree" / "unlabelled", (6, 6, 6))
    with pytest.warns(UserWarning, match="no test image of the classes bee"):
        d = build(spec(f"imagefolder:{tmp_path / 'tree'}", n1=4, m1=6, gamma_u=3, reverse_unlabelled=True))
    assert torch.bincount(d.test.labels, minlength=3).tolist() == [4, 0, 2]
    assert d.unlabelled_counts.tolist() == [2, 3, 6] and d.labelled_counts.tolist() == [4, 4, 4]
    with pytest.warns(UserWarning, match="bee"), pytest.raises(DataError, match=r"'cat' has 6 unlabelled images.*lower m1"):
        build(spec(f"imagefolder:{tmp_path / 'tree'}", n1=4, m1=9, reverse_unlabelled=True, class_order=("ant", "bee", "cat")))


def test_unlabelled_images_without_folders(tmp_path, spec):
    make_folder(tmp_path / "tree" / "train")
    (tmp_path / "tree" / "unlabelled").mkdir()
    for i, picture in enumerate(pictures(7)):
        picture.save(tmp_path / "tree" / "unlabelled" / f"{i}.png")
    source = f"imagefolder:{tmp_path / 'tree'}"
    d = build(spec(source, m1=None))
    assert len(d.unlabelled) == 7 and (d.unlabelled.labels == -1).all() and d.unlabelled_counts is None
    with pytest.raises(DataError, match="need true labels"):
        build(spec(source, m1=3))


def test_resize_and_grey(tmp_path, spec):
    folder = make_folder(tmp_path / "grey", channels=1)
    d = build(spec(f"imagefolder:{folder}", image_size=8))
    assert d.image_shape == (1, 8, 8)
    wanted = Image.open(folder / "ant" / "000.png").resize((8, 8), Image.Resampling.BILINEAR)
    everything = torch.cat([d.labelled.images, d.unlabelled.images, d.test.images])
    assert (everything == torch.from_numpy(np.array(wanted))).flatten(1).all(1).any()


def test_sizes_that_differ(tmp_path, spec):
    folder = make_folder(tmp_path / "mixed")
    Image.new("RGB", (20, 12)).save(folder / "cat" / "odd.png")
    with pytest.raises(DataError, match=r"cat/odd\.png is 20 x 12 pixels but .*ant/000\.png is 16 x 16 pixels: give image_size"):
        build(spec(f"imagefolder:{folder}"))
    assert build(spec(f"imagefolder:{folder}", image_size=16)).image_shape == (3, 16, 16)
    assert not list((tmp_path / "root" / "decoded").glob("*.partial"))


@pytest.mark.parametrize("name", ["notes.txt", "fake.png"])
def test_a_file_that_is_no_image_is_named(tmp_path, spec, name):
    folder = make_folder(tmp_path / "broken")
    (folder / "bee" / name).write_text("this is no image")
    with pytest.raises(DataError, match=rf"bee/{name}: not "):
        build(spec(f"imagefolder:{folder}"))


def test_hidden_files_are_passed_over(tmp_path, spec):
    folder = make_folder(tmp_path / "mac")
    (folder / "bee" / ".DS_Store").write_bytes(b"x")
    (folder / ".git").mkdir()
    assert build(spec(f"imagefolder:{folder}")).class_names == CLASSES


def test_folders_that_make_no_data_set(tmp_path, spec):
    with pytest.raises(DataError, match="no such folder"):
        build(spec("imagefolder:/nowhere/at/all"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="0 class folders"):
        build(spec(f"imagefolder:{tmp_path / 'empty'}"))
    folder = make_folder(tmp_path / "hole")
    (folder / "dog").mkdir()
    with pytest.raises(DataError, match="class 'dog' has no image"):
        build(spec(f"imagefolder:{folder}"))
    make_folder(tmp_path / "strange" / "train")
    (tmp_path / "strange" / "test" / "emu").mkdir(parents=True)
    with pytest.raises(DataError, match="folders emu are no classes"):
        build(spec(f"imagefolder:{tmp_path / 'strange'}"))


def test_decoded_images_are_cached_by_content(tmp_path, spec, monkeypatch):
    folder = make_folder(tmp_path / "flat")
    first = build(spec(f"imagefolder:{folder}"))
    (cached,) = (tmp_path / "root" / "decoded").glob("*.npy")
    with monkeypatch.context() as patch:
        patch.setattr(files, "decode", lambda *a: pytest.fail("decoded again"))
        assert build(spec(f"imagefolder:{folder}")).fingerprint == first.fingerprint
    pictures(11, seed=9)[10].save(folder / "ant" / "000.png")
    assert build(spec(f"imagefolder:{folder}")).fingerprint != first.fingerprint
    assert cached.exists() and not list(folder.rglob("*.npy"))


def test_a_read_only_data_root_costs_time_alone(tmp_path, spec):
    folder = make_folder(tmp_path / "flat")
    (tmp_path / "blocked").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="set PLDEBIAS_DATA to a writable folder"):
        d = build(spec(f"imagefolder:{folder}", root=str(tmp_path / "blocked")))
    assert d.fingerprint == build(spec(f"imagefolder:{folder}")).fingerprint


@pytest.mark.parametrize("way", ["files", "array"])
def test_images_too_many_for_memory_stream(tmp_path, spec, monkeypatch, way):
    source = f"imagefolder:{make_folder(tmp_path / 'flat')}"
    resident = build(spec(source, image_size=12, include_labelled=True, holdout=1))
    monkeypatch.setattr(files, "LAZY_ABOVE", 0) if way == "files" else monkeypatch.setattr(decode, "memory", lambda: 1)
    lazy = build(
        spec(source, image_size=12, include_labelled=True, holdout=1, root=str(tmp_path / way if way == "files" else tmp_path / "root"))
    )
    assert isinstance(lazy.unlabelled.images, decode.LazyImages) and lazy.unlabelled.images.shape == resident.unlabelled.images.shape
    for name in ("labelled", "unlabelled", "holdout", "test"):
        a, b = getattr(resident, name), getattr(lazy, name)
        assert torch.equal(a.images, b.images[torch.arange(len(b))]) and torch.equal(a.labels, b.labels), name
    augment = make_augment("daso", resident.mean, resident.std, 12)
    with pytest.raises(DataError, match="use StreamLoader"):
        ResidentLoader(lazy, augment, batch_size=2, mu=2)
    loader, reference = StreamLoader(lazy, augment, batch_size=2, mu=2, workers=0), ResidentLoader(resident, augment, batch_size=2, mu=2)
    for _ in range(4):
        assert torch.equal(loader.next().unlabelled["strong"], reference.next().unlabelled["strong"])
    assert torch.equal(next(loader.clean("test"))[0], next(reference.clean("test"))[0])


def test_parquet_folder_with_names_from_the_schema(tmp_path, spec):
    labels = [0, 1, 2] * 10
    images = [encode(p, "JPEG") for p in pictures(30)]
    make_parquet(tmp_path / "hub" / "data" / "train-00000-of-00002.parquet", images[:12], labels[:12])
    make_parquet(tmp_path / "hub" / "data" / "train-00001-of-00002.parquet", images[12:], labels[12:])
    make_parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", images[:3], labels[:3])
    d = build(spec(f"parquet:{tmp_path / 'hub'}"))
    assert d.class_names == CLASSES and len(d.test) == 3 and d.image_shape == (3, 16, 16)
    for part in (d.labelled, d.unlabelled):
        for image, label, position in zip(part.images, part.labels.tolist(), part.index.tolist(), strict=True):
            assert label == labels[position] and torch.equal(
                image, torch.from_numpy(np.array(Image.open(io.BytesIO(images[position])))).permute(2, 0, 1)
            )


def test_one_parquet_file_without_names(tmp_path, spec):
    path = make_parquet(
        tmp_path / "mine.parquet", [encode(p) for p in pictures(30, channels=1)], [0, 1, 2] * 10, names=None, column="picture"
    )
    d = build(spec(f"parquet:{path}"))
    assert d.class_names == ("0", "1", "2") and d.image_shape == (1, 16, 16) and len(d.test) == 6


def test_parquet_with_text_labels_and_plain_bytes(tmp_path, spec):
    table = pa.table({"img": [encode(p) for p in pictures(20)], "class": ["yes", "no"] * 10})
    pq.write_table(table, tmp_path / "text.parquet")
    d = build(spec(f"parquet:{tmp_path / 'text.parquet'}"))
    assert d.class_names == ("no", "yes")
    for part in (d.labelled, d.unlabelled, d.test):
        assert torch.equal(part.labels, 1 - part.index % 2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_corrupt_row_is_named(tmp_path, spec, kind):
    images = [encode(p, kind) for p in pictures(30)]
    images[17] = images[17][:40]
    path = make_parquet(tmp_path / "mine.parquet", images, [0, 1, 2] * 10)
    with pytest.raises(DataError, match=r"mine\.parquet, row 17: not a readable image"):
        build(spec(f"parquet:{path}"))
    assert not list((tmp_path / "root").rglob("*.npy"))


@pytest.mark.parametrize(
    ("label", "said"),
    [(7, "label 7 is out of range; allowed are the 3 classes of the training images, 0, 1, 2"), (-1, "label -1"), (None, "label None")],
)
def test_labels_out_of_range_are_named(tmp_path, spec, label, said):
    path = make_parquet(tmp_path / "mine.parquet", [encode(p) for p in pictures(4)], [0, 1, label, 2])
    with pytest.raises(DataError, match=rf"mine\.parquet, row 2: {said}"):
        build(spec(f"parquet:{path}"))


def test_parquet_files_that_make_no_data_set(tmp_path, spec):
    with pytest.raises(DataError, match="no such file or folder"):
        build(spec("parquet:/nowhere.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.parquet file"):
        build(spec(f"parquet:{tmp_path / 'empty'}"))
    (tmp_path / "bad.parquet").write_bytes(os.urandom(100))
    with pytest.raises(DataError, match=r"bad\.parquet: not a readable Parquet file"):
        build(spec(f"parquet:{tmp_path / 'bad.parquet'}"))
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "blind.parquet")
    with pytest.raises(DataError, match="no image column"):
        build(spec(f"parquet:{tmp_path / 'blind.parquet'}"))
    make_parquet(tmp_path / "only" / "test.parquet", [encode(p) for p in pictures(3)], [0, 1, 2])
    with pytest.raises(DataError, match=r"no train\*\.parquet"):
        build(spec(f"parquet:{tmp_path / 'only'}"))


def test_a_missing_image_is_named(tmp_path, spec):
    path = make_parquet(tmp_path / "mine.parquet", [encode(pictures(2)[1]), None], [0, 1], names=("a", "b"))
    with pytest.raises(DataError, match="row 1: the image has no bytes"):
        build(spec(f"parquet:{path}"))
