"""Losses and ramps against values of the DASO code."""

import pytest
import torch
import torch.nn.functional as F

from pldebias.schemes.formulas.effective_number import effective_weights
from pldebias.schemes.formulas.losses import masked_cross_entropy, ramp_up
from tests.golden_files import names
from tests.golden_net import assert_close


@pytest.fixture(params=names("daso_seval/losses_K*"))
def arrays(request, golden):
    return {key: torch.tensor(value) for key, value in golden(request.param)[0].items()}


def test_masked_cross_entropy(arrays):
    logits, labels, mask = arrays["in_logits"], arrays["in_labels"], arrays["in_mask"]
    everything = torch.ones_like(mask)
    assert_close(masked_cross_entropy(logits, labels, everything), arrays["out_ce"])
    assert_close(masked_cross_entropy(logits, labels, mask), arrays["out_ce_masked_noavg"])
    assert_close(masked_cross_entropy(logits, arrays["in_soft"], everything), arrays["out_ce_soft"])


def test_a_batch_without_an_accepted_row_has_loss_zero_and_gradient_zero(arrays):
    logits = arrays["in_logits"].requires_grad_()
    loss = masked_cross_entropy(logits, arrays["in_labels"], torch.zeros(len(logits)))
    loss.backward()
    assert_close(loss, arrays["out_ce_allzero"])
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_stacked_strong_views_share_target_and_weight(arrays):
    logits, labels, mask = arrays["in_logits"], arrays["in_labels"], arrays["in_mask"]
    other = logits.flip(1)
    expected = (masked_cross_entropy(logits, labels, mask) + masked_cross_entropy(other, labels, mask)) / 2
    assert_close(masked_cross_entropy(torch.cat([logits, other]), labels, mask), expected)
    soft = arrays["in_soft"]
    expected = (masked_cross_entropy(logits, soft, mask) + masked_cross_entropy(other, soft, mask)) / 2
    assert_close(masked_cross_entropy(torch.cat([logits, other]), soft, mask), expected)


def test_no_gradient_enters_soft_targets(arrays):
    target = arrays["in_soft"].requires_grad_()
    masked_cross_entropy(arrays["in_logits"].requires_grad_(), target, arrays["in_mask"]).backward()
    assert target.grad is None


def test_class_balanced_weights(arrays):
    logits, labels, counts = arrays["in_logits"], arrays["in_labels"], arrays["in_counts"]
    losses = F.cross_entropy(logits, labels, reduction="none")
    for beta, name in ((0.999, "cb"), (1, "inv")):
        weights = effective_weights(counts, beta)
        assert_close(weights, arrays[f"out_{name}_weights"])
        assert_close((losses * weights[labels]).mean(), arrays[f"out_{name}_ce"])


@pytest.mark.parametrize("shape", ["linear", "exp"])
@pytest.mark.parametrize("part", [0.4, 0.016])
def test_ramp_up(shape, part, golden):
    arrays, _ = golden("daso_seval/rampups")
    ours = ramp_up(torch.tensor(arrays["in_iters"]), part * 250_000, shape)
    assert_close(ours, arrays[f"out_{shape}_{str(part).replace('.', 'p')}"])


def test_a_ramp_of_no_length_is_one_from_the_first_step():
    assert torch.equal(ramp_up(torch.tensor([0, 1, 9]), 0), torch.ones(3))
