"""The whole augmentation of photographs as one Triton kernel: crop and flip, RandAugment, cutout, normalisation; one program an image.

The reference is the batched PyTorch path of `pixel`, `randaugment` and `ops`, which it equals to the last bit (a test compares them, on a
CPU through Triton's interpreter). Random numbers, operations and warp coefficients come from PyTorch; normalised values come from a
table, so that they are those of a CPU on every device. Between two operations an image lies in global memory that stays in the cache.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pldebias.data import randaugment as ra

BLOCK = 1024
"""Pixels that a program handles at a time."""

# Triton reads globals only as constants of its own kind.
_AUTOCONTRAST, _BRIGHTNESS, _COLOR = tl.constexpr(ra.AUTOCONTRAST), tl.constexpr(ra.BRIGHTNESS), tl.constexpr(ra.COLOR)
_CONTRAST, _EQUALIZE, _POSTERIZE = tl.constexpr(ra.CONTRAST), tl.constexpr(ra.EQUALIZE), tl.constexpr(ra.POSTERIZE)
_ROTATE, _SHARPNESS, _SHEAR_X = tl.constexpr(ra.ROTATE), tl.constexpr(ra.SHARPNESS), tl.constexpr(ra.SHEAR_X)
_SHEAR_Y, _SOLARIZE = tl.constexpr(ra.SHEAR_Y), tl.constexpr(ra.SOLARIZE)
_TRANSLATE_X, _TRANSLATE_Y = tl.constexpr(ra.TRANSLATE_X), tl.constexpr(ra.TRANSLATE_Y)


@triton.jit
def _grey(source, p, ok, HW: tl.constexpr, C: tl.constexpr):
    """Luminance of the pixels `p`, int32."""
    grey = tl.load(source + p, mask=ok, other=0).to(tl.int32)
    if C == 3:
        green = tl.load(source + HW + p, mask=ok, other=0).to(tl.int32)
        blue = tl.load(source + 2 * HW + p, mask=ok, other=0).to(tl.int32)
        grey = (grey * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return grey


@triton.jit
def _reflected(i, n):
    i = tl.abs(i)
    return tl.where(i >= n, 2 * (n - 1) - i, i)


@triton.jit
def _operate(source, target, table, operation, value, warp, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, BLOCK: tl.constexpr):
    """One operation on one image, from `source` to `target`, ``[C, H, W]`` each."""
    HW: tl.constexpr = H * W
    factor = value.to(tl.float32)
    warped = (operation == _ROTATE) | (operation == _SHEAR_X) | (operation == _SHEAR_Y)
    warped = warped | (operation == _TRANSLATE_X) | (operation == _TRANSLATE_Y)
    if warped:
        a, b, c = tl.load(warp), tl.load(warp + 1), tl.load(warp + 2)
        d, e, f = tl.load(warp + 3), tl.load(warp + 4), tl.load(warp + 5)
        for start in range(0, HW, BLOCK):
            p = start + tl.arange(0, BLOCK)
            ok = p < HW
            x, y = p % W, p // W
            column = ((c + b * y) + a * x) >> 16
            row = ((f + e * y) + d * x) >> 16
            inside = ok & (column >= 0) & (column < W) & (row >= 0) & (row < H)
            for channel in range(C):
                v = tl.load(source + channel * HW + row * W + column, mask=inside, other=0)
                tl.store(target + channel * HW + p, v, mask=ok)
    elif operation == _SHARPNESS:
        for channel in range(C):
            plane = source + channel * HW
            for start in range(0, HW, BLOCK):
                p = start + tl.arange(0, BLOCK)
                ok = p < HW
                x, y = p % W, p // W
                inner = ok & (x > 0) & (x < W - 1) & (y > 0) & (y < H - 1)
                v = tl.load(plane + p, mask=ok, other=0).to(tl.int32)
                total = 4 * v
                for i in tl.static_range(9):
                    total += tl.load(plane + p + ((i // 3 - 1) * W + i % 3 - 1), mask=inner, other=0).to(tl.int32)
                smooth = ((2 * total + 13) // 26).to(tl.float32)  # a 13th of the sum, rounded
                mixed = ((v.to(tl.float32) - smooth) * factor + smooth).to(tl.int32)
                tl.store(target + channel * HW + p, tl.where(inner, mixed, v).to(tl.uint8), mask=ok)
    elif operation == _COLOR:
        for start in range(0, HW, BLOCK):
            p = start + tl.arange(0, BLOCK)
            ok = p < HW
            grey = _grey(source, p, ok, HW, C).to(tl.float32)
            for channel in range(C):
                v = tl.load(source + channel * HW + p, mask=ok, other=0).to(tl.float32)
                tl.store(target + channel * HW + p, ((v - grey) * factor + grey).to(tl.int32).to(tl.uint8), mask=ok)
    elif operation == _EQUALIZE:
        level = tl.arange(0, 256)
        for channel in range(C):
            plane = source + channel * HW
            counts = tl.zeros([256], tl.int32)
            highest = tl.zeros([1], tl.int32)
            for start in range(0, HW, BLOCK):
                p = start + tl.arange(0, BLOCK)
                ok = p < HW
                v = tl.load(plane + p, mask=ok, other=0).to(tl.int32)
                beyond = BLOCK - tl.sum(ok.to(tl.int32), 0)  # rows past the end were counted as black
                counts += tl.histogram(v, 256).to(tl.int32) - tl.where(level == 0, beyond, 0)
                highest = tl.maximum(highest, tl.max(v, 0))
            last = tl.sum(tl.where(level == highest, counts, 0), 0)
            step = (HW - last) // 255
            below = tl.cumsum(counts, 0) - counts
            equal = tl.minimum((below + step // 2) // tl.maximum(step, 1), 255)
            tl.store(table + channel * 256 + level, tl.where(step == 0, level, equal).to(tl.uint8))
        tl.debug_barrier()
        for channel in range(C):
            for start in range(0, HW, BLOCK):
                p = start + tl.arange(0, BLOCK)
                ok = p < HW
                v = tl.load(source + channel * HW + p, mask=ok, other=0).to(tl.int32)
                tl.store(target + channel * HW + p, tl.load(table + channel * 256 + v, mask=ok, other=0), mask=ok)
    elif operation == _AUTOCONTRAST:
        for channel in range(C):
            plane = source + channel * HW
            low = tl.full([1], 255, tl.int32)
            high = tl.zeros([1], tl.int32)
            for start in range(0, HW, BLOCK):
                p = start + tl.arange(0, BLOCK)
                ok = p < HW
                low = tl.minimum(low, tl.min(tl.load(plane + p, mask=ok, other=255).to(tl.int32), 0))
                high = tl.maximum(high, tl.max(tl.load(plane + p, mask=ok, other=0).to(tl.int32), 0))
            scale = tl.full([1], 255, tl.float64) / tl.maximum(high - low, 1).to(tl.float64)
            offset = low.to(tl.float64) * scale
            for start in range(0, HW, BLOCK):
                p = start + tl.arange(0, BLOCK)
                ok = p < HW
                v = tl.load(plane + p, mask=ok, other=0).to(tl.int32)
                stretched = tl.minimum(tl.maximum((v.to(tl.float64) * scale - offset).to(tl.int32), 0), 255)
                tl.store(target + channel * HW + p, tl.where(high > low, stretched, v).to(tl.uint8), mask=ok)
    else:  # a function of the value alone, the identity among them
        mean = tl.zeros([1], tl.float32)
        if operation == _CONTRAST:
            total = tl.zeros([1], tl.int32)
            for start in range(0, HW, BLOCK):
                p = start + tl.arange(0, BLOCK)
                ok = p < HW
                total += tl.sum(_grey(source, p, ok, HW, C), 0)
            mean = ((2 * total + HW) // (2 * HW)).to(tl.float32)
        weight = tl.where((operation == _CONTRAST) | (operation == _BRIGHTNESS), factor, 1.0)
        dropped = tl.where(operation == _POSTERIZE, 8 - value.to(tl.int32), 0)
        threshold = tl.where(operation == _SOLARIZE, value, 256.0)
        for channel in range(C):
            for start in range(0, HW, BLOCK):
                p = start + tl.arange(0, BLOCK)
                ok = p < HW
                v = tl.load(source + channel * HW + p, mask=ok, other=0).to(tl.float32)
                v = ((v - mean) * weight + mean).to(tl.int32)
                v = (v >> dropped) << dropped
                v = tl.where(v.to(tl.float64) < threshold, v, 255 - v)
                tl.store(target + channel * HW + p, v.to(tl.uint8), mask=ok)


@triton.jit
def _augment(
    images, out, scratch, dx, dy, flip, operation, value, warp, centre_x, centre_y, side, paint, normal, count,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, CROP: tl.constexpr, OPERATIONS: tl.constexpr, CUT: tl.constexpr,
    NORMALISE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    HW: tl.constexpr = H * W
    SIZE: tl.constexpr = C * H * W
    i = tl.program_id(0).to(tl.int64)
    image = images + i * SIZE
    here = scratch + i * (2 * SIZE + C * 256)
    if CROP:
        shift_x, shift_y, mirrored = tl.load(dx + i).to(tl.int32), tl.load(dy + i).to(tl.int32), tl.load(flip + i).to(tl.int32)
    if OPERATIONS > 0:
        for start in range(0, HW, BLOCK):
            p = start + tl.arange(0, BLOCK)
            ok = p < HW
            x, y = p % W, p // W
            if CROP:
                x, y = _reflected(x + shift_x, W), _reflected(y + shift_y, H)
                x = tl.where(mirrored != 0, W - 1 - x, x)
            for channel in range(C):
                v = tl.load(image + channel * HW + y * W + x, mask=ok, other=0)
                tl.store(here + channel * HW + p, v, mask=ok)
        tl.debug_barrier()
        for k in range(OPERATIONS):
            at = k * count + i
            source = here + (k % 2) * SIZE
            target = here + (1 - k % 2) * SIZE
            _operate(source, target, here + 2 * SIZE, tl.load(operation + at), tl.load(value + at), warp + at * 6, H, W, C, BLOCK)
            tl.debug_barrier()
    last = here + (OPERATIONS % 2) * SIZE
    if CUT:
        wide = tl.load(side + i)
        left = tl.floor(tl.maximum(tl.load(centre_x + i) - wide / 2, 0.0))
        top = tl.floor(tl.maximum(tl.load(centre_y + i) - wide / 2, 0.0))
        right, bottom = tl.floor(tl.minimum(left + wide, W)), tl.floor(tl.minimum(top + wide, H))
    for start in range(0, HW, BLOCK):
        p = start + tl.arange(0, BLOCK)
        ok = p < HW
        x, y = p % W, p // W
        from_x, from_y = x, y
        if CROP and OPERATIONS == 0:
            from_x, from_y = _reflected(x + shift_x, W), _reflected(y + shift_y, H)
            from_x = tl.where(mirrored != 0, W - 1 - from_x, from_x)
        for channel in range(C):
            if OPERATIONS > 0:
                v = tl.load(last + channel * HW + p, mask=ok, other=0).to(tl.int32)
            else:
                v = tl.load(image + channel * HW + from_y * W + from_x, mask=ok, other=0).to(tl.int32)
            if CUT:
                column, row = x.to(tl.float64), y.to(tl.float64)
                hole = (column >= left) & (column <= right) & (row >= top) & (row <= bottom)
                v = tl.where(hole, tl.load(paint + channel).to(tl.int32), v)
            if NORMALISE:
                tl.store(out + i * SIZE + p * C + channel, tl.load(normal + channel * 256 + v, mask=ok, other=0.0), mask=ok)
            else:
                tl.store(out + i * SIZE + channel * HW + p, v.to(tl.uint8), mask=ok)


def augment(
    images: Tensor,
    place: tuple[Tensor, Tensor, Tensor] | None = None,
    plan: tuple[Tensor, Tensor, Tensor] | None = None,
    hole: tuple[Tensor, Tensor, Tensor] | None = None,
    paint: Tensor | None = None,
    normal: Tensor | None = None,
) -> Tensor:
    """Views of a batch.

    Parameters
    ----------
    images : Tensor
        uint8 ``[N, C, H, W]``, C 1 or 3, contiguous.
    place : (Tensor, Tensor, Tensor), optional
        Shifts int64 ``[N]`` and flips bool ``[N]``, as `ops.crop_flip` takes them.
    plan : (Tensor, Tensor, Tensor), optional
        Operations int64 ``[K, N]``, values float64 ``[K, N]`` and warp coefficients int32 ``[K, N, 6]``.
    hole : (Tensor, Tensor, Tensor), optional
        Centres and side of the cutout, float64 ``[N]`` each.
    paint : Tensor, optional
        Colour of the cutout, uint8 ``[C]``.
    normal : Tensor, optional
        What every value becomes, float32 ``[C, 256]``.

    Returns
    -------
    Tensor
        float32 ``[N, C, H, W]``, channels last; uint8 and contiguous without `normal`.
    """
    n, c, h, w = images.shape
    device, operations = images.device, 0 if plan is None else len(plan[0])
    if normal is None:
        out = torch.empty_like(images, memory_format=torch.contiguous_format)
    else:
        out = torch.empty(images.shape, dtype=torch.float32, device=device, memory_format=torch.channels_last)
    if n == 0:
        return out
    scratch = torch.empty(n * (2 * c * h * w + c * 256) if operations else 1, dtype=torch.uint8, device=device)
    # What is not given is not read.
    flags = {"CROP": place is not None, "OPERATIONS": operations, "CUT": hole is not None, "NORMALISE": normal is not None}
    flips = (images,) * 3 if place is None else (*place[:2], place[2].view(torch.uint8))
    plan, hole = (part or (images,) * 3 for part in (plan, hole))
    arguments = [images.contiguous(), out, scratch, *(t.contiguous() for part in (flips, plan, hole) for t in part)]
    arguments += [images if t is None else t for t in (paint, normal)]
    # Fused multiply-adds would round once where PyTorch rounds twice.
    options = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": False}
    with torch.cuda.device_of(images):  # which need not be the current one
        _augment[(n,)](*arguments, n, H=h, W=w, C=c, **flags, BLOCK=BLOCK, **options)
    return out
