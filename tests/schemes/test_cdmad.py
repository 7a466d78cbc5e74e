"""CDMAD against recorded steps of its official code and DyTrim's black image, a step written out, and the official loop with batch norm."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pldebias.methods import MethodError, build_method
from pldebias.nets import Output
from pldebias.schemes import Models
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


class Flat(GoldenNet):
    """The network of the recorded steps, whose images are 24 values."""

    def forward(self, x):
        return super().forward(x.flatten(1))


@vectors("recent/cdmad*_K*", "recent/dytrim_step*_K*")
def test_golden_steps(vector, golden):
    """In double precision. All that differs is the loss: to every probability the official one adds 1e-8."""
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    options = {"threshold": h["tau"], "fill": h["solid_image"]}
    method = set_up("fixmatch+cdmad", make_problem(arrays["in_label_counts"]), {"cdmad": options}).double()
    assert method.chain[0].first == 500 * (h["debiasstart"] + 1)
    net = Flat(arrays, names={"classifier": "classifier"}).double()

    def images(key, i):
        return torch.tensor(arrays[key][i]).double().unflatten(1, (1, 4, 6))

    for i in range(len(arrays["in_xl"])):
        views = {view: images(f"in_xu{j}", i) for j, view in enumerate(method.learner.unlabelled_views)}
        batch = make_batch(images("in_xl", i), arrays["in_labels"][i], views)
        losses, step = method.losses(Models(net, net), batch, torch.tensor(500 * h["epoch"]))
        assert_close(method.chain[0].bias, arrays["out_biaseddegree"][i], atol=1e-12, rtol=1e-12)
        assert_close(step.probs, arrays["out_targets_u2"][i], atol=1e-12, rtol=1e-12)
        assert_close(step.mask.repeat(2), arrays["out_select_mask"][i])
        if "dytrim" in vector:  # weighs its losses, which is not CDMAD
            continue
        labelled = -(step.outputs["labelled"].logits.softmax(1) + 1e-8).log()[torch.arange(len(batch.y)), batch.y].mean()
        each = -(step.probs.repeat(2, 1) * (step.outputs["strong"].logits.softmax(1) + 1e-8).log()).sum(1)
        unlabelled = (each * step.mask.repeat(2)).mean()
        for key, official, recorded in (("labelled", labelled, "Lx"), ("unlabelled", unlabelled, "Lu")):
            assert_close(official, arrays[f"out_{recorded}"][i], atol=1e-9, rtol=1e-9)
            assert losses[key] > official - 1e-6
    if "dytrim" not in vector:
        (labelled + unlabelled).backward()
        assert_gradients(net, arrays, "out_grad_last_")


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
    return make_problem([90, 9, 1], total_steps=500, steps_per_epoch=10, feature_dim=4)  # a fifth ends with epoch 9, epoch 10 holds it


@pytest.fixture
def batch():
    torch.manual_seed(1)
    views = {view: torch.randn(6, 3, 2, 2) for view in ("weak", "strong", "strong2")}
    return make_batch(torch.randn(5, 3, 2, 2), torch.tensor([0, 0, 1, 0, 2]), views)


@pytest.mark.parametrize("t", [109, 110])
def test_one_step_written_out(t, problem, batch):
    net, method = Net(), set_up("fixmatch+cdmad", problem)
    losses, step = run_step(method, net, batch, t)

    def logits(x):
        return net.classifier(net.encoder(x.flatten(1)))

    with torch.no_grad():
        bias = logits(torch.ones(1, 3, 2, 2))[0]
        target = (logits(batch.unlabelled["weak"]) - (bias if t >= 110 else 0)).softmax(1)
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
    assert_close(restored.relabel(logits, features, torch.tensor(110)).probs, (logits - method.chain[0].bias).softmax(1))


def test_a_biased_network_labels_the_rare_classes_more_often(problem, batch):
    net, method = Net(), set_up("fixmatch+cdmad(start=0)", problem)
    with torch.no_grad():
        net.classifier.bias.copy_(torch.tensor([3.0, 0.0, -3.0]))
    _, step = run_step(method, net, batch, 0)
    plain = step.logits.softmax(1).mean(0)
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


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        features = self.norm(self.conv(x)).relu().mean((2, 3))
        return Output(features, self.head(features))


def test_lock_step_with_the_official_loop():
    """White image, then every view by itself, all of them moving the running statistics; targets under a threshold."""
    torch.manual_seed(3)
    net, ours = Normed().double(), Normed().double()
    spelling = "fixmatch(passes=views)+cdmad(start=3, threshold=0.37, image_stats=moving)"
    method = set_up(spelling, make_problem([90, 9, 1], feature_dim=4)).double()
    shares = []
    for t in range(6):
        x, weak, strong, strong2 = (torch.randn(n, 3, 6, 6, dtype=torch.float64) for n in (5, 8, 8, 8))
        y = torch.tensor([0, 0, 1, 0, 2])
        with torch.no_grad():
            bias = net(torch.ones(1, 3, 6, 6, dtype=torch.float64)).logits
            target = (net(weak).logits - (bias if t >= 3 else 0)).softmax(1)
        mask = (target.amax(1) >= 0.37).double()
        loss = -(net(x).logits.softmax(1) + 1e-8).log()[torch.arange(5), y].mean()
        for view in (strong, strong2):
            loss = loss - (mask * (target * (net(view).logits.softmax(1) + 1e-8).log()).sum(1)).mean() / 2
        _, step = run_step(method, ours, make_batch(x, y, {"weak": weak, "strong": strong, "strong2": strong2}), t)
        assert torch.equal(step.mask, mask)
        shares.append(mask.mean())
        for p, q, g in zip(net.parameters(), ours.parameters(), torch.autograd.grad(loss, [*net.parameters()]), strict=True):
            p.data -= 0.1 * g
            q.data -= 0.1 * q.grad
    for key, value in net.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, atol=1e-6, rtol=0)
    assert ours.norm.num_batches_tracked == 6 * 5
    assert 0 < sum(shares) < len(shares)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("start=-1", "must not be negative: a step"),
        ("threshold=2", r"must be in \[0, 1\]"),
        ("soft=False, threshold=0.9", "soft=False the learner has the threshold"),
        ("image_stats=both", "'apart' or 'moving'"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(MethodError, match=message):
        build_method(f"fixmatch+cdmad({options})")
