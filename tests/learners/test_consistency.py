"""PseudoLabel, Mean Teacher, MixMatch and ReMixMatch against recorded steps of the DASO code, alone and with DASO on top."""

from types import SimpleNamespace

import pytest
import torch

from pldebias.learners import mixup, remixmatch
from pldebias.learners.mixup import interleave, mixing_factor, permutation, sharpen
from pldebias.methods import MethodError, build_method
from pldebias.nets import Output
from pldebias.schemes.formulas.rotation import rotate
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up

CASES = ("pseudolabel", "meanteacher", "meanteacher_daso", "mixmatch", "mixmatch_daso", "remixmatch", "remixmatch_daso")


def case(vector):
    """``remixmatch_daso`` of ``daso_seval/remixmatch_daso_K10_s0``."""
    return vector.split("/")[-1].split("_K")[0]


def prepare(name, arrays, info, defaults=None):
    h = info["hyperparameters"]
    learner, *schemes = name.split("_")
    options = {"daso": {"T": h.get("ALGORITHM__DASO__DIST_TEMP", 1.5), "queue": h.get("MODEL__QUEUE__MAX_SIZE", 256)}, **(defaults or {})}
    problem = make_problem(arrays["in_label_counts"], len(arrays["in_xu0"]), h["max_iter"])
    if name == "remixmatch_daso":  # recorded with the CIFAR-10 configuration, which leaves the alignment out, or with another
        raw = GoldenNet(arrays)(torch.tensor(arrays["in_xu0"])).logits.softmax(1)
        options["remixmatch"] = {"align": not torch.allclose(raw, torch.tensor(arrays["out_p_aligned"]), atol=1e-4)}
    method = set_up("+".join([learner, *schemes]), problem, options)
    if schemes:
        daso = method.chain[-1]
        daso.queue.push(torch.tensor(arrays["in_queue_feats"]), torch.tensor(arrays["in_queue_labels"]))
        daso.class_dist.copy_(torch.tensor(arrays["in_pl_counts"]))
    heads = ("rotation",) if learner == "remixmatch" else ()
    nets = [GoldenNet(arrays, prefix, heads) for prefix in ("in_param_", "in_ema_")]
    views = {view: arrays[f"in_xu{i}"] for i, view in enumerate(method.learner.unlabelled_views)}
    return method, nets, make_batch(arrays["in_xl"], arrays["in_labels"], views), h["iter"]


def inject(monkeypatch, arrays):
    """Use the draws that were recorded."""
    if "out_lam" in arrays:
        factor = torch.tensor(arrays["out_lam"]).clamp(min=1 - float(arrays["out_lam"])).float()
        monkeypatch.setattr(mixup, "mixing_factor", lambda *_: factor)
        monkeypatch.setattr(mixup, "permutation", lambda *_: torch.tensor(arrays["out_rand_idx"]))
    if "out_rot_labels" in arrays:
        monkeypatch.setattr(remixmatch, "quarter_turns", lambda *_: torch.tensor(arrays["out_rot_labels"]))


@vectors(*(f"daso_seval/{name}_K*" for name in CASES))
def test_golden_step(vector, golden, monkeypatch):
    arrays, info = golden(vector)
    name = case(vector)
    method, (student, teacher), batch, t = prepare(name, arrays, info)
    inject(monkeypatch, arrays)
    losses, step = run_step(method, student, batch, t, teacher)
    assert_close(losses["labelled"], arrays["out_loss_cls"], name="labelled")
    assert_close(losses["unlabelled"], arrays["out_loss_cons"], name="unlabelled")
    for ours, theirs in {"anchor": "kl", "rotation": "rotation", "daso/align": "assign"}.items():
        assert (ours in losses) == (f"out_loss_{theirs}" in arrays)
        if ours in losses:
            assert_close(losses[ours], arrays[f"out_loss_{theirs}"], atol=1e-4, name=ours)
    for key in ("out_ul_targets", "out_blended"):
        if key in arrays:
            assert_close(step.probs, arrays[key], name=key)
    if name == "pseudolabel":
        assert torch.equal(step.label, torch.tensor(arrays["out_pred"]))
        assert torch.equal(step.mask, torch.tensor(arrays["out_mask"]))
    assert_gradients(student, arrays)


@pytest.mark.parametrize("name", ["meanteacher", "mixmatch", "remixmatch"])
def test_daso_of_weight_zero_changes_no_bit(name, golden, monkeypatch):
    arrays, info = golden(f"daso_seval/{name}_daso_K10_s0")
    inject(monkeypatch, arrays)
    outcomes = []
    for method_name, options in ((name, {}), (f"{name}_daso", {"weight": 0.0, "align": 0.0})):
        method, (student, teacher), batch, _ = prepare(f"{name}_daso", arrays, info, {"daso": options})
        if method_name == name:
            method = set_up(f"{name}(align=False)" if name == "remixmatch" else name, method.problem)
        losses, step = run_step(method, student, batch, 8000, teacher)
        outcomes.append((losses, step.probs, student.gradients()))
    for key, value in outcomes[0][0].items():
        assert torch.equal(value, outcomes[1][0][key]), key
    assert torch.equal(outcomes[0][1], outcomes[1][1])
    for key, value in outcomes[0][2].items():
        assert torch.equal(value, outcomes[1][2][key]), key


@pytest.mark.parametrize("name", ["meanteacher", "mixmatch", "remixmatch"])
def test_every_pseudo_label_is_used_and_no_gradient_enters_the_targets(name, golden):
    arrays, info = golden(f"daso_seval/{name}_K10_s0")
    method, (student, teacher), batch, t = prepare(name, arrays, info)
    _, step = run_step(method, student, batch, t, teacher)
    assert torch.equal(step.mask, torch.ones(len(batch.index)))
    assert not step.probs.requires_grad
    assert_close(step.probs.sum(1), torch.ones(len(batch.index)))


def test_the_ramp_starts_at_zero_and_the_relabelling_of_a_cache_changes_no_state(golden):
    arrays, info = golden("daso_seval/remixmatch_K10_s0")
    method, (student, teacher), batch, _ = prepare("remixmatch", arrays, info)
    losses, step = run_step(method, student, batch, 0, teacher)
    assert float(losses["unlabelled"].detach()) == float(losses["anchor"].detach()) == 0 < float(losses["rotation"].detach())
    before = {key: value.clone() for key, value in method.state_dict().items()}
    again = method.relabel(step.logits, step.features, step.t)
    assert torch.equal(again.probs, step.probs)  # the mean still holds this batch
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    fresh = set_up("remixmatch", method.problem)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(fresh.relabel(step.logits, step.features, step.t).probs, step.probs)


@pytest.mark.parametrize(("mu", "sizes"), [(1, [6] * 3), (0.5, [6] * 2), (2, [6] * 5), (7 / 6, [10] * 2), (11 / 6, [7] * 4)])
def test_mixing_with_other_batch_ratios_keeps_rows_and_targets_together(mu, sizes, monkeypatch):
    """With a mixing factor of one and an identity network, every row must come back in its place."""
    method = set_up("mixmatch", make_problem([30, 20, 10], total_steps=1))
    monkeypatch.setattr(mixup, "mixing_factor", lambda *_: torch.tensor(1.0))
    seen = []
    monkeypatch.setattr(method.learner, "labelled_loss", lambda step, *mixed: seen.extend(mixed) or mixed[0].sum())
    rows, seen_sizes = round(6 * mu), []
    batch = make_batch(torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), {"weak": torch.randn(rows, 3), "weak2": torch.randn(rows, 3)})
    student = lambda x: seen_sizes.append(len(x)) or Output(x, x)  # noqa: E731
    losses, step = method.losses(SimpleNamespace(student=student, teacher=student), batch, torch.tensor(5))
    assert seen_sizes[2:] == sizes
    logits, targets = seen
    assert torch.equal(logits, batch.labelled["weak"])
    assert torch.equal(targets.argmax(1), batch.y)
    unlabelled = torch.cat([batch.unlabelled["weak"], batch.unlabelled["weak2"]])
    expected = 100 * (unlabelled.softmax(1) - step.probs.repeat(2, 1)).square().mean()
    assert_close(losses["unlabelled"], expected)


def test_interleave(golden):
    arrays, _ = golden("daso_seval/interleave")
    mixed = interleave(torch.tensor(arrays["in_x"]))
    assert torch.equal(mixed, torch.tensor(arrays["out_y"]))
    assert torch.equal(interleave(mixed), torch.tensor(arrays["out_back"]))


def test_sharpen():
    probs = torch.tensor([[0.5, 0.3, 0.2]])
    assert torch.equal(sharpen(probs, 1.0), probs / probs.sum(1, keepdim=True))
    assert_close(sharpen(probs, 0.5), torch.tensor([[0.25, 0.09, 0.04]]) / 0.38)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.75, 3.0])
def test_the_mixing_factor_is_the_larger_part_of_a_beta_variate(alpha):
    from scipy import stats

    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([mixing_factor(alpha, torch.device("cpu"), generator) for _ in range(4000)]).double().numpy()
    assert draws.min() >= 0.5 and draws.max() <= 1
    beta = stats.beta(alpha, alpha)
    for x in (0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.9999):  # float32 rounds what is nearer to one
        share = 2 * beta.cdf(x) - 1
        assert abs((draws <= x).mean() - share) < 4 * (share * (1 - share) / len(draws)) ** 0.5 + 1e-9, x


def test_permutations_are_permutations():
    order = permutation(50, torch.device("cpu"), torch.Generator().manual_seed(1))
    assert torch.equal(order.sort().values, torch.arange(50)) and not torch.equal(order, torch.arange(50))


def test_rotation_turns_each_image_by_its_quarters():
    images = torch.randn(5, 3, 8, 8)
    turned = rotate(images, torch.tensor([0, 1, 2, 3, 1]))
    for i, k in enumerate([0, 1, 2, 3, 1]):
        assert torch.equal(turned[i], images[i].rot90(k, (1, 2)))
    with pytest.raises(ValueError, match="square"):
        rotate(torch.randn(2, 3, 8, 6), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("meanteacher(ramp=2)", r"ramp=2.* must be in \[0, 1\]"),
        ("mixmatch(alpha=0)", r"alpha=0.* must be positive"),
        ("remixmatch(T=-1)", r"T=-1.* must be positive"),
        ("pseudolabel(threshold=1.5)", r"threshold=1.5.* must be in \(0, 1\]"),
        ("pseudolabel(ramp=-1)", r"ramp=-1.* must be in \[0, 1\]"),
    ],
)
def test_impossible_options(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)
