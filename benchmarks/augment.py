"""Batched augmentation against the conventional pipeline: Pillow operations and torchvision transforms, one image at a time.

    python -m benchmarks.augment [--policy daso|usb] [--batch 128 448] [--images 256] [--rounds 9] [--device cpu]

Both produce the weak and the strong view of the same 32 x 32 images, normalised, on one thread of this machine. The two take turns
within every round, so that a busy machine slows both; the figure is CPU time per image, median and quartiles over the rounds. On CUDA the
Triton kernel takes turns with the batched operations that it stands for, by the device's own clock, and ratios are against those.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torchvision import transforms

from pldebias.data import make_augment
from pldebias.gpu.graph import register

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
FACTOR = {"Brightness": ImageEnhance.Brightness, "Color": ImageEnhance.Color, "Contrast": ImageEnhance.Contrast}
FACTOR["Sharpness"] = ImageEnhance.Sharpness
OPERATIONS = (
    *("AutoContrast", "Equalize", "Identity", "Posterize", "Rotate", "Solarize"),
    *("ShearX", "ShearY", "TranslateX", "TranslateY"),
    *FACTOR,
)


def apply_pillow(image: Image.Image, name: str, u: float, sign: int) -> Image.Image:
    """One RandAugment operation at magnitude `u` in [0, 1]."""
    if name in FACTOR:
        return FACTOR[name](image).enhance(0.05 + 0.9 * u)
    if name == "AutoContrast":
        return ImageOps.autocontrast(image)
    if name == "Equalize":
        return ImageOps.equalize(image)
    if name == "Posterize":
        return ImageOps.posterize(image, 4 + int(4 * u) if u < 1 else 8)
    if name == "Solarize":
        return ImageOps.solarize(image, 256 - int(256 * u))
    if name == "Rotate":
        return image.rotate(sign * 30 * u)
    if name == "Identity":
        return image
    v = sign * 0.3 * u
    pixels = v * image.width
    matrix = {"ShearX": (1, v, 0, 0, 1, 0), "ShearY": (1, 0, 0, v, 1, 0), "TranslateX": (1, 0, pixels, 0, 1, 0)}
    return image.transform(image.size, Image.Transform.AFFINE, matrix.get(name, (1, 0, 0, 0, 1, pixels)))


class PillowRandAugment:
    """RandAugment and cutout of DASO (2 operations, probability 0.5, 16 pixels) or USB (3, always, up to half the width)."""

    def __init__(self, policy: str):
        self.policy = policy

    def __call__(self, image: Image.Image) -> Image.Image:
        daso = self.policy == "daso"
        for name in random.choices(OPERATIONS, k=2 if daso else 3):
            if not daso or random.random() < 0.5:
                u = np.random.randint(1, 10) / 10 if daso else random.random()
                image = apply_pillow(image, name, u, random.choice((-1, 1)))
        side = 16 if daso else 0.5 * random.random() * image.width
        x, y = (max(0, int(np.random.uniform(0, n) - side / 2)) for n in image.size)
        image = image.copy()
        corner = (min(image.width, x + side), min(image.height, y + side))
        ImageDraw.Draw(image).rectangle((x, y, *corner), (127, 127, 127) if daso else (125, 123, 114))
        return image


def conventional(policy: str) -> Callable[[list[Image.Image]], tuple[torch.Tensor, torch.Tensor]]:
    """The usual per-image transforms; returns a function from a list of images to the weak and the strong batch."""
    geometry = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4, padding_mode="reflect")]
    end = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    weak, strong = transforms.Compose([*geometry, *end]), transforms.Compose([*geometry, PillowRandAugment(policy), *end])
    return lambda images: (torch.stack([weak(i) for i in images]), torch.stack([strong(i) for i in images]))


def photographs(n: int) -> torch.Tensor:
    """Smooth random pictures, uint8 ``[n, 3, 32, 32]``; the operations' speed hardly depends on what they show."""
    coarse = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


def measure(policy: str, batches: list[int], images: int, rounds: int) -> dict[str, list[float]]:
    """CPU microseconds per image of every contender, one value a round."""
    bank = photographs(max(images, *batches))
    pictures = [Image.fromarray(i.permute(1, 2, 0).numpy()) for i in bank[:images]]
    pillow, augment, generator = conventional(policy), make_augment(policy, MEAN, STD, 32), torch.Generator().manual_seed(0)

    def batched(size: int) -> int:
        steps = -(-images // size)
        for _ in range(steps):
            augment(bank[:size], "weak", generator)
            augment(bank[:size], "strong", generator)
        return steps * size

    def one_by_one() -> int:
        pillow(pictures)
        return images

    contenders = {"one by one": one_by_one, **{f"batched, {size}": lambda size=size: batched(size) for size in batches}}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            start = time.process_time()
            done = run()
            times[name].append(1e6 * (time.process_time() - start) / done)
    return {name: values[1:] for name, values in times.items()}  # the first round warms up


def measure_cuda(policy: str, batches: list[int], rounds: int) -> dict[str, list[float]]:
    """Microseconds of the device per image for both ways on CUDA, replayed as graphs, one value a round; the batched operations first."""
    repeats, times = 20, {}
    made: dict[str, tuple] = {}
    for way in ("masked", "kernel"):
        for size in batches:
            augment, generator = make_augment(policy, MEAN, STD, 32), torch.Generator("cuda").manual_seed(0)
            augment.strategy, images = way, photographs(size).cuda()
            for _ in range(2):
                augment(images, "weak", generator), augment(images, "strong", generator)
            graph = torch.cuda.CUDAGraph()
            register(graph, generator)
            with torch.cuda.graph(graph):
                augment(images, "weak", generator), augment(images, "strong", generator)
            made[f"{way}, {size}"] = graph, size, augment, images, generator  # a graph reads what it was captured on
            times[f"{way}, {size}"] = []
    for _ in range(rounds + 1):
        for name, (graph, size, *_) in made.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(repeats):
                graph.replay()
            end.record()
            end.synchronize()
            times[name].append(1000 * start.elapsed_time(end) / repeats / size)
    return {name: values[1:] for name, values in times.items()}


def main(arguments: list[str] | None = None) -> float:
    """Print the table; returns the best ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", choices=("daso", "usb"), default="daso")
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 448])
    parser.add_argument("--images", type=int, default=448, help="images per contender and round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.device == "cuda":
        times, where = measure_cuda(options.policy, options.batch, options.rounds), torch.cuda.get_device_name()
    else:
        times, where = measure(options.policy, options.batch, options.images, options.rounds), "one thread"
    reference = next(iter(times.values()))
    best = 0.0
    print(f"{options.policy}: weak + strong view, 32 x 32 RGB, {where}, {options.rounds} rounds")
    print(f"{'':<16}{'us / image':>12}{'quartiles':>18}{'images / s':>12}{'ratio':>8}{'quartiles':>16}")
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        ratios = [a / b for a, b in zip(reference, values, strict=True)]
        first, ratio, third = statistics.quantiles(ratios, n=4)
        best = max(best, ratio)
        spread, ratio_spread = f"{low:.1f} .. {high:.1f}", f"{first:.1f} .. {third:.1f}"
        print(f"{name:<16}{middle:>12.1f}{spread:>18}{1e6 / middle:>12.0f}{ratio:>8.1f}{ratio_spread:>16}")
    return best


if __name__ == "__main__":
    main()
