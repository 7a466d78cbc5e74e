"""CDMAD: no recorded steps exist, so it is compared with a step written out from its equations."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pldebias.methods import MethodError, build_method
from pldebias.nets import Output
from pldebias.schemes import Models
from tests.golden_net import assert_close, make_batch, make_problem, run_step, set_up


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.classifier = nn.Linear(12, 4), nn.Linear(4, 3)
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        features = self.encoder(x.flatten(1))
        return Output(features, self.classifier(features))


@pytest.fixture
def problem():
    return make_problem([90, 9, 1], total_steps=500, feature_dim=4)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    views = {view: torch.randn(6, 3, 2, 2) for view in ("weak", "strong", "strong2")}
    return make_batch(torch.randn(5, 3, 2, 2), torch.tensor([0, 0, 1, 0, 2]), views)


@pytest.mark.parametrize("t", [99, 100])
def test_one_step_written_out(t, problem, batch):
    net, method = Net(), set_up("fixmatch+cdmad", problem)
    losses, step = run_step(method, net, batch, t)

    def logits(x):
        return net.classifier(net.encoder(x.flatten(1)))

    with torch.no_grad():
        bias = logits(torch.ones(1, 3, 2, 2))[0]
        target = (logits(batch.unlabelled["weak"]) - (bias if t >= 100 else 0)).softmax(1)
    unlabelled = sum(F.cross_entropy(logits(batch.unlabelled[view]), target) for view in ("strong", "strong2")) / 2
    expected = F.cross_entropy(logits(batch.labelled["weak"]), batch.y) + unlabelled
    assert_close(step.probs, target)
    assert torch.equal(step.mask, torch.ones(6))  # every image, whatever its confidence
    assert_close(losses["unlabelled"], unlabelled)
    gradient = torch.autograd.grad(expected, [*net.parameters()])
    for ours, theirs in zip(net.parameters(), gradient, strict=True):
        assert_close(ours.grad, theirs)
    assert_close(method.series()["cdmad/bias"], bias)


def test_predictions_are_debiased_by_the_network_that_made_them(problem, batch):
    net, teacher, method = Net(), Net(seed=2), set_up("fixmatch+cdmad", problem)
    images = torch.randn(7, 3, 2, 2)
    output = teacher(images)
    assert torch.equal(method.predict(output.features, output.logits, teacher), output.logits)  # no image was seen, none is known
    run_step(method, net, batch, 0)
    expected = output.logits - teacher(torch.ones(1, 3, 2, 2)).logits
    assert_close(method.predict(output.features, output.logits, teacher), expected)
    restored = set_up("fixmatch+cdmad", problem)
    restored.load_state_dict(method.state_dict())
    assert_close(restored.predict(output.features, output.logits, teacher), expected)
    features, logits = torch.zeros(6, 4), torch.randn(6, 3)
    assert_close(restored.relabel(logits, features, torch.tensor(100)).probs, (logits - method.chain[0].bias).softmax(1))


def test_a_biased_network_labels_the_rare_classes_more_often(problem, batch):
    net, method = Net(), set_up("fixmatch+cdmad(start=0)", problem)
    with torch.no_grad():
        net.classifier.bias.copy_(torch.tensor([3.0, 0.0, -3.0]))
    _, step = run_step(method, net, batch, 0)
    plain = step.weak_logits.softmax(1).mean(0)
    assert step.probs.mean(0)[2] > plain[2] and step.probs.mean(0)[0] < plain[0]


def test_without_bias_and_with_the_learners_own_rule_it_is_fixmatch_bit_for_bit(problem, batch):
    outcomes = []
    for name in ("fixmatch", "fixmatch+cdmad(start=0, soft=False)"):
        net = Net()
        nn.init.zeros_(net.classifier.bias)
        if "cdmad" in name:  # the image of zeros: a network without biases answers zero to it
            name = name.replace("soft=False", "soft=False, fill=0.0")
        nn.init.zeros_(net.encoder.bias)
        losses, _ = run_step(set_up(name, problem), net, batch, 0)
        outcomes.append([*losses.values(), *(p.grad for p in net.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


def test_the_solid_image_brings_no_gradient(problem, batch):
    net, method = Net(), set_up("fixmatch+cdmad", problem)
    method.losses(Models(net, net), batch, torch.tensor(0))
    solid = next(x for x in net.seen if len(x) == 1)
    assert torch.equal(solid, torch.ones(1, 3, 2, 2)) and not method.chain[0].bias.requires_grad


def test_running_batch_statistics_do_not_see_the_solid_image(problem, batch):
    net, plain = (nn.Sequential(nn.BatchNorm2d(3)) for _ in range(2))

    def forward(norm):
        def run(x):
            features = norm(x).mean((2, 3))
            return Output(features, features)

        return run

    batch.unlabelled["strong2"] = batch.unlabelled["strong"]
    method = set_up("fixmatch+cdmad", problem)
    net.forward = forward(net[0])
    plain.forward = forward(plain[0])
    method.losses(Models(net, net), batch, torch.tensor(0))
    plain(torch.cat([batch.labelled["weak"], *batch.unlabelled.values()]))
    for ours, theirs in zip(net.buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert net[0].track_running_stats
    alone = nn.BatchNorm2d(3)  # in training mode a solid image is normalised to zero
    assert_close(method.chain[0].bias, alone(torch.ones(1, 3, 2, 2)).mean((0, 2, 3)))


def test_impossible_options():
    with pytest.raises(MethodError, match=r"start=-1.* must be a step >= 0"):
        build_method("fixmatch+cdmad(start=-1)")
