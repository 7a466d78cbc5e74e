"""Augmentation of photographs: crop and flip, RandAugment and cutout on uint8, then normalisation, as the papers' code has them."""

from __future__ import annotations

import math
import warnings
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
    crops: ClassVar[bool] = True  # over a reflected border; False: `boxes` are cut and resampled
    strategy: str | None = None
    """Way of applying operations, with one result: "grouped" and "masked" (see `randaugment`) or "kernel" (see `pldebias.gpu.kernel`).

    None is the kernel on CUDA, masked where that does not run, and grouped on a CPU.
    """

    def __init__(self, mean, std, image_size: int):
        super().__init__(mean, std, image_size)
        self._paints: dict[tuple[torch.device, int], Tensor] = {}
        self._levels: dict[tuple[torch.device, int, int], tuple[Tensor, Tensor]] = {}
        self._normal: dict[torch.device, Tensor] = {}

    def view(self, images: Tensor, strong: bool, generator: torch.Generator) -> Tensor:
        n = len(images)
        place = self.place(n, images.shape[-1], generator) if self.crops else None
        x = images if self.crops else self.boxes(images, generator)
        height, width = x.shape[2:]
        plan = self.plan(n, height, width, generator) if strong else None
        hole = self.hole(n, height, width, generator) if strong else None
        if self.strategy == "kernel":
            return self._by_kernel(x, place, plan, hole)
        if self.strategy is None and self.prefers_kernel(x):
            try:
                return self._by_kernel(x, place, plan, hole)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # no Triton, no C compiler, a card that it does not know
                reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                warnings.warn(
                    f"images are augmented without the Triton kernel, by some 350 operations ({reason})", RuntimeWarning, stacklevel=2
                )
                self.strategy = "masked"
        x = x if place is None else ops.crop_flip(x, *place)
        if strong:
            operation, value, warp = plan
            for k in range(self.operations):
                x = randaugment.apply(x, operation[k], value[k], self.strategy, warp[k])
            x = ops.cutout(x, *hole, self.paint(x))
        return self.normalise(self.fit(x))

    @staticmethod
    def prefers_kernel(images: Tensor) -> bool:
        """Return True if the kernel is the first choice for images on this device."""
        return images.is_cuda

    def _by_kernel(self, x: Tensor, place: tuple | None, plan: tuple | None, hole: tuple | None) -> Tensor:
        from pldebias.gpu import kernel

        if hole is not None and not isinstance(hole[2], Tensor):
            hole = (*hole[:2], torch.full_like(hole[0], hole[2]))
        ready = x.shape[2:] == (self.image_size, self.image_size)
        out = kernel.augment(x, place, plan, hole, self.paint(x).flatten(), self.normal(x.device) if ready else None)
        return out if ready else self.normalise(self.fit(out))

    def place(self, n: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Shifts in pixels, int64 ``[n]`` each, and whether to flip, bool ``[n]``."""
        pad = self.padding(size)
        u = torch.rand(3, n, generator=generator, device=generator.device, dtype=torch.float64)
        shift = (u[:2] * (2 * pad + 1)).long() - pad
        return shift[0], shift[1], u[2] < 0.5

    def padding(self, size: int) -> int:
        """Width of the reflected border."""
        return min(4, size - 1)

    def draw(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Operations and their values, ``[operations, n]`` each."""
        return self.plan(n, height, width, generator)[:2]

    def plan(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Operations and their values, ``[operations, n]`` each, and the warps' fixed-point coefficients, int32 ``[operations, n, 6]``."""
        u = torch.rand(4, self.operations, n, generator=generator, device=generator.device, dtype=torch.float64)
        operation = torch.where(u[1] < 0.5, (u[0] * len(randaugment.OPERATIONS)).long(), randaugment.IDENTITY)
        values, warps = self.levels(height, width, generator.device)
        at = (operation * 9 + (u[2] * 9).long()) * 2 + (u[3] < 0.5)
        return operation, values[at], warps[at]

    def levels(self, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Values and coefficients of every operation, level and sign, ``[14 * 9 * 2]`` and ``[14 * 9 * 2, 6]``, copied to `device` once."""
        key = (device, height, width)
        if key not in self._levels:
            operation = torch.arange(len(randaugment.OPERATIONS)).repeat_interleave(18)
            level, negative = torch.arange(1, 10).repeat_interleave(2).repeat(14), torch.tensor([False, True]).repeat(14 * 9)
            value = randaugment.daso_values(operation, level, negative, height, width)
            warp = randaugment.coefficients(operation, value, height, width)
            self._levels[key] = value.to(device), warp.to(device)
        return self._levels[key]

    def hole(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | float]:
        """Cutout: centres x and y in pixels, float64 ``[n]``, and side; here 16 pixels around a uniform centre."""
        u = torch.rand(2, n, generator=generator, device=generator.device, dtype=torch.float64)
        return u[0] * width, u[1] * height, 16.0

    def paint(self, images: Tensor) -> Tensor:
        """`fill` as a tensor ``[1, C, 1, 1]`` on the images' device (grey images get its luminance)."""
        key = (images.device, images.shape[1])
        if key not in self._paints:
            colour = torch.tensor(self.fill, dtype=torch.uint8).view(1, 3, 1, 1)
            grey = ops.luminance(colour)[:, None].to(torch.uint8)
            self._paints[key] = (colour if images.shape[1] == 3 else grey).to(images.device)
        return self._paints[key]

    def normal(self, device: torch.device) -> Tensor:
        """Table of what `normalise` makes of every value on a CPU, float32 ``[C, 256]``, copied to `device` once."""
        if device not in self._normal:
            every = ops.levels(torch.device("cpu")).view(1, 1, 1, 256).expand(1, len(self.mean), 1, 256)
            self._normal[device] = self.normalise(every)[0, :, 0].contiguous().to(device)
        return self._normal[device]


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

    def plan(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        u = torch.rand(2, self.operations, n, generator=generator, device=generator.device, dtype=torch.float64)
        operation = (u[0] * len(randaugment.OPERATIONS)).long()
        value = randaugment.usb_values(operation, u[1], height, width)
        return operation, value, randaugment.coefficients(operation, value, height, width)

    def hole(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | float]:
        u = torch.rand(3, n, generator=generator, device=generator.device, dtype=torch.float64)
        return width - (width - 1) * u[0], height - (height - 1) * u[1], 0.5 * width * u[2]


class ImagenetAugment(DasoAugment):
    """For larger pictures: a random box of 20 to 100 % of the area and aspect 3/4 to 4/3, resampled to `image_size`, then a flip.

    Strong adds DASO's RandAugment and a cutout of half the side, what 16 pixels are to 32.
    """

    policy = "imagenet"
    crops = False
    area: ClassVar[tuple[float, float]] = (0.2, 1.0)
    aspect: ClassVar[float] = 4 / 3

    def boxes(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The weak view before normalisation, uint8 ``[B, C, image_size, image_size]``."""
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

    def hole(self, n: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | float]:
        return *super().hole(n, height, width, generator)[:2], width / 2
