"""Small networks for the embedded data sets and for trying a method on a CPU."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def _unit(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class CNN(nn.Module):
    """A plain convolutional encoder with global average pooling, chosen by `layout`.

    ``"glyphs"`` (16x16): 5x5/16 stride 2, 3x3/32, max-pool, 3x3/64; 24,314 parameters with ten classes and one input channel.
    ``"digits"`` (8x8): 3x3/16 twice, max-pool, 3x3/32 twice.
    """

    LAYOUTS = ("glyphs", "digits")

    def __init__(self, in_channels: int = 1, layout: str = "glyphs"):
        super().__init__()
        if layout == "glyphs":
            layers = [*_unit(in_channels, 16, 5, 2), *_unit(16, 32), nn.MaxPool2d(2), *_unit(32, 64)]
        elif layout == "digits":
            layers = [*_unit(in_channels, 16), *_unit(16, 16), nn.MaxPool2d(2), *_unit(16, 32), *_unit(32, 32)]
        else:
            raise ValueError(f"CNN layout {layout!r} is not known; choose one of {', '.join(self.LAYOUTS)}")
        self.layers = nn.Sequential(*layers)
        self.feature_dim = layers[-2].num_features

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(*_unit(inputs, outputs, 3, stride), *_unit(outputs, outputs)[:2])
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else nn.Sequential(*_unit(inputs, outputs, 1, stride)[:2])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class TinyResNet(nn.Module):
    """Three residual blocks of 16, 32 and 64 channels behind a stride-2 stem: about 78 thousand parameters.

    It shows the head bias of CIFAR-10-LT within a minute of CPU time; it is not meant for accuracy.
    """

    def __init__(self, in_channels: int = 3):
        super().__init__()
        self.layers = nn.Sequential(*_unit(in_channels, 16, 3, 2), _Residual(16, 16, 1), _Residual(16, 32, 2), _Residual(32, 64, 2))
        self.feature_dim = 64

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))
