"""DASO: recorded steps, queue, blending."""

import pytest
import torch
from golden_files import vectors
from golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up
from hypothesis import given, settings
from hypothesis import strategies as st

from pldebias.methods import MethodError, build_method
from pldebias.schemes import daso
from pldebias.schemes.formulas.queue import FeatureQueue, cosine


@vectors("daso_seval/daso_step_[!a]*")  # those with ABC are in test_abc
def test_recorded_steps(vector, golden):
    arrays, meta = golden(vector)
    given = meta["hyperparameters"]
    options = {
        "fixmatch": {"threshold": given["conf_thres"]},
        "la": {"tau": given["tau"]},
        "daso": {"T": given["T_dist"], "queue": given["queue_max"], "weight": None if given["with_dist_aware"] else given["interp_alpha"]},
    }
    net, teacher = GoldenNet(arrays), GoldenNet(arrays, "in_ema_")
    method = set_up("fixmatch+la+daso" if given["la"] else "fixmatch+daso", make_problem(arrays["in_label_counts"]), options)
    scheme = method.chain[-1]
    scheme.queue.push(torch.tensor(arrays["in_queue_feats"]), torch.tensor(arrays["in_queue_labels"]))
    scheme.class_dist.copy_(torch.tensor(arrays["in_pl_counts"]))
    batch = make_batch(arrays["in_xl"], arrays["in_labels"], {"weak": arrays["in_xw"], "strong": arrays["in_xs"]})
    losses, step = run_step(method, net, batch, 100 if given["pretraining"] else given["iter"], teacher)
    assert_close(losses["labelled"], arrays["out_loss_cls"], name="labelled")
    assert_close(losses["unlabelled"], arrays["out_loss_cons"], name="unlabelled")
    assert_close(losses["daso/align"], arrays.get("out_loss_assign", 0.0), atol=1e-4, name="align")
    assert_close(step.probs, arrays["out_pseudo_prob"], name="probs")
    assert_close(scheme.prototypes, arrays["out_prototypes"], name="prototypes")
    assert (step.label.numpy() == arrays["out_pred_class"]).all()
    assert (step.mask.numpy() == arrays["out_mask"]).all()
    assert_gradients(net, arrays)


@vectors("daso_seval/daso_step_T*")
def test_recorded_blending(vector, golden):
    arrays, meta = golden(vector)
    counts = torch.tensor(arrays["in_pl_counts"]).float()
    assert_close(daso.blend_weights(counts, meta["hyperparameters"]["T_dist"]), arrays["out_blend_v"])
    linear, semantic = torch.tensor(arrays["out_p_linear"]), torch.tensor(arrays["out_semantic_prob"])
    assert_close(daso.blend(linear, semantic, counts, meta["hyperparameters"]["T_dist"]), arrays["out_pseudo_prob"])


@vectors("daso_seval/daso_queue_K*")
def test_recorded_queue(vector, golden):
    arrays, meta = golden(vector)
    h = meta["hyperparameters"]
    queue = FeatureQueue(torch.full(arrays["out_sizes"].shape[1:], h["max_size"]), h["feat_dim"])
    recorded = iter(arrays["out_prototypes"])
    for i, (features, labels) in enumerate(zip(arrays["in_feats"], arrays["in_labels"], strict=True)):
        queue.push(torch.tensor(features), torch.tensor(labels))
        assert (queue.size.numpy() == arrays["out_sizes"][i]).all()
        if i in arrays["out_steps"]:
            assert_close(queue.prototypes(), next(recorded))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=6), st.integers(1, 4))
def test_queue_equals_lists(capacity, batches, other):
    """First in, first out per class, also where a batch overflows a queue."""
    lengths = torch.tensor([capacity, other, capacity + 1])
    queue, lists, n = FeatureQueue(lengths, 1), [[], [], []], 0
    for labels in batches:
        features = torch.arange(n + 1, n + 1 + len(labels)).float()[:, None]
        n += len(labels)
        queue.push(features, torch.tensor(labels))
        for value, label in zip(features[:, 0].tolist(), labels, strict=True):
            lists[label] = [*lists[label], value][-int(lengths[label]) :]
    expected = torch.tensor([sum(column) / len(column) if column else 0.0 for column in lists])
    torch.testing.assert_close(queue.prototypes()[:, 0], expected)


def test_unseen_class_has_cosine_zero():
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert cosine(torch.tensor([[3.0, 4.0]]), prototypes).tolist() == [[pytest.approx(0.6), 0.0]]


def test_weights_are_scaled_to_one_and_sharpened_by_small_T():
    counts = torch.tensor([100.0, 10.0, 1.0, 0.0])
    soft, sharp = daso.blend_weights(counts, 1.5), daso.blend_weights(counts, 0.3)
    assert soft[0] == sharp[0] == 1
    assert sharp[1] < soft[1]
    assert soft[3] == 0
    assert torch.equal(daso.blend_weights(torch.zeros(4), 1.5), torch.zeros(4))


def test_blending_moves_labels_towards_the_semantic_ones():
    """Head predictions take the semantic label, tail predictions keep the linear one."""
    linear, semantic = torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    blended = daso.blend(linear, semantic, torch.tensor([100.0, 1.0]), 1.5)
    assert blended.argmax(1).tolist() == [1, 1]
    torch.testing.assert_close(blended.sum(1), torch.ones(2))


@pytest.mark.parametrize("options", ["T=0", "T_proto=-1", "queue=0", "window=0", "weight=1.5"])
def test_impossible_options_are_refused(options):
    with pytest.raises(MethodError, match=f"daso.{options.split('=')[0]}"):
        build_method(f"fixmatch+daso({options})")
