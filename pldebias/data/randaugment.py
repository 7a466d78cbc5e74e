"""RandAugment on batches: 14 operations, a draw per image, and two ways of applying them that agree bit for bit.

*Grouped* gathers the images of each family of operations and works on those alone: least work, but it asks the device for counts.
*Masked* computes every family for every image and selects: no host synchronisation, so a CUDA graph can capture it.
"""

from __future__ import annotations

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
    """What DASO's code hands to each operation at `level` 1..9.

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
    """What USB's code hands to each operation at `magnitude` in [0, 1) of its range; shapes and result as `daso_values`."""
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
        return ops.contrast_table(images, value)
    if operation == BRIGHTNESS:
        return ops.brightness_table(value)
    if operation == POSTERIZE:
        return ops.posterize_table(value)
    return ops.solarize_table(value)


def apply(images: Tensor, operation: Tensor, value: Tensor, strategy: str | None = None) -> Tensor:
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
    """
    masked = images.is_cuda if strategy is None else strategy == "masked"
    return _masked(images, operation, value) if masked else _grouped(images, operation, value)


def _grouped(images: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    order = operation.argsort(stable=True)
    counts = torch.bincount(operation, minlength=len(OPERATIONS)).tolist()
    groups = dict(enumerate(order.split(counts)))
    out = images.clone()
    warped = torch.cat([groups[k] for k in WARPS])
    if len(warped):
        matrix = warp_matrix(operation[warped], value[warped], *images.shape[2:])
        out[warped] = ops.affine(images[warped], matrix)
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


def _masked(images: Tensor, operation: Tensor, value: Tensor) -> Tensor:
    # Values of other operations must not overflow a table's arithmetic: they are replaced by a harmless one first.
    table = torch.arange(256, device=images.device).to(torch.uint8).expand(*images.shape[:2], 256)
    for k in TABLES:
        mine = operation == k
        table = torch.where(mine.view(-1, 1, 1), _table(k, images, torch.where(mine, value, torch.ones_like(value))), table)
    out = ops.apply_table(images, table)
    for k, function in ((COLOR, ops.colour), (SHARPNESS, ops.sharpness)):
        mine = operation == k
        out = torch.where(mine.view(-1, 1, 1, 1), function(images, torch.where(mine, value, torch.ones_like(value))), out)
    return ops.affine(out, warp_matrix(operation, value, *images.shape[2:]))
