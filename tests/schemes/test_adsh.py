"""Adsh against recorded estimates and steps of the SEVAL code, and against a loop."""

from types import SimpleNamespace

import pytest
import torch

from pldebias.methods import MethodError, build_method
from pldebias.schemes.adsh import adaptive_thresholds
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


def scores(logits):
    return SimpleNamespace(score=lambda split: (logits, None, None) if split == "unlabelled" else None)


@vectors("daso_seval/adsh_K*")
def test_golden_estimates_and_steps(vector, golden):
    arrays, _ = golden(vector)
    net, problem = GoldenNet(arrays), make_problem(torch.arange(len(arrays["out_thr_after"]), 0, -1))
    method = set_up("fixmatch+adsh(compat=official)", problem)

    def step(suffix, i):
        views = {"weak": arrays[f"in_xu0{suffix}"][i], "strong": arrays[f"in_xu1{suffix}"][i]}
        return run_step(method, net, make_batch(arrays[f"in_xl{suffix}"][i], arrays[f"in_labels{suffix}"][i], views), i)

    assert torch.equal(step("_init", 0)[1].mask, torch.tensor(arrays["out_mask_init"]))
    low = set_up("fixmatch+adsh(compat=official)", problem)
    low.end_epoch(scores(torch.tensor(arrays["in_ul_logits"]) * float(arrays["in_low_scale"])))
    assert_close(low.series()["adsh/threshold"], arrays["out_thr_after_low"])
    method.end_epoch(scores(torch.tensor(arrays["in_ul_logits"])))
    assert_close(method.series()["adsh/threshold"], arrays["out_thr_after"])
    for i in range(len(arrays["in_xl"])):
        losses, record = step("", i)
        assert torch.equal(record.mask, torch.tensor(arrays["out_mask"][i]))
        assert_close(losses["labelled"], arrays["out_loss_cls"][i])
        assert_close(losses["unlabelled"], arrays["out_loss_cons"][i])
    assert_gradients(net, arrays, "out_grad_last_")


def test_every_class_accepts_the_share_of_the_head():
    torch.manual_seed(0)
    label = torch.tensor([0] * 100 + [1] * 50 + [2] * 7 + [3] * 2)
    confidence = torch.rand(len(label)) * 0.5 + 0.5
    thresholds = adaptive_thresholds(confidence, label, 0, 0.8, torch.full((5,), 0.8))
    passing = int(((label == 0) & (confidence >= 0.8)).sum())
    assert 0 < passing < 100
    for k, size in enumerate((100, 50, 7, 2)):
        kept = confidence[label == k].sort(descending=True).values[: max(int(size * passing / 100), 1)]
        assert thresholds[k] == kept[-1]
    assert thresholds[4] == 0.8  # never predicted


def test_without_a_confident_head_sample_nothing_moves():
    previous = torch.tensor([0.95, 0.6, 0.7])
    label = torch.tensor([0, 1, 2, 0])
    assert torch.equal(adaptive_thresholds(torch.full((4,), 0.5), label, 0, 0.95, previous), previous)
    assert torch.equal(adaptive_thresholds(torch.full((2,), 0.99), torch.tensor([1, 2]), 0, 0.95, previous), previous)


def test_the_reference_is_the_most_frequent_class_wherever_it_stands():
    method = set_up("fixmatch+adsh", make_problem([5, 10, 90]))
    logits = torch.cat([3.0 * torch.eye(3)[[0] * 20], 9.0 * torch.eye(3)[[2] * 20]])
    assert torch.equal(method.series()["adsh/threshold"], torch.full((3,), 0.95))
    method.end_epoch(scores(logits))
    thresholds = method.series()["adsh/threshold"]
    assert thresholds[0] < 0.95 == thresholds[1] < thresholds[2]
    accepted = method.relabel(logits, torch.zeros(40, 4), torch.tensor(0)).mask
    assert accepted.sum() == 40 > set_up("fixmatch", method.problem).relabel(logits, torch.zeros(40, 4), torch.tensor(0)).mask.sum()
    restored = set_up("fixmatch+adsh", method.problem)
    restored.load_state_dict(method.state_dict())
    assert torch.equal(restored.series()["adsh/threshold"], thresholds)


def test_before_the_first_estimate_it_is_fixmatch_bit_for_bit(golden):
    arrays, _ = golden("daso_seval/saw_K10_s0")
    batch = make_batch(arrays["in_xl"][0], arrays["in_labels"][0], {"weak": arrays["in_xu0"][0], "strong": arrays["in_xu1"][0]})
    nets = GoldenNet(arrays), GoldenNet(arrays)
    for net, name in zip(nets, ("fixmatch", "fixmatch+adsh"), strict=True):
        run_step(set_up(name, make_problem(arrays["in_label_counts"])), net, batch, 0)
    assert all(torch.equal(a, b) for a, b in zip(nets[0].gradients().values(), nets[1].gradients().values(), strict=True))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("fixmatch+adsh(threshold=0)", r"threshold=0.* must be in \(0, 1\]"),
        ("fixmatch+adsh(compat=usb)", "choose 'paper' or 'official'"),
        ("mixmatch+adsh", "adsh changes the acceptance step, which mixmatch has not"),
    ],
)
def test_impossible_options(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)
