"""RandAugment on batches: 14 operations, a draw per image, and two ways of applying them that agree bit for bit.

*Grouped* gathers the images of each family of operations and works on those alone: least work, but it asks the device for counts.
*Masked* lets every image pass through every family, at a value that changes nothing where the operation is another: no host
synchronisation, so a CUDA graph can capture it.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from pldebias.data import ops

OPERATIONS = (
    "AutoContrast", "Brightness", "Color", "Contrast", "Equalize", "Identity", "Posterize", "Rotate", "Sharpness", "ShearX", "ShearY",
    "Solarize", "TranslateX", "TranslateY",
)  # fmt: skip
AUTOCONTRAST, BRIGHTNESS, COLOR, CONTRAST, EQUALIZE, IDENTITY, POSTERIZE, ROTATE, SHARPNESS, SHEAR_X, SHEAR_Y, SOLARIZE = range(12)
TRANSLATE_X, TRANSLATE_Y = 12, 13
TABLES = (AUTOCONTRAST, BRIGHTNESS, CONTRAST, EQUALIZE, POSTERIZE, SOLARIZE)
WARPS = (ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y)


def daso_values(operation: Tensor, level: Tensor, negative: Tensor, height: int, width: int) -> Tensor:
    """Parameters that DASO's code gives to each operation at `level` 1..9.

    Parameters
    ----------
    operation, level : Tensor
        int64 ``[...]``, positions in `OPERATIONS` and levels.
    negative : Tensor
        bool ``[...]``, sign of warps.
    height, width : int
        Of the images, for translations.

    Returns
    -------
    Tensor
        float64 ``[...]``: a blend factor, bits, degrees, shear, threshold or pixels; 0 where the operation has no parameter.
    """
    part = level.double() / 10
    value = torch.where(_is(operation, BRIGHTNESS, COLOR, CONTRAST, SHARPNESS), part * 0.9 + 0.05, torch.zeros_like(part))
    value = torch.where(operation == POSTERIZE, torch.floor(part * 4) + 4, value)
    value = torch.where(operation == ROTATE, torch.floor(part * 30), value)
    value = torch.where(_is(operation, SHEAR_X, SHEAR_Y), part * 0.3, value)
    value = torch.where(operation == SOLARIZE, 256 - torch.floor(part * 256), value)
    value = torch.where(operation == TRANSLATE_X, torch.floor(part * 0.3 * width), value)
    value = torch.where(operation == TRANSLATE_Y, torch.floor(part * 0.3 * height), value)
    return torch.where(negative & _is(operation, *WARPS), -value, value)


def usb_values(operation: Tensor, magnitude: Tensor, height: int, width: int) -> Tensor:
    """Parameters that USB's code gives to each operation at `magnitude` in [0, 1) of its range; shapes and result as `daso_values`."""
    u = magnitude.double()
    value = torch.where(_is(operation, BRIGHTNESS, COLOR, CONTRAST, SHARPNESS), 0.05 + 0.9 * u, torch.zeros_like(u))
    value = torch.where(operation == POSTERIZE, torch.floor(4 + 4 * u), value)
    value = torch.where(operation == ROTATE, -30 + 60 * u, value)
    symmetric = -0.3 + 0.6 * u
    value = torch.where(_is(operation, SHEAR_X, SHEAR_Y), symmetric, value)
    value = torch.where(operation == SOLARIZE, 256 * u, value)
    value = torch.where(operation == TRANSLATE_X, symmetric * width, value)
    return torch.where(operation == TRANSLATE_Y, symmetric * height, value)


def _is(operation: Tensor, *members: int) -> Tensor:
    hit = operation == members[0]
    for member in members[1:]:
        hit = hit | (operation == member)
    return hit


def warp_matrix(operation: Tensor, value: Tensor, height: int, width: int) -> Tensor:
    """Affine coefficients of the warps among `operation` (the identity for all others), float64 ``[B, 6]``."""
    value = torch.where(_is(operation, *WARPS), value, torch.zeros_like(value))
    matrix = ops.rotation(torch.where(operation == ROTATE, value, torch.zeros_like(value)), height, width)
    zero = torch.zeros_like(value)
    # Pillow translates by whole pixels: floor(column + 0.5 + shift).
    pixels = torch.floor(value + 0.5)
    extra = torch.stack(
        [
            zero,
            torch.where(operation == SHEAR_X, value, zero),
            torch.where(operation == TRANSLATE_X, pixels, zero),
            torch.where(operation == SHEAR_Y, value, zero),
            zero,
            torch.where(operation == TRANSLATE_Y, pixels, zero),
        ],
        1,
    )
    return matrix + extra


def _table(operation: int, images: Tensor, value: Tensor) -> Tensor:
    if operation == AUTOCONTRAST:
        return ops.autocontrast_table(images)
    if operation == EQUALIZE:
        return ops.equalize_table(images)
    if operation == CONTRAST:
        return ops.blend_table(ops.mean_luminance(images), value)
    if operation == BRIGHTNESS:
        return ops.blend_table(torch.zeros_like(value, dtype=torch.float32), value)
    if operation == POSTERIZE:
        return ops.posterize(ops.levels(images.device).expand(len(value), -1, -1), value)
    return ops.solarize(ops.levels(images.device), value)


def coefficients(operation: Tensor, value: Tensor, height: int, width: int) -> Tensor:
    """Fixed-point coefficients of the warps among `operation` ``[...]`` (the identity for all others), int32 ``[..., 6]``."""
    matrix = warp_matrix(operation.flatten(), value.flatten(), height, width)
    return ops.coefficients(matrix).view(*operation.shape, 6)


def apply(images: Tensor, operation: Tensor, value: Tensor, strategy: str | None = None, warp: Tensor | None = None) -> Tensor:
    """Apply one operation to every image.

    Parameters
    ----------
    images : Tensor
        uint8 ``[B, C, H, W]``, C 1 or 3.
    operation : Tensor
        int64 ``[B]``, positions in `OPERATIONS`.
    value : Tensor
        float64 ``[B]``, from `daso_values` or `usb_values`.
    strategy : {"grouped", "masked"}, optional
        None is "masked" on CUDA and "grouped" elsewhere; the results are the same.
    warp : Tensor, optional
        int32 ``[B, 6]``, `coefficients` of these operations and values where they are known already.
    """
    warp = coefficients(operation, value, *images.shape[2:]) if warp is None else warp
    masked = images.is_cuda if strategy is None else strategy == "masked"
    return _masked(images, operation, value, warp) if masked else _grouped(images, operation, value, warp)


def _grouped(images: Tensor, operation: Tensor, value: Tensor, warp: Tensor) -> Tensor:
    order = operation.argsort(stable=True)
    counts = torch.bincount(operation, minlength=len(OPERATIONS)).tolist()
    groups = dict(enumerate(order.split(counts)))
    out = images.clone()
    warped = torch.cat([groups[k] for k in WARPS])
    if len(warped):
        out[warped] = ops.sample(images[warped], warp[warped])
    members = [groups[k] for k in TABLES if len(groups[k])]
    if members:
        chosen = images[torch.cat(members)]
        tables, start = [], 0
        for k in TABLES:
            if n := len(groups[k]):
                tables.append(_table(k, chosen[start : start + n], value[groups[k]]).expand(n, images.shape[1], 256))
                start += n
        out[torch.cat(members)] = ops.apply_table(chosen, torch.cat(tables))
    for k, function in ((COLOR, ops.colour), (SHARPNESS, ops.sharpness)):
        if len(groups[k]):
            out[groups[k]] = function(images[groups[k]], value[groups[k]])
    return out


# Values at which an operation changes nothing, so that all images can pass through all operations.
_NEUTRAL = {BRIGHTNESS: 1.0, CONTRAST: 1.0, COLOR: 1.0, SHARPNESS: 1.0, POSTERIZE: 8.0, SOLARIZE: 256.0}


@functools.cache  # for good: captured CUDA graphs read it
def _neutral(device: torch.device) -> tuple[Tensor, Tensor]:
    """Operations and their neutral values, ``[6, 1]`` each."""
    columns = torch.tensor(list(_NEUTRAL)), torch.tensor(list(_NEUTRAL.values()), dtype=torch.float64)
    return tuple(column[:, None].to(device) for column in columns)


def _masked(images: Tensor, operation: Tensor, value: Tensor, warp: Tensor) -> Tensor:
    members, neutral = _neutral(images.device)
    brightness, contrast, colour, sharpness, bits, threshold = torch.where(operation == members, value, neutral).unbind(0)
    # One blend for both: the factor of one is 1, and brightness blends with black.
    table = ops.blend_table(ops.mean_luminance(images) * (operation == CONTRAST), brightness * contrast)
    table = ops.solarize(ops.posterize(table, bits), threshold)
    mine = (operation == AUTOCONTRAST).view(-1, 1, 1), (operation == EQUALIZE).view(-1, 1, 1)
    table = torch.where(mine[0], ops.autocontrast_table(images), torch.where(mine[1], ops.equalize_table(images), table))
    out = ops.apply_table(images, table)
    return ops.sample(ops.sharpness(ops.colour(out, colour), sharpness), warp)
