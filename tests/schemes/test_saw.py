"""SAW against recorded steps of the SEVAL code and the weights of USB."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from pldebias.methods import MethodError, build_method
from pldebias.schemes.formulas.effective_number import effective_weights
from pldebias.schemes.formulas.losses import masked_cross_entropy
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


@vectors("daso_seval/saw*_K*")
def test_golden_sequence_of_the_seval_code(vector, golden):
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    options = {"estimate": "running", "momentum": h["m"], "beta": 0.999}
    method = set_up("fixmatch+saw", make_problem(arrays["in_label_counts"], h["n_batches"]), {"saw": options})
    net = GoldenNet(arrays)
    scheme = method.chain[0]
    assert_close(scheme.labelled_weight, arrays["out_cb_weights"])
    for i in range(len(arrays["in_xl"])):
        views = {"weak": arrays["in_xu0"][i], "strong": arrays["in_xu1"][i]}
        losses, step = run_step(method, net, make_batch(arrays["in_xl"][i], arrays["in_labels"][i], views), i)
        assert torch.equal(step.label, torch.tensor(arrays["out_pred"][i]))
        assert_close(scheme.weight, arrays["out_class_weight"][i])
        assert_close(step.mask * step.weight, arrays["out_weight_x_mask"][i])
        assert_close(losses["labelled"], arrays["out_loss_cls"][i])
        assert_close(losses["unlabelled"], arrays["out_loss_cons"][i])
    assert_close(scheme.class_dist, arrays["out_p_model_last"])
    assert_gradients(net, arrays, "out_grad_last_")


@vectors("debiaspl_adello/saw_K*")
def test_usb_weights_and_losses(vector, golden):
    t = {key: torch.tensor(value) for key, value in golden(vector)[0].items()}
    assert_close(effective_weights(t["counts"]), t["weights"])
    assert_close(effective_weights(t["pl_counts"]), t["pl_weights"])
    losses = F.cross_entropy(t["logits"], t["y"], reduction="none")
    assert_close((losses * effective_weights(t["counts"])[t["y"]]).mean(), t["sup"])
    assert_close(masked_cross_entropy(t["logits"], t["y"], t["mask"] * effective_weights(t["pl_counts"])[t["y"]]), t["unsup"])


def test_weights_of_even_and_of_extreme_counts():
    assert_close(effective_weights(torch.full((4,), 300)), torch.ones(4))
    assert_close(effective_weights(torch.tensor([1, 10, 100]), beta=0.0), torch.ones(3))
    weights = effective_weights(torch.tensor([0, 10, 10_000]))
    assert weights.isfinite().all() and weights[0] > weights[1] > weights[2] > 0
    assert_close(weights[0], effective_weights(torch.tensor([1, 10, 10_000]))[0])
    assert_close(weights.sum(), 3.0)


def end_of_epoch(labels, classes=3):
    logits = 5.0 * F.one_hot(torch.tensor(labels), classes)
    return SimpleNamespace(score=lambda split: (logits, None, None) if split == "unlabelled" else None)


def test_rare_pseudo_labels_weigh_more_after_the_first_epoch():
    method = set_up("fixmatch+saw", make_problem([9, 9, 9], feature_dim=2))
    logits = 5 * torch.eye(3)
    assert torch.equal(method.relabel(logits, torch.zeros(3, 2), torch.tensor(0)).weight, torch.ones(3))
    method.end_epoch(end_of_epoch([0] * 90 + [1] * 9 + [2]))
    weight = method.relabel(logits, torch.zeros(3, 2), torch.tensor(0)).weight
    assert_close(weight, effective_weights(torch.tensor([90, 9, 1])))
    assert weight[2] > weight[1] > weight[0]
    method.end_epoch(end_of_epoch([0] * 50 + [1] * 50))  # a class that is never predicted
    assert method.series()["saw/weight"].isfinite().all()


def test_even_counts_are_fixmatch_bit_for_bit(golden):
    arrays, _ = golden("daso_seval/saw_K10_s0")
    views = {"weak": arrays["in_xu0"][0], "strong": arrays["in_xu1"][0]}
    batch = make_batch(arrays["in_xl"][0], arrays["in_labels"][0], views)
    outcomes = []
    for name in ("fixmatch", "fixmatch+saw(beta=0)"):
        net = GoldenNet(arrays)
        losses, _ = run_step(set_up(name, make_problem([25] * 10)), net, batch, 0)
        outcomes.append([*losses.values(), *net.gradients().values()])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("fixmatch+saw(estimate=daily)", "choose 'epoch' or 'running'"),
        ("fixmatch+saw(momentum=1)", r"momentum=1.* must be in \[0, 1\)"),
        ("fixmatch+saw(beta=2)", r"beta=2.* must be in \[0, 1\]"),
        ("meanteacher+saw", "saw changes the acceptance step, which meanteacher has not"),
    ],
)
def test_impossible_options(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)
