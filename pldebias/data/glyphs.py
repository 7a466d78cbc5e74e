"""Glyphs: confusable characters rendered on demand from the fonts that matplotlib ships; no download.

Ten characters, head to tail ``B S E C O G F P 8 5``, in 21 faces, warped, blurred, cluttered and noisy at 16 x 16 grey pixels.
The order puts look-alikes at both ends (8 and B, 5 and S, F and E, P and B), so that a biased pseudo-label can be seen by eye.
The supply is endless: exactly the requested counts are rendered. Every array operation runs per image, so one seed gives the same
bytes with any number of threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pldebias.data.errors import DataError

CHARACTERS = tuple("BSECOGFP85")
DISTRACTORS = tuple("AHKMNRTVXZ")  # no class: the irrelevant share of an unlabelled set
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)
MEAN, STD = (0.26,), (0.22,)
TEST_SEED, TEST_PER_CLASS = 77, 200
CANVAS, CAP_HEIGHT = 64, 32
CHUNK = 2048  # part of the random stream: another value gives other images

# Half-widths of the uniform draws: degrees, log ratios, shear, shift as a fraction of half the image.
ROTATION, SCALE, ASPECT, SHEAR, SHIFT, ZOOM = 22.0, 0.25, 0.15, 0.3, 0.2, 1.35
BLUR, STROKE, CLUTTER, CLUTTER_OFFSET, NOISE = 0.8, 0.6, 0.6, 0.95, 0.05
BACKGROUND, CONTRAST_LOW, CONTRAST_HIGH = 0.25, 0.5, 0.9


@functools.cache
def bank(characters: tuple[str, ...] = CHARACTERS) -> Tensor:
    """All glyphs as masks in [0, 1], float32 ``[10, 21, 64, 64]``, bounding boxes centred, capitals 32 pixels high."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    masks = np.zeros((len(characters), len(FONTS), CANVAS, CANVAS), np.uint8)
    for j, name in enumerate(FONTS):
        path = folder / f"{name}.ttf"
        if not path.exists():
            raise DataError(f"glyphs needs the font {path.name}, which matplotlib >= 3.11 installs in {folder}: update or reinstall it")
        trial = 44
        box = ImageFont.truetype(str(path), trial).getbbox("H")
        font = ImageFont.truetype(str(path), round(trial * CAP_HEIGHT / (box[3] - box[1])))
        for i, character in enumerate(characters):
            x0, y0, x1, y1 = font.getbbox(character)
            canvas = Image.new("L", (CANVAS, CANVAS))
            ImageDraw.Draw(canvas).text((CANVAS / 2 - (x0 + x1) / 2, CANVAS / 2 - (y0 + y1) / 2), character, font=font, fill=255)
            masks[i, j] = np.asarray(canvas)
    return torch.from_numpy(masks).float() / 255


def render(labels: Tensor | Sequence[int], generator: torch.Generator, size: int = 16, characters: tuple[str, ...] = CHARACTERS) -> Tensor:
    """Draw one image per label.

    Parameters
    ----------
    labels : Tensor or sequence of int
        Class ids 0..9 (positions in `characters`), shape ``[N]``.
    generator : torch.Generator
        The only source of randomness.
    size : int, default 16
        Height and width in pixels, 8 to 64.
    characters : tuple of str, default `CHARACTERS`
        What the class ids stand for.

    Returns
    -------
    Tensor
        uint8 ``[N, 1, size, size]``.
    """
    if not 8 <= size <= CANVAS:
        raise DataError(f"glyphs are drawn at 8 to {CANVAS} pixels; got image_size={size}")
    labels = torch.as_tensor(labels, dtype=torch.int64)
    parts = [_render_chunk(labels[i : i + CHUNK], generator, size, bank(characters)) for i in range(0, len(labels), CHUNK)]
    return torch.cat(parts) if parts else torch.zeros((0, 1, size, size), dtype=torch.uint8)


def _render_chunk(labels: Tensor, generator: torch.Generator, size: int, masks: Tensor) -> Tensor:
    n = len(labels)

    def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)

    def face() -> Tensor:
        return torch.randint(0, len(FONTS), (n,), generator=generator)

    def sample(which: Tensor, fonts: Tensor, theta: Tensor) -> Tensor:
        grid = F.affine_grid(theta, [n, 1, 2 * size, 2 * size], align_corners=False)
        return F.grid_sample(masks[which, fonts][:, None], grid, padding_mode="zeros", align_corners=False)

    x = sample(labels, face(), _warp(n, generator))
    blurred = F.avg_pool2d(F.pad(x, (2, 2, 2, 2)), 5, 1)
    x = torch.lerp(x, blurred, uniform(0, BLUR)).clamp(0, 1) ** uniform(-STROKE, STROKE).exp()
    x = F.avg_pool2d(x, 2)
    background, contrast = uniform(0, BACKGROUND), uniform(CONTRAST_LOW, CONTRAST_HIGH)

    # Clutter: a dimmer fragment of any glyph, pushed to a border.
    other = torch.randint(0, len(masks), (n,), generator=generator)
    fonts, angle = face(), uniform(0, 2 * math.pi).flatten()
    theta = torch.eye(2, 3).repeat(n, 1, 1)
    theta[:, :, 2] = CLUTTER_OFFSET * torch.stack([angle.cos(), angle.sin()], 1)
    x = torch.maximum(x, CLUTTER * uniform() * F.avg_pool2d(sample(other, fonts, theta), 2))

    coarse = torch.randn(n, 1, 4, 4, generator=generator)
    coarse = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    fine = torch.randn(n, 1, size, size, generator=generator)
    x = background + contrast * x + 0.5 * NOISE * coarse + NOISE * fine
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


def _warp(n: int, generator: torch.Generator) -> Tensor:
    """Random output-to-input matrices ``[n, 2, 3]``: shear and stretch after a rotation, then a shift."""

    def symmetric(width: float) -> Tensor:
        return width * (2 * torch.rand(n, generator=generator) - 1)

    angle = symmetric(math.radians(ROTATION))
    scale = ZOOM * symmetric(math.log1p(SCALE)).exp()
    aspect = symmetric(math.log1p(ASPECT)).exp()
    shear = symmetric(SHEAR)
    cos, sin = angle.cos(), angle.sin()
    a, d = aspect / scale, 1 / (aspect * scale)
    top = torch.stack([a * cos + shear * sin, shear * cos - a * sin, symmetric(SHIFT)], 1)
    bottom = torch.stack([d * sin, d * cos, symmetric(SHIFT)], 1)
    return torch.stack([top, bottom], 1)
