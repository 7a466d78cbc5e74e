"""ABC against recorded steps of its official code and of the DASO code, alone, with DASO and with LA."""

import pytest
import torch
import torch.nn.functional as F

from pldebias.learners import mixup, remixmatch
from pldebias.methods import MethodError, build_method
from pldebias.schemes import abc, daso
from pldebias.schemes.abc import bernoulli, gradual_rates, keep_rates
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up

OFFICIAL = {"encoder": "enc", "classifier": "fc", "abc": "fc2", "rotation": "rot"}


def inject(monkeypatch, *masks):
    """Return recorded Bernoulli draws, in the order in which the scheme asks for them."""
    masks = [torch.as_tensor(mask).float() for mask in masks]
    monkeypatch.setattr(abc, "bernoulli", lambda rates, generator: masks.pop(0))


@vectors("daso_seval/abc_fixmatch_it*_K*")
def test_golden_step_of_the_daso_code(vector, golden, monkeypatch):
    arrays, info = golden(vector)
    method = set_up("fixmatch+abc(views=1)", make_problem(arrays["in_label_counts"], total_steps=info["hyperparameters"]["max_iter"]))
    inject(monkeypatch, arrays["out_l_mask"], arrays["out_ul_mask"])
    net = GoldenNet(arrays, heads=("abc",))
    batch = make_batch(arrays["in_xl"], arrays["in_labels"], {"weak": arrays["in_xu0"], "strong": arrays["in_xu1"]})
    losses, step = run_step(method, net, batch, info["hyperparameters"]["iter"])
    assert_close(step.memo["abc/probs"], arrays["out_p_abc"])
    assert_close(method.series()["abc/keep_labelled"], arrays["out_bal_param"])
    assert_close(method.series()["abc/keep_unlabelled"], arrays["out_gradual"])
    assert_close(losses["abc/labelled"], arrays["out_cls_abc"])
    assert_close(losses["abc/unlabelled"], arrays["out_cons_abc"])
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    assert_gradients(net, arrays)


@vectors("daso_seval/abc_official_fix_K*")
def test_golden_step_of_the_official_code(vector, golden, monkeypatch):
    arrays, info = golden(vector)
    method = set_up("fixmatch+abc", make_problem(arrays["in_counts"]))
    inject(monkeypatch, arrays["out_mask_l"], arrays["out_mask_u"])
    net = GoldenNet(arrays, heads=("abc",), names=OFFICIAL)
    views = {"weak": arrays["in_u_weak"], "strong": arrays["in_u_s1"], "strong2": arrays["in_u_s2"]}
    losses, step = run_step(method, net, make_batch(arrays["in_x"], arrays["in_y"], views), info["hyperparameters"]["epoch"] * 500)
    assert_close(step.memo["abc/probs"], arrays["out_prob_u_weak_abc"])
    assert_close(method.series()["abc/keep_unlabelled"], arrays["out_gradual"])
    assert_close(losses["abc/labelled"], arrays["out_abcloss"])
    assert_close(losses["abc/unlabelled"], arrays["out_abcloss1"] + arrays["out_abcloss2"])
    assert_close(losses["labelled"], arrays["out_Lx"])
    assert_close(losses["unlabelled"], arrays["out_Lu"])
    assert_close(sum(losses.values()), arrays["out_loss"])
    assert_gradients(net, arrays)


@vectors("daso_seval/abc_official_remix_K*")
def test_golden_remixmatch_step_of_the_official_code(vector, golden, monkeypatch):
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    method = set_up("remixmatch+abc", make_problem(arrays["in_counts"]))
    alignment, counts = method.learner.alignment, torch.tensor(arrays["in_target"])
    # The official target is counts, to which it adds the epsilon that we add to frequencies; this one has the same ratios after it.
    alignment.target.copy_(counts * (1 + 1e-6 * len(counts)) / counts.sum() - 1e-6)
    for mean in arrays["in_emp"] if h["epoch"] else []:  # the official window holds batch means, and is emptied at the first step
        alignment.push(torch.tensor(mean)[None].repeat(len(arrays["in_u_weak"]), 1))
    inject(monkeypatch, arrays["out_mask_l"], arrays["out_mask_u"])
    factor = max(float(arrays["out_l"]), 1 - float(arrays["out_l"]))
    monkeypatch.setattr(mixup, "mixing_factor", lambda *_: torch.tensor(factor))
    monkeypatch.setattr(mixup, "permutation", lambda *_: torch.tensor(arrays["out_perm"]))
    monkeypatch.setattr(remixmatch, "quarter_turns", lambda *_: torch.tensor(arrays["out_targets_r"]))
    net = GoldenNet(arrays, heads=("abc", "rotation"), names=OFFICIAL)
    views = {"weak": arrays["in_u_weak"], "strong": arrays["in_u_s1"], "strong2": arrays["in_u_s2"]}
    ramp = float(arrays["out_w"]) / h["lambda_u"]
    monkeypatch.setattr(method.learner, "ramp_up", lambda step: torch.tensor(ramp))
    losses, step = run_step(method, net, make_batch(arrays["in_x"], arrays["in_y"], views), h["epoch"] * 500)
    assert_close(step.probs, arrays["out_targets_u"])
    assert_close(step.memo["abc/probs"], arrays["out_prob_u_weak_abc"])
    assert_close(losses["labelled"], arrays["out_Lx"])
    assert_close(losses["unlabelled"], arrays["out_Lu"] * arrays["out_w"])
    assert_close(losses["rotation"], 0.5 * arrays["out_Lr"])
    assert_close(losses["anchor"], 0.5 * arrays["out_Le"] * ramp)
    assert_close(losses["abc/labelled"], arrays["out_abcloss"])
    assert_close(losses["abc/unlabelled"], arrays["out_abcloss1"] + arrays["out_abcloss2"])
    assert_close(sum(losses.values()), arrays["out_loss"])
    assert_gradients(net, arrays)


def daso_abc(arrays, info, monkeypatch, options=""):
    h = info["hyperparameters"]
    confidence = h["conf_thres"]
    method = set_up(
        f"fixmatch(threshold={confidence})+abc(views=1, threshold={confidence}{options})+daso(T={h['T_dist']}, queue={h['queue_max']})",
        make_problem(arrays["in_label_counts"]),
    )
    scheme = method.chain[-1]
    scheme.queue.push(torch.tensor(arrays["in_queue_feats"]), torch.tensor(arrays["in_queue_labels"]))
    scheme.class_dist.copy_(torch.tensor(arrays["in_pl_counts"]))
    inject(monkeypatch, arrays["out_abc_l_mask"], arrays["out_abc_ul_mask"])
    nets = [GoldenNet(arrays, prefix, ("abc",)) for prefix in ("in_param_", "in_ema_")]
    batch = make_batch(arrays["in_xl"], arrays["in_labels"], {"weak": arrays["in_xw"], "strong": arrays["in_xs"]})
    losses, step = run_step(method, nets[0], batch, h["iter"], nets[1])
    return method, nets[0], losses, step


@vectors("daso_seval/daso_step_abc*")
def test_golden_step_with_daso(vector, golden, monkeypatch):
    arrays, info = golden(vector)
    _, net, losses, step = daso_abc(arrays, info, monkeypatch, f", blend={info['hyperparameters']['abc_daso_pl']}")
    assert_close(step.probs, arrays["out_pseudo_prob"])
    assert_close(step.memo["abc/probs"], arrays["out_abc_p"])
    assert_close(losses["abc/labelled"], arrays["out_abc_cls"])
    assert_close(losses["abc/unlabelled"], arrays["out_abc_cons"])
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    assert_close(losses["daso/align"], arrays["out_loss_assign"], atol=1e-4)
    assert_gradients(net, arrays)


def test_daso_blends_the_labels_of_the_balanced_classifier_by_their_own_class(golden, monkeypatch):
    arrays, info = golden("daso_seval/daso_step_abc_linpl_K10_s7")
    _, net, losses, step = daso_abc(arrays, info, monkeypatch)
    linear = net.heads["abc"](step.features).softmax(1)
    weights = daso.blend_weights(torch.tensor(arrays["in_pl_counts"]).float(), info["hyperparameters"]["T_dist"])
    expected = []
    for p, q in zip(linear, step.memo["semantic"], strict=True):
        v = weights[p.argmax()]
        expected.append((1 - v) * p + v * q)
    expected = torch.stack(expected)
    assert_close(step.memo["abc/probs"], expected)
    assert not torch.allclose(expected, linear)
    kept = torch.tensor(arrays["out_abc_ul_mask"]) * (expected.amax(1) >= info["hyperparameters"]["conf_thres"])
    strong = -(expected * net.heads["abc"](step.outputs["strong"].features).log_softmax(1)).sum(1)
    assert_close(losses["abc/unlabelled"], (kept * strong).mean())
    assert_close(step.probs, arrays["out_pseudo_prob"])  # the main head's are what they were


def test_la_acts_on_the_main_head_alone(golden, monkeypatch):
    arrays, _ = golden("daso_seval/abc_fixmatch_it0_K10_s0")
    batch = make_batch(arrays["in_xl"], arrays["in_labels"], {"weak": arrays["in_xu0"], "strong": arrays["in_xu1"]})
    outcome = {}
    for name in ("fixmatch+abc(views=1)", "fixmatch+la+abc(views=1)", "fixmatch+la", "fixmatch"):
        inject(monkeypatch, arrays["out_l_mask"], arrays["out_ul_mask"])
        outcome[name], _ = run_step(set_up(name, make_problem(arrays["in_label_counts"])), GoldenNet(arrays, heads=("abc",)), batch, 0)
    with_both = outcome["fixmatch+la+abc(views=1)"]
    assert torch.equal(with_both["labelled"], outcome["fixmatch+la"]["labelled"])
    assert not torch.equal(with_both["labelled"], outcome["fixmatch"]["labelled"])
    for key in ("abc/labelled", "abc/unlabelled"):
        assert torch.equal(with_both[key], outcome["fixmatch+abc(views=1)"][key])
    assert torch.equal(outcome["fixmatch+abc(views=1)"]["unlabelled"], outcome["fixmatch"]["unlabelled"])


@vectors("debiaspl_adello/abc_loss_K*")
def test_usb_rates_and_labelled_loss(vector, golden):
    """The code of USB has the same rates and draws, but hard targets where ABC has soft ones."""
    arrays, _ = golden(vector)
    t = {key: torch.tensor(value) for key, value in arrays.items()}
    assert_close(keep_rates(t["counts"]), t["ratio"])
    confidence, label = t["logits_w"].softmax(1).max(1)
    kept = (confidence >= 0.95) * t["mask_ulb2"]
    labelled = (t["mask_lb"] * F.cross_entropy(t["logits_lb"], t["y"], reduction="none")).mean()
    assert_close(labelled + (kept * F.cross_entropy(t["logits_s"], label, reduction="none")).mean(), t["loss"])


def test_rates_know_no_class_order_and_no_empty_class():
    counts = torch.tensor([2, 0, 20, 5])
    assert_close(keep_rates(counts), torch.tensor([1.0, 1.0, 0.1, 0.4]))
    assert_close(gradual_rates(keep_rates(counts), 0.0), torch.ones(4))
    assert_close(gradual_rates(keep_rates(counts), 1.0), keep_rates(counts))
    assert torch.equal(keep_rates(torch.full((3,), 7)), torch.ones(3))


def test_draws_follow_their_rates_and_their_generator():
    rates = torch.tensor([0.0, 0.25, 1.0]).repeat_interleave(4000)
    draws = bernoulli(rates, torch.Generator().manual_seed(3))
    assert torch.equal(draws, bernoulli(rates, torch.Generator().manual_seed(3)))
    none, some, all_ = draws.view(3, -1).mean(1).tolist()
    assert none == 0 and all_ == 1 and abs(some - 0.25) < 0.03


def test_the_method_predicts_with_the_balanced_head_and_asks_for_what_it_needs():
    method = build_method("fixmatch+abc")
    assert dict(method.heads) == {"abc": None}
    assert method.learner.unlabelled_views == ("weak", "strong", "strong2")
    assert build_method("fixmatch+abc(views=1)").learner.unlabelled_views == ("weak", "strong")
    assert build_method("fixmatch").learner.unlabelled_views == ("weak", "strong")
    head = torch.nn.Linear(4, 3)
    network = torch.nn.Module()
    network.heads = torch.nn.ModuleDict({"abc": head})
    features = torch.randn(5, 4)
    assert torch.equal(method.predict(features, torch.randn(5, 3), network), head(features))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("fixmatch+abc(views=3)", r"views=3.* choose 2 or 1"),
        ("fixmatch+abc(threshold=0)", r"threshold=0.* must be in \(0, 1\]"),
        ("meanteacher+abc", "abc changes the views step, which meanteacher has not"),
        ("supervised+abc", "abc changes the views step"),
    ],
)
def test_impossible_options(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)
