"""Cost of recording for a training, and time to open a run.

    python -m benchmarks.recording [--rounds 5] [--epochs 50] [--step 10] [--save]

One thread. Calls are timed by the wall clock. Shares are of a training's processor time in all threads: what `update` takes, and what
everything takes, `update` and `end_epoch` until all is on disk. The training keeps the processor busy with matrix products for as long as
a step takes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import results
from benchmarks.results import quantity
from pldebias.runs import Recorder, catalogue, open_run

N, K, D = 6461, 10, 64
Row = dict[str, Any]


def clock(call, repeats: int) -> list[float]:
    """Seconds of each call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def row(what: str, times: list[float], note: str) -> Row:
    return {"what": what, "of": note, "time": quantity(times, "ms", 1000)}


def outputs(n: int = N, k: int = K) -> dict[str, torch.Tensor]:
    logits = torch.randn(n, k).half().float()
    return {"label": logits.argmax(1), "accepted": logits.amax(1) > 2, "logits": logits, "features": torch.randn(n, D)}


def calls(root: Path) -> list[Row]:
    """The recorder's methods, one at a time."""
    recorder, made = Recorder(root / "calls", np.arange(N) % K, [1] * K, [*"abcdefghij"]), outputs()
    step = torch.randint(0, N, (128,)), torch.randint(0, K, (128,)), torch.rand(128) > 0.5
    found, ends = [row("update", clock(lambda: recorder.update(*step), 2000), "128 rows")], []
    for _ in range(50):
        ends += clock(lambda: recorder.end_epoch(sweep=(made["label"], made["accepted"])), 1)
        time.sleep(0.02)  # an epoch lasts longer than writing it
    recorder.flush()
    found.append(row("end_epoch, calling thread", ends, f"{N:,} samples, {K} classes"))
    for what, more in (("", {}), (", with logits and features", {name: made[name] for name in ("logits", "features")})):

        def whole(more=more) -> None:
            recorder.end_epoch(sweep=(made["label"], made["accepted"]), **more)
            recorder.flush()

        found.append(row(f"end_epoch until it is on disk{what}", clock(whole, 30), f"{N:,} samples, {K} classes"))
    recorder.close()
    return found


def train(path: Path, epochs: int, steps: int, products: int, k: int = K) -> tuple[float, float, float]:
    """Record a made training; returns the processor seconds of all of it, of its `update` calls, and of all its recording."""
    torch.manual_seed(0)
    made, test, a = outputs(k=k), torch.randint(0, k, (2, 1000)), torch.randn(256, 256)
    batch = [(torch.randint(0, N, (128,)), torch.randint(0, k, (128,)), torch.rand(128) > 0.5) for _ in range(steps)]
    snapshots = set(np.linspace(0, epochs - 1, max(1, epochs // 5)).astype(int).tolist())
    names = [f"class {i}" for i in range(k)]
    updates, recording, start = 0.0, 0.0, time.process_time()
    with Recorder(path, np.arange(N) % k, range(k, 0, -1), names, num_epochs=epochs, snapshots=snapshots) as recorder:
        recording += time.process_time() - start
        for epoch in range(epochs):
            for step in batch:
                for _ in range(products):
                    torch.mm(a, a)
                begin = time.process_time()
                recorder.update(*step)
                updates += time.process_time() - begin
            begin = time.process_time()
            recorder.end_epoch(
                iteration=(epoch + 1) * steps,
                scalars={f"scalar {i}": float(i) for i in range(15)},
                sweep=(made["label"], made["accepted"]),
                test=(test[0], test[1]),
                series={f"scheme/{name}": torch.rand(k) for name in ("prior", "threshold")},
                **({"logits": made["logits"], "features": made["features"]} if epoch in snapshots else {}),
            )
            recorder.flush()
            recording += time.process_time() - begin
    return time.process_time() - start, updates, recording + updates


def shares(root: Path, longest: int, rounds: int, ms: float) -> list[Row]:
    """Share that recording takes of a training with short epochs and of one with long ones."""
    a, found = torch.randn(256, 256), []
    products = max(1, round(ms / 1000 / statistics.median(clock(lambda: torch.mm(a, a), 200))))
    for epochs, steps, k in ((longest, 40, K), (longest, 40, 100), (max(1, longest // 5), 400, K)):
        costs = [train(root / f"share{steps}x{k}.{i}", epochs, steps, products, k) for i in range(rounds)]
        note = f"{epochs} epochs of {steps} steps of {ms:g} ms, {k} classes"
        for what, part in (("update", 1), ("all recording", 2)):
            found.append({"what": what, "of": note, "share": quantity([100 * cost[part] / cost[0] for cost in costs], "%")})
    return found


def opening(root: Path) -> list[Row]:
    """Runs of 500 epochs, and a folder of runs."""
    n, found = 10_000, []
    index = np.arange(n)
    for classes in (10, 100):
        path = root / f"open{classes}"
        label = np.random.default_rng(0).integers(0, classes, (2, n))
        with Recorder(path, label[1], [1] * classes, [str(i) for i in range(classes)], num_epochs=500) as recorder:
            for e in range(500):
                recorder.update(index, label[0], label[0] < 5)
                recorder.end_epoch(sweep=(label[0], label[0] < 5), test=(label[1], label[0]), scalars={"loss": e, "test_accuracy": e})
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
        note = f"500 epochs x {n:,} samples, {classes} classes, {size:.1f} MB"
        found.append(row("open_run and one matrix", clock(lambda path=path: open_run(path).confusion(epoch=250), 20), note))
        found.append(row("open_run and all matrices of a kind", clock(lambda path=path: open_run(path).confusion(), 5), note))
        found.append(row("open_run and the history of all epochs", clock(lambda path=path: open_run(path).history(), 3), note))
    runs = len(list(root.iterdir()))
    found.append(row("catalogue", clock(lambda: catalogue(root), 5), f"{runs} runs"))
    found.append(row("catalogue, check=False", clock(lambda: catalogue(root, check=False), 5), f"{runs} runs"))
    return found


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure and print; returns the tables."""
    parser = results.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=50, help="of a training with short epochs")
    parser.add_argument("--step", type=float, default=10.0, help="milliseconds of a training's step")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tables = {
            "call": calls(root),
            "of a training": shares(root, options.epochs, options.rounds, options.step),
            "reading": opening(root),
        }
    return results.report("recording", __doc__, tables, options, arguments)


if __name__ == "__main__":
    main()
