"""From a backbone's name to a network that returns features and logits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pldebias.nets.small import CNN, TinyResNet
from pldebias.nets.wrn import WideResNet
from pldebias.records import Output
from pldebias.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _linear(features: int, classes: int) -> nn.Linear:
    layer = nn.Linear(features, classes)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Cosine(nn.Module):
    """Cosine classifier: ``scale`` times the cosine of features ``[N, D]`` to each class's weight, unit vectors at the start.

    Parameters
    ----------
    features, classes : int
        D and K.
    scale : float, default 30.0
        With logits within -1 and 1 no prediction would ever be confident.
    """

    def __init__(self, features: int, classes: int, scale: float = 30.0):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(classes, features).uniform_(-1, 1), dim=1))
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


class Network(nn.Module):
    """Backbone, linear classifier and named extra heads.

    Parameters
    ----------
    backbone : nn.Module
        Maps images to features ``[N, D]`` and states D as ``feature_dim``.
    num_classes : int
        K.
    heads : sequence of (str, int or None)
        Names and widths (None: K) of further linear heads on the features (a balanced classifier, a rotation head).
    cosine : float, optional
        Scale of a cosine classifier in place of the linear one.

    Notes
    -----
    With ``bf16`` set, the forward pass runs under bfloat16 autocast; outputs are float32 either way, so that losses and pseudo-labels
    never see the lower precision. With ``compiled`` set (`compile_backbone`), the backbone runs compiled while it learns; in evaluation
    mode, whose batches have many sizes, and for one image alone it runs as it is written.
    """

    bf16 = False
    compiled: Callable[[Tensor], Tensor] | None = None

    def __init__(self, backbone: nn.Module, num_classes: int, heads: Sequence[tuple[str, int | None]] = (), cosine: float | None = None):
        super().__init__()
        self.backbone = backbone
        self.feature_dim = cast("int", backbone.feature_dim)
        width = self.feature_dim
        self.classifier = _linear(width, num_classes) if cosine is None else Cosine(width, num_classes, cosine)
        self.heads = nn.ModuleDict({name: _linear(self.feature_dim, width or num_classes) for name, width in heads})

    def compile_backbone(self) -> None:
        """Have `torch.compile` make the backbone's forward and backward passes, at the first one of every batch size."""
        self.compiled = torch.compile(self.backbone.__call__, dynamic=False)

    def forward(self, x: Tensor) -> Output:
        backbone = self.compiled if self.compiled is not None and self.training and len(x) > 1 else self.backbone
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            features = backbone(x)
            logits = self.classifier(features)
        return Output(features.float(), logits.float())


class _Strided(nn.Conv2d):
    """A convolution whose stride is 1 over a single pixel, where it makes no difference for these kernels.

    With a longer stride there, the weights' gradient in bfloat16 on a CPU holds memory that oneDNN never wrote (seen with torch 2.15).
    """

    def forward(self, input: Tensor) -> Tensor:
        stride = (1, 1) if input.shape[2:] == (1, 1) else self.stride
        return torch.conv2d(input, self.weight, self.bias, stride, self.padding, self.dilation, self.groups)


def _resnet(name: str, in_channels: int, pretrained: bool = False) -> nn.Module:
    """A torchvision ResNet without its classifier; `pretrained` loads torchvision's default ImageNet weights."""
    from torchvision import models

    if in_channels != 3:
        raise ValueError(f"{name} takes colour images (3 channels), these have {in_channels}; use network='wrn28_2' or 'cnn_glyphs'")
    net = getattr(models, name)(weights="DEFAULT" if pretrained else None)
    net.feature_dim = net.fc.in_features
    net.fc = nn.Identity()
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
            module.__class__ = _Strided  # images of 16 pixels and fewer are down to one before the last of them
    return net


_OWN: dict[str, Callable[[int], nn.Module]] = {
    "wrn28_2": WideResNet,
    "cnn_glyphs": partial(CNN, layout="glyphs"),
    "cnn_digits": partial(CNN, layout="digits"),
    "tiny_resnet": TinyResNet,
    **{name: partial(_resnet, name) for name in ("resnet18", "resnet34", "resnet50")},
    "resnet50_imagenet": partial(_resnet, "resnet50", pretrained=True),
}
NETWORKS: Registry[Callable[[int], nn.Module]] = Registry("network", _OWN)
"""Backbones by name; each is called with the number of image channels."""


def build_network(
    name: str, in_channels: int, num_classes: int, heads: Sequence[tuple[str, int | None]] = (), cosine: float | None = None
) -> Network:
    """Build a network by its name in `NETWORKS`; further arguments as in `Network`.

    Raises
    ------
    ValueError
        If the name is not known; the message lists those that are. If a network of a plugin does not state its ``feature_dim``.
    """
    if name not in NETWORKS:
        raise ValueError(NETWORKS.unknown(name))
    backbone = NETWORKS[name](in_channels)
    if not isinstance(getattr(backbone, "feature_dim", None), int):
        raise ValueError(f"network {name!r} does not state the width of its features: set self.feature_dim, a whole number")
    return Network(backbone, num_classes, heads, cosine)
