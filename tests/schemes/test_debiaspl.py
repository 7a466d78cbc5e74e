"""DebiasPL against its official code: single and multi-view steps, discrimination loss, running prior, EMAN teacher."""

import numpy as np
import pytest
import torch
from torch import nn

from pldebias.methods import MethodError, build_method
from pldebias.nets import Output
from pldebias.schemes.debiaspl import debias, group_discrimination, margin, update_prior
from pldebias.training.ema import EMA
from tests.golden_files import vectors
from tests.golden_net import Passthrough, assert_close, make_batch, make_problem, run_step, set_up

COUNTS = [500, 299, 179, 107, 64, 38, 23, 13, 8, 5]


def compare_steps(arrays, method, h):
    debiaspl = method.chain[0]
    debiaspl.prior.copy_(torch.tensor(arrays["qhat_init"][0]))
    for name in [key[:3] for key in arrays if key.endswith("_qhat_before")]:
        a = {key[4:]: value for key, value in arrays.items() if key.startswith(name)}
        x, weak, strong = (torch.tensor(a[f"logits_{k}"], requires_grad=True) for k in ("x", "u_w", "u_s"))
        batch = make_batch(x, a["y_x"], views(weak, strong, len(a["idx_u"])))
        losses, step = run_step(method, Passthrough(), batch, int(name[1:]))
        assert_close(step.probs, a["debiased_prob"])
        np.testing.assert_array_equal(step.label, a["pseudo_label"])
        assert_close(step.mask, a["mask"])
        assert_close(debiaspl.prior, a["qhat_after"], atol=1e-6)
        assert_close(losses["labelled"], a["loss_x"])
        assert_close(losses["unlabelled"], h["lambda_u"] * a["loss_u"])
        if "loss_cld" in a:
            assert_close(losses["debiaspl/cld"], h["lambda_cld"] * a["loss_cld"])
        assert_close(sum(losses.values()), a["loss"])
        assert_close(x.grad, a["grad_logits_x"])
        assert_close(strong.grad, a["grad_logits_u_s"])
        assert weak.grad is None or not weak.grad.any()


def views(weak, strong, rows):
    pairs = zip(weak.split(rows), strong.split(rows), strict=True)
    return {f"{kind}{'' if i == 0 else i + 1}": x for i, pair in enumerate(pairs) for kind, x in zip(("weak", "strong"), pair, strict=True)}


@pytest.mark.parametrize("teacher", ["student", "ema"])
@vectors(*(f"debiaspl_adello/debiaspl_{kind}_K*" for kind in ("single", "single_cld", "multiview", "multiview_cld")))
def test_steps_are_the_official_ones(vector, golden, teacher):
    arrays, meta = golden(vector)
    h = meta["hyperparameters"]
    learner = {"threshold": h["threshold"], "lambda_u": h["lambda_u"], "views": 1 + h["multiviews"], "teacher": teacher}
    scheme = {"tau": h["tau"], "momentum": h["qhat_m"], "cld": h["lambda_cld"] if h["CLDLoss"] else 0.0, "compat": "official"}
    compare_steps(arrays, set_up("fixmatch+debiaspl", make_problem([1] * h["K"]), {"fixmatch": learner, "debiaspl": scheme}), h)


@vectors("debiaspl_adello/debiaspl_qhat_traj_K*")
def test_running_prior(vector, golden):
    arrays, meta = golden(vector)
    h = meta["hyperparameters"]
    prior = torch.tensor(arrays["qhat"][0])
    for t, logits in enumerate(torch.tensor(arrays["logits"])):
        assert_close(debias(logits[:4], prior, h["tau"]).softmax(1), arrays["debiased_prob_first4"][t])
        prior = update_prior(prior, logits.softmax(1), h["momentum"])
        assert_close(prior, arrays["qhat"][t + 1], atol=1e-6)


@vectors("debiaspl_adello/debiaspl_cld_K*")
def test_discrimination_loss(vector, golden):
    arrays, _ = golden(vector)
    strong, weak = torch.tensor(arrays["prob_s"], requires_grad=True), torch.tensor(arrays["prob_w"])
    np.testing.assert_array_equal(weak.argmin(1), arrays["group"])
    loss = group_discrimination(strong, weak, weak.argmin(1))
    loss.backward()
    assert_close(loss, arrays["loss"])
    assert_close(strong.grad, arrays["grad_prob_s"])


def test_eman_teacher(golden):
    arrays, _ = golden("debiaspl_adello/debiaspl_eman_update")

    def network(prefix):
        backbone = nn.Sequential()
        backbone.conv, backbone.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        net = nn.Module()
        net.backbone, net.fc = backbone, nn.Linear(4, 5)
        net.load_state_dict({key.removeprefix(prefix): torch.tensor(value) for key, value in arrays.items() if key.startswith(prefix)})
        return net

    student = network("s1_main/")
    ema = EMA(student, 0.9)
    ema.teacher.load_state_dict(network("s1_ema/").state_dict())
    ema.updates = 10**6  # EMAN has no start-up phase
    for i in (2, 3):
        student.load_state_dict(network(f"s{i}_main/").state_dict())
        ema.update()
        for key, value in ema.teacher.state_dict().items():
            if value.is_floating_point():
                assert_close(value, arrays[f"s{i}_ema/{key}"], atol=1e-6)


def random_batch(seed=0, views=1):
    generator = torch.Generator().manual_seed(seed)
    x, *unlabelled = (torch.randn(n, 10, generator=generator) * 4 for n in (8, *[24] * 2 * views))
    names = [f"{kind}{'' if i == 0 else 2}" for i in range(views) for kind in ("weak", "strong")]
    named = dict(zip(names, unlabelled, strict=True))
    return make_batch(x, torch.arange(8), {k: v.requires_grad_(k.startswith("strong")) for k, v in named.items()})


def test_no_strength_is_fixmatch_bit_for_bit():
    outcomes = []
    for spelling in ("fixmatch", "fixmatch+debiaspl(tau=0, momentum=0)"):
        batch = random_batch()
        _, step = run_step(set_up(spelling, make_problem(COUNTS)), Passthrough(), batch, 0)
        outcomes.append((step.label, step.mask, batch.unlabelled["strong"].grad))
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


def test_a_uniform_prior_changes_nothing():
    logits = random_batch().unlabelled["weak"]
    assert_close(debias(logits, torch.full((10,), 0.1), 1.0).softmax(1), logits.softmax(1), atol=1e-6)


def test_skewed_predictions_skew_the_prior_and_change_labels():
    method = set_up("fixmatch+debiaspl(tau=1.0, momentum=0.99)", make_problem(COUNTS))
    debiaspl = method.chain[0]
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)) + torch.linspace(2, -2, 10)
    plain = logits.argmax(1)
    for _ in range(1000):
        debiaspl.prior.copy_(update_prior(debiaspl.prior, logits.softmax(1), 0.99))
    assert debiaspl.prior.max() / debiaspl.prior.min() > 10
    relabelled = method.relabel(logits, logits, torch.tensor(0)).label
    assert (relabelled != plain).any() and relabelled.float().mean() > plain.float().mean()  # towards the rare classes
    assert_close(margin(debias(logits, debiaspl.prior, 1.0), debiaspl.prior, 1.0), logits, atol=1e-4)
    copy = set_up("fixmatch+debiaspl", make_problem(COUNTS))
    copy.load_state_dict(method.state_dict())
    assert torch.equal(copy.series()["debiaspl/prior"], debiaspl.prior)


def test_identical_views_are_one_view():
    one, two = random_batch(), random_batch()
    two.unlabelled |= {"weak2": two.unlabelled["weak"], "strong2": two.unlabelled["strong"]}
    methods = [set_up(f"fixmatch(views={count})+debiaspl", make_problem(COUNTS)) for count in (1, 2)]
    losses = [run_step(method, Passthrough(), batch, 0)[0]["unlabelled"] for method, batch in zip(methods, (one, two), strict=True)]
    assert_close(losses[0], losses[1], rtol=1e-6)


class Counting(nn.Module):
    """Remembers how many rows it saw and in which mode."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append((len(x), self.training))
        return Output(x, x)


def test_ema_teacher_sees_the_weak_view_alone_in_evaluation_mode():
    student, teacher = Counting(), Counting()
    run_step(set_up("fixmatch(teacher=ema)+debiaspl", make_problem(COUNTS)), student, random_batch(), 0, teacher)
    assert student.seen == [(8 + 24, True)] and teacher.seen == [(24, False)] and teacher.training


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("fixmatch(teacher=momentum)", "student"),
        ("fixmatch(views=3)", "1 or 2"),
        ("fixmatch(passes=each)", "'joint' or 'views'"),
        ("fixmatch(passes=views, weak_stats=detached)", "passes=joint"),
        ("fixmatch+debiaspl(compat=loose)", "official"),
        ("fixmatch+debiaspl(momentum=1)", r"\[0, 1\)"),
    ],
)
def test_options_are_checked(spelling, says):
    with pytest.raises(MethodError, match=says):
        build_method(spelling)
