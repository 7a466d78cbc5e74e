"""Logit adjustment: recorded steps, identities, effects."""

import pytest
import torch
from golden_files import vectors
from golden_net import GoldenNet, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up

from pldebias.methods import MethodError, build_method
from pldebias.schemes import la


@vectors("daso_seval/fixmatch_K*", "daso_seval/fixmatch_trainla_K*", "daso_seval/fixmatch_posthocla_K*")
def test_recorded_steps(vector, golden):
    arrays, meta = golden(vector)
    h = meta["hyperparameters"]
    at = "train" if "trainla" in vector else "pseudo" if "posthocla" in vector else None
    method = f"fixmatch(threshold={h['conf_thres']})" + (f"+la(tau={h['tau']}, at={at})" if at else "")
    net = GoldenNet(arrays)
    for s in range(len(arrays["in_xl"])):
        batch = make_batch(arrays["in_xl"][s], arrays["in_labels"][s], {"weak": arrays["in_xu0"][s], "strong": arrays["in_xu1"][s]})
        losses, step = run_step(set_up(method, make_problem(arrays["in_label_counts"])), net, batch, s)
        assert_close(losses["labelled"], arrays["out_loss_cls"][s], name="labelled")
        assert_close(losses["unlabelled"], arrays["out_loss_cons"][s], name="unlabelled")
        assert_close(step.probs, arrays["out_pseudo_prob"][s], name="probs")
        assert (step.label.numpy() == arrays["out_pred"][s]).all()
        assert (step.mask.numpy() == arrays["out_mask"][s]).all()
    assert_gradients(net, arrays, "out_grad_last_")


@vectors("daso_seval/supervised_la_K*")
def test_recorded_supervised_step(vector, golden):
    arrays, _ = golden(vector)
    net = GoldenNet(arrays)
    batch = make_batch(arrays["in_xl"], arrays["in_labels"], {"none": arrays["in_xl"]})
    losses, step = run_step(set_up("supervised+la", make_problem(arrays["in_label_counts"])), net, batch, 0)
    assert_close(losses["labelled"], arrays["out_loss_cls"], name="labelled")
    assert_gradients(net, arrays)
    assert step.label is None


@vectors("daso_seval/eval_la_K*")
def test_recorded_evaluation(vector, golden):
    arrays, _ = golden(vector)
    counts = torch.tensor(arrays["in_counts"]).float()
    logits, labels = torch.tensor(arrays["in_logits"]), torch.tensor(arrays["in_labels"])
    adjusted = la.posthoc(logits, counts / counts.sum())
    assert_close(100 * (adjusted.argmax(1) == labels).double().mean(), arrays["out_top1_la"])
    assert_close(torch.nn.functional.cross_entropy(adjusted, labels), arrays["out_cost_la"])


def test_strength_zero_changes_nothing_to_the_bit():
    logits, prior = torch.randn(64, 10), torch.rand(10)
    prior[3] = 0
    assert torch.equal(la.adjust(logits, prior, 0), logits)
    assert torch.equal(la.posthoc(logits, prior, 0), logits)


def test_uniform_prior_changes_no_probability():
    logits = torch.randn(64, 10, dtype=torch.float64)
    prior = torch.full((10,), 0.1, dtype=torch.float64)
    torch.testing.assert_close(la.adjust(logits, prior, 1.3).softmax(1), logits.softmax(1))


def test_posthoc_undoes_adjust_and_favours_the_tail():
    logits, prior = torch.randn(256, 3, dtype=torch.float64), torch.tensor([0.9, 0.09, 0.01], dtype=torch.float64)
    torch.testing.assert_close(la.posthoc(la.adjust(logits, prior, 0.7), prior, 0.7), logits)
    tail = [(f(logits, prior).argmax(1) == 2).sum().item() for f in (la.adjust, la.posthoc)]
    plain = (logits.argmax(1) == 2).sum().item()
    assert tail[0] < plain < tail[1]


def test_a_class_without_samples_stays_finite():
    assert torch.isfinite(la.posthoc(torch.zeros(1, 2), torch.tensor([1.0, 0.0]))).all()


def test_unknown_place_is_refused():
    with pytest.raises(MethodError, match=r"at='test'.*'train', 'posthoc' or 'pseudo'"):
        build_method("fixmatch+la(at=test)")
