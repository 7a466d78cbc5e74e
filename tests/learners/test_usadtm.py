"""USADTM against recorded steps of the DASO code: queue, mutual information, labels by prototypes."""

import pytest
import torch

from pldebias.learners.usadtm import mutual_information_loss
from pldebias.methods import MethodError, build_method
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


@vectors("daso_seval/usadtm_pre_K*", "daso_seval/usadtm_main_K*")
def test_step_is_the_recorded_one(vector, golden):
    arrays, info = golden(vector)
    h = info["hyperparameters"]
    net = GoldenNet(arrays)
    options = {"threshold": h["dtm_thres"], "mi_weight": h["uc_weight"]}
    counts = [20] * len(arrays["out_prototypes"])  # long queues: the recorded ones were not full
    method = set_up("usadtm", make_problem(counts), {"usadtm": options})
    method.learner.queue.push(torch.tensor(arrays["in_queue_feats"]), torch.tensor(arrays["in_queue_labels"]))
    views = {view: arrays[f"in_xu_{name}"] for view, name in (("identity", "id"), ("weak", "weak"), ("strong", "strong"))}
    losses, step = run_step(method, net, make_batch(arrays["in_xl"], arrays["in_labels"], views), 499 if h["pretraining"] else 500)
    assert_close(method.learner.prototypes, arrays["out_prototypes"])
    assert_close(losses["labelled"], arrays["out_loss_cls"])
    assert_close(losses["mutual_information"], arrays["out_loss_uc_loss"])
    assert_close(losses["unlabelled"], arrays["out_loss_cons"])
    if not h["pretraining"]:
        assert torch.equal(step.label, torch.tensor(arrays["out_pred"]))
        assert torch.equal(step.mask, torch.tensor(arrays["out_mask"]))
        assert_close(step.confidence, arrays["out_confidence"])
    else:
        assert not step.mask.any()
    assert_gradients(net, arrays)


@vectors("daso_seval/usadtm_mi_loss_K*")
def test_mutual_information(vector, golden):
    arrays, _ = golden(vector)
    x, y, z = (torch.tensor(arrays[f"in_{name}"], requires_grad=True) for name in "xyz")
    loss = sum(mutual_information_loss(a, b) for a, b in ((x, y), (y, z), (x, z))) / 3
    loss.backward()
    assert_close(loss, arrays["out_loss"])
    for logits, name in zip((x, y, z), "xyz", strict=True):
        assert_close(logits.grad, arrays[f"out_g{name}"], name=name)


@vectors("daso_seval/usadtm_queue_K*")
def test_queue_holds_five_features_an_image(vector, golden):
    arrays, _ = golden(vector)
    counts = torch.tensor(arrays["in_classwise"])
    method = set_up("usadtm", make_problem(counts, feature_dim=arrays["in_feats"].shape[2]))
    queue = method.learner.queue
    assert torch.equal(queue.capacity, 5 * counts)
    for features, labels in zip(arrays["in_feats"], arrays["in_labels"], strict=True):
        queue.push(torch.tensor(features), torch.tensor(labels))
    assert_close(queue.prototypes(), arrays["out_prototypes"])
    assert torch.equal(queue.size, torch.tensor(arrays["out_sizes"]))


def test_labels_need_both_distances():
    """A long prototype has the direction of a feature, a short one lies next to it: they disagree, and the label is not used."""
    method = set_up("usadtm(start=0, threshold=0.5)", make_problem([5, 5], feature_dim=2))
    method.learner.prototypes.copy_(torch.tensor([[10.0, 0.0], [0.9, 0.3]]))
    logits = torch.zeros(2, 2)
    step = method.relabel(logits, torch.tensor([[1.0, 0.0], [9.0, 0.0]]), torch.tensor(0))
    assert step.label.tolist() == [0, 0] and step.mask.tolist() == [0, 1]


def test_options_are_checked():
    with pytest.raises(MethodError, match="at least 1"):
        build_method("usadtm(queue=0)")
