"""Time of the reading side: what-if relabelling and embeddings, on made-up outputs of real sizes.

    python -m benchmarks.analysis [--save]

Repeated calls on one run in memory, in wall time and in processor time, which other work on the machine disturbs little.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import results

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


def timed(what: str, call, goal: int, repeats: int = 7) -> dict:
    """A row: the first call, which reads from disk and checks that the chain reproduces the log, and the others."""
    wall, processor = [], []
    for _ in range(repeats + 1):
        began, spent = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - spent)
    first, others = results.quantity(wall[:1], "ms", 1000), results.quantity(wall[1:], "ms", 1000)
    return {"what": what, "first call": first, "others": others, "processor": results.quantity(processor[1:], "ms", 1000), "goal, ms": goal}


def relabelling(folder: Path) -> list[dict]:
    """Rows of every scheme and size."""
    import pldebias as pld

    rows = []
    for n, k, d, goal in SIZES:
        run = record(folder / f"{n}x{k}", n, k, d)
        for scheme in SCHEMES:

            def call(run=run, scheme=scheme):
                # A FixMatch run lacks the second classifier that ACR estimates this prior with.
                result = pld.what_if(run, scheme, prior="running" if scheme == "acr" else None)
                return result.confusion, result.confusion_accepted

            rows.append(timed(f"{scheme}, {n:,} x {k}", call, goal))
    return rows


def embedding(folder: Path) -> list[dict]:
    """The same for embeddings of ten snapshots of 12,000 x 128, all points and those that are drawn by default."""
    import pldebias as pld

    run = record(folder / "snapshots", 12_000, 10, 128, SNAPSHOTS)
    return [
        timed(f"pca, {SNAPSHOTS} snapshots, all points", lambda: pld.embed(run, per_class=None), 1000, 3),
        timed(f"pca, {SNAPSHOTS} snapshots, {len(pld.embed(run).index):,} points", lambda: pld.embed(run), 1000, 3),
    ]


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure and print; returns the tables."""
    options = results.parser(__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = [*relabelling(Path(folder)), *embedding(Path(folder))]
    return results.report("analysis", __doc__, {"what": rows}, options, arguments)


if __name__ == "__main__":
    main()
