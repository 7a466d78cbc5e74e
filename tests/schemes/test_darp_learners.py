"""DARP with MixMatch and ReMixMatch against recorded steps of its official code."""

import torch
from torch import nn

from pldebias.learners import mixup, remixmatch
from pldebias.nets import Output
from tests.golden_files import vectors
from tests.golden_net import assert_close, make_batch, make_problem, run_step, set_up


class Linear(nn.Module):
    """The network of the recorded steps: one layer on pooled pixels, and a second one for rotations."""

    def __init__(self, arrays):
        super().__init__()
        classes, pixels = arrays["in_W"].shape
        self.classifier, rotation = nn.Linear(pixels, classes), nn.Linear(pixels, 4)
        for layer, name in ((self.classifier, ""), (rotation, "rot")):
            layer.weight.data, layer.bias.data = torch.tensor(arrays[f"in_{name}W"]), torch.tensor(arrays[f"in_{name}b"])
        self.heads = nn.ModuleDict({"rotation": rotation})

    def forward(self, x):
        features = nn.functional.adaptive_avg_pool2d(x, 4).flatten(1) if x.dim() == 4 else x
        return Output(features, self.classifier(features))


@vectors("daso_seval/darp_train_mix_K*", "daso_seval/darp_train_remix_K*")
def test_step_is_the_official_one(vector, golden, monkeypatch):
    arrays, info = golden(vector)
    learner = "remixmatch" if "_remix_" in vector else "mixmatch"
    monkeypatch.setattr(mixup, "mixing_factor", lambda *_: torch.tensor(arrays["out_l"]).float())
    monkeypatch.setattr(mixup, "permutation", lambda *_: torch.tensor(arrays["out_perm"]))
    rows, (images, classes) = len(arrays["in_u0"]), arrays["in_memory"].shape
    problem = make_problem([10] * classes, num_unlabelled=images, total_steps=500, steps_per_epoch=1)
    target = tuple((torch.tensor(arrays["in_target"]) / arrays["in_target"].sum()).tolist())  # ReMixMatch aligns to it too
    learning = {"lambda_u": info["hyperparameters"]["lambda_u"], "ramp": 1.0}
    refining = {"target": target, "start": 0, "period": 1, "compat": "official"}
    method = set_up(f"{learner}+darp", problem, {learner: learning, "darp": refining})
    method.chain[0].table.copy_(torch.tensor(arrays["in_memory"]))
    if learner == "remixmatch":
        monkeypatch.setattr(remixmatch, "quarter_turns", lambda *_: torch.tensor(arrays["out_targets_r"]))
        alignment, seen = method.learner.alignment, torch.tensor(arrays["in_emp"])  # mean predictions of earlier batches
        alignment.sums[: len(seen)] = rows * seen
        alignment.rows[: len(seen)] = rows
        alignment.pushed.fill_(len(seen))
    net = Linear(arrays)
    batch = make_batch(
        arrays["in_x"], arrays["in_y"], {v: arrays[f"in_u{i}"] for i, v in enumerate(method.learner.unlabelled_views)}, arrays["in_idx_u"]
    )
    losses, step = run_step(method, net, batch, 100)
    assert_close(step.probs, arrays["out_targets_u"], atol=2e-4)
    assert_close(losses["labelled"], arrays["out_Lx"], atol=1e-4)
    assert_close(losses["unlabelled"], arrays["out_Lu"], atol=2e-4)
    if learner == "remixmatch":
        assert_close(method.learner.alignment.running(), arrays["out_emp_mean"])
        assert_close(losses["anchor"], arrays["out_Le"], atol=2e-4)
        assert_close(losses["rotation"], arrays["out_Lr"])
    assert_close(sum(losses.values()), arrays["out_loss"], atol=2e-4)
    assert_close(net.classifier.weight.grad, arrays["out_grad_W"], atol=2e-4)
    assert_close(net.classifier.bias.grad, arrays["out_grad_b"], atol=2e-4)
