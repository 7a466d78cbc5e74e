"""Benchmark sources through torchvision, with torchvision's classes replaced: layouts, unlabelled sets, and being offline."""

import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image

from pldebias.data import DataError, SplitSpec, build, load_source
from pldebias.data.sources import KNOWN, data_root, statistics

PER_CLASS = 12


def fake(shape, layout, classes=None):
    """A stand-in for a torchvision data set with `PER_CLASS` images of 10 classes."""

    class Fake:
        def __init__(self, root, download=False, train=None, split="train"):
            labels = np.tile(np.arange(10), PER_CLASS)
            self.data = np.random.RandomState(0 if train or split == "train" else 1).randint(0, 256, (len(labels), *shape)).astype(np.uint8)
            setattr(self, layout, labels.tolist() if split != "unlabeled" else np.full(len(labels), -1))
            if classes:
                self.classes = classes

    return Fake


@pytest.fixture
def small(monkeypatch):
    """Sizes as the fakes have them."""
    import dataclasses

    for name in ("cifar10", "svhn", "fashionmnist", "stl10"):
        monkeypatch.setitem(KNOWN, name, dataclasses.replace(KNOWN[name], sizes=(PER_CLASS,) * 10))


@pytest.mark.parametrize(
    ("name", "attribute", "shape", "layout", "wanted"),
    [
        ("cifar10", "CIFAR10", (32, 32, 3), "targets", (3, 32, 32)),
        ("svhn", "SVHN", (3, 32, 32), "labels", (3, 32, 32)),
        ("fashionmnist", "FashionMNIST", (28, 28), "targets", (1, 28, 28)),
    ],
)
def test_layouts(name, attribute, shape, layout, wanted, small, monkeypatch):
    monkeypatch.setattr(f"torchvision.datasets.{attribute}", fake(shape, layout))
    d = build(SplitSpec(name, 5, 7, 2, 2))
    assert d.image_shape == wanted and len(d.class_names) == 10 and d.labelled_counts[0] == 5
    assert (d.mean, d.std) == statistics(name, "daso")
    data = torch.as_tensor(fake(shape, layout)(None, train=True).data)
    first = data[d.labelled.index[0]]
    assert torch.equal(d.labelled.images[0], first[None] if first.ndim == 2 else first if first.shape[0] == 3 else first.permute(2, 0, 1))


def test_stl10_brings_unlabelled_images_of_unknown_labels(small, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.STL10", fake((3, 96, 96), "labels"))
    d = build(SplitSpec("stl10", 6, None, 2, validation=50))
    assert (d.unlabelled.labels == -1).all() and d.unlabelled_counts is None and len(d.unlabelled) == 10 * PER_CLASS
    assert d.labelled_counts[0] == 6 and len(d.validation) == 50 and d.image_shape == (3, 96, 96)
    small_images = build(SplitSpec("stl10", 6, None, 2, image_size=32)).test.images
    wanted = Image.fromarray(d.test.images[0].permute(1, 2, 0).numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    assert torch.equal(small_images[0], torch.from_numpy(np.array(wanted)).permute(2, 0, 1))
    both = build(SplitSpec("stl10", 6, None, 2, include_labelled=True))
    assert both.unlabelled.labels[0] >= 0 and len(both.unlabelled) == len(d.unlabelled) + len(both.labelled)


def test_cifar100_takes_its_names_and_orders_from_the_files(monkeypatch):
    names = [f"class{k}" for k in range(10)]
    monkeypatch.setattr("torchvision.datasets.CIFAR100", fake((32, 32, 3), "targets", names))
    source = load_source("cifar100")
    assert source.class_names == tuple(names) and source.labels.max() == 9


def test_protocols_normalise_by_their_own_constants():
    assert statistics("cifar10", "usb")[0] == (0.485, 0.456, 0.406) and statistics("cifar10", "daso")[0] == (0.4914, 0.4822, 0.4465)
    assert statistics("svhn", "usb") == statistics("svhn", "daso")


def test_being_offline_says_what_to_do(tmp_path, monkeypatch):
    class Offline:
        def __init__(self, root, download=False, **kwargs):
            if not download:
                raise RuntimeError("Dataset not found or corrupted.")
            raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Offline)
    with pytest.raises(
        DataError, match=r"cifar10 is not in .* could not be downloaded .*Name or service not known.*set root \(or PLDEBIAS_DATA\)"
    ):
        build(SplitSpec("cifar10", 500, 4000, 100, 100, root=str(tmp_path)))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    def without_scipy(*args, **kwargs):
        raise ImportError("No module named 'scipy'")

    monkeypatch.setattr("torchvision.datasets.SVHN", without_scipy)
    with pytest.raises(DataError, match=r"svhn needs a package that is not installed.*scipy"):
        load_source("svhn", root=tmp_path)


def test_glyphs_have_no_end():
    with pytest.raises(DataError, match=r"use pldebias\.data\.build"):
        load_source("glyphs")


def test_data_root(monkeypatch):
    monkeypatch.setenv("PLDEBIAS_DATA", "/somewhere")
    assert str(data_root(None)) == "/somewhere" and str(data_root("here")) == "here"
    monkeypatch.delenv("PLDEBIAS_DATA")
    assert str(data_root(None)) == "data"
