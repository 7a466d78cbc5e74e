"""FlexMatch and FreeMatch against recorded sequences of the SEVAL code, and what their thresholds do."""

import pytest
import torch

from pldebias.learners.flexmatch import flexible_threshold, learning_status
from pldebias.learners.freematch import adaptive_threshold, fairness
from pldebias.methods import MethodError, build_method
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


def batches(arrays):
    for i in range(len(arrays["in_xl"])):
        views = {"weak": arrays["in_xu0"][i], "strong": arrays["in_xu1"][i]}
        yield i, make_batch(arrays["in_xl"][i], arrays["in_labels"][i], views, arrays["in_idx"][i])


@vectors("daso_seval/flexmatch_dataset_K*", "daso_seval/flexmatch_shipped_K*")
def test_flexmatch_golden_sequence(vector, golden):
    arrays, info = golden(vector)
    h, shipped = info["hyperparameters"], "_shipped_" in vector
    classes = arrays["out_classwise_acc"].shape[1]
    options = {"threshold": h["p_cutoff"], "warmup": h["thresh_warmup"], "slots": h["ulb_dest_len"] if shipped else None}
    method = set_up("flexmatch", make_problem([10] * classes, h["N_unlabelled"]), {"flexmatch": options})
    net = GoldenNet(arrays)
    for i, batch in batches(arrays):
        losses, step = run_step(method, net, batch, i)
        assert torch.equal(step.mask, torch.tensor(arrays["out_mask"][i])), i
        assert_close(losses["labelled"], arrays["out_loss_cls"][i], name=f"labelled {i}")
        assert_close(losses["unlabelled"], arrays["out_loss_cons"][i], name=f"unlabelled {i}")
        assert_close(method.learner.beta, arrays["out_classwise_acc"][i], name=f"beta {i}")
    assert_gradients(net, arrays, "out_grad_last_")
    if not shipped:
        last = method.learner.last[:-1]
        assert torch.equal(torch.where(last == classes, -1, last), torch.tensor(arrays["out_selected_last"]))


@vectors("daso_seval/freematch*_K*")
def test_freematch_golden_sequence(vector, golden):
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    options = {"momentum": h["m"], "quantile": 0.8 if h["use_quantile"] else None, "ceiling": 0.95 if h["clip_thresh"] else 1.0}
    method = set_up("freematch", make_problem([10] * arrays["out_p_model"].shape[1]), {"freematch": options})
    net = GoldenNet(arrays)
    for i, batch in batches(arrays):
        losses, step = run_step(method, net, batch, i)
        assert_close(method.learner.global_threshold, arrays["out_time_p"][i], name=f"time_p {i}")
        assert_close(method.learner.class_mean, arrays["out_p_model"][i], name=f"p_model {i}")
        assert_close(method.learner.histogram, arrays["out_label_hist"][i], name=f"histogram {i}")
        assert torch.equal(step.mask, torch.tensor(arrays["out_mask"][i])), i
        for ours, theirs in {"labelled": "cls", "unlabelled": "cons", "fairness": "ent_loss"}.items():
            assert_close(losses[ours], arrays[f"out_loss_{theirs}"][i], name=f"{ours} {i}")
    assert_gradients(net, arrays, "out_grad_last_")


def test_flexmatch_keeps_the_memory_of_a_sample_that_lost_its_confidence():
    """The same sample twice in a batch, once confident: the confident label stays, whatever the order."""
    method = set_up("flexmatch", make_problem([5, 5, 5], 4))
    sure, unsure = [8.0, 0, 0], [0.0, 0.1, 0]
    for rows in ([sure, unsure], [unsure, sure]):
        step = method.relabel(torch.tensor(rows), torch.zeros(2, 2), torch.tensor(0), index=torch.tensor([2, 2]))
        method.learner.observe(step)
        assert method.learner.last[:-1].tolist() == [3, 3, 0, 3]


def test_flexmatch_lowers_the_threshold_of_classes_that_are_rarely_confident():
    method = set_up("flexmatch", make_problem([90, 9, 1], 100))
    logits = 9 * torch.eye(3)[torch.tensor([0] * 80 + [1] * 20)]
    method.learner.observe(method.relabel(logits, torch.zeros(100, 2), torch.tensor(0), index=torch.arange(100)))
    thresholds = method.series()["flexmatch/threshold"]
    assert_close(thresholds, torch.tensor([0.95, 0.95 * 0.25 / 1.75, 0.0]))
    assert method.learner.threshold(method.relabel(logits, torch.zeros(100, 2), torch.tensor(0)))[-1] < 0.2


def test_status_and_thresholds():
    counts = torch.tensor([6.0, 3.0, 0.0])
    assert_close(learning_status(counts, 0.0), torch.tensor([1.0, 0.5, 0.0]))
    assert_close(learning_status(counts, 12.0), torch.tensor([0.5, 0.25, 0.0]))
    assert_close(learning_status(torch.zeros(3), 0.0), torch.zeros(3))
    assert_close(flexible_threshold(0.9, torch.tensor([0.0, 0.5, 1.0])), torch.tensor([0.0, 0.3, 0.9]))
    assert_close(adaptive_threshold(torch.tensor(0.8), torch.tensor([0.6, 0.3, 0.1])), torch.tensor([0.8, 0.4, 0.8 / 6]))


def test_fairness_without_an_accepted_row_is_zero_with_a_zero_gradient():
    logits = torch.randn(6, 3, requires_grad=True)
    loss = fairness(logits.softmax(1), torch.zeros(6), torch.full((3,), 1 / 3), torch.tensor([0.5, 0.5, 0.0]))
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(logits.grad, torch.zeros(6, 3))


def test_fairness_against_a_loop():
    torch.manual_seed(0)
    probs, mask = torch.randn(9, 4).softmax(1), torch.tensor([1.0, 0, 1, 1, 0, 0, 1, 1, 1])
    mean, histogram = torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([0.5, 0.3, 0.0, 0.2])
    rows = [p for p, m in zip(probs.tolist(), mask.tolist(), strict=True) if m]
    hits = [sum(max(range(4), key=row.__getitem__) == k for row in rows) / len(rows) for k in range(4)]

    def norm(p, h):
        ratio = [x / y if y else 0.0 for x, y in zip(p, h, strict=True)]
        return [x / sum(ratio) for x in ratio]

    a = norm(mean.tolist(), histogram.tolist())
    b = norm([sum(row[k] for row in rows) / len(rows) for k in range(4)], hits)
    expected = sum(x * torch.tensor(y + 1e-12, dtype=torch.float64).log() for x, y in zip(a, b, strict=True))
    assert_close(fairness(probs, mask, mean, histogram), expected)


@pytest.mark.parametrize("name", ["flexmatch", "freematch"])
def test_state_survives_saving(name):
    problem = make_problem([5, 5, 5], 16, feature_dim=4)
    method, other = set_up(name, problem), set_up(name, problem)
    step = method.relabel(4 * torch.randn(16, 3), torch.zeros(16, 4), torch.tensor(0), index=torch.arange(16))
    method.learner.prepare(step)
    method.learner.observe(step)
    other.load_state_dict(method.state_dict())
    for key, value in method.series().items():
        assert torch.equal(other.series()[key], value) and value.shape == (3,)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("freematch(momentum=1)", r"momentum=1.* must be in \[0, 1\)"),
        ("freematch(quantile=2)", r"quantile=2.* must be in \[0, 1\]"),
        ("freematch(ceiling=0)", r"must be in \(0, 1\]"),
        ("flexmatch(threshold=0)", r"must be in \(0, 1\]"),
    ],
)
def test_impossible_options(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)


def test_too_few_slots():
    with pytest.raises(ValueError, match=r"slots=3.* must be at least the size of the unlabelled set, 16"):
        set_up("flexmatch(slots=3)", make_problem([5, 5], 16))
