"""Loading a folder of small images, against torchvision's ImageFolder and DataLoader: ``python -m benchmarks.folders``.

All make one tensor of all images, as a data set that stays in memory needs it: torchvision by a DataLoader in this process, ours the first
time, when it also hashes every file and keeps what it decoded, and when it finds that again. They take turns within every round; the
figure is processor time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from benchmarks.timing import alternate, machine, print_machine, spread, table
from pldebias.data import load_source


def make(base: Path, count: int, kind: str, size: int = 32) -> Path:
    """A folder of `count` smooth images in ten class folders."""
    r = np.random.default_rng(0)
    for i in range(count):
        place = base / f"class{i % 10}" / f"{i:06d}.{kind}"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(r.integers(0, 256, (4, 4, 3), np.uint8)).resize((size, size), Image.Resampling.BILINEAR).save(place)
    return base


def conventional(base: Path) -> torch.Tensor:
    """All images through torchvision."""
    batches = DataLoader(ImageFolder(base, transform=pil_to_tensor), batch_size=256)
    return torch.cat([images for images, _ in batches])


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print the table; returns the median seconds of every contender."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--kind", choices=("png", "jpg"), default="png")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        base, root = make(Path(folder) / "images", options.images, options.kind), Path(folder) / "root"

        def ours() -> torch.Tensor:
            source = load_source(f"imagefolder:{base}", root=root)
            return torch.cat([source.images, source.test_images])

        if sorted(map(int, ours().sum((1, 2, 3)))) != sorted(map(int, conventional(base).sum((1, 2, 3)))) and options.kind == "png":
            raise AssertionError("the two read other pixels")
        contenders = {"torchvision": lambda: conventional(base), "ours, first": ours, "ours, again": ours}
        print_machine(machine())
        times = alternate(contenders, options.rounds, clock="cpu", warmup=0, before={"ours, first": lambda: shutil.rmtree(root)})
    medians = {name: spread(values)[1] for name, values in times.items()}
    rows = [
        [name, "{1:.2f} ({0:.2f} .. {2:.2f})".format(*spread(values)), f"{medians['torchvision'] / medians[name]:.2f}"]
        for name, values in times.items()
    ]
    print(table([f"{options.images:,} {options.kind} files", "seconds", "times faster"], rows))
    return medians


if __name__ == "__main__":
    main()
