"""How long the reading side takes: what-if relabelling and embeddings, on made-up outputs of real sizes.

    python -m benchmarks.analysis [--umap]

Medians of repeated calls on one run in memory, in wall time and in processor time, which other work on the machine disturbs little; the
first call, which reads the snapshot from disk and checks that the chain reproduces the log, is shown apart. ``--umap`` adds a chain of ten
UMAP frames (minutes).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import load, machine, print_machine, table

SIZES = ((12_000, 10, 128, 50), (50_000, 100, 128, 300))  # N, K, D and the goal in ms
SCHEMES = (
    *("debiaspl(tau=1)", "la(at=pseudo)", "daso(T=1.5)", "daso(weight=0.5)", "debiaspl(tau=0.4)+daso", "acr", "simpro"),
    *("flexmatch", "freematch", "crestplus", "darp"),
)
SNAPSHOTS = 10


def record(path: Path, n: int, k: int, d: int, epochs: int = 1):
    """A recorded FixMatch run of this size, whose clusters move apart."""
    from pldebias.runs import Recorder, open_run

    random = np.random.default_rng(0)
    true = np.sort(random.choice(k, n, p=np.geomspace(100, 1, k) / np.geomspace(100, 1, k).sum()))
    centres = random.normal(size=(k, d))
    attrs = {"method": "fixmatch(threshold=0.95)", "seed": 0}
    with Recorder(path, true, np.geomspace(500, 5, k).astype(int), [str(c) for c in range(k)], num_epochs=epochs, attrs=attrs) as recorder:
        for epoch in range(epochs):
            features = (random.normal(size=(n, d)) + (epoch + 1) / epochs * centres[true]).astype(np.float32)
            logits = (random.normal(size=(n, k)) + 4 * np.eye(k)[true]).astype(np.float16).astype(np.float32)
            probs = np.exp(logits - logits.max(1, keepdims=True))
            accepted = probs.max(1) / probs.sum(1) >= 0.95
            recorder.end_epoch(
                sweep=(logits.argmax(1), accepted),
                logits=logits,
                features=features,
                snapshot={"labelled/prototypes": centres.astype(np.float32)},
                iteration=epoch + 1,
            )
    return open_run(path)


def clock(call, repeats: int = 7) -> tuple[float, float, float]:
    """Milliseconds of the first call, and the medians of wall and processor time of the others."""
    wall, processor = [], []
    for _ in range(repeats + 1):
        began, spent = time.perf_counter(), time.process_time()
        call()
        wall.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.process_time() - spent))
    return wall[0], float(np.median(wall[1:])), float(np.median(processor[1:]))


def relabelling(folder: Path) -> list[tuple[str, float, float, float, float]]:
    """Rows of scheme and size, milliseconds as `clock` gives them, and the goal."""
    import pldebias as pld

    rows = []
    for n, k, d, goal in SIZES:
        run = record(folder / f"{n}x{k}", n, k, d)
        for scheme in SCHEMES:

            def call(run=run, scheme=scheme):
                # A FixMatch run lacks the second classifier that ACR estimates this prior with.
                result = pld.what_if(run, scheme, prior="running" if scheme == "acr" else None)
                return result.confusion, result.confusion_accepted

            rows.append((f"{scheme}, {n:,} x {k}", *clock(call), goal))
    return rows


def embedding(folder: Path, umap: bool) -> list[tuple[str, float, float, float, float]]:
    """The same for embeddings of ten snapshots of 12,000 x 128."""
    import pldebias as pld

    run = record(folder / "snapshots", 12_000, 10, 128, SNAPSHOTS)
    rows = [(f"pca, {SNAPSHOTS} x 12,000 x 128", *clock(lambda: pld.embed(run, per_class=None), 3), 1000)]
    sampled = pld.embed(run)
    rows.append((f"pca, {SNAPSHOTS} x {len(sampled.index):,} x 128", *clock(lambda: pld.embed(run), 3), 1000))
    if umap:
        began, spent = time.perf_counter(), time.process_time()
        pld.embed(run, "umap", per_class=None, cache=False)
        times = (1000 * (time.perf_counter() - began), 1000 * (time.process_time() - spent))
        rows.append((f"umap chain, {SNAPSHOTS} x 12,000 x 128", times[0], *times, 120_000))
    return rows


def main(arguments: list[str] | None = None) -> list[tuple[str, float, float, float, float]]:
    """Print the table; returns its rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--umap", action="store_true", help="also a chain of UMAP frames (minutes)")
    options = parser.parse_args(arguments)
    print_machine(machine())
    with tempfile.TemporaryDirectory() as folder:
        rows = [*relabelling(Path(folder)), *embedding(Path(folder), options.umap)]
    columns = ("", "first, ms", "median, ms", "processor, ms", "goal, ms")
    print(table(columns, [(row[0], *(f"{value:.0f}" for value in row[1:])) for row in rows]))
    print(f"\nload at the end: {load()}")
    return rows


if __name__ == "__main__":
    main()
