"""The FixMatch loop as public trainers write it: what `benchmarks.speed` measures the package against.

Images are cut one at a time by Pillow and torchvision in DataLoader workers; one float32 pass over the labelled, weak and strong
views in the default layout; the EMA teacher is updated tensor by tensor in a Python loop, parameters and buffers; every step logs its
losses with ``.item()``; an evaluation goes through the DataLoader in small batches and counts class by class. The mathematics is that
of the package's own step, which a test verifies.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from benchmarks.augment import MEAN, STD, PillowRandAugment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np


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
