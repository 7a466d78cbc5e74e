"""ADELLO and UDAL against their official code, step by step, and at their edges."""

import numpy as np
import pytest
import torch

from pldebias.methods import MethodError, build_method
from pldebias.schemes.adello import alpha, imbalance_temperature, log_ratio, smooth
from tests.golden_files import vectors
from tests.golden_net import Passthrough, assert_close, make_batch, make_problem, run_step, set_up

COUNTS = [1500, 899, 539, 323, 193, 116, 69, 41, 25, 15]


def compare_steps(arrays, method, scheme):
    """Replay every recorded step from its recorded prior."""
    for name in [key[:3] for key in arrays if key.endswith("_it")]:
        a = {key[4:]: value for key, value in arrays.items() if key.startswith(name)}
        t = int(a["it"])
        scheme.prior.copy_(torch.tensor(a["p_hat_before"]))
        x, weak, strong = (torch.tensor(a[f"logits_{k}"], requires_grad=True) for k in ("x", "u_w", "u_s"))
        batch = make_batch(x, torch.tensor(a["y_x"]), {"weak": weak, "strong": strong})
        if "lb_in_ulb_mask" in a:  # labelled images lie first in the unlabelled set
            batch.index = torch.where(torch.tensor(a["lb_in_ulb_mask"]) > 0, 0, scheme.num_labelled)
        losses, step = run_step(method, Passthrough(), batch, t)
        assert_close(losses["labelled"], a["sup_loss"], name="sup")
        assert_close(losses["unlabelled"], a["unsup_loss"], name="unsup")
        assert_close(sum(losses.values()), a["total_loss"], name="total")
        assert_close(x.grad, a["grad_x"], name="grad x")
        assert_close(strong.grad, a["grad_u_s"], name="grad strong")
        assert not weak.grad.any()  # targets carry no gradient
        assert_close(scheme.prior, a["p_hat_after"], atol=1e-6)
        assert_close(scheme.exponent(step), a["alpha_t"], atol=1e-6)
        if "distill_loss" in a and np.isfinite(a["distill_loss"]):
            assert_close(losses[f"{scheme.name}/ccr"], a["distill_loss"], name="ccr")


KINDS = ("released_cfg", "paper_T", "ema999", "fixed_T", "distill_all", "epoch_alpha", "lbmask", "gt_prior")  # not soft_labels


@vectors(*(f"debiaspl_adello/adello_{kind}_K*" for kind in KINDS))
def test_steps_are_the_official_ones(vector, golden):
    arrays, meta = golden(vector)
    h, truth = meta["hyperparameters"], torch.tensor(arrays["ulb_counts"])
    epoch = h["num_train_iter"] // h["epoch"]
    problem = make_problem(arrays["lb_counts"], total_steps=h["num_train_iter"], steps_per_epoch=epoch, unlabelled_counts=truth)
    # The code measures its temperature only where some value was given for it, which it then replaces.
    options = {
        "momentum": h["ema_p"],
        "alpha_min": h["adello_alpha_min"],
        "d": h["adello_k"],
        "alpha_by": "epoch" if h["adello_alpha_from_epoch"] else "step",
        "target": "oracle" if h["mode"] == "adello_gt" else "running",
        "exclude_labelled": h["use_lb_in_ulb_mask"],
        "ccr": "complement" if h["distill_complement"] else "all",
        "ccr_weight": h["lambda_distill"],
        "start": h["distill_start_iter"],
        "temperature": 1.0 if h["distill_T"] is None else "imbalance" if h["imbalance_distill_with_warmup"] else h["distill_T"],
    }
    method = set_up(f"fixmatch(threshold={h['p_cutoff']})+adello", problem, {"adello": options})
    compare_steps(arrays, method, method.chain[0])


@vectors("debiaspl_adello/udal_udal*_K*")
def test_udal_steps_are_the_official_ones(vector, golden):
    arrays, _ = golden(vector)
    target = "oracle" if "udal_gt" in vector else "running" if "udal_dynamic" in vector else "labelled"
    counts, truth = (torch.tensor(1e9 * arrays[key]).round().long() for key in ("p_data", "gt_u_prior"))
    problem = make_problem(counts, total_steps=262_144, steps_per_epoch=1024, unlabelled_counts=truth)
    # Recorded with a fast running prior, so that it moves within five steps.
    method = set_up(f"fixmatch+udal(target={target}, momentum=0.9)", problem)
    compare_steps(arrays, method, method.chain[0])


def test_schedule(golden):
    arrays, _ = golden("debiaspl_adello/adello_alpha_schedule")
    for key in arrays:
        if key != "it":
            d, low = (float(part) for part in key.removeprefix("alpha_k").split("_min"))
            it = torch.from_numpy(arrays["it"].astype(float))
            np.testing.assert_allclose(alpha(it, 262_144, low, d), arrays[key], rtol=1e-12, atol=1e-15)


@vectors("debiaspl_adello/adello_adjustment_fn_K*")
def test_adjustments(vector, golden):
    arrays, _ = golden(vector)
    current, target = torch.tensor(arrays["current"]), torch.tensor(arrays["target"])
    for it, expected in zip(arrays["it"], arrays["log_ratio"], strict=True):
        np.testing.assert_allclose(log_ratio(current, smooth(target, alpha(int(it), 262_144))), expected, atol=1e-9)
    assert imbalance_temperature(current).item() == pytest.approx(float(arrays["T_imbalance"]), rel=1e-6)


def small_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, weak, strong = (torch.randn(n, 10, generator=generator) * 4 for n in (16, 32, 32))
    return make_batch(x, torch.randint(10, (16,), generator=generator), {"weak": weak, "strong": strong.requires_grad_()})


def test_nothing_to_align_is_fixmatch():
    gradients = []
    for spelling in ("fixmatch", "fixmatch+adello(ccr=none)"):
        batch = small_batch()
        run_step(set_up(spelling, make_problem([50] * 10)), Passthrough(), batch, 0)
        gradients.append(batch.unlabelled["strong"].grad)
    assert_close(*gradients, atol=1e-7)  # the smoothed uniform prior is normalised, hence uniform but for rounding


def test_skewed_priors_change_both_losses():
    losses = [run_step(set_up(s, make_problem(COUNTS)), Passthrough(), small_batch(), 0)[0] for s in ("fixmatch", "fixmatch+adello")]
    assert losses[0]["labelled"] != losses[1]["labelled"]
    method = set_up("fixmatch+adello", make_problem(COUNTS))
    method.chain[0].prior.copy_(torch.tensor(COUNTS) / sum(COUNTS))
    late = run_step(method, Passthrough(), small_batch(), 240_000)[0]
    assert losses[0]["unlabelled"] != late["unlabelled"]


def test_temperature_is_measured_once():
    method = set_up("fixmatch+adello(start=2)", make_problem(COUNTS))
    adello = method.chain[0]
    adello.prior.copy_(torch.tensor(COUNTS) / sum(COUNTS))
    for t in range(4):
        losses, _ = run_step(method, Passthrough(), small_batch(t), t)
        assert (losses["adello/ccr"] > 0) == (t >= 2) and adello.temperature.isnan() == (t < 2)
        if t == 2:
            expected = imbalance_temperature(adello.prior)  # after this step's update
            assert torch.equal(adello.temperature, expected) and expected > 1
    assert torch.equal(adello.temperature, expected)
    copy = set_up("fixmatch+adello(start=2)", make_problem(COUNTS))
    copy.load_state_dict(method.state_dict())
    assert torch.equal(copy.chain[0].temperature, expected)
    assert set(method.series()) == {"adello/prior"}


def test_needs_and_zero_priors():
    assert build_method("fixmatch+adello").needs == {"include_labelled": True}
    assert build_method("fixmatch+adello(expand=False)").needs == {}
    method = set_up("fixmatch+adello", make_problem([*COUNTS[:-1], 0]))
    losses, _ = run_step(method, Passthrough(), small_batch(), 100)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert torch.isfinite(imbalance_temperature(torch.tensor([1.0, 0.0])))


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("fixmatch+adello(alpha_min=2)", "alpha_min"),
        ("fixmatch+adello(momentum=1.0)", r"\[0, 1\)"),
        ("fixmatch+adello(temperature=0)", "positive number"),
        ("fixmatch+adello(temperature=warm)", "imbalance"),
        ("fixmatch+adello(ccr=some)", "complement"),
        ("fixmatch+adello(compat=loose)", "official"),
        ("fixmatch+adello(target=labelled)", "choose 'running' or 'oracle'"),
        ("fixmatch+adello(alpha_by=day)", "epoch"),
        ("fixmatch+adello(expand=False, exclude_labelled=True)", "expand=True"),
        ("supervised+adello", "pseudo-label"),
    ],
)
def test_options_are_checked(spelling, says):
    with pytest.raises(MethodError, match=says):
        build_method(spelling)


def test_oracle_needs_truth():
    with pytest.raises(ValueError, match="true labels"):
        set_up("fixmatch+udal(target=oracle)", make_problem(COUNTS))
