"""Flows, learning order, calibration, threshold sweeps and single samples, against counts made by hand."""

import numpy as np
import pytest

import pldebias as pld
from pldebias.analysis.relabelling.changes import flows, learning_order
from pldebias.analysis.relabelling.confidence import reliability, threshold_sweep
from pldebias.analysis.samples import images_of, samples
from pldebias.runs import Recorder

TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
LABELS = np.array(
    [
        [0, 1, 2, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 2, 0, 1, 0, 0, 1, 0, 1],
        [0, 0, 0, 0, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 2, 0, 2],
    ]
)
CONFIDENCE = np.array([0.95, 0.9, 0.8, 0.6, 0.99, 0.7, 0.4, 0.55, 0.97, 0.85])


@pytest.fixture
def run(tmp_path):
    """Ten samples of three classes, one of unknown truth; logits of the last epoch have the confidences above."""
    logits = np.zeros((10, 3))
    rest = np.log((1 - CONFIDENCE) / 2)
    logits[:] = rest[:, None]
    logits[np.arange(10), LABELS[-1]] = np.log(CONFIDENCE)
    attrs = {"method": "fixmatch(threshold=0.75)", "seed": 0}
    with Recorder(tmp_path / "run", TRUE, [20, 10, 5], ["a", "b", "c"], num_epochs=4, attrs=attrs) as recorder:
        for epoch, labels in enumerate(LABELS):
            last = epoch == 3
            accepted = CONFIDENCE >= 0.75 if last else np.ones(10, bool)
            recorder.end_epoch(sweep=(labels, accepted), logits=logits if last else None, iteration=epoch + 1)
    return pld.open_run(tmp_path / "run")


def test_flows_count_who_changed_to_what(run):
    found = flows(run, 0, -1)
    expected = np.zeros((3, 3), int)
    for before, after in zip(LABELS[0], LABELS[-1], strict=True):
        expected[before, after] += 1
    np.testing.assert_array_equal(found.counts, expected)
    assert (found.start, found.end, found.n, found.changed) == (0, 3, 10, int((LABELS[0] != LABELS[-1]).sum()))
    was, became = (LABELS[[0, -1]] == TRUE)[:, TRUE >= 0]
    assert found.right.tolist() == [[(~was & ~became).sum(), (~was & became).sum()], [(was & ~became).sum(), (was & became).sum()]]


def test_flows_of_a_group_a_class_and_a_split(run):
    assert flows(run, of="tail").n == flows(run, of="c").n == 2
    accepted = flows(run, split="accepted")
    assert accepted.n == (CONFIDENCE >= 0.75).sum() and accepted.of == "all, accepted"
    assert flows(run, split="rejected").n + accepted.n == 10
    np.testing.assert_array_equal(flows(run, 2, 2).counts, np.diag(np.bincount(LABELS[2], minlength=3)))
    with pytest.raises(ValueError, match="head, medium, tail or a class: a, b, c"):
        flows(run, of="d")
    with pytest.raises(ValueError, match="all, accepted or rejected"):
        flows(run, split="some")
    with pytest.raises(KeyError, match="at epoch 9"):
        flows(run, 0, 9)


def test_learning_order(run):
    # recall of a: 0.5, 0.75, 1, 0.75; of b: 0, 1/3, 2/3, 1; of c: 0, 0, 0, 0.5
    found = learning_order(run, level=0.6, hold=2)
    assert found.epoch[:2].tolist() == [1, 2] and np.isnan(found.epoch[2])
    assert found.rank_correlation == pytest.approx(-1)
    assert learning_order(run, level=0.5, hold=2).epoch.tolist() == [0, 2, 3]  # the last epoch needs none after it
    lucky = learning_order(run, level=0.9, hold=2)
    assert np.isnan(lucky.epoch[0]) and lucky.epoch[1] == 3
    with pytest.raises(ValueError, match="level=0"):
        learning_order(run, level=0)
    with pytest.raises(ValueError, match="recall or precision"):
        learning_order(run, metric="f1")


def test_reliability_counts_known_samples_by_called_group(run):
    found = reliability(run, bins=2)
    called_head = (LABELS[-1] == 0) & (TRUE >= 0)
    high = CONFIDENCE >= 0.5
    assert found.n[0].tolist() == [(called_head & ~high).sum(), (called_head & high).sum()]
    right = LABELS[-1] == TRUE
    assert found.accuracy[0, 1] == pytest.approx(right[called_head & high].mean())
    assert found.confidence[0, 1] == pytest.approx(CONFIDENCE[called_head & high].mean(), abs=2e-3)
    assert found.n[3].sum() == 9 and np.isnan(found.accuracy[0, 0])
    assert found.lower[0, 1] < found.accuracy[0, 1] <= found.upper[0, 1]
    assert found.ece[3] == pytest.approx(pld.metrics.ece(found.result.confidence[TRUE >= 0], right[TRUE >= 0], 2))


def test_threshold_sweep_meets_the_method_at_its_threshold(run):
    found = threshold_sweep(run)
    at = int(np.abs(found.thresholds - 0.75).argmin())
    np.testing.assert_allclose(found.accepted[:, at], found.now[:, 0])
    np.testing.assert_allclose(found.precision[:, at], found.now[:, 1])
    assert (np.diff(found.accepted, axis=1) <= 0).all()
    np.testing.assert_allclose(found.accepted[:, 0], 1)
    assert np.isnan(found.precision[:, -1]).all() and (found.n[:, -1] == 0).all()
    for number in range(3):
        called = LABELS[-1] == number
        np.testing.assert_allclose(found.accepted[number, at], (CONFIDENCE[called] >= 0.75).mean())
    with pytest.raises(ValueError, match="ascend"):
        threshold_sweep(run, thresholds=[0.9, 0.1])


def test_samples_are_the_most_striking_first(run):
    hardest = samples(run, "hardest", of="all", n=3, images=False)
    right = (LABELS == TRUE).sum(0)
    assert hardest.score.tolist() == sorted(right[TRUE >= 0])[:3]
    assert 9 not in hardest.index
    flipped = samples(run, "most flipped", of="all", n=10, images=False)
    np.testing.assert_array_equal(flipped.score, np.sort((np.diff(LABELS, axis=0) != 0).sum(0))[::-1])
    wrong = samples(run, "confidently wrong", of="all", images=False)
    expected = np.flatnonzero((LABELS[-1] != TRUE) & (TRUE >= 0))
    np.testing.assert_array_equal(wrong.index, expected[np.argsort(-CONFIDENCE[expected])])
    np.testing.assert_array_equal(wrong.history, LABELS[:, wrong.index].T)
    tail = samples(run, "confidently wrong", images=False)
    assert set(tail.true) == {2}


def test_samples_without_truth_or_data_say_so(run, tmp_path):
    images, problem = images_of(run, [0, 1])
    assert images is None and "does not say which data" in problem
    assert samples(run, "hardest").problem == problem
    with Recorder(tmp_path / "blind", np.full(4, -1), [3, 1], ["a", "b"], num_epochs=1) as recorder:
        recorder.end_epoch(sweep=([0, 1, 1, 0], [True] * 4))
    blind = pld.open_run(tmp_path / "blind")
    with pytest.raises(ValueError, match="needs true labels"):
        samples(blind, "hardest")
    assert samples(blind, "most flipped", of="b").index.tolist() == [1, 2]
    with pytest.raises(ValueError, match="hardest, most flipped, confidently wrong"):
        samples(run, "easiest")
    with pytest.raises(ValueError, match="a class: a, b, c"):
        samples(run, of="dog")


def test_images_are_those_of_the_unlabelled_set(trained):
    from pldebias.data import SplitSpec, build

    run = trained("fixmatch")
    found = samples(run, "confidently wrong", n=5)
    spec = SplitSpec(source="glyphs", n1=20, gamma_l=5.0, m1=200, gamma_u=5.0)
    np.testing.assert_array_equal(found.images, build(spec, 0).unlabelled.images[found.index, 0])
    assert found.problem == "" and found.images.dtype == np.uint8


def test_images_of_other_data_are_refused(trained, monkeypatch):
    from pldebias.analysis import samples as module

    run = pld.open_run(trained("fixmatch").path)
    monkeypatch.setattr(module, "_LAST", {})
    run.attrs["config"] = {**run.config, "m1": 199}
    images, problem = images_of(run, [0])
    assert images is None and "another fingerprint" in problem
    run.attrs["config"] = {**run.config, "source": "parquet:nowhere"}
    images, problem = images_of(run, [0])
    assert images is None and "nowhere" in problem
