"""What recording costs a training, and how fast a run opens: ``python -m benchmarks.recording``.

One thread. Times are medians of wall time, with the slowest in brackets; other work on the machine shows in them. Shares are measured in
processor time of all threads, which other work disturbs little: what `update` takes of its step, and what everything takes of a training,
`update` and `end_epoch` until all is on disk. The training keeps the processor busy with matrix products for as long as a step takes.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pldebias.runs import Recorder, catalogue, open_run


def clock(function, repeats: int) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return times


def row(what: str, times: list[float], note: str = "") -> None:
    print(f"| {what} | {statistics.median(times):.3f} ({max(times):.3f}) | {note} |")


def outputs(n: int, k: int, d: int) -> dict:
    logits = torch.randn(n, k).half().float()
    return {"label": logits.argmax(1), "accepted": logits.amax(1) > 2, "logits": logits, "features": torch.randn(n, d)}


class Cost(NamedTuple):
    """Processor seconds of a training, of the `update` calls in it and of all its recording; milliseconds of every end_epoch with flush."""

    training: float
    updates: float
    recording: float
    ends: list[float]


def train(path: Path, n: int, k: int, d: int, epochs: int, steps: int, products: int, snapshots: set[int]) -> Cost:
    """Record a made training."""
    torch.manual_seed(0)
    made, test = outputs(n, k, d), torch.randint(0, k, (2, 1000))
    batch = [(torch.randint(0, n, (128,)), torch.randint(0, k, (128,)), torch.rand(128) > 0.5) for _ in range(steps)]
    a = torch.randn(256, 256)
    names = [f"class {i}" for i in range(k)]
    ends, updates, recording, start = [], 0.0, 0.0, time.process_time()
    with Recorder(path, np.arange(n) % k, range(k, 0, -1), names, num_epochs=epochs, snapshots=snapshots) as recorder:
        recording += time.process_time() - start
        for epoch in range(epochs):
            for step in batch:
                for _ in range(products):
                    torch.mm(a, a)
                begin = time.process_time()
                recorder.update(*step)
                updates += time.process_time() - begin
            begin, wall = time.process_time(), time.perf_counter()
            recorder.end_epoch(
                iteration=(epoch + 1) * steps,
                scalars={f"scalar {i}": float(i) for i in range(15)},
                sweep=(made["label"], made["accepted"]),
                test=(test[0], test[1]),
                series={f"scheme/{name}": torch.rand(k) for name in ("prior", "threshold")},
                **({"logits": made["logits"], "features": made["features"]} if epoch in snapshots else {}),
            )
            recorder.flush()  # as training does, so that a checkpoint never runs ahead of the log
            recording += time.process_time() - begin
            ends.append(1000 * (time.perf_counter() - wall))
    return Cost(time.process_time() - start, updates, recording + updates, ends)


def calls(root: Path, n: int, k: int, d: int) -> None:
    """The recorder's methods, one at a time."""
    recorder = Recorder(root / "update", np.arange(n) % k, [1] * k, [*"abcdefghij"])
    step = torch.randint(0, n, (128,)), torch.randint(0, k, (128,)), torch.rand(128) > 0.5
    row("update", clock(lambda: recorder.update(*step), 2000), "M = 128")
    made = outputs(n, k, d)
    flush = recorder.flush
    ends = []
    for _ in range(50):
        ends += clock(lambda: recorder.end_epoch(sweep=(made["label"], made["accepted"])), 1)
        time.sleep(0.02)  # an epoch lasts longer than writing it
    row("end_epoch, calling thread", ends, f"N = {n}, K = {k}")
    flush()
    shots = {"logits": made["logits"], "features": made["features"]}
    for what, more in (("end_epoch + flush", {}), ("the same with logits and features", shots)):
        row(
            what,
            clock(lambda more=more: (recorder.end_epoch(sweep=(made["label"], made["accepted"]), **more), flush()), 30),
            f"N = {n}, K = {k}, D = {d}",
        )
    recorder.close()


def shares(root: Path, n: int, k: int, d: int, longest: int, repeats: int, ms: float) -> None:
    """What recording takes of a training with short epochs and of one with long ones."""
    a = torch.randn(256, 256)
    products = max(1, round(ms / statistics.median(clock(lambda: torch.mm(a, a), 200))))
    for epochs, steps in ((longest, 40), (max(1, longest // 5), 400)):
        snapshots = set(np.linspace(0, epochs - 1, max(1, epochs // 5)).astype(int).tolist())
        costs = [train(root / f"share{steps}.{i}", n, k, d, epochs, steps, products, snapshots) for i in range(repeats)]
        took = statistics.median(1000 * (cost.training - cost.recording) / (epochs * steps) for cost in costs)
        note = f"{epochs} epochs of {steps} steps of {took:.0f} ms, {len(snapshots)} snapshots"
        row("end_epoch + flush in a training", [end for cost in costs for end in cost.ends], note)
        for what, part in (("update, share of a step", "updates"), ("everything, share of the training", "recording")):
            parts = [100 * getattr(cost, part) / cost.training for cost in costs]
            each = ", ".join(f"{share:.2f}" for share in parts)
            print(f"| {what} | {statistics.median(parts):.2f} % | {note}; processor time, runs: {each} |")


def opening(root: Path, k: int) -> None:
    """Runs of 500 epochs, and a folder of runs."""
    n = 10_000
    label = np.random.default_rng(0).integers(0, k, (2, n))
    for name, classes in (("open10", 10), ("open100", 100)):
        label = np.random.default_rng(0).integers(0, classes, (2, n))
        with Recorder(root / name, label[1], [1] * classes, [str(i) for i in range(classes)], num_epochs=500) as recorder:
            index = np.arange(n)
            for e in range(500):
                recorder.update(index, label[0], label[0] < 5)
                recorder.end_epoch(sweep=(label[0], label[0] < 5), test=(label[1], label[0]), scalars={"loss": e, "test_accuracy": e})
        size = sum(path.stat().st_size for path in (root / name).rglob("*") if path.is_file()) / 1e6
        note = f"500 epochs x {n} samples, K = {classes}, {size:.1f} MB"
        row("open_run + one matrix", clock(lambda name=name: open_run(root / name).confusion(epoch=250), 20), note)
        row("open_run + all matrices of one kind", clock(lambda name=name: open_run(root / name).confusion(), 5), note)
        row("open_run + history of all epochs", clock(lambda name=name: open_run(root / name).history(), 3), note)
    runs = len(list(root.iterdir()))
    row(f"catalogue of {runs} runs", clock(lambda: catalogue(root), 5), "two of 500 epochs")
    row("the same without looking at chunks", clock(lambda: catalogue(root, check=False), 5), "check=False")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--step", type=float, default=10.0, help="milliseconds of a training's step")
    parser.add_argument("--shares", action="store_true", help="the shares of trainings alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print("| what | ms: median (slowest) | note |\n|---|---|---|")
        n, k, d = 6461, 10, 64
        if not arguments.shares:
            calls(root, n, k, d)
        shares(root, n, k, d, arguments.epochs, arguments.repeats, arguments.step)
        if not arguments.shares:
            opening(root, k)


if __name__ == "__main__":
    main()
