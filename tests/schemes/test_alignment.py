"""Distribution alignment against recorded sequences of the DASO and USB codes."""

import pytest
import torch

from pldebias.schemes.debiaspl import update_prior
from pldebias.schemes.formulas.alignment import DistributionAlignment, align, temper
from tests.golden_files import vectors
from tests.golden_net import assert_close


@vectors("daso_seval/dist_align_K*")
def test_golden_sequence_beyond_one_window(vector, golden):
    arrays, info = golden(vector)
    alignment = DistributionAlignment(torch.tensor(arrays["in_target"]), info["hyperparameters"]["window"])
    kept = arrays["out_steps"].tolist()
    for i, probs in enumerate(torch.tensor(arrays["in_probs"])):
        alignment.push(probs)
        if i in kept:
            aligned = alignment(probs, float(arrays["in_temperatures"][i]))
            assert_close(aligned, arrays["out_aligned"][kept.index(i)], name=f"step {i}")


@vectors("debiaspl_adello/distalign_usb_K*")
def test_usb_running_means(vector, golden):
    """USB keeps a running mean of momentum 0.999 from the first batch on; targets are uniform, given, or a running mean themselves."""
    t = {key: torch.tensor(value) for key, value in golden(vector)[0].items()}
    for kind in ("uniform", "gt", "model"):
        running = None
        for i, probs in enumerate(t["probs_ulb"]):
            running = probs.mean(0) if running is None else update_prior(running, probs, 0.999)
            assert_close(running, t[f"ema_{kind}_pmodel{i}"])
            assert_close(align(probs, running, t[f"ema_{kind}_ptarget{i}"].float()), t[f"ema_{kind}_out{i}"])


def test_the_mean_of_the_target_changes_nothing_and_a_skewed_one_is_pulled_back():
    target = torch.tensor([0.5, 0.3, 0.2])
    probs = torch.randn(20, 3).softmax(1)
    assert_close(align(probs, target, target), probs)
    skewed = torch.tensor([[0.8, 0.1, 0.1]]).repeat(20, 1)
    aligned = align(skewed, skewed.mean(0), target)
    assert_close(aligned.mean(0), target, atol=1e-5)
    assert_close(aligned.sum(1), torch.ones(20))


def test_before_the_first_batch_nothing_is_aligned():
    alignment = DistributionAlignment(torch.tensor([6, 3, 1]))
    probs = torch.randn(4, 3).softmax(1)
    assert_close(alignment(probs), probs)
    assert_close(alignment.target, torch.tensor([0.6, 0.3, 0.1]))


def test_batches_of_unequal_size_count_by_row_and_the_oldest_leaves():
    batches = [torch.randn(n, 3).softmax(1) for n in (4, 9, 2)]
    alignment = DistributionAlignment(torch.ones(3), window=2)
    for probs in batches:
        alignment.push(probs)
    assert_close(alignment.running(), torch.cat(batches[1:]).mean(0))
    other = DistributionAlignment(torch.ones(3), window=2)
    other.load_state_dict(alignment.state_dict())
    for module in (alignment, other):
        module.push(batches[0])
    assert torch.equal(alignment.running(), other.running())


def test_temper():
    target = torch.tensor([0.7, 0.2, 0.1])
    assert_close(temper(target, 1.0), target)
    assert_close(temper(target, 0.0), torch.full((3,), 1 / 3))


@pytest.mark.parametrize("target", [torch.tensor([0.5, -0.1]), torch.zeros(3), torch.ones(2, 2)])
def test_impossible_targets(target):
    with pytest.raises(ValueError, match="class frequencies"):
        DistributionAlignment(target)


def test_impossible_window():
    with pytest.raises(ValueError, match="window=0 must be at least 1"):
        DistributionAlignment(torch.ones(2), window=0)
