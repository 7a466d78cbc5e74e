"""What two public toolboxes compute on recorded batches: FixMatch, its prior-less DebiasPL, DASO's blending, alignment on FixMatch."""

import pytest
import torch

from pldebias.schemes import daso
from pldebias.schemes.formulas.queue import FeatureQueue
from tests.golden_files import vectors
from tests.golden_net import GoldenNet, Passthrough, assert_close, assert_gradients, make_batch, make_problem, run_step, set_up


def recorded_steps(arrays):
    """Arrays of one step after the other."""
    for name in sorted({key[:3] for key in arrays if key[0] == "s" and key[3] == "_"}):
        yield {key[4:]: value for key, value in arrays.items() if key.startswith(f"{name}_")}


def logits_batch(a):
    x, weak, strong = (torch.tensor(a[f"logits_{k}"], requires_grad=True) for k in ("x", "u_w", "u_s"))
    return x, strong, make_batch(x, a["y_x"], {"weak": weak, "strong": strong})


@vectors("debiaspl_adello/fixmatch_usb_K*")
def test_fixmatch_is_that_of_usb(vector, golden):
    arrays, _ = golden(vector)
    steps = list(recorded_steps(arrays))
    method = set_up("fixmatch", make_problem([10] * steps[0]["logits_x"].shape[1]))
    for a in steps:
        x, strong, batch = logits_batch(a)
        losses, step = run_step(method, Passthrough(), batch, 0)
        assert_close(losses["labelled"], a["sup_loss"])
        assert_close(losses["unlabelled"], a["unsup_loss"])
        assert_close(step.mask.mean(), a["util_ratio"])
        assert_close(x.grad, a["grad_x"])
        assert_close(strong.grad, a["grad_u_s"])


@vectors("debiaspl_adello/debiaspl_usb_K*")
def test_debiaspl_of_usb_is_fixmatch_and_ours_is_not(vector, golden):
    """Its running prior stays uniform, so its published row is FixMatch's; the paper's moves on the same batches, losses with it."""
    arrays, _ = golden(vector)
    steps = list(recorded_steps(arrays))
    classes = steps[0]["logits_x"].shape[1]
    plain, ours = (set_up(m, make_problem([10] * classes)) for m in ("fixmatch", "fixmatch+debiaspl(momentum=0.9)"))
    differences = []
    for a in steps:
        assert_close(a["p_hat_after"], torch.full((classes,), 1 / classes))
        _, strong, batch = logits_batch(a)
        losses, _ = run_step(plain, Passthrough(), batch, 0)
        assert_close(losses["unlabelled"], a["unsup_loss"])
        assert_close(strong.grad, a["grad_u_s"])
        _, _, batch = logits_batch(a)
        differences.append(abs(run_step(ours, Passthrough(), batch, 0)[0]["unlabelled"].item() - float(a["unsup_loss"])))
    assert max(differences[1:]) > 2e-5  # the first batch still meets the uniform prior
    assert (classes * ours.chain[0].prior - 1).abs().max() > 0.1


@vectors("debiaspl_adello/daso_blend_K*")
def test_blending_is_that_of_the_adello_code(vector, golden):
    arrays, _ = golden(vector)
    probs, semantic, counts = (torch.tensor(arrays[k]) for k in ("probs", "probs_sim", "pl_dist"))
    blended = daso.blend(probs, semantic, counts, 1.5)
    assert_close(blended, arrays["blended"])
    assert torch.equal(blended.argmax(1), torch.tensor(arrays["hard"]))
    queue = FeatureQueue(torch.full(counts.shape, 5), arrays["feats"].shape[1])
    queue.push(torch.tensor(arrays["feats"]), torch.tensor(arrays["labels"]))
    assert_close(queue.prototypes(), arrays["prototypes"])


@pytest.mark.parametrize("spelling", ["fixmatch+crestplus(t_min=1)", "fixmatch+crestplus"])
@vectors("daso_seval/fixmatch_da_K*")
def test_alignment_on_fixmatch_is_that_of_the_seval_code(vector, golden, spelling):
    """In its first generation CReST+ is FixMatch with distribution alignment."""
    arrays, _ = golden(vector)
    net, method = GoldenNet(arrays), set_up(spelling, make_problem(arrays["in_label_counts"]))
    for i in range(len(arrays["in_xl"])):
        views = {"weak": arrays["in_xu0"][i], "strong": arrays["in_xu1"][i]}
        losses, step = run_step(method, net, make_batch(arrays["in_xl"][i], arrays["in_labels"][i], views, arrays["in_idx"][i]), i)
        assert_close(losses["labelled"], arrays["out_loss_cls"][i])
        assert_close(losses["unlabelled"], arrays["out_loss_cons"][i])
        assert_close(step.probs, arrays["out_pseudo_prob"][i])
        assert torch.equal(step.label, torch.tensor(arrays["out_pred"][i])) and torch.equal(step.mask, torch.tensor(arrays["out_mask"][i]))
    assert_gradients(net, arrays, "out_grad_last_")
