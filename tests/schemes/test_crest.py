"""CReST and CReST+ against the official code (the DASO, TensorFlow, USB and SEVAL ones), and at their edges."""

import numpy as np
import pytest
import torch

from pldebias.methods import MethodError, build_method
from pldebias.schemes import EpochEnd
from pldebias.schemes.crest import align, sampling_rates, select, temperature
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up

COUNTS = torch.tensor([1500, 899, 539, 323, 193, 116, 69, 41, 25, 15])


@vectors("daso_seval/crest_select_K*")
def test_selection(vector, golden):
    arrays, _ = golden(vector)
    counts = torch.tensor(arrays["in_label_counts"])
    rates = sampling_rates(counts)
    assert_close(rates, arrays["out_rate"], rtol=1e-6, atol=1e-7)
    index, labels = select(torch.tensor(arrays["in_probs"]), rates)
    for k in range(len(counts)):
        ours, theirs = index[labels == k], arrays["out_sel_idx"][arrays["out_sel_label"] == k]
        np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))
    np.testing.assert_array_equal(counts + labels.bincount(minlength=len(counts)), arrays["out_new_label_counts"])


@vectors("daso_seval/crest_tf_select_K*")
def test_selection_of_the_tensorflow_code(vector, golden):
    arrays, _ = golden(vector)
    rates = torch.tensor(arrays["out_rate"])
    theoretical = 1e6 * rates.flip(0) ** 3  # it mirrors the exact exponential in place of the counts
    assert_close(sampling_rates(theoretical), rates, rtol=1e-5, atol=1e-6)
    _, labels = select(torch.tensor(arrays["in_scores"]), rates)
    np.testing.assert_array_equal(labels.bincount(minlength=len(rates)), arrays["out_num_picked"])


@vectors("debiaspl_adello/crest_picks_K*")
def test_selection_of_usb(vector, golden):
    arrays, _ = golden(vector)
    counts = arrays["lb_counts"]
    classes = len(counts)
    exponential = torch.tensor(counts[0] * (counts[-1] / counts[0]) ** (np.arange(classes) / (classes - 1)))
    labels = torch.tensor(np.repeat(np.arange(classes), arrays["pl_sizes"]))
    _, picked = select(torch.nn.functional.one_hot(labels, classes).float(), sampling_rates(exponential))
    np.testing.assert_array_equal(picked.bincount(minlength=classes), arrays["picked_count"])


def test_temperatures(golden):
    arrays, _ = golden("daso_seval/crest_temperature")
    for (generations, length, t), (generation, expected) in zip(arrays["in_G_per_iter"], arrays["out_gen_temp"], strict=True):
        assert int(t // length) + 1 == generation
        assert temperature(int(generation) - 1, int(generations)) == pytest.approx(expected)


@vectors("daso_seval/crest_tf_distalign_K*")
def test_alignment_of_the_tensorflow_code(vector, golden):
    arrays, _ = golden(vector)
    probs = torch.tensor(arrays["in_logits"]).softmax(1)
    running, target = torch.tensor(arrays["out_p_model"]), torch.tensor(arrays["in_gt_p_data"])
    for key, t in (("constant_0p5_T0p0", 0.5), ("adaptive_0p8_T0p0", 0.8)):
        aligned = align(probs, running, target, t)
        np.testing.assert_array_equal(aligned.argmax(1), arrays[f"out_{key}_target"].argmax(1))
        np.testing.assert_array_equal(aligned.amax(1) >= 0.95, arrays[f"out_{key}_mask"] > 0)
    soft = align(probs, running, target, 1.0) ** 2
    assert_close(soft / soft.sum(1, keepdim=True), arrays["out_adaptive_1p0_T0p5_target"])


@vectors("daso_seval/crest_step_it*_K*")
def test_step_is_the_official_one(vector, golden):
    arrays, info = golden(vector)
    t = info["hyperparameters"]["iter"]
    net = GoldenNet(arrays)
    method = set_up("fixmatch+crestplus", make_problem(arrays["in_label_counts"]))
    method.chain[0].generation.fill_(int(arrays["out_gen"]) - 1)
    batch = make_batch(arrays["in_xl"], arrays["in_labels"], {"weak": arrays["in_xu0"], "strong": arrays["in_xu1"]})
    losses, step = run_step(method, net, batch, t)
    assert_close(step.probs, arrays["out_p_aligned"])
    assert_close(step.mask, arrays["out_mask"])
    np.testing.assert_array_equal(step.label, arrays["out_pred"])
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    assert_gradients(net, arrays)


@vectors("daso_seval/seval_crest_K*")
def test_step_with_seval_is_the_official_one(vector, golden):
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    net = GoldenNet(arrays)
    crest = "crestplus(generations=2)" if h["da"] else "crest(generations=2)"
    method = set_up(f"fixmatch+seval+{crest}", make_problem(arrays["in_label_counts"], total_steps=h["max_iter"]))
    seval, crest = method.chain
    seval.learned.offsets.copy_(torch.tensor(arrays["in_pi"]))
    seval.learned.thresholds.copy_(torch.tensor(arrays["in_thres"]))
    crest.generation.fill_(1)
    x, y, weak, strong = (arrays[f"in_{k}"][0] for k in ("xl", "labels", "xu0", "xu1"))
    losses, step = run_step(method, net, make_batch(x, y, {"weak": weak, "strong": strong}), h["iter"])
    assert_close(step.probs, arrays["out_p"])
    assert_close(step.mask, arrays["out_mask"])
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    assert_gradients(net, arrays, "out_grad_last_")


def test_rates_follow_counts_and_not_class_ids():
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sampling_rates(COUNTS[order]), sampling_rates(COUNTS)[order])
    assert sampling_rates(COUNTS.flip(0))[0] == 1  # the rarest class gives all
    assert (sampling_rates(COUNTS, 0) == 1).all() and (sampling_rates(torch.full((5,), 7)) == 1).all()


def test_selection_takes_the_most_confident_and_leaves_unpredicted_classes_empty():
    probs = torch.tensor([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.8, 0.2, 0], [0.2, 0.8, 0], [0.7, 0.3, 0]])
    index, labels = select(probs, torch.tensor([0.5, 1.0, 1.0], dtype=torch.float64))
    assert index.tolist() == [0, 2, 3] and labels.tolist() == [0, 0, 1]
    assert len(select(probs, torch.zeros(3, dtype=torch.float64))[0]) == 0


def test_generations():
    problem = make_problem(COUNTS, num_unlabelled=100, total_steps=100, steps_per_epoch=10)
    method = set_up("fixmatch+crest(generations=4)", problem)
    starts = []
    logits = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
    for epoch in range(10):
        done, asked = 10 * (epoch + 1), len(starts)
        method.end_epoch(EpochEnd(epoch, done, lambda split: (logits, None, None), lambda *rows: starts.append((epoch, *rows))))  # noqa: B023
        if len(starts) > asked:
            method.restart(COUNTS, done)
    assert [epoch for epoch, *_ in starts] == [2, 4, 7]  # ends of the epochs in which 25, 50 and 75 steps lie behind
    _, index, labels = starts[0]
    assert torch.equal(logits[index].argmax(1), labels) and 0 < len(index) < 100
    assert torch.equal(method.relabel(logits, logits, torch.tensor(0)).probs, logits.softmax(1))
    copy = set_up("fixmatch+crest(generations=4)", problem)
    copy.load_state_dict(method.state_dict())
    assert int(copy.chain[0].generation) == 3


def test_a_new_generation_forgets_what_seval_learned():
    method = set_up("fixmatch+seval+crest", make_problem(COUNTS))
    seval = method.chain[0].learned
    for state in (seval.offsets, seval.newest, seval.thresholds):
        state.fill_(0.5)
    method.restart(COUNTS + 1, 50_000)
    assert (seval.offsets == 1).all() and (seval.newest == 1).all() and torch.equal(seval.thresholds, torch.full((10,), 0.95))


def test_relabelling_leaves_the_running_mean_alone():
    method = set_up("fixmatch+crestplus", make_problem(COUNTS))
    logits = torch.randn(6, 10)
    step = method.relabel(logits, logits, torch.tensor(0))
    assert int(method.chain[0].alignment.pushed) == 0 and set(method.series()) == {"crestplus/rate", "crestplus/running"}
    assert_close(step.probs, logits.softmax(1))  # nothing seen, nothing changed


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("fixmatch+crest(generations=1)", "at least 2"),
        ("fixmatch+crest(alpha=-1)", "negative"),
        ("fixmatch+crestplus(t_min=2)", r"\[0, 1\]"),
    ],
)
def test_options_are_checked(spelling, says):
    with pytest.raises(MethodError, match=says):
        build_method(spelling)


def test_counts_are_checked():
    with pytest.raises(ValueError, match="labelled image"):
        sampling_rates(torch.zeros(3))


# --- a generation is a training of its own, on a larger labelled set -------------------------------------------------------------------

GROWN = torch.tensor([1500, 950, 700, 600, 500, 450, 420, 410, 405, 400])


def second_generation(spelling, **sizes):
    """A method at the start of its second generation, 60 steps into a training of 120, with the labelled counts `GROWN`."""
    problem = make_problem(COUNTS, **{"num_unlabelled": 32, "total_steps": 120, "steps_per_epoch": 10, **sizes})
    method = set_up(spelling, problem)
    method.restart(GROWN, 60)
    return method


def test_adjustment_follows_the_labelled_set_of_the_generation():
    """As in the DASO code (fm_crest.py): LA adds the log of the current labelled distribution, CReST+ aligns to the first one."""
    method = second_generation("fixmatch+la+crestplus(generations=2)")
    la, crest = method.chain
    assert torch.equal(la.prior, GROWN / GROWN.sum())
    assert_close(crest.alignment.target, COUNTS / COUNTS.sum(), rtol=1e-6)
    assert torch.equal(crest.rates, sampling_rates(COUNTS))
    assert int(crest.generation) == 1 and int(crest.began) == 60
    assert torch.equal(method.problem.labelled_counts, COUNTS)  # the logged post-hoc adjustment stays comparable over generations


def test_corrections_for_labelled_classes_follow_and_what_describes_other_sets_stays():
    fresh = {name: set_up(f"fixmatch+{name}", make_problem(GROWN)).chain[0] for name in ("cb", "ldam", "saw", "udal")}
    for name, buffer in (("cb", "weights"), ("ldam", "margins"), ("saw", "labelled_weight"), ("udal", "labelled_prior")):
        ours = second_generation(f"fixmatch+{name}+crest(generations=2)").chain[0]
        assert torch.equal(getattr(ours, buffer), getattr(fresh[name], buffer)), name
    assert second_generation("fixmatch+adello+crest(generations=2)").chain[0].num_labelled == COUNTS.sum()  # of the unlabelled set
    darp = second_generation("fixmatch+darp+crest(generations=2)").chain[0]
    assert_close(darp.counts, 32 * COUNTS / COUNTS.sum())
    remixmatch = second_generation("remixmatch+crest(generations=2)").learner
    assert_close(remixmatch.alignment.target, COUNTS / COUNTS.sum(), rtol=1e-6)


def test_schedules_begin_anew():
    """ReMixMatchCReST of the DASO code (rm_crest.py) ramps up over a part of every generation."""
    method = second_generation("remixmatch(ramp=0.5)+daso(start=20)+crest(generations=2)")
    logits, features = torch.randn(32, 10), torch.randn(32, 16)
    method.chain[0].class_dist.fill_(1.0)
    early, late = (method.relabel(logits, features, torch.tensor(t), torch.arange(32)) for t in (79, 80))
    assert int(early.t) == 19 and not torch.equal(early.probs, late.probs)  # blending starts at the generation's step 20
    assert method.learner.ramp_up(late) == pytest.approx(20 / 30)
    assert method.stage.total_steps == 60 and method.problem.total_steps == 120


def test_what_was_learned_of_the_old_networks_is_forgotten():
    method = set_up("fixmatch+daso+debiaspl+crest(generations=2)", make_problem(COUNTS, total_steps=120, steps_per_epoch=10))
    daso, debiaspl, _ = method.chain
    daso.queue.push(torch.ones(10, 16), torch.arange(10))
    debiaspl.prior.copy_(COUNTS / COUNTS.sum())
    method.restart(GROWN, 60)
    assert not daso.queue.size.any() and (debiaspl.prior == 0.1).all()
    copy = set_up(method.spelling, method.problem)
    copy.restart(GROWN, 60)
    copy.load_state_dict(method.state_dict())
    assert int(copy.chain[-1].generation) == 1


def test_refinement_waits_for_its_start_in_every_generation():
    method = second_generation("fixmatch+darp(start=0.5, period=10)+crest(generations=2)")
    darp = method.chain[0]
    method.after_step(80)  # 20 of 60 steps into the generation
    assert not darp.ready
    method.after_step(90)
    assert darp.ready
