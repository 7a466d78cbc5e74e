"""What a training costs as it grows: unlabelled images N, classes K, epochs.

    python -m benchmarks.scale [--device cpu] [--network tiny_resnet] [--images 1000 4000 16000] [--classes 10 100 1000]
                               [--epochs 20 80 320] [--steps 5] [--rounds 3]

FixMatch with DASO on random pictures of 32 x 32 pixels. One thing grows at a time, from the smallest of the others. A step should cost
the same whatever N and the number of epochs; the sweep and what is recorded grow with N; with K grow classifier, confusion matrices and
prototypes. The last column is the cost relative to the first row; everything is measured in one run, contenders in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.augment import MEAN, STD, photographs
from benchmarks.timing import CLOCKS, alternate, machine, print_machine, spread, synchronise, table
from pldebias.data import Dataset, Images, SplitSpec
from pldebias.gpu.graph import WARMUP
from pldebias.methods import build_method
from pldebias.presets import resolve
from pldebias.runs import Recorder, open_run
from pldebias.training.device import machine as training_machine
from pldebias.training.evaluate import sweep
from pldebias.training.program import step_program
from pldebias.training.state import TrainingState

METHOD = "fixmatch+daso(start=0)"
PARTS = ("one step", "one sweep over N", "one recorded epoch", "bytes of an epoch on disk")


def pictures(unlabelled: int, classes: int) -> Dataset:
    """Random pictures, one labelled and one test image a class at least, and N unlabelled ones."""
    generator, parts = torch.Generator().manual_seed(1), []
    stock = photographs(1024)
    for n in (max(256, classes), unlabelled, classes):
        labels = torch.arange(n) % classes
        parts.append(Images(stock[torch.randint(0, 1024, (n,), generator=generator)], labels, torch.arange(n)))
    counts = [torch.bincount(part.labels, minlength=classes) for part in parts]
    names = tuple(f"class {k}" for k in range(classes))
    return Dataset(SplitSpec(), 0, *parts, None, None, names, MEAN, STD, f"random pictures of {classes} classes", *counts[:2])


class Training:
    """One size of training, ready to step, to sweep and to record."""

    def __init__(self, options: argparse.Namespace, images: int, classes: int, folder: Path):
        settings = {"network": options.network, "batch_size": options.batch, "precision": options.precision}
        config = resolve(METHOD, "cifar10-lt", **settings)
        data = pictures(images, classes)
        self.state = TrainingState(config, build_method(METHOD), data, torch.device(options.device))
        self.path, self.count = folder / f"{images}-{classes}", options.steps
        self.recorder = Recorder(self.path, data.unlabelled.labels, data.labelled_counts, data.class_names, device=self.state.device)
        self.program = step_program(self.state, self.recorder)
        for _ in range(WARMUP + 1):
            self.program.step()
        self.swept = self.sweep()

    def step(self) -> None:
        with training_machine(self.state.config, self.state.device):
            for _ in range(self.count):
                self.program.step()

    def sweep(self) -> dict[str, torch.Tensor]:
        return sweep(self.state.ema.teacher, self.state.method, self.state.loader, self.state.t)

    def record(self) -> None:
        """Everything but outputs, which are kept at some epochs only."""
        self.recorder.end_epoch(
            sweep=(self.swept["label"], self.swept["accepted"]), scalars={"loss": 1.0}, series=self.state.method.series()
        )
        self.recorder.flush()

    def size(self) -> float:
        """Bytes on disk of one epoch, the first files apart."""
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file()) / max(self.recorder.epoch, 1)


def grow(options: argparse.Namespace, sizes: list[tuple[int, int]], folder: Path) -> dict[str, list[list[float]]]:
    """Seconds (bytes) of every part, for every size ``(N, K)`` one value a round."""
    trainings = {f"{n} {k}": Training(options, n, k, folder) for n, k in sizes}
    device, rounds = torch.device(options.device), options.rounds
    turns: dict[str, Callable[[Training], Callable[[], Any]]] = {
        "one step": lambda t: t.step,
        "one sweep over N": lambda t: t.sweep,
        "one recorded epoch": lambda t: t.record,
    }
    found: dict[str, list[list[float]]] = {}
    for part, turn in turns.items():
        times = alternate({name: turn(t) for name, t in trainings.items()}, rounds, device, options.clock)
        found[part] = [[v / (options.steps if part == "one step" else 1) for v in values] for values in times.values()]
    for training in trainings.values():
        training.recorder.close()
    found["bytes of an epoch on disk"] = [[training.size()] for training in trainings.values()]
    return found


def lengthen(options: argparse.Namespace, folder: Path) -> dict[str, list[list[float]]]:
    """Seconds of recording the last epochs of ever longer runs, and of opening them."""
    n, k, read = min(options.images), min(options.classes), CLOCKS[options.clock]
    data = pictures(n, k)
    label, accepted = torch.arange(n) % k, torch.ones(n)
    recorded, opened = [], []
    for epochs in options.epochs:
        path, times = folder / f"{epochs} epochs", []
        with Recorder(path, data.unlabelled.labels, data.labelled_counts, data.class_names, num_epochs=epochs) as recorder:
            for epoch in range(epochs):
                start = read()
                recorder.end_epoch(sweep=(label, accepted), scalars={"loss": 1.0 / (epoch + 1)})
                recorder.flush()
                times.append(read() - start)
        recorded.append(times[-10:])
        times = []
        for _ in range(options.rounds):
            start = read()
            run = open_run(path)
            assert len(run.confusion("sweep")) == epochs and len(run.scalars) == epochs
            times.append(read() - start)
        opened.append(times)
    return {"one recorded epoch, at the end": recorded, "opening the run, all matrices and scalars": opened}


def _rows(part: str, names: list[str], values: list[list[float]]) -> list[list[str]]:
    base, rows = statistics.median(values[0]), []
    for name, of_size in zip(names, values, strict=True):
        low, middle, high = spread(of_size)
        ratio = f"{middle / base:.2f}"
        if part.startswith("bytes"):
            rows.append([f"{part}, {name}", f"{middle:,.0f}", "", ratio])
        else:
            rows.append([f"{part}, {name}", f"{1000 * middle:.2f} ms", f"{1000 * low:.2f} .. {1000 * high:.2f}", ratio])
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--network", help="a backbone of pldebias.nets; default: tiny_resnet on a CPU, wrn28_2 on CUDA")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--batch", type=int, help="labelled images a step; default: 8 on a CPU, 64 on CUDA")
    parser.add_argument("--images", type=int, nargs="+", help="N; default: up to 16,000 on a CPU, up to 1,024,000 on CUDA")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--epochs", type=int, nargs="+", default=[20, 80, 320])
    parser.add_argument("--steps", type=int, help="a turn; default: 5 on a CPU, 100 on CUDA")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    options = parser.parse_args(arguments)
    cuda = torch.device(options.device).type == "cuda"
    options.network = options.network or ("wrn28_2" if cuda else "tiny_resnet")
    options.batch = options.batch or (64 if cuda else 8)
    options.steps = options.steps or (100 if cuda else 5)
    options.images = options.images or ([10_000, 100_000, 1_024_000] if cuda else [1000, 4000, 16_000])
    torch.set_num_threads(options.threads)
    return options


def main(arguments: list[str] | None = None) -> dict[str, dict[str, list[list[float]]]]:
    """Print the tables; returns seconds (or bytes) by what grows, part and size."""
    options = parse(arguments)
    about = machine(options.device)
    smallest = min(options.images), min(options.classes)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = {
            "images": grow(options, [(n, smallest[1]) for n in options.images], root / "images"),
            "classes": grow(options, [(smallest[0], k) for k in options.classes], root / "classes"),
            "epochs": lengthen(options, root / "epochs"),
        }
    synchronise(options.device)
    about["load afterwards"] = machine(options.device)["load"]
    if options.json:
        print(json.dumps({"machine": about, "options": vars(options), "found": found}))
        return found
    print(f"{METHOD}, {options.network}, {options.batch} labelled images a step, {options.precision}, {options.clock} time")
    print_machine(about)
    for grown, values, unit in (("images", options.images, "N"), ("classes", options.classes, "K"), ("epochs", options.epochs, "epochs")):
        names = [f"{unit} = {value:,}" for value in values]
        rows = [row for part, of_part in found[grown].items() for row in _rows(part, names, of_part)]
        print(table([f"{grown} grow", "median", "smallest .. largest", "relative"], rows))
        print()
    return found


if __name__ == "__main__":
    main()
