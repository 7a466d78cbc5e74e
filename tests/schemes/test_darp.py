"""DARP's refinement, estimate and life cycle against the official code, and at its edges."""

import numpy as np
import pytest
import torch

from pldebias.methods import MethodError, build_method
from pldebias.schemes import Chain, EpochEnd, Step
from pldebias.schemes.darp import estimate_counts, refine, select
from pldebias.schemes.formulas import refinery, refinery_cpu
from pldebias.schemes.formulas.refinery import scaled
from tests.golden_files import vectors
from tests.golden_net import Passthrough, assert_close, make_batch, make_problem, run_step, set_up

COUNTS = torch.tensor([500, 299, 179, 107, 64, 38, 23, 13, 8, 5])


@pytest.mark.parametrize("solver", ["newton", "secant"])
@vectors("daso_seval/darp_official_K*")
def test_refinement(vector, golden, solver):
    arrays, _ = golden(vector)
    probs, target = torch.tensor(arrays["in_probs"]), torch.tensor(arrays["in_target"])
    assert_close(select(probs.double(), target.double()), arrays["out_normalised"])
    ours = refine(probs, target, solver=solver)
    assert_close(ours, arrays["out_refined"], atol=1e-4)  # the official tolerance would allow 2e-2
    assert_close(ours.sum(1), torch.ones(len(ours)))


@pytest.mark.parametrize("solver", ["newton", "secant"])
@vectors("debiaspl_adello/darp_refine_K*")
def test_refinement_of_usb(vector, golden, solver):
    arrays, _ = golden(vector)
    ours = refine(torch.tensor(arrays["probs"]), torch.tensor(arrays["target_counts"]), solver=solver)
    assert_close(ours, arrays["refined_all"], atol=1e-4)


@vectors("daso_seval/darp_daso_K*")
def test_life_cycle(vector, golden):
    arrays, info = golden(vector)
    h, fills = info["hyperparameters"], len(arrays["in_warm_fill"])
    memory, target = torch.tensor(arrays["in_probs_memory"]), torch.tensor(arrays["in_target"])
    problem = make_problem([1] * len(target), len(memory), h["max_iter"], 10, unlabelled_counts=target)
    options = {"target": "oracle", "start": h["warmup_ratio"], "period": h["per_iters"], "compat": "official"}
    darp = set_up("fixmatch+darp", problem, {"darp": options}).chain[0]

    def call(number, index, probs):
        return darp.blend(probs, Step(torch.tensor(number - 1), problem, Chain(), index=torch.as_tensor(index), batch=object()))

    for number, rows in enumerate(np.array_split(np.arange(len(memory)), fills), 1):
        assert torch.equal(call(number, rows, memory[rows]), memory[rows])
    for i, (rows, probs) in enumerate(zip(arrays["in_step_idx"], arrays["in_step_probs"], strict=True)):
        assert_close(call(fills + 1 + i, rows, torch.tensor(probs)), arrays["out_step_out"][i], atol=1e-4, name=f"call {i}")
    assert_close(darp.table, arrays["out_memory_end"])
    assert_close(refine(darp.table, target), arrays["out_refined"], atol=1e-4)


@vectors("daso_seval/darp_train_fix_K*")
def test_targets_of_the_official_training_step(vector, golden):
    arrays, _ = golden(vector)
    logits = torch.tensor(arrays["in_u0"] @ arrays["in_W"].T + arrays["in_b"])
    table = torch.tensor(arrays["in_memory"]).float()
    table[torch.tensor(arrays["in_idx_u"])] = logits.softmax(1)
    refined = refine(table, torch.tensor(arrays["in_target"]))[torch.tensor(arrays["in_idx_u"])]
    np.testing.assert_array_equal(refined.argmax(1), arrays["out_targets_u"].argmax(1))
    np.testing.assert_array_equal((refined.amax(1) >= 0.95).repeat(2), arrays["out_mask"] > 0)


@vectors("daso_seval/darp_estim_K*", "daso_seval/darp_official_estim_K*")
def test_estimate(vector, golden):
    arrays, _ = golden(vector)
    found = estimate_counts(*(torch.tensor(arrays[f"in_{k}"]) for k in ("val_logits", "val_labels", "ul_logits")))
    assert_close(found, arrays["out_est"], atol=1e-3)


def predictions(rows=400, classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, (rows,), generator=generator)
    return (torch.randn(rows, classes, generator=generator) + 3 * torch.nn.functional.one_hot(truth, classes)).softmax(1), truth


def test_totals_follow_the_target_and_only_its_shape_counts():
    probs, _ = predictions()
    target = COUNTS / COUNTS.sum()
    refined = refine(probs, target)
    assert (refined.sum(0) - 400 * target).abs().max() < 0.5
    assert_close(refine(probs, target * 1000), refined)
    assert refined.argmax(1).bincount(minlength=10)[0] > probs.argmax(1).bincount(minlength=10)[0]


def test_own_totals_change_little():
    probs, _ = predictions()
    refined = refine(probs, probs.sum(0), alpha=10)
    assert (refined.argmax(1) == probs.argmax(1)).float().mean() > 0.95


def test_class_ids_do_not_matter():
    probs, _ = predictions()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    assert_close(refine(probs[:, order], COUNTS[order]), refine(probs, COUNTS)[:, order])


def test_degenerate_predictions_stay_finite():
    probs = torch.zeros(50, 10)
    probs[:, 0] = 1  # one class is predicted for certain, the others never
    refined = refine(probs, COUNTS)
    assert torch.isfinite(refined).all()
    assert torch.isfinite(refine(predictions()[0], torch.tensor([1.0] * 9 + [0.0]))).all()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("classes", "certainty", "alpha"), [(2, 2, 2.0), (10, 3, 2.0), (10, 12, 2.0), (10, 3, 7.5), (100, 6, 2.0)])
def test_the_grid_of_entropies_changes_nothing(classes, certainty, alpha, reverse):
    """Also where no solution exists: more certain samples of a class than its target has, so that its multiplier grows and grows."""
    generator = torch.Generator().manual_seed(classes)
    target = torch.logspace(0, -2, classes)
    truth = torch.multinomial(target, 12_000, True, generator=generator)
    logits = torch.randn(12_000, classes, generator=generator) - torch.linspace(0, 2, classes)
    logits[torch.arange(12_000), truth] += certainty
    probs = logits.softmax(1)
    probs[5000:5020] = probs[4999].clone()  # ties
    target = scaled(target.flip(0) if reverse else target, 12_000, classes)
    quick = refinery_cpu.refine(probs.numpy(), target.numpy(), alpha, 10)
    slow = refinery._dense(probs.double(), target, alpha, 10, refinery._newton)
    assert_close(torch.from_numpy(quick), slow.float(), atol=1e-6)
    np.testing.assert_array_equal(quick.argmax(1), slow.argmax(1))
    assert torch.equal(refine(probs, target, alpha), torch.from_numpy(quick))


def test_a_grid_that_would_save_nothing_is_not_made():
    probs, _ = predictions()
    assert refinery_cpu.refine(probs.numpy(), scaled(COUNTS, 400, 10).numpy(), 2.0, 10) is None


def test_the_likeliest_of_each_class_are_those_of_a_stable_sort():
    generator = torch.Generator().manual_seed(0)
    probs = torch.randint(6, (500, 7), generator=generator) / 5  # many ties, many zeros
    quota = np.array([0, 1, 30, 100, 499, 500, 900])
    row, column = refinery_cpu.likeliest(probs.numpy(), quota)
    order = probs.argsort(dim=0, descending=True, stable=True).numpy()
    for k, number in enumerate(quota):
        np.testing.assert_array_equal(row[column == k], np.sort(order[:number, k]))


def steps(spelling, count, total=20):
    problem = make_problem(COUNTS, num_unlabelled=8, total_steps=total, steps_per_epoch=5)
    method = set_up(spelling, problem)
    generator = torch.Generator().manual_seed(1)
    for t in range(count):
        x, weak, strong = (torch.randn(n, 10, generator=generator) for n in (4, 8, 8))
        batch = make_batch(x, torch.arange(4), {"weak": weak, "strong": strong.requires_grad_()})
        yield method, run_step(method, Passthrough(), batch, t)[1]
        method.after_step(t + 1)


def test_labels_are_refined_from_start_on():
    for t, (method, step) in enumerate(steps("fixmatch+darp(start=0.5, period=3)", 16)):
        raw = step.logits.softmax(1)
        assert torch.equal(step.probs, raw) == (t < 10)
        assert torch.equal(method.chain[0].table, raw)
        if t == 10:
            at_start = method.chain[0].refined.clone()
        if t == 12:
            assert torch.equal(step.probs, at_start)  # between refinements the last one serves
        if t == 13:
            assert not torch.equal(method.chain[0].refined, at_start)
    assert set(method.series()) == {"darp/target", "darp/total"}
    copy = set_up("fixmatch+darp(start=0.5, period=3)", method.problem)
    copy.load_state_dict(method.state_dict())
    assert torch.equal(copy.chain[0].refined, method.chain[0].refined)


def test_relabelling_the_whole_set_refines_it_and_leaves_the_state_alone():
    *_, (method, _) = steps("fixmatch+darp", 1)
    before = method.chain[0].table.clone()
    logits = torch.randn(8, 10)
    late = method.relabel(logits, logits, torch.tensor(19))
    assert torch.equal(late.probs, refine(logits.softmax(1), method.chain[0].counts))
    assert torch.equal(method.relabel(logits, logits, torch.tensor(0)).probs, logits.softmax(1))
    assert torch.equal(method.chain[0].table, before)


def test_estimates_are_averaged_until_the_start():
    problem = make_problem(COUNTS, num_unlabelled=400, total_steps=100, steps_per_epoch=10)
    method = set_up("fixmatch+darp(target=estimate)", problem)
    assert method.needs == {"holdout": 10}
    probs, truth = predictions(seed=5)
    held, held_truth = predictions(1000, seed=6)
    sets = {"holdout": (held.log(), None, held_truth), "unlabelled": (probs.log(), None, truth)}
    for epoch in range(10):
        method.end_epoch(EpochEnd(epoch, 10 * (epoch + 1), sets.__getitem__, None))
    darp = method.chain[0]
    assert int(darp.estimates) == 4  # epochs that end at or before step 40
    assert (darp.counts - truth.bincount(minlength=10)).abs().max() < 15 and darp.counts.sum() == pytest.approx(400, rel=1e-4)


def test_estimates_that_cannot_be_trusted():
    held = torch.zeros(100, 10)  # says nothing: singular
    labels = torch.arange(100) % 10
    assert estimate_counts(held, labels, torch.zeros(50, 10)) is None
    with pytest.raises(ValueError, match=r"no sample of class \[9\]"):
        estimate_counts(held[:9], labels[:9], torch.zeros(50, 10))


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("fixmatch+darp(target=guess)", "oracle"),
        ("fixmatch+darp(start=1.0)", r"\[0, 1\)"),
        ("fixmatch+darp(period=0)", "must be at least 1"),
        ("fixmatch+darp(compat=loose)", "official"),
    ],
)
def test_options_are_checked(spelling, says):
    with pytest.raises(MethodError, match=says):
        build_method(spelling)


def test_targets_are_checked():
    for target in (torch.ones(2), torch.zeros(10), torch.tensor([-1.0] + [1.0] * 9)):
        with pytest.raises(ValueError, match="10 entries"):
            refine(predictions()[0], target)
    with pytest.raises(ValueError, match="true labels"):
        set_up("fixmatch+darp(target=oracle)", make_problem(COUNTS))
    with pytest.raises(ValueError, match="solver"):
        refine(predictions()[0], COUNTS, solver="bisect")
    with pytest.raises(ValueError, match=r"official search finds no labels with 0 of .* in class 1; use darp\(compat=exact\)"):
        refine(predictions()[0], torch.tensor([1.0] + [0.0] * 9), solver="secant")
