"""Data: sources, long-tailed splits, batched augmentation and loaders. Images are uint8 tensors ``[N, C, H, W]`` throughout."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
