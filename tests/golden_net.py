"""The linear network that stood in for the real one when the golden steps were recorded, and the records around it."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from pldebias.methods import build_method
from pldebias.nets import Output
from pldebias.schemes import Models, Problem

HEADS = {"abc": "abc_classifier_classifier", "acr": "abc_classifier_classifier", "rotation": "projection_projections"}
"""Our heads by the names that they have in the golden files."""


class GoldenNet(nn.Module):
    """``features = x W + b`` (images: 4x4 average pooling first), ``logits = features W' + b'``, further heads alike.

    Parameters
    ----------
    arrays : dict
        Arrays of a golden file.
    prefix : str
        Which weights: ``in_param_`` (student) or ``in_ema_`` (teacher).
    heads : tuple of str
        Our names of the heads to load.
    names : dict
        Layer names of the file, for encoder, classifier and heads, where they are not DASO's.
    """

    def __init__(self, arrays, prefix="in_param_", heads=(), names=None):
        super().__init__()
        names = {"encoder": "encoder_fc", "classifier": "classifier_classifier", **HEADS, **(names or {})}
        self.files = {}

        def layer(part):
            weight, bias = (torch.tensor(arrays[f"{prefix}{names[part]}_{kind}"]) for kind in ("weight", "bias"))
            made = nn.Linear(weight.shape[1], weight.shape[0])
            made.weight.data, made.bias.data = weight, bias
            self.files[names[part]] = made
            return made

        self.encoder, self.classifier = layer("encoder"), layer("classifier")
        self.heads = nn.ModuleDict({head: layer(head) for head in heads})

    def forward(self, x):
        if x.dim() == 4:
            x = F.adaptive_avg_pool2d(x, 4).flatten(1)
        features = self.encoder(x)
        return Output(features, self.classifier(features))

    def gradients(self, prefix="out_grad_"):
        """Gradients by the names of the golden file, ``out_grad_encoder_fc_weight`` and so on."""
        return {f"{prefix}{name}_{kind}": getattr(made, kind).grad for name, made in self.files.items() for kind in ("weight", "bias")}


class Passthrough(nn.Module):
    """A network whose images are its logits: for steps that recorded logits and the gradients with respect to them."""

    def forward(self, x):
        return Output(x, x)


def make_batch(xl, y, unlabelled, index=None, **more):
    """A batch from arrays: labelled images (weak view), labels, unlabelled views by name, and further labelled views by keyword."""
    views = {name: torch.as_tensor(x) for name, x in unlabelled.items()}
    rows = len(next(iter(views.values())))
    return SimpleNamespace(
        labelled={"weak": torch.as_tensor(xl), **{name: torch.as_tensor(x) for name, x in more.items()}},
        y=torch.as_tensor(y),
        unlabelled=views,
        index=torch.arange(rows) if index is None else torch.as_tensor(index),
    )


def make_problem(counts, num_unlabelled=64, total_steps=250_000, steps_per_epoch=500, feature_dim=16, unlabelled_counts=None):
    """A problem with the published length of training."""
    counts = torch.as_tensor(counts)
    return Problem(len(counts), counts, num_unlabelled, total_steps, steps_per_epoch, feature_dim, unlabelled_counts)


def set_up(method, problem, defaults=None):
    """A method ready to train."""
    return build_method(method, defaults).setup(problem)


def run_step(method, student, batch, t, teacher=None, generator=None):
    """One step with its backward pass; returns the loss terms and the record of the step."""
    student.zero_grad()
    losses, step = method.losses(Models(student, teacher or student), batch, torch.tensor(t), generator)
    sum(losses.values()).backward()
    return losses, step


def assert_close(ours, golden, atol=2e-5, rtol=2e-4, name=""):
    """Compare a tensor with a golden array, within the tolerance that the golden files state for float32."""
    ours = torch.as_tensor(ours).detach().double()
    golden = torch.as_tensor(golden).double().reshape(ours.shape)
    torch.testing.assert_close(ours, golden, atol=atol, rtol=rtol, equal_nan=True, msg=lambda m: f"{name}: {m}")


def assert_gradients(net, arrays, prefix="out_grad_"):
    """Compare every gradient that the golden file holds for a layer of `net`; a missing one of ours must be zero there."""
    checked = 0
    for name, gradient in net.gradients(prefix).items():
        if name in arrays:
            assert_close(torch.zeros_like(torch.tensor(arrays[name])) if gradient is None else gradient, arrays[name], name=name)
            checked += 1
    assert checked, "the golden file holds no gradient of this network"
