"""Rows without gradient: the same outputs and statistics, and the gradients of a network in which they are constants."""

import copy

import pytest
import torch

from pldebias.nets import GradientRows, build_network

ROWS, ALL = 12, 20


def learned(network, x, bf16=False):
    """Outputs and all gradients of a loss of the first rows."""
    network.bf16 = bf16
    features, logits = network(x)
    (logits[:ROWS].logsumexp(1).mean() + features[:ROWS].square().mean()).backward()
    return torch.cat([features, logits], 1).detach(), [p.grad for p in network.parameters()]


def written_out(network):
    """Detach the other rows before every layer that could bring them a gradient."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda module, inputs: (torch.cat([inputs[0][:ROWS], inputs[0][ROWS:].detach()]),))
    return network


@pytest.mark.parametrize("name", ["wrn28_2", "tiny_resnet", "cnn_glyphs", "resnet18"])
@pytest.mark.parametrize("bf16", [False, True])
def test_the_others_are_constants(name, bf16):
    torch.manual_seed(3)
    network = build_network(name, 1 if name == "cnn_glyphs" else 3, 5).to(memory_format=torch.channels_last)
    x = torch.randn(ALL, 1 if name == "cnn_glyphs" else 3, 16, 16).contiguous(memory_format=torch.channels_last)
    plain, wanted = copy.deepcopy(network), written_out(copy.deepcopy(network))
    with GradientRows(ROWS):
        out, gradients = learned(network, x, bf16)
    expected, theirs = learned(wanted, x, bf16)
    assert torch.equal(out, expected)
    for (key, value), other in zip(network.state_dict().items(), wanted.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    near = 0.03 if bf16 else 1e-5
    for (key, _), a, b in zip(network.named_parameters(), gradients, theirs, strict=True):
        assert (a - b).norm() <= near * b.norm() + 1e-7, key
    with_statistics = torch.cat([g.flatten() for g in learned(plain, x, bf16)[1]])
    ours = torch.cat([g.flatten() for g in gradients])
    assert (ours - with_statistics).norm() > 0.05 * with_statistics.norm()


def test_all_rows_are_as_if_nothing_was_said():
    torch.manual_seed(4)
    network = build_network("tiny_resnet", 3, 5)
    x = torch.randn(ROWS, 3, 16, 16)
    twin = copy.deepcopy(network)
    with GradientRows(ROWS):
        ours = learned(network, x)[1]
    assert all(torch.equal(a, b) for a, b in zip(ours, learned(twin, x)[1], strict=True))
    with GradientRows(1), torch.no_grad():  # and where nothing is differentiated
        assert torch.equal(network(x).logits, twin(x).logits)
