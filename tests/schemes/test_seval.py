"""SEVAL against its official code, against exact solutions, and at its edges."""

import numpy as np
import pytest
import torch

from pldebias.learners import mixup
from pldebias.methods import MethodError, build_method
from pldebias.schemes import EpochEnd, abc
from pldebias.schemes.formulas.offsets import balanced_nll, rank_groups
from pldebias.schemes.formulas.thresholds import rare_classes
from pldebias.schemes.seval import learn_offsets, learn_thresholds, load_curve, refine, save_curve
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up

COUNTS = torch.tensor([500, 299, 179, 107, 64, 38, 23, 13, 8, 5])


def step_from(arrays, spelling, defaults=None):
    net = GoldenNet(arrays)
    method = set_up(spelling, make_problem(torch.tensor(arrays["in_label_counts"])), defaults)
    seval = method.chain[0].learned
    seval.offsets.copy_(torch.tensor(arrays["in_pi"]))
    seval.thresholds.copy_(torch.tensor(arrays["in_thres"]))
    return net, method


def batch_from(arrays):
    x, y, weak, strong = (torch.tensor(arrays[f"in_{k}"][0]) for k in ("xl", "labels", "xu0", "xu1"))
    return make_batch(x, y, {"weak": weak, "strong": strong})


@vectors("daso_seval/seval_step_plain_K*", "daso_seval/seval_step_daso_K*")
def test_step_is_the_official_one(vector, golden):
    arrays, info = golden(vector)
    with_daso = "_daso_" in vector
    spelling = "fixmatch+seval+daso(weight=0, queue=8)" if with_daso else "fixmatch+seval"  # the official combination does not blend
    net, method = step_from(arrays, spelling)
    if with_daso:
        method.chain[1].queue.push(torch.tensor(arrays["in_queue_feats"]), torch.tensor(arrays["in_queue_labels"]))
    losses, step = run_step(method, net, batch_from(arrays), info["hyperparameters"]["iter"])
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    np.testing.assert_array_equal(step.label, arrays["out_pred"])
    np.testing.assert_array_equal(step.mask, arrays["out_mask"])
    assert_close(step.probs, arrays["out_p"])
    if with_daso:
        assert_close(losses["daso/align"], arrays["out_loss_assign"], rtol=1e-4)
    assert_gradients(net, arrays, "out_grad_last_")


@vectors("daso_seval/seval_step_abc_K*")
def test_step_with_abc_is_the_official_one(vector, golden, monkeypatch):
    arrays, info = golden(vector)
    method = set_up("fixmatch+abc(views=1)+seval(head=abc)", make_problem(arrays["in_label_counts"]))
    seval = method.chain[1]
    for learned, suffix in ((seval.learned, ""), (seval.learned_head, "_abc")):
        learned.offsets.copy_(torch.tensor(arrays[f"in_pi{suffix}"]))
        learned.thresholds.copy_(torch.tensor(arrays[f"in_thres{suffix}"]))
    draws = [torch.tensor(arrays["out_abc_l_mask"]), torch.tensor(arrays["out_abc_ul_mask"])]
    monkeypatch.setattr(abc, "bernoulli", lambda rates, generator: draws.pop(0))
    net = GoldenNet(arrays, heads=("abc",))
    losses, step = run_step(method, net, batch_from(arrays), info["hyperparameters"]["iter"])
    assert_close(step.probs, arrays["out_p"])
    assert_close(step.mask, arrays["out_mask"])
    assert_close(step.memo["abc/probs"], arrays["out_p_abc"])
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    assert_close(losses["abc/labelled"] + losses["abc/unlabelled"], arrays["out_loss_abc"])
    assert_gradients(net, arrays, "out_grad_last_")


@vectors("daso_seval/seval_mt_K*", "daso_seval/seval_mm_K*")
def test_steps_of_other_learners_are_the_official_ones(vector, golden, monkeypatch):
    arrays, meta = golden(vector)
    learner = "meanteacher" if "_mt_" in vector else "mixmatch"
    problem = make_problem(arrays["in_label_counts"], total_steps=meta["hyperparameters"]["max_iter"])
    method = set_up(f"{learner}+seval", problem)
    method.chain[0].learned.offsets.copy_(torch.tensor(arrays["in_pi"]))
    if learner == "mixmatch":  # the draws that were recorded
        factor = float(arrays["out_lam"])
        monkeypatch.setattr(mixup, "mixing_factor", lambda *_: torch.tensor(max(factor, 1 - factor)))
        monkeypatch.setattr(mixup, "permutation", lambda *_: torch.tensor(arrays["out_rand_idx"]))
    student, teacher = GoldenNet(arrays), GoldenNet(arrays, "in_ema_")
    x, y, first, second = (arrays[f"in_{k}"][0] for k in ("xl", "labels", "xu0", "xu1"))
    batch = make_batch(x, y, dict(zip(method.learner.unlabelled_views, (first, second), strict=True)))
    losses, step = run_step(method, student, batch, meta["hyperparameters"]["iter"], teacher)
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    if learner == "mixmatch":
        assert_close(step.probs, arrays["out_ul_targets"])
    else:
        assert_close(step.probs, torch.tensor(arrays["out_pred_teacher_refined"]).softmax(1))
    assert_gradients(student, arrays, "out_grad_last_")


def test_a_second_classifier_learns_its_own_curriculum():
    method = set_up("fixmatch+abc+seval(head=abc, decay=0, threshold_decay=0)", make_problem(COUNTS, feature_dim=10))
    seval = method.chain[1]
    network = torch.nn.Module()
    network.heads = torch.nn.ModuleDict({"abc": torch.nn.Linear(10, 10)})
    network.heads["abc"].weight.data = torch.eye(10)
    network.heads["abc"].bias.data = torch.linspace(0.5, 0, 10)
    logits, labels = holdout()
    method.end_epoch(EpochEnd(0, 500, lambda split: (logits, logits, labels), None, network))
    expected = learn_offsets(network.heads["abc"](logits), labels, seval.learned.offset_groups)
    assert_close(seval.learned_head.offsets, expected, atol=1e-4)
    ratio = seval.learned_head.offsets / seval.learned.offsets  # undoes what the second classifier adds to the logits of the first
    assert_close(ratio / ratio[-1], network.heads["abc"].bias.exp(), rtol=1e-3)
    assert_close(method.predict(logits, logits, network), refine(network.heads["abc"](logits), seval.learned_head.newest))
    assert len(method.series()) == 6
    with pytest.raises(MethodError, match="reads a head 'abc' that no part"):
        build_method("fixmatch+seval(head=abc)")


@vectors("daso_seval/seval_pi_K*")
def test_offsets(vector, golden):
    arrays, meta = golden(vector)
    groups = meta["hyperparameters"]["groups"]
    logits, labels = torch.tensor(arrays["in_logits"]), torch.tensor(arrays["in_labels"])
    for offsets, (expected, _) in zip(arrays["in_grid_pi"], arrays["out_grid_nll_acc"], strict=True):
        assert balanced_nll(logits, labels, torch.tensor(offsets)) == pytest.approx(expected, abs=1e-12)
    official = learn_offsets(logits, labels, groups, solver="nelder-mead")
    np.testing.assert_allclose(official, arrays["out_pi_nm"], rtol=1e-4)  # the very search, step by step
    exact = learn_offsets(logits, labels, groups)
    assert balanced_nll(logits, labels, exact) <= arrays["out_nll_nm"] + 1e-9
    assert balanced_nll(logits, labels, exact) <= arrays["out_ref_lbfgs_nll"] + 1e-9
    assert exact.log().mean().item() == pytest.approx(0, abs=1e-6)  # the gauge


@vectors("daso_seval/seval_threshold_K*")
def test_thresholds(vector, golden):
    arrays, meta = golden(vector)
    logits, labels, prior = (torch.tensor(arrays[f"in_{k}"]) for k in ("logits", "labels", "p_data"))
    target, number = meta["hyperparameters"]["target"], meta["hyperparameters"]["th_groups"]
    weight = (prior.max() / prior)[labels].double()
    confidence, predicted = logits.softmax(1).max(1)
    classes = logits.shape[1]
    group = predicted // (classes // number)

    def gaps(thresholds):
        kept = [(group == g) & (confidence.double() > float(thresholds[g * classes // number])) for g in range(number)]
        right = [(weight * (predicted == labels))[k].sum() / (weight[k].sum() + 1e-6) for k in kept]
        return (torch.stack(right) - target).abs()

    for j, tau in enumerate(arrays["in_grid"]):
        np.testing.assert_allclose(gaps([tau] * classes), arrays["out_abs_gap_grid"][:, j], atol=2e-6)  # we mean the same gap
    exact = learn_thresholds(logits, labels, target, number, prior)
    official = torch.tensor(arrays["out_thresholds"])
    np.testing.assert_array_equal(exact == 0, official == 0)
    assert (gaps(exact) <= gaps(official) + 2e-6).all()
    searched = learn_thresholds(logits, labels, target, number, prior, solver="nelder-mead")
    np.testing.assert_allclose(gaps(searched), gaps(official), atol=2e-6)
    np.testing.assert_array_equal(rare_classes(logits, labels, number, prior).nonzero().flatten(), arrays["out_rare_class"])


@vectors("daso_seval/seval_update_fixmatch_seval*_K*")
def test_two_updates(vector, golden):
    arrays, meta = golden(vector)
    h = meta["hyperparameters"]
    options = dict(decay=h["pi_decay"], threshold_decay=h["th_decay"], target=h["th_target"], groups=h["th_groups"], compat="official")
    options["offset_groups"] = h["pi_groups"]
    counts = (torch.tensor(arrays["in_p_data"]) * 1e6).long()
    method = set_up("fixmatch+seval", make_problem(counts), {"seval": {**options, "mode": "estimate" if h["estim"] else "direct"}})
    seval = method.chain[0].learned
    for i in range(len(arrays["in_logits"])):
        seval.learn(torch.tensor(arrays["in_logits"][i]), torch.tensor(arrays["in_labels"][i]))
        np.testing.assert_allclose(seval.newest, arrays["out_pi_cur"][i], rtol=1e-3)
        np.testing.assert_allclose(seval.offsets, arrays["out_pi"][i], rtol=1e-3)
        np.testing.assert_allclose(seval.thresholds, arrays["out_thr"][i], atol=1e-2)


def test_replay_recovers_the_newest_offsets(golden, tmp_path):
    arrays, _ = golden("daso_seval/seval_load_deema")
    save_curve(tmp_path / "curve.npz", arrays["in_pi_ema"], np.full((4, 10), 0.5))
    method = set_up(f"fixmatch+seval(mode=load, curve='{tmp_path / 'curve.npz'}')", make_problem(COUNTS, total_steps=4, steps_per_epoch=1))
    seval = method.chain[0].learned
    np.testing.assert_array_equal(seval.thresholds, np.full(10, 0.95, np.float32))
    for epoch in range(4):
        method.end_epoch(EpochEnd(epoch, epoch + 1, score=None, new_generation=None))
        np.testing.assert_allclose(seval.offsets, arrays["in_pi_ema"][epoch])
        np.testing.assert_allclose(seval.newest, arrays["out_pi_current"][epoch], atol=5e-3)
    assert (seval.thresholds == 0.5).all()


def holdout(classes=10, size=600, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (size,), generator=generator)
    logits = torch.randn(size, classes, generator=generator) + 2 * torch.nn.functional.one_hot(labels, classes)
    return logits - 2 * torch.arange(classes) / classes, labels  # later classes are undervalued


def test_offsets_favour_undervalued_classes():
    offsets = learn_offsets(*holdout())
    assert offsets[0] > offsets[-1]
    logits, labels = holdout()
    assert balanced_nll(logits, labels, offsets) < balanced_nll(logits, labels, torch.ones(10))


def test_offsets_undo_a_shift_of_the_logits():
    logits, labels = holdout()
    shift = torch.linspace(-1, 1, 10)
    np.testing.assert_allclose(learn_offsets(logits + shift, labels) / learn_offsets(logits, labels), shift.exp(), rtol=1e-3)


def test_shared_offsets():
    offsets = learn_offsets(*holdout(), groups=5)
    np.testing.assert_array_equal(offsets[::2], offsets[1::2])


def test_a_lower_target_accepts_more():
    logits, labels = holdout()
    strict, loose = (learn_thresholds(logits, labels, target, 5) for target in (0.95, 0.7))
    assert (loose <= strict).all() and (loose < strict).any()
    assert ((strict >= 0) & (strict <= 1)).all()


def test_groups_follow_counts_and_not_class_ids():
    order = torch.tensor([3, 0, 9, 1, 5, 2, 8, 4, 7, 6])
    np.testing.assert_array_equal(rank_groups(COUNTS[order], 5), rank_groups(COUNTS, 5)[order])
    np.testing.assert_array_equal(rank_groups(COUNTS, 5), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    assert len(rank_groups(torch.ones(7), 3).unique()) == 3


def test_missing_classes_and_predictions():
    logits, labels = holdout()
    keep = labels != 9
    assert learn_offsets(logits[keep], labels[keep])[9] == 1
    logits[:, 0] = -50  # never predicted
    thresholds = learn_thresholds(logits, labels, 0.9, 10)
    assert thresholds[0] == 0 and rare_classes(logits, labels, 10)[0]
    assert torch.isfinite(learn_offsets(logits, labels)).all()


def test_unit_state_is_fixmatch_bit_for_bit(golden):
    arrays, _ = golden("daso_seval/seval_step_plain_K10_s0")
    outcomes = []
    for spelling in ("fixmatch", "fixmatch+seval"):
        net = GoldenNet(arrays)
        method = set_up(spelling, make_problem(COUNTS))
        losses, step = run_step(method, net, batch_from(arrays), 0)
        outcomes.append((losses["unlabelled"], step.mask, net.encoder.weight.grad))
    for a, b in zip(*outcomes, strict=True):
        assert torch.equal(a, b)


def test_end_of_epoch_learns_on_the_holdout():
    method = set_up("fixmatch+seval(decay=0.5, threshold_decay=0.5)", make_problem(COUNTS))
    asked = []

    def score(split):
        asked.append(split)
        logits, labels = holdout()
        return logits, logits, labels

    method.end_epoch(EpochEnd(0, 500, score, None))
    assert asked == ["holdout"] and method.needs == {"holdout": 0.5}
    series = method.series()
    assert series["seval/offsets"].shape == series["seval/thresholds"].shape == (10,)
    copy = set_up("fixmatch+seval", make_problem(COUNTS))
    copy.load_state_dict(method.state_dict())
    assert torch.equal(copy.series()["seval/thresholds"], series["seval/thresholds"])
    logits = torch.randn(5, 10)
    assert torch.equal(method.predict(logits, logits, None), refine(logits, method.chain[0].learned.newest))
    plain = set_up("fixmatch+seval(posthoc=False)", make_problem(COUNTS))
    assert torch.equal(plain.predict(logits, logits, None), logits)


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("fixmatch+seval(mode=offline)", "estimate"),
        ("fixmatch+seval(mode=load)", "curve"),
        ("fixmatch+seval(curve='x.npz')", "curve"),
        ("fixmatch+abc+seval(head=abc, mode=load, curve='x.npz')", "one classifier"),
        ("fixmatch+seval(target=1.5)", r"\(0, 1\)"),
        ("fixmatch+seval(target=1)", r"\(0, 1\)"),
        ("fixmatch+seval(start=0)", r"\(0, 1\]"),
        ("fixmatch+seval(decay=1.0)", r"\[0, 1\)"),
        ("fixmatch+seval(compat=loose)", "official"),
    ],
)
def test_options_are_checked(spelling, says):
    with pytest.raises(MethodError, match=says):
        build_method(spelling)


def test_inputs_are_checked(tmp_path):
    logits, labels = holdout()
    with pytest.raises(ValueError, match="truth must be known"):
        learn_offsets(logits, torch.full_like(labels, -1))
    with pytest.raises(ValueError, match="at least one"):
        learn_offsets(logits[:0], labels[:0])
    with pytest.raises(ValueError, match="positive for every class"):
        learn_thresholds(logits, labels, 0.9, 5, torch.zeros(10))
    with pytest.raises(ValueError, match=r"target=1"):
        learn_thresholds(logits, labels, 1.0, 5)
    with pytest.raises(ValueError, match="number of classes"):
        learn_thresholds(logits, labels, 0.9, 11)
    with pytest.raises(ValueError, match="solver"):
        learn_offsets(logits, labels, solver="sgd")
    with pytest.raises(ValueError, match="no SEVAL curve"):
        load_curve(tmp_path / "nothing.npz")
    save_curve(tmp_path / "gaps.npz", np.full((2, 10), np.nan), np.zeros((2, 10)))
    with pytest.raises(ValueError, match="unfinished"):
        load_curve(tmp_path / "gaps.npz")
    save_curve(tmp_path / "short.npz", np.ones((2, 10)), np.zeros((2, 10)))
    with pytest.raises(ValueError, match="2 evaluations"):
        set_up(f"fixmatch+seval(mode=load, curve='{tmp_path / 'short.npz'}')", make_problem(COUNTS))
