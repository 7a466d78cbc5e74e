"""ACR and ABCLA against recorded steps of the SEVAL code and a recorded training loop of the ADELLO code."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pldebias.methods import MethodError, build_method
from pldebias.nets import Output
from pldebias.schemes.acr import anchors, distances, presence, strength
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


@vectors("daso_seval/acr_K*", "daso_seval/abcla_K*")
def test_golden_sequence_of_the_seval_code(vector, golden):
    arrays, info = golden(vector)
    h, name = info["hyperparameters"], "abcla" if "abcla" in vector else "acr"
    options = {"tau": float(h["tau1"]), "threshold": h["conf_thres"], "momentum": h["ema_u"], "window": "step", "counts": False}
    problem = make_problem(arrays["in_label_counts"], total_steps=300, steps_per_epoch=h["eval_period"])
    method = set_up(f"fixmatch+{name}", problem, {name: options})
    net = GoldenNet(arrays, heads=("acr",))
    scheme = method.chain[0]
    views = method.learner.unlabelled_views
    assert len(views) == sum(key.startswith("in_xu") for key in arrays)
    for i in range(len(arrays["in_xl"])):
        batch = make_batch(arrays["in_xl"][i], arrays["in_labels"][i], {v: arrays[f"in_xu{j}"][i] for j, v in enumerate(views)})
        losses, step = run_step(method, net, batch, i)
        assert_close(step.probs, arrays["out_pl_main"][i], atol=1e-4)
        assert torch.equal(step.mask, torch.tensor(arrays["out_mask_or_t"][i]))
        assert torch.equal(step.memo["acr/mask"], torch.tensor(arrays["out_mask_or_b_h2"][i]))
        assert torch.equal(step.memo["acr/label"], torch.tensor(arrays["out_pl_h2"][i]).argmax(1))
        assert_close(scheme.tau_now, h["tau1"] if arrays["out_tau"][i] < 0 else arrays["out_tau"][i], name=f"tau {i}")
        assert_close(method.series()[f"{name}/offset"], arrays["out_adj_l1"][i])
        assert_close(scheme.estimate, arrays["out_u_py"][i], name=f"estimate {i}")
        for ours, theirs in {"labelled": "Lx", f"{name}/labelled": "Lx_b", "unlabelled": "Lu", f"{name}/unlabelled": "Lu_b"}.items():
            assert_close(losses[ours], arrays[f"out_loss_{theirs}"][i], name=f"{theirs} {i}")
        if name == "acr" and arrays["out_tau"][i] > 0:
            assert_close(distances(scheme.estimate, scheme.anchors), arrays["out_count_KL"][i], name=f"distances {i}")
    assert_gradients(net, arrays, "out_grad_last_")


class TwoHeads(nn.Module):
    """Recorded logits of both heads are the features, so that the gradient of the features is that of the logits."""

    def __init__(self, classes):
        super().__init__()
        self.classes, self.heads = classes, {"acr": lambda features: features[:, classes:]}

    def forward(self, x):
        self.features = x.clone().requires_grad_()
        return Output(self.features, self.features[:, : self.classes])


@vectors("debiaspl_adello/acr_loop_K*")
def test_golden_training_loop_of_the_adello_code(vector, golden):
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    epoch, steps = sum(k.startswith("y_lb_iter") for k in arrays), sum(k.endswith("_epoch") for k in arrays)
    problem = make_problem(h["lb_counts"], total_steps=steps, steps_per_epoch=epoch)
    options = {"tau": float(h["tau1"]), "threshold": h["p_cutoff"], "momentum": h["ema_u"], "counts": False}
    method = set_up(f"fixmatch+abcla(start={epoch * h['est_epoch']})", problem, {"abcla": options})
    scheme = method.chain[0]
    scheme.estimates = True  # one strong view, as abcla, with the estimate of acr
    net = TwoHeads(h["K"])
    for i in range(steps):
        a = {key: torch.tensor(arrays[f"s{i:02d}_{key}"]) for key in ("logits", "logits_aux", "tau", "u_py_after", "count_KL")}
        y = arrays[f"y_lb_iter{i % epoch}"]
        labelled, unlabelled = torch.cat([a["logits"], a["logits_aux"]], 1).tensor_split([len(y)])
        weak, strong = unlabelled.chunk(2)
        batch = make_batch(labelled, y, {"weak": weak, "strong": strong})
        losses, _ = run_step(method, net, batch, i)
        assert_close(scheme.tau_now, a["tau"], name=f"tau {i}")
        assert_close(scheme.estimate, a["u_py_after"], name=f"estimate {i}")
        assert_close(scheme.summed, a["count_KL"], name=f"distances {i}")
        for ours, theirs in {"labelled": "Lx", "abcla/labelled": "Lx_b", "unlabelled": "Lu", "abcla/unlabelled": "Lu_b"}.items():
            assert_close(losses[ours], arrays[f"s{i:02d}_{theirs}"], name=f"{theirs} {i}")
        gradient = net.features.grad
        assert_close(gradient[:, : h["K"]], arrays[f"s{i:02d}_grad_logits"], name=f"gradient {i}")
        assert_close(gradient[:, h["K"] :], arrays[f"s{i:02d}_grad_logits_aux"], name=f"gradient of the second head {i}")


class Linear(nn.Module):
    """Two linear heads on the images, in double precision."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.main, self.heads = nn.Linear(6, 4).double(), nn.ModuleDict({"acr": nn.Linear(6, 4).double()})

    def forward(self, x):
        return Output(x, self.main(x))


def official_loop(net, batches, prior, est_epoch, epoch_length, lr):
    """The loop of the official train.py, in the order in which it does things; yields the strength of each step."""
    uniform, reverse = torch.full_like(prior, 1 / len(prior)), prior.flip(0)
    estimate, tau, adjusted, summed = uniform.clone(), 2.0, (prior**2 + 1e-12).log(), None

    def kl(p, q):
        return sum((torch.special.xlogy(a, a) - a * b.log()).sum() / 2 for a, b in ((p, q), (q, p)))

    for t, batch in enumerate(batches):
        if t % epoch_length == 0:
            if t // epoch_length > est_epoch:
                e = (summed / epoch_length).exp()
                new = 2 * e[0] / e.sum()
                if not new.isnan():
                    tau, adjusted = new.item(), (prior**new + 1e-12).log()
            summed = torch.zeros(3, dtype=prior.dtype)
        weak = batch.unlabelled["weak"]
        with torch.no_grad():
            z = net.main(weak)
            first, balanced = z - adjusted, z - (prior**2 + 1e-12).log()
            sure = {k: v.softmax(1).amax(1) >= 0.95 for k, v in {"a": first, "raw": z, "b": balanced}.items()}
            confidence, guess = net.heads["acr"](weak).softmax(1).max(1)
            sure["head"] = confidence >= 0.95
        if t // epoch_length > est_epoch:
            seen = torch.zeros_like(prior)
            for k, yes in zip(guess, sure["head"], strict=True):
                seen[k] = float(yes)  # the last row with a label decides
            if seen.sum() > 0:
                estimate = 0.9 * estimate + 0.1 * seen / seen.sum()
                summed += torch.stack([kl(estimate, anchor) for anchor in (prior, uniform, reverse)])
        loss = F.cross_entropy(net.main(batch.labelled["weak"]), batch.y)
        loss = loss + F.cross_entropy(net.heads["acr"](batch.labelled["weak"]) + (prior**2 + 1e-12).log(), batch.y)
        for view in ("strong", "strong2"):
            x = batch.unlabelled[view]
            each = F.cross_entropy(net.main(x), first.argmax(1), reduction="none") * (sure["a"] | sure["raw"])
            loss = loss + each.mean() / 2
            each = F.cross_entropy(net.heads["acr"](x), balanced.argmax(1), reduction="none") * (sure["head"] | sure["b"])
            loss = loss + each.mean() / 2
        for p, g in zip(net.parameters(), torch.autograd.grad(loss, [*net.parameters()]), strict=True):
            p.data -= lr * g
        yield tau, estimate


def test_lock_step_with_the_official_loop():
    """Most steps hold no confident sample: those add nothing to the distances, whose sum is divided by the epoch's length all the same."""
    torch.manual_seed(1)
    problem = make_problem([8, 4, 2, 2], total_steps=120, steps_per_epoch=10, feature_dim=6)

    def batch():
        scale = 9 * torch.rand(1, dtype=torch.float64) ** 2
        x = {view: scale * torch.randn(4, 6, dtype=torch.float64) for view in ("weak", "strong", "strong2")}
        return make_batch(torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 0, 1, 2, 3]), x)

    batches = [batch() for _ in range(120)]
    net, ours = Linear(), Linear()
    method = set_up("fixmatch+acr(counts=False)", problem).double()
    scheme, taus, counted = method.chain[0], set(), []
    for t, (tau, estimate) in enumerate(official_loop(net, batches, scheme.prior, problem.total_steps // 100 // 10, 10, 0.05)):
        before = scheme.summed.clone()
        run_step(method, ours, batches[t], t)
        counted.append(bool((scheme.summed != before).any()))
        for p in ours.parameters():
            p.data -= 0.05 * p.grad
        torch.testing.assert_close(scheme.tau_now, torch.tensor(tau, dtype=torch.float64), atol=1e-9, rtol=0, msg=f"strength {t}")
        torch.testing.assert_close(scheme.estimate, estimate, atol=1e-9, rtol=0, msg=f"estimate {t}")
        taus.add(round(tau, 6))
    for p, q in zip(ours.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-9, rtol=0)
    assert not any(counted[:10]) and 10 < sum(counted[10:]) < 100  # from the second epoch on, in some steps
    assert len(taus) > 8


def test_a_class_unseen_for_long_leaves_the_strength_as_it_was():
    scheme = set_up("fixmatch+acr", make_problem([90, 9, 1], total_steps=300, steps_per_epoch=10)).chain[0]
    scheme.tau_now.fill_(0.7)
    scheme.summed.copy_(torch.tensor([1.0, torch.nan, 2.0]))
    scheme.prepare(SimpleNamespace(t=torch.tensor(20)))
    assert_close(scheme.tau_now, 0.7)
    assert torch.equal(scheme.summed, torch.zeros(3))


@pytest.fixture
def problem():
    return make_problem([90, 9, 1], total_steps=300, steps_per_epoch=10, feature_dim=4)


def simulate(method, classes, steps):
    """Train on confident predictions of `classes` only, with a network that never learns."""

    logits = 20 * torch.eye(3)[classes]
    images = torch.cat([logits, logits], 1)
    batch = make_batch(images[:3], torch.tensor([0, 1, 2]), {"weak": images, "strong": images, "strong2": images})
    for t in steps:
        run_step(method, TwoHeads(3), batch, t)
    return method


def test_the_adjustment_grows_with_the_distance_to_the_labelled_distribution(problem):
    alike = simulate(set_up("fixmatch+acr", problem), [0] * 90 + [1] * 9 + [2], range(200)).chain[0]
    reverse = simulate(set_up("fixmatch+acr", problem), [2] * 90 + [1] * 9 + [0], range(200)).chain[0]
    assert_close(alike.estimate, problem.prior, atol=1e-3)
    assert_close(reverse.estimate, problem.prior.flip(0), atol=1e-3)
    assert alike.tau_now < 0.2 < 1 < reverse.tau_now < 2


def test_a_skewed_prior_changes_labels_and_a_uniform_one_none(problem):
    logits = torch.randn(400, 3)
    features, t = torch.zeros(400, 4), torch.tensor(0)
    plain = set_up("fixmatch", problem).relabel(logits, features, t).label
    adjusted = set_up("fixmatch+acr", problem).relabel(logits, features, t).label
    assert (adjusted == 2).sum() > 1.5 * (plain == 2).sum()
    even = set_up("fixmatch+acr", make_problem([30, 30, 30], feature_dim=4))
    assert torch.equal(even.relabel(logits, features, t).label, plain)


def test_counts_and_presence_estimate_differently(problem):
    counted = simulate(set_up("fixmatch+acr", problem), [0] * 90 + [1] * 9 + [2], range(60)).chain[0]
    present = simulate(set_up("fixmatch+acr(counts=False)", problem), [0] * 90 + [1] * 9 + [2], range(60)).chain[0]
    assert_close(counted.estimate, problem.prior, atol=1e-2)
    assert_close(present.estimate, torch.full((3,), 1 / 3), atol=1e-2)


def test_pure_functions():
    prior = torch.tensor([0.2, 0.7, 0.1])
    three = anchors(prior)
    assert_close(three[2], torch.tensor([0.2, 0.1, 0.7]))  # by rank: the rarest class gets the largest frequency
    assert_close(distances(prior, three)[0], 0.0)
    kl = lambda p, q: sum(float(a * (a / b).log()) for a, b in zip(p, q, strict=True))  # noqa: E731
    assert_close(distances(prior, three)[1], 0.5 * (kl(prior, three[1]) + kl(three[1], prior)), atol=1e-5)
    assert distances(torch.tensor([1.0, 0.0, 0.0]), three).isfinite().all()
    assert_close(strength(torch.zeros(3), 2.0), 2 / 3)
    label, mask = torch.tensor([0, 0, 2, 2]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert torch.equal(presence(label, mask, 4), torch.tensor([0.0, 0.0, 1.0, 0.0]))


def test_state_survives_saving(problem):
    method = simulate(set_up("fixmatch+acr", problem), [0] * 9 + [2], range(40))
    other = set_up("fixmatch+acr", problem)
    other.load_state_dict(method.state_dict())
    for key, value in method.series().items():
        assert torch.equal(other.series()[key], value) and value.shape == (3,)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("fixmatch+acr(window=day)", "choose 'epoch' or 'step'"),
        ("fixmatch+abcla(threshold=2)", r"abcla\(threshold=2\) must be in \(0, 1\]"),
        ("fixmatch+acr(momentum=1)", r"momentum=1.* must be in \[0, 1\)"),
        ("meanteacher+acr", "which meanteacher has not"),
    ],
)
def test_impossible_options(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)
