"""Data: sources, long-tailed splits, batched augmentation and loaders. Images are uint8 tensors ``[N, C, H, W]`` throughout."""

from pldebias.data.augment import Augment
from pldebias.data.dataset import build, with_labelled
from pldebias.data.errors import DataError
from pldebias.data.loaders import Batch, ResidentLoader
from pldebias.data.longtail import class_counts
from pldebias.data.policies import make_augment
from pldebias.data.sources import Source, load_source
from pldebias.data.spec import Dataset, Images, SplitSpec
from pldebias.data.stream import StreamLoader

__all__ = [
    "Augment",
    "Batch",
    "DataError",
    "Dataset",
    "Images",
    "ResidentLoader",
    "Source",
    "SplitSpec",
    "StreamLoader",
    "build",
    "class_counts",
    "load_source",
    "make_augment",
    "with_labelled",
]
