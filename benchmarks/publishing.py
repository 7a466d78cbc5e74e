"""What figures, tables and the report cost: ``python -m benchmarks.publishing``.

Made runs of 500 epochs with 10,000 unlabelled samples and 10 classes; one thread. Seconds of wall time, in which other work on the machine
shows, and of processor time, each for a fresh opening of the runs and a saved PDF; the first row is what the first figure of a session pays
for importing matplotlib and seaborn.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import pldebias as pld
from pldebias.figures import figures
from pldebias.report import report
from pldebias.runs import Recorder

METHODS = ("fixmatch", "fixmatch+daso", "fixmatch+la", "fixmatch+seval")
FIGURES = (
    *("recall_precision", "training_curves", "carpet", "label_distribution", "learned_state", "estimated_prior", "confusion_epochs"),
)


def record(path: Path, method: str, seed: int, epochs: int, n: int, k: int = 10) -> None:
    """A run that gets better, faster in the head than in the tail."""
    r = np.random.default_rng(seed)
    truth = np.sort(r.choice(k, n, p=(p := 0.7 ** np.arange(k)) / p.sum()))
    chance = r.random(n)
    attrs = {"method": method, "data": "made", "seed": seed, "fingerprint": str(seed), "config": {"source": "made", "gamma_u": 25.0}}
    with Recorder(path, truth, range(10 * k, 0, -10), [f"class {i}" for i in range(k)], num_epochs=epochs, attrs=attrs) as recorder:
        for epoch in range(epochs):
            label = np.where(chance < (epoch + 1) / epochs * (1 - truth / k), truth, r.integers(0, k, n))
            recorder.update(np.arange(n), label, label == truth)
            state = {"seval/offsets": np.linspace(1, 2, k), "adello/prior": np.bincount(label, minlength=k) / n}
            scalars = {"ece": 0.3 * (1 - epoch / epochs), "loss/labelled": 1 / (epoch + 1)}
            last = {"logits": np.eye(k)[label], "semantic": np.eye(k)[truth]} if epoch == epochs - 1 and "daso" in method else {}
            recorder.end_epoch(sweep=(label, label == truth), test=(truth, label), series=state, scalars=scalars, iteration=epoch, **last)


def timed(what: str, limit: str, call) -> None:
    start, spent = time.perf_counter(), time.process_time()
    made = call()
    spent, seconds = time.process_time() - spent, time.perf_counter() - start
    print(f"| {what} | {seconds:.2f} s | {spent:.2f} s | {limit} | {made} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=90, help="of the table")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for method in METHODS:
            record(root / "four" / method, method, 0, options.epochs, options.samples)
        for number in range(options.runs):
            record(root / "many" / str(number), f"m{number // 5}", number % 5, 30, 500)
        print("| what | wall | processor | limit | note |\n|---|---|---|---|---|")

        def draw(name: str, runs=root / "four"):
            def call() -> str:
                figure = getattr(pld.plots, name)(runs)
                figure.save(root / "figure.pdf")
                return f"{(root / 'figure.pdf').stat().st_size / 1e3:.0f} kB PDF"

            return call

        timed("first figure, imports included", "3 s", draw("recall_precision"))
        for name in FIGURES:
            timed(f"{name}, 4 runs of {options.epochs} epochs", "3 s", draw(name))
        timed("confusion_difference", "3 s", draw("confusion_difference", {m: root / "four" / m for m in METHODS[:2]}))
        timed("blending", "3 s", draw("blending", root / "four" / "fixmatch+daso"))
        timed(f"table of {options.runs} runs", "5 s", lambda: f"{len(pld.table(root / 'many', baseline='m0').rows)} rows")
        timed(
            "its LaTeX, median of 20 epochs",
            "5 s",
            lambda: f"{len(pld.table(root / 'many', statistic='median20').to_latex()) / 1e3:.0f} kB",
        )
        timed("all figures and the table, 4 runs", "", lambda: f"{len(figures(root / 'four', root / 'paper'))} files")
        timed("report, 4 runs", "10 s, 5 MB", lambda: f"{report(root / 'four', root / 'r.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
