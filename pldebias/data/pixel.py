"""Augmentation of photographs: crop and flip, RandAugment and cutout on uint8, then normalisation, as the papers' code has them."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.data import ops, randaugment
from pldebias.data.augment import Augment


class DasoAugment(Augment):
    """DASO, SEVAL: flip, then crop over a reflected border of 4; strong adds RandAugment and a grey cutout of 16 pixels.

    RandAugment draws 2 of 14 operations with replacement, applies each with probability 0.5 and at a whole level 1..9. Images larger
    than `image_size` (STL-10) are augmented at their own size and then resized.
    """

    policy = "daso"
    operations: ClassVar[int] = 2
    fill: ClassVar[tuple[int, int, int]] = (127, 127, 127)
    strategy: str | None = None  # of RandAugment; None chooses by device

    def __init__(self, mean, std, image_size: int):
        super().__init__(mean, std, image_size)
        self._paints: dict[tuple[torch.device, int], Tensor] = {}

    def view(self, images: Tensor, strong: bool, generator: torch.Generator) -> Tensor:
        x = self.geometry(images, generator)
        if strong:
            operation, value = self.draw(len(x), *x.shape[2:], generator)
            for k in range(self.operations):
                x = randaugment.apply(x, operation[k], value[k], self.strategy)
            x = self.cut(x, generator)
        return self.normalise(self.fit(x))

    def geometry(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The weak view before normalisation, uint8."""
        pad = self.padding(images.shape[-1])
        u = torch.rand(3, len(images), generator=generator, device=images.device, dtype=torch.float64)
        shift = (u[:2] * (2 * pad + 1)).long() - pad
        return ops.crop_flip(images, shift[0], shift[1], u[2] < 0.5)

    def padding(self, size: int) -> int:
        """Width of the reflected border."""
        return min(4, size - 1)

    def draw(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Operations and their values, ``[operations, n]`` each."""
        u = torch.rand(4, self.operations, n, generator=generator, device=generator.device, dtype=torch.float64)
        operation = torch.where(u[1] < 0.5, (u[0] * len(randaugment.OPERATIONS)).long(), randaugment.IDENTITY)
        return operation, randaugment.daso_values(operation, 1 + (u[2] * 9).long(), u[3] < 0.5, height, width)

    def cut(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Cutout of 16 pixels around a uniform centre."""
        h, w = images.shape[2:]
        u = torch.rand(2, len(images), generator=generator, device=images.device, dtype=torch.float64)
        return ops.cutout(images, u[0] * w, u[1] * h, 16.0, self.paint(images))

    def paint(self, images: Tensor) -> Tensor:
        """`fill` as a tensor ``[1, C, 1, 1]`` on the images' device (grey images get its luminance)."""
        key = (images.device, images.shape[1])
        if key not in self._paints:
            colour = torch.tensor(self.fill, dtype=torch.uint8).view(1, 3, 1, 1)
            grey = ops.luminance(colour)[:, None].to(torch.uint8)
            self._paints[key] = (colour if images.shape[1] == 3 else grey).to(images.device)
        return self._paints[key]


class UsbAugment(DasoAugment):
    """USB, ADELLO: crop over a reflected border of an eighth and flip; strong adds RandAugment and a cutout of up to half the width.

    RandAugment draws 3 of 14 operations with replacement, always applies them, at a magnitude uniform in each operation's range. The
    cutout's side is U(0, 0.5) of the width and its centre, as in the official code, U(1, size).
    """

    policy = "usb"
    operations = 3
    fill = (125, 123, 114)

    def padding(self, size: int) -> int:
        return min(int(size * 0.125), size - 1)

    def draw(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        u = torch.rand(2, self.operations, n, generator=generator, device=generator.device, dtype=torch.float64)
        operation = (u[0] * len(randaugment.OPERATIONS)).long()
        return operation, randaugment.usb_values(operation, u[1], height, width)

    def cut(self, images: Tensor, generator: torch.Generator) -> Tensor:
        h, w = images.shape[2:]
        u = torch.rand(3, len(images), generator=generator, device=images.device, dtype=torch.float64)
        return ops.cutout(images, w - (w - 1) * u[0], h - (h - 1) * u[1], 0.5 * w * u[2], self.paint(images))


class ImagenetAugment(DasoAugment):
    """For larger pictures: a random box of 20 to 100 % of the area and aspect 3/4 to 4/3, resampled to `image_size`, then a flip.

    Strong adds DASO's RandAugment and a cutout of half the side, what 16 pixels are to 32.
    """

    policy = "imagenet"
    area: ClassVar[tuple[float, float]] = (0.2, 1.0)
    aspect: ClassVar[float] = 4 / 3

    def geometry(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, c = images.shape[:2]
        u = torch.rand(5, n, generator=generator, device=images.device)
        area = self.area[0] + (self.area[1] - self.area[0]) * u[0]
        stretch = ((2 * u[1] - 1) * (0.5 * math.log(self.aspect))).exp()
        # Sides as fractions of the picture; a box that would stick out is shortened to fit, where torchvision draws again.
        root = area.sqrt()
        wide, high = (root * stretch).clamp(max=1), (root / stretch).clamp(max=1)
        left, top = (1 - wide) * (2 * u[2] - 1), (1 - high) * (2 * u[3] - 1)
        zero = torch.zeros_like(wide)
        theta = torch.stack([torch.where(u[4] < 0.5, -wide, wide), zero, left, zero, high, top], 1).view(n, 2, 3)
        grid = F.affine_grid(theta, [n, c, self.image_size, self.image_size], align_corners=False)
        out = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        return out.round_().to(torch.uint8)

    def cut(self, images: Tensor, generator: torch.Generator) -> Tensor:
        h, w = images.shape[2:]
        u = torch.rand(2, len(images), generator=generator, device=images.device, dtype=torch.float64)
        return ops.cutout(images, u[0] * w, u[1] * h, w / 2, self.paint(images))
