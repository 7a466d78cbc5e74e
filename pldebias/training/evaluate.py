"""Clean passes: what a network says of every image of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pldebias import metrics
from pldebias.schemes.formulas.adjustment import posthoc

if TYPE_CHECKING:
    from pldebias.data import ResidentLoader
    from pldebias.methods import Method
    from pldebias.nets import Network


HALF = 65504.0
"""The largest finite float16."""


class NotFinite(ArithmeticError):
    """A network's outputs are NaN or infinite."""


@torch.no_grad()
def score(network: nn.Module, loader: ResidentLoader, split: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits ``[N, K]``, features ``[N, D]`` and labels ``[N]`` of a split's clean images, in evaluation mode.

    The network's mode is restored.

    Raises
    ------
    NotFinite
        A logit is NaN or infinite.
    """
    mode = network.training
    network.eval()
    outputs = [(*network(images), labels) for images, labels in loader.clean(split)]
    network.train(mode)
    features, logits, labels = (torch.cat(column) for column in zip(*outputs, strict=True))
    if bad := int((~logits.isfinite()).any(1).sum()):
        raise NotFinite(f"the logits of {bad:,} of {len(logits):,} {split} images became NaN or infinite")
    return logits, features, labels


def labelled_prototypes(network: nn.Module, loader: ResidentLoader, classes: int) -> Tensor:
    """Mean feature of each class over the clean labelled images, shape ``[K, D]``; zero for a class without one.

    What-if relabelling takes them for the prototypes of a scheme that the run was not trained with.
    """
    _, features, labels = score(network, loader, "labelled")
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, labels, features)
    return sums / torch.bincount(labels, minlength=classes).clamp(min=1)[:, None]


def evaluate(network: Network, method: Method, loader: ResidentLoader) -> tuple[np.ndarray, dict[str, float]]:
    """Test confusion matrix ``[K, K]`` (rows true) and the scalars that go with it.

    ``balanced_accuracy_la`` is that of post-hoc logit adjustment with tau 1 on the same logits, free for every method.
    """
    logits, features, labels = score(network, loader, "test")
    adjusted = posthoc(logits, method.problem.prior.to(logits.device))
    with torch.no_grad():
        final = method.predict(features, logits, network)
    confidence, prediction = (column.cpu().numpy() for column in final.softmax(1).max(1))
    truth, classes = labels.cpu().numpy(), logits.shape[1]
    confusion = metrics.confusion_matrix(truth, prediction, classes)
    confusion_la = metrics.confusion_matrix(truth, adjusted.argmax(1).cpu().numpy(), classes)
    scalars = {
        "test_accuracy": float(metrics.accuracy(confusion)),
        "balanced_accuracy": float(metrics.balanced_accuracy(confusion)),
        "balanced_accuracy_la": float(metrics.balanced_accuracy(confusion_la)),
        "g_mean": float(metrics.g_mean(confusion)),
        "ece": float(metrics.ece(confidence, prediction == truth)),
    }
    return confusion, scalars


def sweep(network: nn.Module, method: Method, loader: ResidentLoader, t: Tensor) -> dict[str, Tensor]:
    """Pseudo-labels of the whole unlabelled set on clean images, by the network that the method evaluates with.

    Outputs are rounded to float16 first, and cut at its largest numbers, as a run keeps them: relabelling the kept outputs gives these
    labels.

    Returns
    -------
    dict
        ``logits`` [N, K], ``features`` [N, D], ``label`` [N], ``accepted`` [N].
    """
    logits, features, _ = score(network, loader, "unlabelled")
    logits, features = (values.clamp(-HALF, HALF).half().float() for values in (logits, features))
    step = method.relabel(logits, features, t, torch.arange(len(logits), device=logits.device))
    return {"logits": logits, "features": features, "label": step.label, "accepted": step.mask > 0}
