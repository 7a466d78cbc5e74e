"""Linear, semantic and blended pseudo-labels of one run are those of DASO's equations, computed here by plain loops."""

import numpy as np
import pytest
from made_runs import make_run

import pldebias as pld
from pldebias import metrics
from pldebias.analysis.relabelling.blending import KINDS, blending
from pldebias.analysis.relabelling.outputs import outputs
from pldebias.runs import NotLogged, Recorder

SHORT = {"threads": 1, "steps": 40, "steps_per_epoch": 10, "snapshots": 4, "m1": 100, "gamma_u": 4.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    options = {"fixmatch": {"threshold": 0.5}, "daso": {"start": 15, "window": 10, "T": 0.7, "T_proto": 0.1}}
    return pld.train("fixmatch+daso", out=tmp_path_factory.mktemp("daso"), progress=False, options=options, **SHORT)


def softmax(rows):
    rows = np.exp(rows - rows.max(1, keepdims=True))
    return rows / rows.sum(1, keepdims=True)


def by_hand(run, epoch, T=0.7, T_proto=0.1):
    """Probabilities of the linear and the semantic classifier, and their blend, from what the run kept."""
    linear = softmax(run.logits(epoch).astype(np.float64))
    features, prototypes = (a.astype(np.float64) for a in (run.features(epoch), run.snapshot_state("daso/prototypes", epoch)))
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-8) for rows in (features, prototypes)]
    semantic = softmax(unit[0] @ unit[1].T / T_proto)
    counts = run.state("daso/class_dist")[np.searchsorted(run.epochs, epoch)].astype(np.float64)
    weights = counts ** (1 / T) / max((counts ** (1 / T)).max(), 1e-30)
    v = weights[linear.argmax(1)][:, None]
    return linear, semantic, (1 - v) * linear + v * semantic, weights


def agree(ours, theirs):
    """Labels are equal but where two probabilities are as good as equal in single precision."""
    order = np.sort(theirs, 1)
    clear = order[:, -1] - order[:, -2] > 1e-5
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(ours[clear], theirs.argmax(1)[clear])


def test_labels_are_those_of_the_equations(run):
    found = blending(run)
    assert found.epoch == 3
    *expected, weights = by_hand(run, 3)
    for kind, probs in zip(KINDS, expected, strict=True):
        agree(found.label[kind], probs)
    np.testing.assert_array_equal(found.label["blended"], run.history(3)[0])
    np.testing.assert_array_equal(found.accepted["blended"], run.history(3)[1])
    np.testing.assert_allclose(found.weight, weights, rtol=1e-5)
    assert (found.label["linear"] != found.label["semantic"]).any()  # else the test could not tell them apart


def test_before_blending_begins_the_label_is_the_linear_one(run):
    early = blending(run, 0)
    assert (early.weight == 0).all()
    np.testing.assert_array_equal(early.label["blended"], early.label["linear"])
    agree(early.label["semantic"], by_hand(run, 0)[1])  # there is one all the same


def test_matrices(run):
    found = blending(run)
    np.testing.assert_array_equal(found.confusion("blended"), run.confusion("sweep", epoch=3))
    np.testing.assert_array_equal(found.confusion("blended", "accepted"), run.confusion("sweep", "accepted", epoch=3))
    np.testing.assert_array_equal(
        found.confusion("linear", "accepted"),
        metrics.confusion_matrix(run.true_labels, found.label["linear"], 10, outputs(run).probs.amax(1).numpy() >= 0.5),
    )
    with pytest.raises(ValueError, match="kind must be one of linear, semantic, blended; got 'cosine'"):
        found.confusion("cosine")
    with pytest.raises(ValueError, match="'all' or 'accepted'"):
        found.confusion("linear", "rejected")


def test_semantic_logits_of_a_foreign_loop(tmp_path):
    """The official code's linear and semantic outputs, handed to the recorder."""
    random, truth = np.random.default_rng(0), np.arange(30) % 3
    logits, semantic = random.normal(size=(2, 30, 3)).astype(np.float16).astype(np.float32)
    label = (0.4 * softmax(logits) + 0.6 * softmax(semantic)).argmax(1)
    with Recorder(tmp_path / "run", truth, [9, 4, 1], [*"abc"]) as recorder:
        recorder.end_epoch(sweep=(label, label == truth), logits=logits, semantic=semantic)
        recorder.end_epoch(sweep=(label, label == truth), logits=logits)
    run = pld.open_run(tmp_path / "run")
    found = blending(run, 0)
    for kind, expected in zip(KINDS, (logits.argmax(1), semantic.argmax(1), label), strict=True):
        np.testing.assert_array_equal(found.label[kind], expected)
    assert np.isnan(found.weight).all()
    with pytest.raises(NotLogged, match="which semantic pseudo-labels would be accepted; use split='all'"):
        found.confusion("semantic", "accepted")
    with pytest.raises(NotLogged, match=r"at epoch 1; pass logits=, semantic= and sweep= together"):
        blending(run, 1)


def test_what_does_not_blend_is_refused(tmp_path):
    with pytest.raises(NotLogged, match=r"does not blend two pseudo-labels.*train fixmatch\+daso, or pass logits=, semantic="):
        blending(make_run(tmp_path / "fixmatch"))
    with pytest.raises(NotLogged, match="does not blend"):
        blending(make_run(tmp_path / "mine", "my method, second try"))
    with pytest.raises(NotLogged, match=r"kept no logits; train it with snapshots=8"):
        blending(make_run(tmp_path / "daso", "fixmatch+daso"))
