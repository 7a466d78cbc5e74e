"""Augmentation policies: a name, bound to mean and std, that turns uint8 batches into normalised views on their own device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pldebias.data import ops
from pldebias.data.errors import DataError

CHUNK = 64  # images that a CPU normalises at a time, so that the intermediate stays in its cache
VIEWS = ("identity", "weak", "strong")


class Augment:
    """A policy bound to its normalisation. Subclasses draw and apply the weak and strong views; this class normalises.

    Parameters
    ----------
    mean, std : sequence of float
        Of pixels in [0, 1], one per channel.
    image_size : int
        Height and width of what is returned; larger stored images are cut or resized by the policy.
    """

    policy = "identity"

    def __init__(self, mean: Sequence[float], std: Sequence[float], image_size: int):
        if len(mean) != len(std) or not all(s > 0 for s in std):
            raise DataError(f"mean and std need one value a channel and std above 0; got {tuple(mean)}, {tuple(std)}")
        self.mean, self.std, self.image_size = tuple(mean), tuple(std), image_size
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(policy={self.policy!r}, image_size={self.image_size})"

    def __call__(self, images: Tensor, view: str, generator: torch.Generator | None = None) -> Tensor:
        """One view of a batch.

        Parameters
        ----------
        images : Tensor
            uint8 ``[B, C, H, W]`` on any device.
        view : {"identity", "weak", "strong"}
            Which view.
        generator : torch.Generator, optional
            The only source of randomness, on the images' device; not needed for "identity".

        Returns
        -------
        Tensor
            float32 ``[B, C, image_size, image_size]``, normalised, channels last.
        """
        if view not in VIEWS:
            raise DataError(f"view {view!r}; allowed: {', '.join(VIEWS)}")
        if view == "identity":
            return self.normalise(self.fit(images))
        if generator is None:
            raise DataError(f"view {view!r} is random and needs a torch.Generator on {images.device}")
        return self.view(images, view == "strong", generator)

    def view(self, images: Tensor, strong: bool, generator: torch.Generator) -> Tensor:
        """The weak or strong view of a batch, normalised."""
        raise NotImplementedError

    def fit(self, images: Tensor) -> Tensor:
        """Bring uint8 images to `image_size`, by Pillow's bilinear resize."""
        return images if images.shape[2:] == (self.image_size, self.image_size) else ops.resize(images, self.image_size)

    def normalise(self, images: Tensor) -> Tensor:
        """``(x / 255 - mean) / std`` in float32, channels last, the very arithmetic of torchvision's ToTensor and Normalize."""
        mean, std = self.constants(images.device)
        # Channels last comes last: arithmetic with one value a channel is several times slower in that layout.
        if images.is_cuda or len(images) <= CHUNK:
            x = images.to(dtype=torch.float32, memory_format=torch.contiguous_format)
            return x.div_(255).sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
        out = torch.empty(images.shape, dtype=torch.float32, memory_format=torch.channels_last)
        for part, target in zip(images.split(CHUNK), out.split(CHUNK), strict=True):
            target.copy_(part.float().div_(255).sub_(mean).div_(std))
        return out

    def constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """`mean` and `std` as ``[1, C, 1, 1]`` on `device`, copied there once."""
        if device not in self._constants:
            pair = (torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1).to(device) for v in (self.mean, self.std))
            self._constants[device] = tuple(pair)
        return self._constants[device]
