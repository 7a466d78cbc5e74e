"""Long-tailed labelled losses (class-balanced, deferred, focal, LDAM) against two official codes, and at their edges."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pldebias.methods import MethodError, build_method
from pldebias.nets import Cosine, build_network
from pldebias.schemes.formulas.effective_number import effective_weights
from pldebias.schemes.ldam import enforce, margins
from pldebias.schemes.reweight import focal
from tests.golden_files import vectors
from tests.golden_net import Passthrough, assert_close, make_batch, make_problem, run_step, set_up

COUNTS = [1500, 899, 539, 323, 193, 116, 69, 41, 25, 15]


def labelled(spelling, logits, y, counts, t=0, defaults=None, total=200):
    """Labelled loss and its gradient with respect to the logits."""
    logits = torch.tensor(logits, requires_grad=True)
    problem = make_problem(counts, total_steps=total, steps_per_epoch=1)
    losses, _ = run_step(set_up(spelling, problem, defaults), Passthrough(), make_batch(logits, y, {"weak": logits[:0]}), t)
    return losses["labelled"], logits.grad


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["ce", "focal0", "focal1", "focal2", "ldam"])
@vectors("debiaspl_adello/ibss_losses_K*")
def test_losses_of_imbalanced_semi_self(vector, golden, loss, weighted):
    arrays, _ = golden(vector)
    x, parts = arrays["x"], ["supervised"]
    if loss == "ldam":
        x = 30 * arrays["x_cos"]  # what a cosine classifier of scale 30 puts out
        parts.append("ldam")
    if weighted:
        parts.append("cb(normalise=False)" if "focal" in loss else "cb")
    if "focal" in loss:
        parts.append(f"focal(gamma={loss[-1]})")
    value, gradient = labelled("+".join(parts), x, arrays["y"], arrays["cls_num"])
    case = f"{loss}_{'cb' if weighted else 'none'}"
    assert_close(value, arrays[f"loss_{case}"])
    assert_close(gradient * (30 if loss == "ldam" else 1), arrays[f"grad_{case}"])


@vectors("debiaspl_adello/ibss_losses_K*")
def test_weights_and_margins(vector, golden):
    arrays, _ = golden(vector)
    counts = torch.tensor(arrays["cls_num"])
    assert_close(effective_weights(counts, 0.9999), arrays["w_Reweight_ep0"])
    assert_close(margins(counts), arrays["ldam_margins"])


@vectors("daso_seval/losses_K*")
def test_weights_and_margins_of_daso(vector, golden):
    arrays, _ = golden(vector)
    counts = torch.tensor(arrays["in_counts"])
    assert_close(effective_weights(counts, 0.999), arrays["out_cb_weights"])
    assert_close(effective_weights(counts, 1.0), arrays["out_inv_weights"])
    assert_close(margins(counts), arrays["out_ldam_margins"])


@vectors("daso_seval/losses_K*")
def test_losses_of_daso(vector, golden):
    arrays, _ = golden(vector)
    args = arrays["in_logits"], arrays["in_labels"], arrays["in_counts"]
    assert_close(labelled("supervised", *args)[0], arrays["out_ce"])
    assert_close(labelled("supervised+cb(beta=0.999, normalise=False)", *args)[0], arrays["out_cb_ce"])
    assert_close(labelled("supervised+cb(beta=1, normalise=False)", *args)[0], arrays["out_inv_ce"])
    spelling = "supervised+ldam(cosine=False, start=0.8)+drw(beta=0.999)"
    assert_close(labelled(spelling, *args, t=160)[0], arrays["out_ldam_drw"])
    assert_close(labelled(spelling, *args, t=159)[0], arrays["out_ce"])  # before the deferral, not even the margin


@pytest.mark.parametrize(("epoch", "key"), [(0, "w_DRW_ep0"), (159, "w_DRW_ep159"), (160, "w_DRW_ep160"), (199, "w_DRW_ep199")])
@vectors("debiaspl_adello/ibss_losses_K*")
def test_deferred_weights(vector, golden, epoch, key):
    arrays, _ = golden(vector)
    y, weight = torch.tensor(arrays["y"]), torch.tensor(arrays[key], dtype=torch.float32)
    expected = F.cross_entropy(torch.tensor(arrays["x"]), y, weight=weight)
    assert_close(labelled("supervised+drw", arrays["x"], y, arrays["cls_num"], t=epoch)[0], expected)


@vectors("debiaspl_adello/ibss_normedlinear_K*")
def test_cosine_classifier(vector, golden):
    arrays, _ = golden(vector)
    features, classes = arrays["weight"].shape
    classifier = Cosine(features, classes, scale=1.0)
    assert_close(classifier.weight.norm(dim=1), torch.ones(classes))
    classifier.weight.data = torch.tensor(arrays["weight"]).T
    assert_close(classifier(torch.tensor(arrays["feat"])), arrays["out"])


def test_ldam_brings_its_classifier():
    assert build_method("supervised+ldam(scale=20)").cosine == 20
    assert build_method("supervised+ldam(cosine=False)").cosine is None and build_method("supervised+cb").cosine is None
    network = build_network("cnn_glyphs", 1, 10, cosine=20.0)
    logits = network(torch.randn(3, 1, 16, 16)).logits
    assert logits.shape == (3, 10) and logits.abs().max() <= 20


def test_neutral_strengths_change_nothing():
    x, y = torch.randn(32, 10, generator=torch.Generator().manual_seed(0)).numpy(), torch.arange(32) % 10
    plain = labelled("supervised", x, y, COUNTS)
    for spelling in ("supervised+focal(gamma=0)", "supervised+cb(beta=0)", "supervised+drw"):
        for ours, theirs in zip(labelled(spelling, x, y, COUNTS), plain, strict=True):
            assert torch.equal(ours, theirs), spelling
    balanced = labelled("supervised+cb", x, y, [7] * 10)
    assert_close(balanced[0], plain[0])


def test_rare_classes_weigh_more_whatever_their_id():
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    counts = torch.tensor(COUNTS)
    for rule in (lambda n: effective_weights(n, 0.9999), margins):
        assert torch.equal(rule(counts[order]), rule(counts)[order]) and rule(counts)[-1] == rule(counts).max()


def test_classes_without_an_image():
    counts = torch.tensor([10, 0, 5])
    assert torch.isfinite(margins(counts)).all() and torch.isfinite(effective_weights(counts, 1.0)).all()


def test_margin_is_taken_from_the_true_class_alone():
    logits = torch.zeros(2, 3)
    shifted = enforce(logits, torch.tensor([0, 2]), torch.tensor([0.1, 0.2, 0.5]), scale=10)
    np.testing.assert_allclose(shifted, [[-1, 0, 0], [0, 0, -5]], atol=1e-6)
    assert torch.equal(focal(torch.tensor([0.3]), 0), torch.tensor([0.3]))


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("supervised+cb(beta=2)", r"\[0, 1\]"),
        ("supervised+drw(start=1.0)", r"\[0, 1\)"),
        ("supervised+focal(gamma=-1)", "negative"),
        ("supervised+ldam(scale=0)", "positive"),
        ("supervised+ldam(start=-0.1)", r"\[0, 1\)"),
    ],
)
def test_options_are_checked(spelling, says):
    with pytest.raises(MethodError, match=says):
        build_method(spelling)
