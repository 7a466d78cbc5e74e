"""Batches of images that are too many for memory: how fast they come, by source and number of workers.

    python -m benchmarks.streaming [--device cpu] [--images 2000] [--size 64] [--batch 64] [--mu 2] [--workers 0 1 2] [--rounds 5]

Labelled and unlabelled images, each in its clean view, from memory, from an array mapped from disk, and from JPEG files that are decoded
as they are asked for. The figure is wall time a batch, contenders in turns, each turn a number of batches after workers have started;
files lie in the system's cache, as they do after a first epoch. ``--compute`` adds work of so many milliseconds behind every batch, in
which workers and copies get ahead: then the figure is what a step waits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.augment import MEAN, STD, photographs
from benchmarks.timing import alternate, machine, print_machine, spread, synchronise, table
from pldebias.data import Dataset, Images, ResidentLoader, SplitSpec, StreamLoader, make_augment
from pldebias.data.decode import ArrayReader, FileReader, LazyImages


def sources(n: int, size: int, folder: Path) -> dict[str, Any]:
    """The same `n` pictures in memory, as an array on disk, and as JPEG files."""
    images = torch.nn.functional.interpolate(photographs(n).float(), size=size, mode="bilinear").round().to(torch.uint8)
    np.save(folder / "images.npy", images.numpy())
    paths = []
    for i, picture in enumerate(images.permute(0, 2, 3, 1).numpy()):
        paths.append(str(folder / f"{i}.jpg"))
        Image.fromarray(picture).save(paths[-1], quality=90)
    array, files = ArrayReader(folder / "images.npy"), FileReader(paths, 3, size)
    return {"memory": images, "array on disk": LazyImages(array), "JPEG files": LazyImages(files)}


def dataset(images: Any) -> Dataset:
    labels = torch.arange(len(images)) % 10
    part = Images(images, labels, torch.arange(len(images)))
    counts = torch.bincount(labels)
    return Dataset(SplitSpec(), 0, part, part, part, None, None, tuple("abcdefghij"), MEAN, STD, "pictures", counts, counts)


class Turn:
    """A loader that gives `count` batches, with `compute` seconds of work behind each."""

    def __init__(self, loader: ResidentLoader, count: int, compute: float):
        self.loader, self.count, self.compute = loader, count, compute
        loader.next()  # workers start

    def __call__(self) -> None:
        for _ in range(self.count):
            self.loader.next()
            self.loader.ahead()
            if self.compute:
                synchronise(self.loader.device)
                time.sleep(self.compute)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Seconds a batch beyond the work behind it, by contender, one value a round."""
    turns: dict[str, Turn] = {}
    for name, images in sources(options.images, options.size, folder).items():
        for workers in [None] if name == "memory" else options.workers:
            augment = make_augment("daso", MEAN, STD, options.size)
            given = {"batch_size": options.batch, "mu": options.mu, "device": options.device}
            views = {"labelled_views": ("identity",), "unlabelled_views": ("identity",)}
            if workers is None:
                loader = ResidentLoader(dataset(images), augment, **given, **views)
            else:
                loader = StreamLoader(dataset(images), augment, workers=workers, **given, **views)
            label = name if workers is None else f"{name}, {workers} worker{'s' * (workers != 1)}"
            turns[label] = Turn(loader, options.batches, options.compute / 1000)
    times = alternate(turns, options.rounds, options.device)
    for turn in turns.values():
        if isinstance(turn.loader, StreamLoader):
            turn.loader.close()
    return {name: [v / options.batches - options.compute / 1000 for v in values] for name, values in times.items()}


def main(arguments: list[str] | None = None) -> dict[str, list[float]]:
    """Print the table; returns seconds a batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64, help="height and width")
    parser.add_argument("--batch", type=int, default=64, help="labelled images a batch")
    parser.add_argument("--mu", type=float, default=2.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=8, help="a turn")
    parser.add_argument("--compute", type=float, default=0.0, help="milliseconds of work behind a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    about = machine(options.device)
    with tempfile.TemporaryDirectory() as folder:
        times = measure(options, Path(folder))
    about["load afterwards"] = machine(options.device)["load"]
    if options.json:
        print(json.dumps({"machine": about, "options": vars(options), "times": times}))
        return times
    images = options.batch + int(options.batch * options.mu)
    work = f", {options.compute:g} ms of work behind each" if options.compute else ""
    print(f"batches of {images} images of {options.size} x {options.size}{work}, {options.rounds} rounds, wall time")
    print_machine(about)
    rows = []
    for name, values in times.items():
        low, middle, high = spread(values)
        rate = f"{images / middle:,.0f}" if middle > 0 else "–"
        rows.append([name, f"{1000 * middle:.2f} ({1000 * low:.2f} .. {1000 * high:.2f})", rate])
    print(table(["images from", "ms a batch", "images / s"], rows))
    return times


if __name__ == "__main__":
    main()
