"""The FixMatch loop as public trainers write it: what `benchmarks.speed` measures the package against.

Images are cut one at a time by Pillow and torchvision in DataLoader workers; one float32 pass over the labelled, weak and strong
views in the default layout; the EMA teacher is updated tensor by tensor in a Python loop, parameters and buffers; every step logs its
losses with ``.item()``; an evaluation goes through the DataLoader in small batches and counts class by class. The mathematics is that
of the package's own step, which a test verifies.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def photographs(n: int) -> torch.Tensor:
    """Smooth random pictures, uint8 ``[n, 3, 32, 32]``; the operations' speed hardly depends on what they show."""
    coarse = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


class Pictures(Dataset):
    """Arrays ``[N, H, W, C]`` of uint8 that become Pillow images on access, and then one tensor per transform."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, *views: transforms.Compose):
        self.images, self.labels, self.views = images, labels, views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        image = Image.fromarray(self.images[i])
        return *(view(image) for view in self.views), int(self.labels[i])


def views(policy: str = "daso", size: int = 32) -> dict[str, transforms.Compose]:
    """The identity, weak and strong transform."""
    geometry = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(size, padding=4, padding_mode="reflect")]
    end = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    strong = [*geometry, PillowRandAugment(policy), *end]
    return {"identity": transforms.Compose(end), "weak": transforms.Compose([*geometry, *end]), "strong": transforms.Compose(strong)}


def loader(data: Pictures, batch: int, steps: int, workers: int) -> DataLoader:
    """`steps` random batches, drawn by workers."""
    return DataLoader(data, batch, sampler=RandomSampler(data, replacement=True, num_samples=batch * steps), num_workers=workers)


@dataclass
class Views:
    """One batch on the device: labelled weak views and labels, weak and strong views of the same unlabelled images."""

    x: Tensor
    y: Tensor
    weak: Tensor
    strong: Tensor


def batches(labelled: DataLoader, unlabelled: DataLoader, device: torch.device) -> Iterator[Views]:
    """Pairs of batches, copied to the device from pageable memory."""
    for (x, y), (weak, strong, _) in zip(labelled, unlabelled, strict=True):
        yield Views(x.to(device), y.to(device), weak.to(device), strong.to(device))


class PerTensorEMA:
    """A teacher that trails a student, one tensor at a time; decay ``min(1 - 1/(n + 1), decay)`` at the n-th update, from 0."""

    def __init__(self, student: nn.Module, decay: float = 0.999):
        self.decay, self.updates = decay, 0
        self.student, self.teacher = student, copy.deepcopy(student)
        for parameter in self.teacher.parameters():
            parameter.requires_grad = False

    def update(self) -> None:
        decay = min(1 - 1 / (self.updates + 1), self.decay)
        for ours, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            ours.data = decay * ours.data + (1 - decay) * theirs.data
        for ours, theirs in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
            if ours.is_floating_point():
                ours.data = decay * ours.data + (1 - decay) * theirs.data
            else:
                ours.copy_(theirs)
        self.updates += 1


class Trainer:
    """Network, optimiser, teacher and meters of a conventional FixMatch training.

    Parameters
    ----------
    network : nn.Module
        Returns features and logits, as those of `pldebias.nets` do.
    lr, momentum, weight_decay, ema : float
        DASO's protocol by default; Nesterov momentum.
    threshold : float, default 0.95
        Confidence a pseudo-label needs.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float = 0.03,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        ema: float = 0.999,
        threshold: float = 0.95,
    ):
        self.network, self.threshold = network, threshold
        self.optimizer = torch.optim.SGD(network.parameters(), lr, momentum=momentum, weight_decay=weight_decay, nesterov=True)
        self.ema = PerTensorEMA(network, ema)
        self.meters: dict[str, list[float]] = {"loss": [], "labelled": [], "unlabelled": [], "mask": []}

    def losses(self, batch: Views) -> tuple[Tensor, Tensor, Tensor]:
        """Labelled loss, unlabelled loss and the mask of accepted pseudo-labels ``[M]``."""
        _, logits = self.network(torch.cat([batch.x, batch.weak, batch.strong]))
        labelled, (weak, strong) = logits[: len(batch.x)], logits[len(batch.x) :].chunk(2)
        confidence, label = torch.softmax(weak.detach(), dim=-1).max(dim=-1)
        mask = confidence.ge(self.threshold).float()
        unlabelled = (F.cross_entropy(strong, label, reduction="none") * mask).mean()
        return F.cross_entropy(labelled, batch.y), unlabelled, mask

    def step(self, batch: Views) -> None:
        """One optimiser step, logged."""
        labelled, unlabelled, mask = self.losses(batch)
        loss = labelled + unlabelled
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.ema.update()
        for name, value in {"loss": loss, "labelled": labelled, "unlabelled": unlabelled, "mask": mask.mean()}.items():
            self.meters[name].append(value.item())

    @torch.no_grad()
    def evaluate(self, data: Iterable[list[Tensor]], classes: int, device: torch.device) -> tuple[float, list[float]]:
        """Accuracy of the teacher, and of every class (NaN without a sample)."""
        self.ema.teacher.eval()
        hits, total = [0] * classes, [0] * classes
        for images, labels in data:
            prediction = self.ema.teacher(images.to(device))[1].argmax(1)
            labels = labels.to(device)
            for k in range(classes):
                of_class = labels == k
                total[k] += of_class.sum().item()
                hits[k] += (prediction[of_class] == k).sum().item()
        self.ema.teacher.train()
        return sum(hits) / sum(total), [h / n if n else float("nan") for h, n in zip(hits, total, strict=True)]
