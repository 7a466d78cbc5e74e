"""The two trainings that the benchmarks of speed compare, each ready to step: the package's own and the conventional one."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from itertools import islice

import torch

from benchmarks import conventional, results
from benchmarks.conventional import MEAN, STD, photographs
from pldebias.data import Batch, Dataset, Images, SplitSpec
from pldebias.methods import build_method
from pldebias.nets import build_network
from pldebias.presets import resolve
from pldebias.training.device import machine
from pldebias.training.evaluate import score
from pldebias.training.loop import train_step
from pldebias.training.program import step_program
from pldebias.training.state import TrainingState

CLASSES = 10


def step_parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the options that say which step is measured, and where."""
    parser = results.parser(doc)
    parser.add_argument("--network", default="wrn28_2", help="a backbone of pldebias.nets")
    parser.add_argument("--batch", type=int, default=64, help="labelled images a step")
    parser.add_argument("--mu", type=float, default=2.0, help="unlabelled images per labelled one, each in two views")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def pictures(labelled: int, unlabelled: int, test: int) -> Dataset:
    """Random pictures of 32 x 32 pixels with random labels."""
    generator, parts = torch.Generator().manual_seed(1), []
    for n in (labelled, unlabelled, test):
        parts.append(Images(photographs(n), torch.randint(0, CLASSES, (n,), generator=generator), torch.arange(n)))
    counts = [torch.bincount(part.labels, minlength=CLASSES) for part in parts]
    names = tuple(f"class {k}" for k in range(CLASSES))
    return Dataset(SplitSpec(), 0, *parts, None, None, names, MEAN, STD, "random pictures", *counts[:2])


class Fixed:
    """In a loader's place: the same batch every time, so that a step is measured without its data pipeline."""

    def __init__(self, batch: Batch, generator: torch.Generator | None = None):
        self.batch, self.generator = batch, generator

    def next(self) -> Batch:
        return self.batch

    def draw(self) -> tuple[()]:
        return ()

    def make(self) -> Batch:
        return self.batch

    def ahead(self) -> None:
        pass


class Ours:
    """The package's own training of FixMatch, ready to step; replayed as a CUDA graph with `graph`."""

    def __init__(self, options: argparse.Namespace, data: Dataset, precision: str, graph: bool = False, compiled: bool = False):
        settings = {"network": options.network, "batch_size": options.batch, "mu": options.mu, "precision": precision}
        config = resolve("fixmatch", "cifar10-lt", graph=graph, compile=compiled, **settings)
        self.state = TrainingState(config, build_method("fixmatch"), data, torch.device(options.device))
        self.loader = self.state.loader
        self.batch = self.loader.next()
        self.sources = {True: self.loader, False: Fixed(self.batch, self.loader.generator)}
        self.programs = {pipeline: step_program(self.state) for pipeline in self.sources} if graph else {}
        self._turn = ExitStack()

    def begin(self, pipeline: bool | None = None) -> None:
        """Set on this machine what a training sets; on a CPU a step too, which leaves the allocator as a training finds it."""
        self._turn.enter_context(machine(self.state.config, self.state.device))
        if pipeline is not None and self.state.device.type == "cpu":
            self.steps(1, pipeline)

    def end(self) -> None:
        self._turn.close()

    def steps(self, count: int, pipeline: bool) -> None:
        """`count` optimiser steps, on new batches of the data pipeline or on the same one; between `begin` and `end`."""
        self.state.loader = self.sources[pipeline]
        for _ in range(count):
            if self.programs:
                self.programs[pipeline].step()
            else:
                train_step(self.state)
        self.state.loader = self.loader

    def batches(self, count: int) -> None:
        for _ in range(count):
            self.loader.next()

    def evaluate(self) -> None:
        """One pass of the teacher over the test images."""
        score(self.state.ema.teacher, self.loader, "test")


class Theirs:
    """The conventional training of FixMatch, ready to step."""

    def __init__(self, options: argparse.Namespace, data: Dataset, batch: Batch):
        self.device, self.workers = torch.device(options.device), options.workers
        self.trainer = conventional.Trainer(build_network(options.network, 3, CLASSES).to(self.device))
        x, weak, strong = (t.contiguous() for t in (batch.labelled["weak"], batch.unlabelled["weak"], batch.unlabelled["strong"]))
        self.batch = conventional.Views(x, batch.y, weak, strong)
        views = conventional.views()

        def part(images: Images, *names: str) -> conventional.Pictures:
            array = images.images.permute(0, 2, 3, 1).contiguous().numpy()
            return conventional.Pictures(array, images.labels.numpy(), *(views[name] for name in names))

        self.labelled, self.unlabelled = part(data.labelled, "weak"), part(data.unlabelled, "weak", "strong")
        self.test = torch.utils.data.DataLoader(part(data.test, "identity"), 64, num_workers=self.workers)
        self.sizes = options.batch, int(options.batch * options.mu)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.trainer.step(self.batch)

    def begin(self) -> None:
        """As `Ours.begin`: on a CPU, a step that does not count."""
        if self.device.type == "cpu":
            self.steps(1)

    def start_pipeline(self, count: int) -> None:
        """New workers, whose queues are emptied: what they had time to prepare before the clock starts is not free."""
        ahead = 2 * self.workers
        loaders = (
            conventional.loader(part, size, count + ahead, self.workers)
            for part, size in zip((self.labelled, self.unlabelled), self.sizes, strict=True)
        )
        self.stream = conventional.batches(*loaders, self.device)
        for _ in islice(self.stream, ahead):
            pass

    def iterations(self, count: int) -> None:
        for batch in islice(self.stream, count):
            self.trainer.step(batch)

    def batches(self, count: int) -> None:
        for _ in islice(self.stream, count):
            pass

    def evaluate(self) -> None:
        self.trainer.evaluate(self.test, CLASSES, self.device)
