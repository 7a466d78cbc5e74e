"""The embedding view's Python side: the arrays it sends and would draw, what it refuses, how it is written down."""

import gzip

import numpy as np
import pytest
from made_runs import HOSTILE, make_snapshots

import pldebias as pld
from pldebias.analysis.embedding import FLIPS
from pldebias.runs import NotLogged, Recorder
from pldebias.widgets import embedding
from pldebias.widgets.embedding import EmbeddingView
from pldebias.widgets.module import module
from pldebias.widgets.page import Piece, page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_snapshots(tmp_path_factory.mktemp("runs") / "a")


@pytest.fixture(scope="module")
def points(run):
    return pld.embed(run, per_class=15)


def unpacked(meta, data):
    """The arrays of a payload, as the browser reads them."""
    raw = gzip.decompress(data)
    return {name: np.frombuffer(raw, kind, length, offset) for name, (offset, kind, length) in meta["blocks"].items()}


def test_payload_holds_what_the_embedding_says(points, run):
    view = pld.embedding_view(points)
    arrays, (frames, n) = unpacked(view.meta, view.data), points.label.shape
    assert {name: values.dtype.name for name, values in arrays.items()} == {
        "ids": "uint32", "position": "uint16", "confidence": "uint16", "middle_true": "uint16", "middle_label": "uint16", "true": "int16",
        "group": "uint8", "label": "uint8", "accepted": "uint8",
    }  # fmt: skip
    for offset, kind, _ in view.meta["blocks"].values():
        assert offset % np.dtype(kind).itemsize == 0  # a typed array cannot begin elsewhere
    np.testing.assert_array_equal(arrays["ids"], points.index)
    np.testing.assert_array_equal(arrays["true"], points.true)
    np.testing.assert_array_equal(arrays["label"].reshape(frames, n), points.label)
    np.testing.assert_array_equal(arrays["accepted"].reshape(frames, n), points.accepted)
    np.testing.assert_array_equal(arrays["group"], points.group)
    assert np.abs(arrays["confidence"].reshape(frames, n) / 1000 - points.confidence).max() <= 0.0005 + 1e-6
    position = arrays["position"].reshape(frames, n, 2).astype(float)
    spread = np.ptp(points.frames, (0, 1))
    np.testing.assert_allclose(np.ptp(position, (0, 1)) / position.max(), spread / spread.max(), atol=1e-4)  # one scale for both axes
    meta = view.meta
    assert (meta["epochs"], meta["n"], meta["classes"]) == ([0, 2, 3], n, list(run.class_names))
    np.testing.assert_allclose(meta["purity"], points.purity)
    np.testing.assert_allclose(meta["trustworthiness"], points.trustworthiness)
    np.testing.assert_allclose(meta["right"], points.right)
    assert meta["shown"] == [*np.bincount(points.group), n]


def test_middles_are_medians_of_the_classes(points):
    view = pld.embedding_view(points, quality=False)
    arrays, (frames, n) = unpacked(view.meta, view.data), points.label.shape
    position = arrays["position"].reshape(frames, n, 2)
    for name, classes in (("middle_true", np.tile(points.true, (frames, 1))), ("middle_label", points.label)):
        middle = arrays[name].reshape(frames, 6, 2)
        for frame, k in np.ndindex(frames, 6):
            members = position[frame, classes[frame] == k]
            np.testing.assert_array_equal(middle[frame, k], np.median(members, 0).astype(np.uint16))
    scattered = np.array([[1, -1], [0, 0], [0, -1], [1, 1]])
    here = np.arange(16, dtype=np.uint16).reshape(4, 2, 2)
    middle = embedding._middles(here, scattered, 3)
    assert middle[:, 0].tolist() == [[5, 6], [5, 6], [8, 9], [8, 9]]  # absent at first: as in the next frame; at last: as before
    assert middle[:, 1].tolist() == [[0, 1], [0, 1], [0, 1], [13, 14]] and (middle[:, 2] == 65_535).all()


def test_what_would_be_drawn(points, run):
    arrays = pld.embedding_view(run, per_class=15, backend="none")
    np.testing.assert_allclose(arrays["positions"], points.frames, atol=1e-4)
    np.testing.assert_array_equal(arrays["fill"], points.groups.of[points.label])
    np.testing.assert_array_equal(arrays["ring"], points.label != points.true)
    np.testing.assert_array_equal(arrays["large"], points.true >= 4)  # two of six classes are tail
    assert (np.diff(arrays["large"][arrays["order"]].astype(int)) >= 0).all()  # tail last
    assert set(pld.embedding_view(points, colour="true", backend="none")["fill"][0]) == {0, 1, 2}
    sure = pld.embedding_view(points, colour="confidence", backend="none")["fill"]
    np.testing.assert_allclose(sure, points.confidence, atol=6e-4)
    with pytest.raises(ValueError, match="choose 'widget' or 'none'"):
        pld.embedding_view(points, backend="svg")


def test_flips_say_what_became_of_a_label(points):
    flips = pld.embedding_view(points, colour="flipped", backend="none")["fill"]
    assert not flips[0].any()
    for frame, i in np.ndindex(2, len(points.index)):
        before, now, true = points.label[frame, i], points.label[frame + 1, i], points.true[i]
        expected = (
            "same label" if before == now else "became right" if now == true else "became wrong" if before == true
            else "from one wrong label to another"
        )  # fmt: skip
        assert FLIPS[flips[frame + 1, i]] == expected
    assert len(set(flips[1])) > 2


def test_right_counts_the_points_of_known_truth(points):
    hits = points.label == points.true
    for group, members in enumerate((points.group == 0, points.group == 1, points.group == 2, points.group >= 0)):
        np.testing.assert_allclose(points.right[:, group], hits[:, members].mean(1))


def test_confidence_is_the_methods_or_else_the_softmax(points, run, tmp_path):
    assert points.confidence_source == ("method",) * 3
    logits = run.logits(3)[points.index]
    softmax = np.exp(logits - logits.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    np.testing.assert_allclose(points.confidence[-1], softmax.max(1), rtol=1e-5)
    foreign = pld.embed(make_snapshots(tmp_path / "foreign", method=None), per_class=15)
    assert foreign.confidence_source == ("softmax",) * 3
    np.testing.assert_allclose(foreign.confidence, points.confidence, rtol=1e-5)  # the same outputs, and FixMatch changes none
    assert "softmax" in pld.embedding_view(foreign, quality=False).meta["confidence"]


def test_state_reproduces_the_view(points):
    chosen = [int(i) for i in points.index[[0, 5, 7]]]
    view = pld.embedding_view(points, link="a", epoch=2, colour="flipped", cell=[5, 0], selection=chosen, names=False, speed=2)
    assert view.state == {"epoch": 2, "colour": "flipped", "cell": [5, 0], "selection": chosen, "names": False, "speed": 2, "link": "a",
                          "quality": True}  # fmt: skip
    again = EmbeddingView(points, **view.state)
    assert (again.state, again.data, again.meta) == (view.state, view.data, view.meta)
    assert repr(view).endswith("epoch 2, flipped)")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"epoch": 1}, "epochs 0, 2, 3; not 1"),
        ({"colour": "class"}, "choose one of pseudo, true, flipped, confidence"),
        ({"cell": [0, 9]}, "classes 0..5"),
        ({"selection": [100_000]}, "1 of 1 samples are not in this embedding"),
        ({"zoom": 2}, "unknown state"),
        ({"epoch": "x"}, "epoch='x' must be a whole number"),
        ({"cell": "ab"}, "cell='ab' must be a list"),
        ({"selection": [10**30]}, r"below 2\*\*63"),
        ({"selection": 3}, "selection=3 must be a list"),
        ({"names": 1}, "names=1 must be True or False"),
        ({"speed": 3}, "speed must be one of 0.5, 1, 2, 4; got 3"),
        ({"link": 3}, "link=3 must be a text"),
    ],
)
def test_choices_that_an_embedding_does_not_offer(points, choice, message):
    with pytest.raises((ValueError, NotLogged), match=message):
        pld.embedding_view(points, quality=False, **choice)


def test_numbers_of_any_type_are_taken(points):
    given = {"epoch": np.int64(2), "cell": np.array([5, 0]), "selection": points.index[:2], "speed": np.float32(2), "names": np.True_}
    state = pld.embedding_view(points, quality=False, **given).state
    assert (state["epoch"], state["cell"], state["selection"], state["speed"]) == (2, [5, 0], points.index[:2].tolist(), 2)


def test_unknown_truth_leaves_the_colours_of_labels(tmp_path):
    run = make_snapshots(tmp_path / "unknown", unknown=True)
    view = pld.embedding_view(run)
    assert not view.meta["truth"] and list(view.meta["missing"]) == ["true"]
    assert view.meta["purity"] == [[None] * 4] * 3 and view.meta["right"] == [[None] * 4] * 3
    assert "all samples is unknown" in view.meta["about"]
    with pytest.raises(ValueError, match="true classes of the unlabelled samples"):
        pld.embedding_view(run, colour="true")
    with pytest.raises(ValueError, match="true classes of the unlabelled samples"):
        view.colour = "true"
    flips = pld.embedding_view(run, colour="flipped", backend="none")["fill"]
    assert set(np.unique(flips)) == {0, FLIPS.index("changed, truth unknown")}
    assert not pld.embedding_view(run, backend="none")["ring"].any()


def test_without_features_or_logits_the_error_says_what_to_log(tmp_path):
    with pytest.raises(NotLogged, match="kept no features; train it with snapshots=8"):
        pld.embedding_view(make_snapshots(tmp_path / "bare", features=False))
    dull = make_snapshots(tmp_path / "dull", logits=False)
    view = pld.embedding_view(dull, quality=False)
    assert (unpacked(view.meta, view.data)["confidence"] == 65_535).all() and "confidence" in view.meta["missing"]
    with pytest.raises(ValueError, match="kept no logits"):
        pld.embedding_view(dull, colour="confidence")
    with pytest.raises(ValueError, match="one snapshot"):
        pld.embedding_view(dull, colour="flipped", epochs=[3])


def test_options_for_an_embedding_that_is_made_are_refused(points):
    with pytest.raises(ValueError, match=r"unknown state \['method'\].*made already"):
        pld.embedding_view(points, method="umap")


def test_bundle_has_a_still_image_and_static_mode_a_page(points, monkeypatch):
    view = pld.embedding_view(points)
    bundle, _ = view._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR")
    assert "application/vnd.jupyter.widget-view+json" in bundle
    monkeypatch.setenv("PLDEBIAS_STATIC", "1")
    bundle, _ = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" not in bundle
    assert "<iframe" in bundle["text/html"]
    view.close()


def test_page_loads_nothing_and_no_name_is_markup(tmp_path):
    run = make_snapshots(tmp_path / "hostile", names=list(HOSTILE), method=None)
    text = pld.embedding_view(run).to_html(tmp_path / "page.html").read_text()
    assert "<script>alert(1)" not in text
    assert 'src="http' not in text and "@import" not in text
    with pytest.raises(ValueError, match="'auto', 'light' or 'dark'"):
        page(theme="sepia")
    with pytest.raises(ValueError, match="</script"):
        page(Piece("'</script>'", "", {}, b"", "odd", b""))


def test_pages_hold_several_views(points):
    views = [pld.embedding_view(points, link="x", epoch=e).piece() for e in (0, 3)]
    text = page(*views, title="<both>")
    assert text.count('id="view-') == 2 and text.count("--pld-paper: var(--jp") == 1  # one style sheet for both
    assert "<title>&lt;both&gt;</title>" in text


def test_a_real_size_stays_small(tmp_path):
    """12,000 points at 20 snapshots of as much noise as positions may have."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 10, 12_000)
    counts = np.geomspace(500, 5, 10).astype(int)
    with pld.Recorder(tmp_path / "run", truth, counts, [str(c) for c in range(10)], num_epochs=20) as recorder:
        for _ in range(20):
            label = np.where(random.random(len(truth)) < 0.7, truth, random.integers(0, 10, len(truth)))
            recorder.end_epoch(sweep=(label, label == truth), features=random.normal(size=(len(truth), 2)).astype(np.float32))
    view = pld.embedding_view(tmp_path / "run", per_class=None, quality=False, normalise=False)
    assert view.meta["n"] == 12_000 and len(page(view.piece())) < 2_500_000


def test_the_module_is_small_and_asks_for_nothing():
    text = module("embedding")
    assert len(text.encode()) < 42_000
    assert "import(" not in text and "fetch(" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "innerHTML" not in text


def test_points_in_one_place_stand_in_the_middle(tmp_path):
    with Recorder(tmp_path / "run", np.arange(6) % 3, [5, 3, 1], [*"abc"]) as recorder:
        recorder.end_epoch(sweep=(np.arange(6) % 3, np.ones(6, bool)), features=np.ones((6, 2)))
    meta, _ = embedding.pack(pld.embed(tmp_path / "run"))
    assert meta["box"] == [-1, 1, -1, 1]
