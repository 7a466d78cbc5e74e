"""Batched image operations on uint8 tensors ``[B, C, H, W]``, grey or RGB, equal to Pillow's to the last bit.

Every operation takes one parameter per image, runs on any device, and branches on shapes alone, never on values. Where Pillow
rounds, so does this module: 16.16 fixed-point coordinates, truncating blends, tables of 256 entries, and 22-bit resampling weights.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor


def crop_flip(images: Tensor, dx: Tensor, dy: Tensor, flip: Tensor) -> Tensor:
    """Mirror images left to right where `flip`, then shift them by (dx, dy) pixels over a border mirrored as numpy's "reflect".

    Parameters
    ----------
    images : Tensor
        uint8 ``[B, C, H, W]``.
    dx, dy : Tensor
        int64 ``[B]``: column c of the output is column c + dx of the (flipped) input, and rows alike.
    flip : Tensor
        bool ``[B]``.
    """
    h, w = images.shape[2:]
    columns = _reflect(torch.arange(w, device=images.device) + dx[:, None], w)
    columns = torch.where(flip[:, None], w - 1 - columns, columns)
    rows = _reflect(torch.arange(h, device=images.device) + dy[:, None], h)
    return _pick(images, (rows * w)[:, :, None] + columns[:, None, :])


def _reflect(i: Tensor, n: int) -> Tensor:
    i = i.abs()
    return torch.where(i >= n, 2 * (n - 1) - i, i)


def _pick(images: Tensor, index: Tensor) -> Tensor:
    """Gather pixels by flat positions ``[B, H, W]``, the same for every channel."""
    b, c = images.shape[:2]
    return images.flatten(2).gather(2, index.view(b, 1, -1).expand(b, c, -1)).view(b, c, *index.shape[1:])


def affine(images: Tensor, matrix: Tensor) -> Tensor:
    """Nearest-neighbour affine warp with black outside, as ``Image.transform(size, AFFINE, matrix)``.

    Parameters
    ----------
    images : Tensor
        uint8 ``[B, C, H, W]``.
    matrix : Tensor
        float64 ``[B, 6]``, output-to-input coefficients in Pillow's order.
    """
    return sample(images, coefficients(matrix))


def coefficients(matrix: Tensor) -> Tensor:
    """Output-to-input coefficients ``[..., 6]`` in Pillow's 16.16 fixed point, int32; the third and sixth of the first pixel's centre."""
    a, b, c, d, e, f = matrix.unbind(-1)
    fixed = torch.stack([a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5], -1)
    return torch.floor(fixed * 65536 + 0.5).to(torch.int32)


def sample(images: Tensor, fixed: Tensor) -> Tensor:
    """Nearest-neighbour warp with black outside; uint8 ``[B, C, H, W]`` by int32 `coefficients` ``[B, 6]``."""
    _, _, h, w = images.shape
    a, b, c, d, e, f = fixed[:, :, None, None].unbind(1)
    x = torch.arange(w, device=images.device, dtype=torch.int32)[None, None, :]
    y = torch.arange(h, device=images.device, dtype=torch.int32)[None, :, None]
    column = ((c + b * y) + a * x) >> 16
    row = ((f + e * y) + d * x) >> 16
    inside = (column.clamp(0, w - 1) == column) & (row.clamp(0, h - 1) == row)
    index = (row * w).add_(column).mul_(inside).long()
    return _pick(images, index).mul_(inside[:, None])


def rotation(degrees: Tensor, height: int, width: int) -> Tensor:
    """Matrix of ``Image.rotate(degrees)`` about the centre, float64 ``[B, 6]``; Pillow rounds its entries to 15 digits."""
    angle = -torch.deg2rad(degrees.double())
    cos, sin = _round15(angle.cos()), _round15(angle.sin())
    x, y = width / 2, height / 2
    return torch.stack([cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y], 1)


def _round15(v: Tensor) -> Tensor:
    return torch.round(v * 1e15) / 1e15


def luminance(images: Tensor) -> Tensor:
    """Pillow's conversion to "L", int32 ``[B, H, W]``; a grey image is its own luminance."""
    x = images.to(torch.int32)
    if images.shape[1] == 1:
        return x[:, 0]
    return (x[:, 0] * 19595 + x[:, 1] * 38470 + x[:, 2] * 7471 + 0x8000) >> 16


def blend(base: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """``base + factor * (images - base)``, truncated to uint8; float32 images, and `factor` ``[B]`` in [0, 1]."""
    return _truncate((images - base).mul_(factor.float().view(-1, 1, 1, 1)).add_(base))


def _truncate(x: Tensor) -> Tensor:
    """Float values in [0, 256) to uint8; by way of int16, which CPUs convert many values at a time."""
    return x.to(torch.int16).to(torch.uint8)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Saturation: blend with the image's own grey version, `factor` ``[B]``."""
    if images.shape[1] == 1:
        return images.clone()
    return blend(luminance(images)[:, None].float(), images.float(), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with a 3 x 3 smoothing that leaves the border as it is, `factor` ``[B]``."""
    x = images.to(torch.int16)
    inner = x[:, :, 1:-1, 1:-1]
    rows = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
    total = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4)
    out = images.clone()
    out[:, :, 1:-1, 1:-1] = blend(total.float().div_(13).add_(0.5).floor_(), inner.float(), factor)
    return out


def apply_table(images: Tensor, table: Tensor) -> Tensor:
    """Replace every value by its entry in `table`, uint8 ``[B, C or 1, 256]``."""
    b, c, h, w = images.shape
    return table.expand(b, c, 256).gather(2, images.flatten(2).long()).view(b, c, h, w)


def _levels(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.arange(256, device=device, dtype=dtype)


def mean_luminance(images: Tensor) -> Tensor:
    """Mean of Pillow's "L", rounded half up, float32 ``[B]``."""
    grey = luminance(images).flatten(1)
    return torch.div(2 * grey.sum(1) + grey.shape[1], 2 * grey.shape[1], rounding_mode="floor").float()


def blend_table(mean: Tensor, factor: Tensor) -> Tensor:
    """Blend every value with `mean` ``[B]`` (0: brightness; of luminance: contrast) by `factor` ``[B]``; uint8 ``[B, 1, 256]``."""
    mean = mean.view(-1, 1, 1)
    return _truncate((_levels(factor.device, torch.float32) - mean).mul_(factor.float().view(-1, 1, 1)).add_(mean))


def posterize(values: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits` ``[B]`` of 8 bits; uint8 ``[B, ...]``."""
    dropped = (8 - bits).to(torch.uint8)
    kept = (torch.full_like(dropped, 255) >> dropped) << dropped
    return values & kept.view(-1, *[1] * (values.dim() - 1))


def solarize(values: Tensor, threshold: Tensor) -> Tensor:
    """Invert values from `threshold` ``[B]`` up; uint8 ``[B, ...]``."""
    return torch.where(values < threshold.view(-1, *[1] * (values.dim() - 1)), values, 255 - values)


def levels(device: torch.device) -> Tensor:
    """All values, uint8 ``[1, 1, 256]``: the table that changes nothing."""
    return _levels(device, torch.int16).to(torch.uint8).view(1, 1, 256)


def autocontrast_table(images: Tensor) -> Tensor:
    """Stretch every channel to 0..255; uint8 ``[B, C, 256]``."""
    flat = images.flatten(2)
    low, high = flat.amin(2, keepdim=True).double(), flat.amax(2, keepdim=True).double()
    # Not `255 / t`: PyTorch computes that as a reciprocal times 255, one level off in some entries.
    scale = torch.full_like(low, 255) / (high - low).clamp(min=1)
    levels = _levels(images.device, torch.float64)
    stretched = torch.trunc(levels * scale - low * scale).clamp(0, 255)
    return _truncate(torch.where(high > low, stretched, levels))


def equalize_table(images: Tensor) -> Tensor:
    """Equalise every channel's histogram; uint8 ``[B, C, 256]``."""
    flat = images.flatten(2).long()
    histogram = torch.zeros(*flat.shape[:2], 256, dtype=torch.int32, device=images.device)
    histogram.scatter_add_(2, flat, torch.ones((), dtype=torch.int32, device=images.device).expand_as(flat))
    last = histogram.gather(2, flat.amax(2, keepdim=True))
    step = torch.div(flat.shape[2] - last, 255, rounding_mode="floor").double()
    below = (histogram.cumsum(2, dtype=torch.int32) - histogram).double()
    # Whole numbers in float64: the division is exact enough for floor, and faster than one of integers.
    table = below.add_((step / 2).floor()).div_(step.clamp(min=1)).floor_().clamp_(max=255)
    return _truncate(torch.where(step == 0, _levels(images.device, torch.float64), table))


def cutout(images: Tensor, x: Tensor, y: Tensor, side: Tensor | float, fill: Tensor) -> Tensor:
    """Paint a square, as ``ImageDraw.rectangle`` does: both corners belong to it, so 16 pixels come out 17 wide inside the image.

    Parameters
    ----------
    images : Tensor
        uint8 ``[B, C, H, W]``.
    x, y : Tensor
        Centres in pixels, float64 ``[B]``.
    side : Tensor or float
        Side in pixels, ``[B]`` or one for all.
    fill : Tensor
        uint8 ``[1, C, 1, 1]``.
    """
    h, w = images.shape[2:]

    def span(centre: Tensor, size: int) -> Tensor:
        start = torch.floor((centre - side / 2).clamp(min=0))
        stop = torch.floor((start + side).clamp(max=size))
        i = torch.arange(size, device=images.device)
        return (i >= start[:, None]) & (i <= stop[:, None])

    hole = (span(y, h)[:, None, :, None] & span(x, w)[:, None, None, :]).to(torch.uint8)
    return images * (1 - hole) + hole * fill  # several times faster than torch.where on bytes


def resize(images: Tensor, size: int) -> Tensor:
    """Resize to ``size x size`` as ``Image.resize(..., BILINEAR)``: antialiased, rows then columns, each pass rounded to uint8."""
    h, w = images.shape[2:]
    x = images.double()  # weights have 22 bits, so every sum is an exact integer in float64
    if w != size:
        x = _to_bytes(x @ _weights(w, size, images.device).T)
    if h != size:
        x = _to_bytes(_weights(h, size, images.device) @ x)
    return x.to(torch.uint8)


def _to_bytes(x: Tensor) -> Tensor:
    return torch.floor(x.add_(1 << 21).div_(1 << 22)).clamp_(0, 255)


@functools.cache  # for good: captured CUDA graphs read it
def _weights(source: int, target: int, device: torch.device) -> Tensor:
    """Pillow's integer bilinear weights ``[target, source]`` as float64."""
    scale = source / target
    stretch = max(scale, 1.0)
    rows = torch.zeros(target, source, dtype=torch.float64)
    for i in range(target):
        centre = (i + 0.5) * scale
        first, last = max(int(centre - stretch + 0.5), 0), min(int(centre + stretch + 0.5), source)
        row = [max(1 - abs((j - centre + 0.5) / stretch), 0.0) for j in range(first, last)]
        rows[i, first:last] = torch.tensor([math.floor(0.5 + v / sum(row) * (1 << 22)) for v in row], dtype=torch.float64)
    return rows.to(device)
