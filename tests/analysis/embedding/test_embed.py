"""Embeddings over snapshots: tail-complete, aligned, kept by content, honest about their quality."""

import os

import numpy as np
import pytest

import pldebias as pld
from pldebias import metrics
from pldebias.analysis.embedding import frames as chain
from pldebias.analysis.embedding import pca_frames, purity, sample, trustworthiness
from pldebias.runs import NotLogged, Recorder

N, D, K, EPOCHS = 180, 8, 4, 3
TRUE = np.repeat(np.arange(K), [100, 50, 20, 10])
COUNTS = [50, 25, 10, 5]


def features_of(epoch):
    """Four clusters that move apart, and noise."""
    random = np.random.default_rng(epoch)
    return (random.normal(size=(N, D)) + (epoch + 1) * 3 * np.eye(D)[TRUE]).astype(np.float16)


@pytest.fixture
def recorded(tmp_path):
    def record(name="run", true=TRUE, features=True):
        with Recorder(tmp_path / name, true, COUNTS, list("abcd"), num_epochs=EPOCHS, num_features=D) as recorder:
            for epoch in range(EPOCHS):
                sweep = (np.where(np.arange(N) % 7 == 0, 0, TRUE), np.arange(N) % 3 == 0)
                recorder.end_epoch(sweep=sweep, **({"features": features_of(epoch)} if features else {}))
        return pld.open_run(tmp_path / name)

    return record


@pytest.fixture
def computed(monkeypatch):
    """Epoch features that were really embedded, by UMAP replaced with something quick; the rest of the chain is the package's."""
    calls = []

    def quick(features, after, settings):
        calls.append(features)
        return features[:, :2] @ np.array([[0.0, 1.0], [1.0, 0.0]]) + 5

    monkeypatch.setattr(chain, "_umap", quick)
    return calls


def test_the_sample_holds_every_tail_point():
    groups = metrics.groups(COUNTS)
    index = sample(TRUE, groups, per_class=15)
    taken = np.bincount(TRUE[index], minlength=K)
    assert taken.tolist() == [15, 15, 15, 10]
    assert (np.diff(index) > 0).all()
    np.testing.assert_array_equal(index, sample(TRUE, groups, per_class=15))
    assert not np.array_equal(index, sample(TRUE, groups, per_class=15, seed=1))
    np.testing.assert_array_equal(sample(TRUE, groups, None), np.arange(N))
    with pytest.raises(ValueError, match="at least 1"):
        sample(TRUE, groups, 0)


def test_pca_is_one_basis_for_all_epochs(recorded):
    run = recorded()
    points = pld.embed(run, per_class=None, normalise=False)
    assert points.frames.shape == (EPOCHS, N, 2) and points.frames.dtype == np.float32
    pooled = np.concatenate([run.features(e) for e in range(EPOCHS)]).astype(np.float64)
    values = np.linalg.eigvalsh(np.cov(pooled.T, bias=True))[::-1]
    assert points.explained == pytest.approx(values[:2].sum() / values.sum(), rel=1e-4)
    # the same sample at the same features lies at the same place, whatever the epoch
    twice = np.stack([run.features(0), run.features(0)])
    frames, _ = pca_frames(twice)
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(points.frames, pld.embed(run, per_class=None, normalise=False).frames)
    assert "one basis" in points.caption() and f"n = {N}" in points.caption()


def test_what_comes_with_the_points(recorded):
    run = recorded()
    points = pld.embed(run, epochs=[0, -1], per_class=15)
    assert points.epochs.tolist() == [0, 2]
    np.testing.assert_array_equal(points.true, run.true_labels[points.index])
    np.testing.assert_array_equal(points.label[1], run.history(2)[0][points.index])
    np.testing.assert_array_equal(points.accepted[1], run.history(2)[1][points.index])
    np.testing.assert_array_equal(points.wrong, points.label != points.true)
    assert set(points.group[points.true == 3]) == {2}
    assert points.frame(2) == points.frame(-1) == 1
    with pytest.raises(NotLogged, match="epochs 0, 2; not 1"):
        points.frame(1)


def test_procrustes_undoes_turns_mirrors_and_shifts():
    random = np.random.default_rng(0)
    fixed = random.normal(size=(50, 2)).astype(np.float32)
    turn = np.array([[np.cos(2.0), -np.sin(2.0)], [np.sin(2.0), np.cos(2.0)]])
    for mirror in (1, -1):
        moved = (fixed @ turn * [1, mirror] + [3, -7]).astype(np.float32)
        np.testing.assert_allclose(chain.align(moved, fixed), fixed, atol=1e-4)
    stretched = chain.align(2 * fixed, fixed)
    np.testing.assert_allclose(stretched - stretched.mean(0), 2 * (fixed - fixed.mean(0)), atol=1e-4)  # sizes are left alone


@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_chains_are_stable_deterministic_and_kept(recorded, tmp_path, method):
    run = recorded()
    first = pld.embed(run, method, cache=tmp_path / "kept", progress=False)
    assert first.frames.shape == (EPOCHS, len(first.index), 2) and np.isfinite(first.frames).all()
    assert len(list((tmp_path / "kept").glob("*.npy"))) == EPOCHS
    again = pld.embed(run, method, cache=False, progress=False)
    np.testing.assert_allclose(again.frames, first.frames, atol=1e-3)
    assert (first.movement < 1).all()  # independent layouts differ by more than their own spread
    assert (first.trustworthiness > 0.6).all()


def test_frames_are_computed_once_and_from_the_last_one_backwards(recorded, tmp_path, computed):
    run = recorded()
    first = pld.embed(run, "umap", cache=tmp_path, per_class=None, progress=False)
    assert len(computed) == EPOCHS
    last = run.features(EPOCHS - 1)
    np.testing.assert_allclose(computed[0], last / np.linalg.norm(last, axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(pld.embed(run, "umap", cache=tmp_path, per_class=None, progress=False).frames, first.frames)
    assert len(computed) == EPOCHS
    pld.embed(run, "umap", epochs=[1, 2], cache=tmp_path, per_class=None, progress=False)
    assert len(computed) == EPOCHS  # a shorter chain with the same end is a part of it
    pld.embed(run, "umap", cache=tmp_path, per_class=None, n_neighbors=5, progress=False)
    assert len(computed) == 2 * EPOCHS
    for path in tmp_path.glob("*.npy"):
        path.write_bytes(b"damaged")
    pld.embed(run, "umap", cache=tmp_path, per_class=None, progress=False)
    assert len(computed) == 3 * EPOCHS


def test_an_interrupted_chain_goes_on(recorded, tmp_path, computed, monkeypatch):
    run, quick = recorded(), chain._umap

    def interrupted(features, after, settings):
        if len(computed) == 2:
            raise KeyboardInterrupt
        return quick(features, after, settings)

    monkeypatch.setattr(chain, "_umap", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pld.embed(run, "umap", cache=tmp_path, progress=False)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    monkeypatch.setattr(chain, "_umap", quick)
    pld.embed(run, "umap", cache=tmp_path, progress=False)
    assert len(computed) == 3


def test_where_frames_are_kept(recorded, tmp_path, computed, monkeypatch):
    run = recorded()
    monkeypatch.setenv("PLDEBIAS_DATA", str(tmp_path / "data"))
    pld.embed(run, "umap", progress=False)
    assert len(list((tmp_path / "data" / "cache" / "embed").glob("*.npy"))) == EPOCHS
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PLDEBIAS_DATA", str(tmp_path / "file"))  # cannot hold a folder
    pld.embed(run, "umap", progress=False)
    assert len(list((tmp_path / ".run.embed").glob("*.npy"))) == EPOCHS
    with pytest.warns(RuntimeWarning, match="computed again each time"):
        pld.embed(run, "umap", cache=tmp_path / "file" / "x", progress=False)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_purity_and_trustworthiness_are_of_the_feature_space():
    groups = metrics.groups(COUNTS)
    random = np.random.default_rng(0)
    apart = random.normal(size=(N, D)) * 0.01 + 10 * np.eye(D)[TRUE]
    noise = random.normal(size=(N, D))
    assert purity(apart, TRUE, groups)[:2] == pytest.approx([1, 1])
    assert purity(apart, TRUE, groups)[2] == pytest.approx(0.9)  # ten tail samples have nine others of their class
    mixed = purity(noise, TRUE, groups)
    assert mixed[0] == pytest.approx(100 / 180, abs=0.1) and mixed[2] < 0.15
    unknown = np.where(TRUE == 3, -1, TRUE)
    assert np.isnan(purity(apart, unknown, groups)[2])
    assert np.isnan(purity(apart, np.full(N, -1), groups)).all()
    plane = random.normal(size=(N, 2))
    assert trustworthiness(plane, plane) == pytest.approx(1)
    assert trustworthiness(noise, plane) < 0.7
    assert np.isnan(trustworthiness(noise[:20], plane[:20]))


def test_quality_beside_the_picture(recorded):
    points = pld.embed(recorded(), per_class=30)
    assert points.purity.shape == (EPOCHS, 4) and points.trustworthiness.shape == (EPOCHS,)
    assert points.purity[-1, 3] > 0.9 > points.purity[0, 3]  # clusters move apart


def test_unknown_truth_is_sampled_by_pseudo_label(recorded):
    run = recorded(true=np.full(N, -1))
    points = pld.embed(run, per_class=15)
    last = run.history(-1)[0]
    assert np.isin(np.flatnonzero(last == 3), points.index).all()
    assert not points.wrong.any() and np.isnan(points.purity).all()
    np.testing.assert_array_equal(points.group, points.groups.of[last[points.index]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "mds"}, ValueError, "pca, umap, tsne"),
        ({"epochs": [0, 9]}, NotLogged, "at the epochs 0, 1, 2; not at 9"),
        ({"per_class": -1}, ValueError, "at least 1"),
        ({"method": "umap", "n_neighbors": 1}, ValueError, "n_neighbors must be at least 2.*got 1, 0.1 and 30.0"),
        ({"method": "tsne", "perplexity": float("nan")}, ValueError, "perplexity=nan must be a finite number"),
    ],
)
def test_wrong_arguments(recorded, arguments, error, message):
    with pytest.raises(error, match=message):
        pld.embed(recorded(), **arguments)


R = np.random.default_rng(0).normal(size=(24, 5))
POOR = {
    "equal": [np.ones((24, 5))], "dead": [np.zeros((24, 5))], "equal at last": [R, np.ones((24, 5))],
    "signed zeros": [np.copysign(0.0, R)],
    "two spots": [R, R[np.arange(24) % 2], R],
    "five spots": [R[np.arange(24) % 5]], "line": [np.outer(np.arange(24), np.ones(5))], "one feature": [R[:, :1]], "tiny": [R * 1e-7],
    "largest": [np.clip(R * 1e6, -65504, 65504)], "one sample": [R[:1]], "two samples": [R[:2]], "five samples": [R[:5], R[:5]],
}  # fmt: skip


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("kind", POOR)
def test_poor_features_are_placed(tmp_path, kind, method, normalise):
    """A dead or collapsed network, a handful of samples, one feature: every method gives points."""
    points = pld.embed(small_run(tmp_path, POOR[kind]), method, normalise=normalise, progress=False, cache=False)
    assert np.isfinite(points.frames).all() and points.frames.shape[:2] == (len(POOR[kind]), len(POOR[kind][0]))
    assert np.isfinite(points.purity).any() or len(points.index) <= 10
    assert len(points.movement) == len(points.frames) - 1 and "nan" not in points.caption()
    alike = {"equal", "dead", "signed zeros", "equal at last", "two spots", "one sample", "two samples"}
    alike |= {"line", "one feature"} if normalise else set()
    assert bool(points.flat) == (method == "tsne" and kind in alike)
    assert kind not in ("equal", "dead", "signed zeros") or (np.isnan(points.explained) and not points.frames.any())
    assert not points.flat or f"placed by PCA: epochs {points.flat[0]}" in points.caption()


def small_run(path, features):
    n = len(features[0])
    with Recorder(path / "run", np.arange(n) % 3, [5, 3, 1], [*"abc"]) as recorder:
        for values in features:
            recorder.end_epoch(sweep=(np.arange(n) % 3, np.ones(n, bool)), features=values)
    return pld.open_run(path / "run")


def broken(run, monkeypatch, values):
    """The run, with values in its features that its recorder may refuse."""
    monkeypatch.setattr(type(run), "features", lambda self, epoch: values[epoch].astype(np.float32))
    return run


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_without_finite_features_are_left_out_by_name(tmp_path, monkeypatch, method, value):
    bad = R.copy()
    bad[7, 2] = value
    run = broken(small_run(tmp_path, [R, R]), monkeypatch, [R, bad])
    with pytest.warns(RuntimeWarning, match=r"1 of 24 samples are left out, since their features are not finite.*: sample 7"):
        points = pld.embed(run, method, progress=False, cache=False)
    assert points.left_out.tolist() == [7] and 7 not in points.index and np.isfinite(points.frames).all()
    assert points.frames.shape == (2, 23, 2) and "(n = 23, without 1 whose features are not finite)" in points.caption()
    with pytest.raises(ValueError, match=r"features of run are not finite .* choose others than 1 with epochs="):
        pld.embed(broken(run, monkeypatch, [R, np.full_like(R, value)]), method)


def test_a_run_without_features_says_so(recorded):
    with pytest.raises(NotLogged, match="kept no features"):
        pld.embed(recorded(features=False))
