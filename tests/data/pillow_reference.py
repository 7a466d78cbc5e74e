"""The operations one image at a time, by Pillow: the reference that the batched ones must equal."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

ENHANCE = {
    "Brightness": ImageEnhance.Brightness,
    "Color": ImageEnhance.Color,
    "Contrast": ImageEnhance.Contrast,
    "Sharpness": ImageEnhance.Sharpness,
}


def to_image(tensor: torch.Tensor) -> Image.Image:
    """uint8 ``[C, H, W]`` to a grey or RGB picture."""
    return Image.fromarray(tensor[0].numpy() if len(tensor) == 1 else tensor.permute(1, 2, 0).numpy())


def to_tensor(image: Image.Image) -> torch.Tensor:
    """The inverse of `to_image`."""
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def operate(image: Image.Image, name: str, value: float) -> Image.Image:
    """One operation of the RandAugment pool."""
    if name in ENHANCE:
        return ENHANCE[name](image).enhance(value)
    if name == "AutoContrast":
        return ImageOps.autocontrast(image)
    if name == "Equalize":
        return ImageOps.equalize(image)
    if name == "Identity":
        return image
    if name == "Posterize":
        return ImageOps.posterize(image, int(value))
    if name == "Solarize":
        return ImageOps.solarize(image, value)
    if name == "Rotate":
        return image.rotate(value)
    matrix = {"ShearX": (1, value, 0, 0, 1, 0), "ShearY": (1, 0, 0, value, 1, 0), "TranslateX": (1, 0, value, 0, 1, 0)}
    return image.transform(image.size, Image.Transform.AFFINE, matrix.get(name, (1, 0, 0, 0, 1, value)))


def crop_flip(image: torch.Tensor, dx: int, dy: int, flip: bool, pad: int) -> torch.Tensor:
    """Flip, reflect-pad and crop as torchvision's transforms in a row."""
    _, h, w = image.shape
    picture = image.flip(2) if flip else image
    padded = np.pad(picture.numpy(), ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    return torch.from_numpy(padded[:, pad + dy : pad + dy + h, pad + dx : pad + dx + w].copy())


def cutout(image: Image.Image, x: float, y: float, side: float, fill: tuple[int, int, int]) -> Image.Image:
    """The papers' CutoutAbs, with its rounding."""
    w, h = image.size
    x0, y0 = int(max(0, x - side / 2)), int(max(0, y - side / 2))
    image = image.copy()
    ImageDraw.Draw(image).rectangle((x0, y0, min(w, x0 + side), min(h, y0 + side)), fill)
    return image


def smooth(n: int, channels: int, size: int, seed: int = 0) -> torch.Tensor:
    """Pictures with gradients and clipped parts, uint8 ``[n, channels, size, size]``; 0 is flat, 1 is noise, every other one dull."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(max(n, 2), channels, 4, 4, generator=generator) * 1.4 - 0.2
    x = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1) * 255
    x[::2] = x[::2] * 0.6 + 30
    x[0] = 90
    x[1] = torch.randint(0, 256, x[1].shape, generator=generator).float()
    return x[:n].round().to(torch.uint8)
