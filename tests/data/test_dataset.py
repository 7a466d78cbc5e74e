"""Whole data sets from a spec and a seed."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from pldebias.data import DataError, SplitSpec, build, class_counts, digits, glyphs, load_source, with_labelled

DIGITS = SplitSpec("digits", 60, 64, 20, 20)
GLYPHS = SplitSpec("glyphs", n1=20, m1=50, gamma_l=5, gamma_u=25)


def sets(dataset):
    return [part for part in (dataset.labelled, dataset.unlabelled, dataset.validation, dataset.holdout, dataset.test) if part is not None]


@pytest.fixture(scope="module")
def glyph_set():
    return build(GLYPHS, seed=3)


@pytest.mark.parametrize("seed", [3.0, np.uint8(3), torch.tensor(3), np.array(3)])
def test_a_seed_is_a_whole_number_of_any_type(glyph_set, seed):
    assert build(GLYPHS, seed=seed).fingerprint == glyph_set.fingerprint


@pytest.mark.parametrize("wrong", [{"seed": "0"}, {"seed": 0.5}, {"seed": True}, {"seed": -1}, {"seed": None}, {"progress": 2}])
def test_what_is_no_seed(wrong):
    with pytest.raises(DataError, match=f"{next(iter(wrong))}=.*: give "):
        build(GLYPHS, **wrong)


@pytest.mark.parametrize("size", ["16", -1, 0, 16.5, 10**9, True])
def test_what_is_no_size_of_images(size):
    for ask in (lambda: load_source("digits", image_size=size), lambda: build(dataclasses.replace(DIGITS, image_size=size))):
        with pytest.raises(DataError, match=r"image_size=.*: give a whole number"):
            ask()
    assert load_source("digits", image_size=np.int64(16)).images.shape[2:] == (16, 16)


def test_glyphs_renders_the_counts_it_is_asked_for(glyph_set):
    d = glyph_set
    assert d.labelled_counts.tolist() == class_counts(20, 5, 10) and d.unlabelled_counts.tolist() == class_counts(50, 25, 10)
    assert d.image_shape == (1, 16, 16) and d.num_classes == 10 and d.class_names == tuple("BSECOGFP85")
    assert torch.bincount(d.test.labels).tolist() == [200] * 10
    for part in sets(d):
        assert part.images.dtype == torch.uint8 and len(part) == len(part.images) == len(part.labels) == len(part.index)
    pixels = torch.cat([d.labelled.images, d.test.images]).double() / 255
    assert pixels.mean().item() == pytest.approx(d.mean[0], abs=0.02) and pixels.std().item() == pytest.approx(d.std[0], abs=0.02)


def test_the_same_spec_and_seed_make_the_same_set(glyph_set):
    again = build(SplitSpec.from_dict(json.loads(json.dumps(glyph_set.spec.to_dict()))), glyph_set.seed)
    assert again.fingerprint == glyph_set.fingerprint
    for a, b in zip(sets(again), sets(glyph_set), strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.index, b.index)


def test_glyph_seeds_share_the_test_set_alone(glyph_set):
    other = build(GLYPHS, seed=4)
    assert torch.equal(other.test.images, glyph_set.test.images)
    assert not torch.equal(other.labelled.images, glyph_set.labelled.images)
    assert other.fingerprint != glyph_set.fingerprint


def test_glyphs_are_the_same_with_one_and_two_threads():
    labels = torch.arange(10).repeat(30)
    images = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        images.append(glyphs.render(labels, torch.Generator().manual_seed(5)))
    torch.set_num_threads(1)
    assert torch.equal(*images)


def test_glyph_classes_can_be_told_apart():
    """A nearest class mean, the weakest of classifiers, is far above chance; look-alikes keep it below perfection."""
    train = build(SplitSpec("glyphs", 100, 1), seed=0)
    means = torch.stack([train.labelled.images[train.labelled.labels == c].float().mean(0) for c in range(10)])
    distance = (train.test.images.float()[:, None] - means).square().flatten(2).sum(2)
    accuracy = (distance.argmin(1) == train.test.labels).float().mean()
    assert 0.25 < accuracy < 0.9


def test_glyph_sizes():
    assert glyphs.render([0, 1], torch.Generator(), 32).shape == (2, 1, 32, 32)
    with pytest.raises(DataError, match="8 to 64"):
        build(dataclasses.replace(GLYPHS, image_size=128))


def test_digits_protocol():
    d = build(DIGITS, seed=0)
    by_rank = d.labelled_counts[list(digits.ORDER)].tolist()
    assert by_rank == class_counts(60, 20, 10) and d.unlabelled_counts[list(digits.ORDER)].tolist() == class_counts(64, 20, 10)
    assert torch.bincount(d.test.labels).tolist() == [50] * 10 and d.image_shape == (1, 8, 8)
    assert not set(d.labelled.index.tolist()) & set(d.unlabelled.index.tolist())
    other = build(DIGITS, seed=1)
    assert torch.equal(other.test.images, d.test.images) and not torch.equal(other.labelled.index, d.labelled.index)


def test_digits_noise_is_fixed_and_of_its_size():
    from sklearn.datasets import load_digits

    clean, labels = load_digits(return_X_y=True)
    images, train_labels, test, test_labels = digits.load()
    assert len(images) + len(test) == len(clean) == 1797
    counts = torch.bincount(train_labels) + torch.bincount(test_labels)
    assert counts.tolist() == np.bincount(labels).tolist()
    noisy = torch.cat([images, test]).double().flatten(1) / 255
    middle = (noisy > 0.3) & (noisy < 0.7)
    assert middle.any() and abs(noisy.mean().item() - clean.mean() / 16) < 0.05


def test_labels_keep_their_ids_under_a_class_order():
    spec = dataclasses.replace(DIGITS, class_order=tuple(range(9, -1, -1)), n1=40, m1=40)
    d = build(spec)
    assert d.labelled_counts.tolist() == class_counts(40, 20, 10)[::-1]
    full = digits.load()
    assert torch.equal(full[1][d.labelled.index], d.labelled.labels) and torch.equal(full[0][d.labelled.index], d.labelled.images)
    assert build(dataclasses.replace(spec, class_order=tuple("9876543210"))).fingerprint == d.fingerprint


def test_reversed_and_uniform():
    d = build(dataclasses.replace(GLYPHS, reverse_unlabelled=True))
    assert d.unlabelled_counts.tolist() == class_counts(50, 25, 10)[::-1] and d.labelled_counts[0] == 20
    assert build(dataclasses.replace(GLYPHS, gamma_u=1)).unlabelled_counts.tolist() == [50] * 10


@pytest.mark.parametrize("protocol", ["daso", "usb"])
@pytest.mark.parametrize("source", ["digits", "glyphs"])
def test_include_labelled_validation_and_holdout(protocol, source):
    spec = SplitSpec(source, 40, 50, 4, 5, protocol=protocol, validation=50, holdout=0.5, include_labelled=True)
    d = build(spec, seed=2)
    whole = build(dataclasses.replace(spec, holdout=0, include_labelled=False), seed=2)
    held = whole.labelled_counts // 2
    assert torch.equal(torch.bincount(d.holdout.labels, minlength=10), held)
    assert torch.equal(d.labelled_counts, whole.labelled_counts - held)
    assert torch.bincount(d.validation.labels).tolist() == [5] * 10
    n = len(d.labelled)
    assert torch.equal(d.unlabelled.index[:n], d.labelled.index) and torch.equal(d.unlabelled.images[:n], d.labelled.images)
    assert torch.equal(d.unlabelled.index[n:], whole.unlabelled.index)
    together = torch.cat([d.labelled.index, d.holdout.index, whole.unlabelled.index, d.validation.index])
    assert len(together.unique()) == len(together)


def test_holdout_of_darp():
    d = build(dataclasses.replace(DIGITS, n1=60, gamma_l=5, holdout=4))
    assert torch.bincount(d.holdout.labels).tolist() == [4] * 10
    assert d.labelled_counts.min() == 12 - 4
    tail_too_small = dataclasses.replace(DIGITS, n1=40, m1=40, holdout=4, validation=60)
    d = build(tail_too_small)
    assert set(d.holdout.index.tolist()) <= set(d.validation.index.tolist()) and len(d.holdout) == 40
    assert d.labelled_counts.sum() == sum(class_counts(40, 20, 10))
    with pytest.raises(DataError, match=r"holdout=4 leaves class '5'.*has 2 .*validation to at least 40"):
        build(dataclasses.replace(tail_too_small, validation=0))


def test_unknown_labels():
    d = build(dataclasses.replace(DIGITS, unknown_labels=True))
    assert (d.unlabelled.labels == -1).all() and d.unlabelled_counts is None
    assert d.fingerprint != build(DIGITS).fingerprint


@pytest.mark.parametrize(
    "change", [{"n1": 50}, {"m1": 50}, {"gamma_l": 19}, {"gamma_u": 5}, {"protocol": "usb"}, {"holdout": 0.5}, {"include_labelled": True}]
)
def test_fingerprint_follows_every_change(change):
    assert build(dataclasses.replace(DIGITS, **change)).fingerprint != build(DIGITS).fingerprint


def test_fingerprint_ignores_where_data_lie(tmp_path):
    assert build(dataclasses.replace(DIGITS, root=str(tmp_path))).fingerprint == build(DIGITS).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "glyph"}, r"source 'glyph' is not known .did you mean 'glyphs'.*; choose one of glyphs, digits, cifar10"),
        ({"source": "CIFAR-10"}, "did you mean 'cifar10'"),
        ({"source": "parquet"}, "needs a path: parquet:PATH"),
        ({"gamma_l": 0.1}, "gamma_l=0.1.*reverse_unlabelled"),
        ({"gamma_u": -100}, "gamma_u=-100.*reverse_unlabelled"),
        ({"protocol": "crest"}, "'daso', 'usb'"),
        ({"n1": 0}, "n1=0"),
        ({"m1": 2.5}, "m1=2.5"),
        ({"holdout": 1.5}, "holdout=1.5"),
        ({"validation": 55}, "multiple of the 10 classes"),
        ({"class_order": (1, 2, 3)}, "class_order must name each"),
    ],
)
def test_bad_specs_are_refused_before_anything_is_read(change, message, monkeypatch):
    monkeypatch.setattr("pldebias.data.dataset.load_source", lambda *a, **k: pytest.fail("something was read"))
    with pytest.raises(DataError, match=message):
        build(dataclasses.replace(DIGITS, **change))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SplitSpec("cifar10", 1500, 4000, 100, 100), "class 'airplane' has 5000 .*lower n1 or m1 by 500"),
        (SplitSpec("cifar10", 500, 4000, 100, 100, validation=10000), "has 4000 images to split.*lower n1 or m1 by 500 "),
        (SplitSpec("cifar100", 5, 100, 100, 1), "class '35' .*without a labelled image: raise n1 to at least 100"),
        (SplitSpec("cifar10", 500, None, 100, validation=50000), "lower validation below 50000"),
        (SplitSpec("stl10", 450, 1000, 10), "unlabelled set of its own"),
        (SplitSpec("digits", 100, 100), "class '8' has 124 images"),
        (SplitSpec("cifar10"), "would label every image"),
    ],
)
def test_impossible_counts_of_known_sources_are_refused_before_a_download(spec, message, monkeypatch):
    monkeypatch.setattr("pldebias.data.dataset.load_source", lambda *a, **k: pytest.fail("something was read"))
    with pytest.raises(DataError, match=message):
        build(spec)


def test_unknown_fields_of_a_spec():
    with pytest.raises(DataError, match="no field 'gamma'; allowed: class_order"):
        SplitSpec.from_dict({"gamma": 3})


def test_distractors_fill_the_unlabelled_set_up():
    whole = build(SplitSpec(n1=20, m1=100, gamma_l=5, gamma_u=5), 0)
    mixed = build(SplitSpec(n1=20, m1=100, gamma_l=5, gamma_u=5, relevance=0.5), 0)
    assert len(mixed.unlabelled) == len(whole.unlabelled)
    assert mixed.unlabelled_counts is None
    known = mixed.unlabelled.labels[mixed.unlabelled.labels >= 0]
    counts = torch.bincount(known, minlength=10)
    assert counts.tolist() == [round(0.5 * n) for n in whole.unlabelled_counts.tolist()]
    assert torch.equal(mixed.unlabelled.images[: counts.sum()], whole.unlabelled.images[whole_rows(whole, counts)])
    assert torch.equal(mixed.labelled.images, whole.labelled.images)
    assert mixed.fingerprint != whole.fingerprint
    assert len(set(build(SplitSpec(n1=20, m1=100, relevance=0), 0).unlabelled.labels.tolist())) == 1


def whole_rows(dataset, counts):
    """Rows of the first `counts` images of every class, in their order in the set."""
    labels = dataset.unlabelled.labels
    rank = torch.stack([(labels == c).cumsum(0) for c in range(len(counts))], 1)[torch.arange(len(labels)), labels]
    return torch.nonzero(rank <= counts[labels])[:, 0]


def test_distractors_of_another_source():
    spec = SplitSpec("digits", n1=20, m1=40, gamma_l=2, relevance=0.8, distractors="digits")
    assert (build(spec, 0).unlabelled.labels < 0).sum() == 80
    for wrong, message in (
        ({"relevance": 1.5}, r"in \[0, 1\]"),
        ({"distractors": None}, "needs distractors"),
        ({"distractors": "cifar11"}, "did you mean 'cifar10'"),
    ):
        with pytest.raises(DataError, match=message):
            build(dataclasses.replace(spec, **wrong), 0)


def test_more_labelled_rows_keep_their_new_labels():
    dataset = build(SplitSpec(n1=20, m1=50, gamma_l=5), 0)
    rows, labels = torch.tensor([3, 7]), torch.tensor([9, 1])
    more = with_labelled(dataset, rows, labels)
    assert more.labelled.labels[-2:].tolist() == [9, 1]
    assert torch.equal(more.labelled.images[-2:], dataset.unlabelled.images[rows])
    assert torch.equal(more.labelled_counts, dataset.labelled_counts)
    assert len(dataset.labelled) == len(more.labelled) - 2
