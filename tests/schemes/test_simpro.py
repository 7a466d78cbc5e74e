"""SimPro against recorded epochs of its official code, and against an epoch written out from its equations."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pldebias.methods import MethodError, build_method
from pldebias.nets import Output
from pldebias.schemes.simpro import maximise
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


@vectors("recent/simpro_K*")
def test_golden_epochs(vector, golden):
    """In double precision. The official estimate divides by the sum plus one, where ours is the distribution itself."""
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    options = {"tau": h["tau"], "momentum": h["ema_u"], "alpha": 1 / h["scale_ratio"]}
    method = set_up(f"fixmatch(threshold={h['threshold']})+simpro", make_problem(arrays["in_label_counts"]), {"simpro": options}).double()
    scheme, net = method.chain[0], GoldenNet(arrays, names={"classifier": "classifier"}).double()
    recorded = {ours: [*arrays[f"out_{key}"], arrays[f"out_{key}_end"]] for ours, key in NAMES.items()}
    assert_close(scheme.joint_dist, recorded["joint_dist"][0], atol=1e-7)

    def images(key, i):
        return torch.tensor(arrays[key][i]).double()

    for i in range(len(arrays["in_labels"])):
        for ours, values in recorded.items():
            getattr(scheme, ours).copy_(torch.tensor(values[i]))
        views = {view: images(f"in_xu{j}", i) for j, view in enumerate(method.learner.unlabelled_views)}
        batch = make_batch(images("in_xl_weak", i), arrays["in_labels"][i], views, strong=images("in_xl_strong", i))
        losses, step = run_step(method, net, batch, i)
        assert_close(step.probs, arrays["out_pseudo_label"][i], atol=1e-9, rtol=1e-8)
        assert_close(step.mask, arrays["out_mask"][i])
        assert_close(losses["labelled"], arrays["out_Lx"][i], atol=1e-9, rtol=1e-8)
        assert_close(losses["unlabelled"], arrays["out_Lu"][i], atol=1e-9, rtol=1e-8)
        assert_close(scheme.labelled_sum, arrays["out_count_labeled_dataset"][i], atol=1e-9, rtol=1e-8)
        assert_close(scheme.unlabelled_sum, arrays["out_dis_unlabeled"][i], atol=1e-9, rtol=1e-8)
        before, after = (torch.tensor(recorded["unlabelled_dist"][j]) for j in (i, i + 1))
        if not torch.equal(before, after):  # the epoch is over
            summed, joint = scheme.unlabelled_sum.clone(), recorded["joint_dist"][i + 1]
            assert_close(h["ema_u"] * before + (1 - h["ema_u"]) * summed / (summed.sum() + 1), after, atol=1e-12, rtol=1e-12)
            method.end_epoch(None)
            assert_close(scheme.joint_dist, joint, atol=1e-12, rtol=1e-12)
            assert_close(scheme.unlabelled_dist, h["ema_u"] * before + (1 - h["ema_u"]) * summed / summed.sum(), atol=1e-12, rtol=1e-12)
    assert_gradients(net, arrays, "out_grad_last_")


NAMES = {"unlabelled_dist": "estimated_dis", "joint_dist": "adapt_dis"}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.classifier = nn.Linear(4, 3)

    def forward(self, x):
        return Output(x, self.classifier(x))


@pytest.fixture
def problem():
    return make_problem([90, 9, 1], num_unlabelled=400, feature_dim=4)


def batches(count):
    torch.manual_seed(1)
    for _ in range(count):
        views = {view: 4 * torch.randn(8, 4) for view in ("weak", "strong", "strong2")}
        yield make_batch(torch.randn(5, 4), torch.tensor([0, 0, 1, 0, 2]), views, strong=torch.randn(5, 4))


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_two_epochs_written_out(tau, problem):
    """E-step: softmax(z + tau log pi_u). Losses at tau log phi, the labelled one times mu N / M. M-step: normalised sums, smoothed."""
    net, method = Net(), set_up(f"fixmatch(threshold=0.5)+simpro(tau={tau})", problem)
    z = net.classifier
    unlabelled_dist, joint = torch.full((3,), 1 / 3), torch.tensor([0.9, 0.09, 0.01])
    for _ in range(2):
        sums = torch.zeros(2, 3)
        for i, batch in enumerate(batches(3)):
            losses, step = run_step(method, net, batch, i)
            target = (z(batch.unlabelled["weak"]) + tau * unlabelled_dist.log()).softmax(1).detach()
            mask = (target.amax(1) >= 0.5).float()
            images = torch.cat([*batch.labelled.values()])
            labelled = F.cross_entropy(z(images) + tau * joint.log(), batch.y.repeat(2)) * (8 / 5 * 100 / 400)
            strong = [F.cross_entropy(z(batch.unlabelled[v]) + tau * joint.log(), target, reduction="none") for v in ("strong", "strong2")]
            unlabelled = (mask * (strong[0] + strong[1])).mean() / 2
            assert_close(step.probs, target)
            assert_close(losses["labelled"], labelled)
            assert_close(losses["unlabelled"], unlabelled)
            for ours, theirs in zip(net.parameters(), torch.autograd.grad(labelled + unlabelled, [*net.parameters()]), strict=True):
                assert_close(ours.grad, theirs)
            sums[0] += F.one_hot(batch.y, 3).sum(0)
            sums[1] += (mask[:, None] * target).sum(0)
        method.end_epoch(None)
        unlabelled_dist = 0.9 * unlabelled_dist + 0.1 * sums[1] / sums[1].sum()
        joint = 0.9 * joint + 0.1 * sums.sum(0) / sums.sum()
        assert_close(method.series()["simpro/unlabelled_dist"], unlabelled_dist)
        assert_close(method.series()["simpro/joint_dist"], joint)


def test_the_estimate_finds_a_reversed_unlabelled_set(problem):
    """Well-separated classes: after some epochs the distribution of the unlabelled set is found, the labelled one notwithstanding."""
    method = set_up("fixmatch+simpro(tau=1.0)", problem)
    truth = torch.tensor([0.05, 0.15, 0.8])
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        for _ in range(5):
            label = torch.multinomial(truth, 64, replacement=True, generator=generator)
            step = method.relabel(12.0 * F.one_hot(label, 3), torch.zeros(64, 4), torch.tensor(0))
            step.batch = make_batch(torch.zeros(1, 4), torch.tensor([0]), {"weak": torch.zeros(1, 4)})
            method.chain.observe(step)
        method.end_epoch(None)
    assert_close(method.series()["simpro/unlabelled_dist"], truth, atol=0.03)


def test_an_epoch_without_an_accepted_row_keeps_the_estimate():
    previous = torch.tensor([0.5, 0.3, 0.2])
    assert torch.equal(maximise(torch.zeros(3), previous, 0.9), previous)
    assert_close(maximise(torch.tensor([0.0, 0.0, 4.0]), previous, 0.5), torch.tensor([0.25, 0.15, 0.6]))


def test_a_uniform_estimate_changes_no_label_and_a_skewed_one_does(problem):
    logits, features, t = torch.randn(300, 3), torch.zeros(300, 4), torch.tensor(0)
    plain = set_up("fixmatch", problem).relabel(logits, features, t).label
    method = set_up("fixmatch+simpro", problem)
    assert torch.equal(method.relabel(logits, features, t).label, plain)
    method.chain[0].unlabelled_dist.copy_(torch.tensor([0.05, 0.05, 0.9]))
    assert (method.relabel(logits, features, t).label == 2).sum() > (plain == 2).sum()
    restored = set_up("fixmatch+simpro", problem)
    restored.load_state_dict(method.state_dict())
    assert torch.equal(restored.relabel(logits, features, t).probs, method.relabel(logits, features, t).probs)


def test_the_labelled_loss_weighs_mu_n_over_m_or_what_is_asked_for(problem):
    losses = torch.ones(4)
    step = SimpleNamespace(index=torch.arange(8), batch=SimpleNamespace(y=torch.arange(4)))
    share = 2 * float(problem.labelled_counts.sum()) / problem.num_unlabelled
    assert_close(set_up("fixmatch+simpro", problem).chain[0].weigh_labelled(losses, step), torch.full((4,), share))
    assert_close(set_up("fixmatch+simpro(alpha=0.7)", problem).chain[0].weigh_labelled(losses, step), torch.full((4,), 0.7))


def test_it_asks_for_its_views():
    learner = build_method("fixmatch+simpro").learner
    assert learner.labelled_views == ("weak", "strong")
    assert learner.unlabelled_views == ("weak", "strong", "strong2")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("fixmatch+simpro(alpha=0)", r"alpha=0.* must be positive"),
        ("fixmatch+simpro(momentum=1)", r"momentum=1.* must be in \[0, 1\)"),
        ("meanteacher+simpro", "simpro changes the acceptance step, which meanteacher has not"),
    ],
)
def test_impossible_options(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)
