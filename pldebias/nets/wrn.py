"""Wide ResNet 28-2 as the imbalanced-SSL papers use it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def _activation(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.LeakyReLU(0.1, inplace=True)]


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class Block(nn.Module):
    """Pre-activation residual block.

    ``activate_first`` applies the first normalisation before the input is split, so that the shortcut sees it too; only the very
    first block of the network does.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activate_first: bool):
        super().__init__()
        # Registration order is that of the DASO code: recorded weights are listed in it.
        self.pre_act = nn.Sequential(*_activation(inputs)) if activate_first else None
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs or stride != 1 else None
        head = [] if activate_first else _activation(inputs)
        self.body = nn.Sequential(*head, _conv3x3(inputs, outputs, stride), *_activation(outputs), _conv3x3(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.pre_act is not None:
            x = self.pre_act(x)
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


class WideResNet(nn.Module):
    """WRN-28-2 encoder: images ``[N, C, H, W]`` to features ``[N, 128]``, 1,466,320 parameters with three input channels.

    Batch normalisation has torch's defaults (eps 1e-5, momentum 0.1), every activation is LeakyReLU(0.1), convolutions are
    initialised Kaiming-normal (fan out).

    References
    ----------
    Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016; graph and initialisation of the DASO code (lib/models/wrn.py).
    """

    def __init__(self, in_channels: int = 3, depth: int = 28, width: int = 2):
        super().__init__()
        blocks = (depth - 4) // 6
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.stem = _conv3x3(in_channels, channels[0])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    *(
                        Block(channels[s] if b == 0 else channels[s + 1], channels[s + 1], 2 if s and b == 0 else 1, s == b == 0)
                        for b in range(blocks)
                    )
                )
                for s in range(3)
            )
        )
        self.tail = nn.Sequential(*_activation(channels[-1]))
        self.feature_dim = channels[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.tail(self.stages(self.stem(x))), 1).flatten(1)
