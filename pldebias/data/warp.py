"""Augmentation of small grey images: one random affine warp a view, then contrast, brightness, noise and cutout in normalised units.

The strengths are those of the embedded protocols for glyphs (16 x 16) and digits (8 x 8); lengths in pixels scale with the image size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.data.augment import Augment


@dataclass(frozen=True)
class Strength:
    """Half-widths of uniform draws: degrees, pixels at the native size, a log ratio's base, shear, contrast and brightness."""

    rotation: float
    shift: float
    scale: float = 0.0
    shear: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    cutout: int = 0


class WarpAugment(Augment):
    """One affine warp by bilinear sampling, mirrored at the border; strong views add photometric changes and a cutout."""

    native: ClassVar[int]
    weak: ClassVar[Strength]
    strong: ClassVar[Strength]

    def view(self, images: Tensor, strong: bool, generator: torch.Generator) -> Tensor:
        s = self.strong if strong else self.weak
        x = self.normalise(self.fit(images))
        n, _, height, width = x.shape
        u = torch.rand(9, n, generator=generator, device=x.device).mul_(2).sub_(1)  # one draw a view; rows are used in turn
        x = F.grid_sample(x, self._grid(u, s, height, width), mode="bilinear", padding_mode="reflection", align_corners=False)
        if not strong:
            return x.contiguous(memory_format=torch.channels_last)
        gain, offset = u[5].mul(s.contrast).add_(1).view(n, 1, 1, 1), u[6].mul(s.brightness).view(n, 1, 1, 1)
        mean = x.mean((1, 2, 3), keepdim=True)
        x = torch.addcmul(mean * (1 - gain) + offset, x, gain)
        x.add_(torch.randn(x.shape, generator=generator, device=x.device), alpha=s.noise)
        return self._cutout(x, u[7], u[8], s.cutout * height / self.native).contiguous(memory_format=torch.channels_last)

    def _grid(self, u: Tensor, s: Strength, height: int, width: int) -> Tensor:
        """Sampling positions ``[N, H, W, 2]``, output to input: rotation, then shear and scale, then shift."""
        angle = u[0] * math.radians(s.rotation)
        cos, sin = angle.cos(), angle.sin()
        inverse = (u[1] * -math.log1p(s.scale)).exp()
        shear = u[2] * s.shear
        pixels = 2 * s.shift / self.native  # in units of half the image
        top = (inverse * cos + shear * sin, shear * cos - inverse * sin, u[3] * pixels)
        theta = torch.stack([*top, inverse * sin, inverse * cos, u[4] * pixels], 1)
        return F.affine_grid(theta.view(-1, 2, 3), [theta.shape[0], 1, height, width], align_corners=False)

    @staticmethod
    def _cutout(x: Tensor, u: Tensor, v: Tensor, side: float) -> Tensor:
        """Zero (the mean grey) a square of `side` pixels around a uniform centre, clipped at the border."""
        height, width = x.shape[2:]
        rows = torch.arange(height, device=x.device).sub((u[:, None] + 1) * (height / 2)).add_(0.5).abs_() < side / 2
        columns = torch.arange(width, device=x.device).sub((v[:, None] + 1) * (width / 2)).add_(0.5).abs_() < side / 2
        return x.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


class GlyphsAugment(WarpAugment):
    """Weak: +-3 degrees, +-1 pixel of 16. Strong: +-20 degrees, +-2 pixels, scale, shear, contrast, brightness, noise, cutout of 6."""

    policy = "glyphs"
    native = 16
    weak = Strength(rotation=3, shift=1)
    strong = Strength(rotation=20, shift=2, scale=0.2, shear=0.25, contrast=0.5, brightness=0.5, noise=0.3, cutout=6)


class DigitsAugment(WarpAugment):
    """Weak: +-5 degrees, +-0.5 pixel of 8. Strong: about half the strength of `GlyphsAugment`."""

    policy = "digits"
    native = 8
    weak = Strength(rotation=5, shift=0.5)
    strong = Strength(rotation=12.5, shift=0.75, scale=0.12, shear=0.15, contrast=0.2, noise=0.15, cutout=3)
