"""Time in which the explorer opens, draws and follows a key.

    python -m benchmarks.explorer [--epochs 500] [--classes 10 100] [--save]

Made runs of 500 epochs go through headless Chromium as exported pages. A step lasts from the key to two animation frames after the page
says the new epoch; the floor is the same on an empty page, in the same browser, just before. Drawing is the script time of the animation
frames of a step (Chromium rasterises afterwards, in another process). Every page is measured idle and beside a process that trains.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import results
from benchmarks.browser import chromium
from benchmarks.results import quantity

SIZES = {10: (7_443, 3_000), 100: (10_899, 500)}  # classes -> unlabelled samples, those of the first class (CIFAR-LT, ratio 100)
VISITS = 8  # of every sample in an epoch
FLOOR = """<!DOCTYPE html><div tabindex="0" data-epoch="0">0</div><script>
const node = document.querySelector("div"); let epoch = 0;
node.addEventListener("keydown", () => requestAnimationFrame(() => (node.textContent = node.dataset.epoch = ++epoch)));
requestAnimationFrame(() => (node.dataset.epoch = epoch)); </script>"""
CLOCK = """(() => {
  const frame = window.requestAnimationFrame.bind(window), seen = (window.seen = []);
  let began = 0, spent = 0;
  window.requestAnimationFrame = (f) => frame((now) => { const start = performance.now(); f(now); spent += performance.now() - start; });
  addEventListener("keydown", (event) => ((began = event.timeStamp), (spent = 0)), true);
  new MutationObserver(() => frame(() => frame(() => seen.push([performance.now() - began, spent]))))
    .observe(document, { subtree: true, childList: false, attributes: true, attributeFilter: ["data-epoch"] });
})()"""
SEEN = """n => new Promise((done, fail) => {
  const until = performance.now() + 30000, late = () => fail(new Error("the page drew nothing for 30 seconds"));
  const look = () => (seen.length >= n ? done(seen[n - 1]) : performance.now() > until ? late() : setTimeout(look, 5));
  look();
})"""
TRAINING = """
import torch
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Linear(1024, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 10))
optimiser = torch.optim.SGD(network.parameters(), 0.01)
print("training", flush=True)
while True:
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network(torch.randn(256, 1024)), torch.randint(10, (256,))).backward()
    optimiser.step()
"""


class Steps(NamedTuple):
    """Milliseconds of a page: from opening to its first painted frame, and of its steps and their drawing."""

    opened: float
    steps: list[float]
    drawing: list[float]


def record(path: Path, k: int, epochs: int, samples: int, seed: int = 0) -> Path:
    """A training of `epochs`: classes are learned head first, and what is not learned yet is called one of five look-alikes."""
    from pldebias.runs import Recorder

    r = np.random.default_rng(seed)
    share = np.geomspace(100, 1, k)
    truth = np.sort(np.random.default_rng(0).choice(k, samples, p=share / share.sum()))
    alike = np.stack([r.choice(k, 5, p=share / share.sum()) for _ in range(k)])
    learned = r.exponential(0.15 + 0.5 * truth / k) * epochs
    habit = alike[truth, r.integers(0, 5, samples)]
    index = np.tile(np.arange(samples), VISITS)
    counts = np.maximum(share / share[0] * 500, 5).astype(int)
    attrs = {"method": "fixmatch", "data": f"made, {k} classes", "seed": seed}
    with Recorder(path, truth, counts, [f"class {c}" for c in range(k)], num_epochs=epochs, attrs=attrs) as recorder:
        for epoch in range(epochs):
            steady = np.where(learned < epoch, truth, habit)
            wavers = r.random((VISITS + 1, samples)) < 0.15
            label = np.where(wavers, alike[truth, r.integers(0, 5, (VISITS + 1, samples))], steady)
            sure = r.random((VISITS + 1, samples)) < 0.3 + 0.6 * (label == truth)
            recorder.update(index, label[1:].ravel(), sure[1:].ravel())
            recorder.end_epoch(sweep=(label[0], sure[0]), test=(truth[::5], label[0, ::5]), iteration=250 * (epoch + 1))
    return path


@contextlib.contextmanager
def training():
    """A process that trains a network on one thread beside what is measured."""
    process = subprocess.Popen([sys.executable, "-c", TRAINING], stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def walk(browser, path: Path, focus: str, steps: int) -> Steps:
    """Open a page and press a key `steps` times, each once the step before is painted."""
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.add_init_script(CLOCK)
    page.goto(path.as_uri())
    opened = page.evaluate(SEEN, 1)[0]
    page.locator(focus).first.focus()
    page.wait_for_timeout(300)  # what a focus or a late layout draws is over
    times = []
    for _ in range(steps + 2):
        before = page.evaluate("seen.length")
        page.keyboard.press("ArrowLeft")
        times.append(page.evaluate(SEEN, before + 1))
    context.close()
    waited, drawn = zip(*times[2:], strict=True)  # the first two warm caches
    return Steps(opened, list(waited), list(drawn))


def opening(runs: list[Path], out: Path, rounds: int, **choice) -> tuple[list[float], list[float], Path]:
    """Wall and processor time of opening runs and making their explorer, one value a round; and the page that it exports to."""
    import pldebias as pld

    wall, processor = [], []
    for _ in range(rounds):
        began, spent = time.perf_counter(), time.process_time()
        view = pld.explore(*runs, **choice)
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - spent)
    return wall, processor, view.to_html(out)


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure and print; returns two tables, of opening and of steps."""
    parser = results.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--steps", type=int, default=60, help="keys pressed on each page")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100], choices=SIZES)
    parser.add_argument("--samples", type=int, help="unlabelled samples in place of those of CIFAR-LT")
    options = parser.parse_args(arguments)
    opened, stepped = [], []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root = Path(folder)
        empty = root / "empty.html"
        empty.write_text(FLOOR, encoding="utf-8")
        for k in options.classes:
            samples = options.samples or SIZES[k][0]
            runs = [record(root / f"{k}-{seed}", k, options.epochs, samples, seed) for seed in (0, 1)]
            shown = {"one run": (runs[:1], {}), "one run, sweep alone": (runs[:1], {"kinds": ("sweep",)}), "two runs": (runs, {})}
            for name, (chosen, choice) in shown.items():
                wall, processor, page = opening(chosen, root / f"{k}-{name.replace(' ', '-')}.html", options.rounds, **choice)
                first = []
                for state, beside in (("idle", contextlib.nullcontext), ("beside a training", training)):
                    with beside():
                        floor = walk(browser, empty, "div", options.steps)
                        found = walk(browser, page, ".pldebias input[type=range]", options.steps)
                    first.append(found.opened)
                    row = {"step": quantity(found.steps, "ms"), "empty page": quantity(floor.steps, "ms")}
                    stepped.append({"what": f"K = {k}, {name}, {state}", **row, "drawing": quantity(found.drawing, "ms")})
                row = {"pld.explore": quantity(wall, "ms", 1000), "processor": quantity(processor, "ms", 1000)}
                row |= {"page to first frame, idle": quantity(first[:1], "ms"), "page, MB": page.stat().st_size / 1e6}
                opened.append({"what": f"K = {k}, {name}", **row})
    tables = {f"{options.epochs} epochs": opened, "key to painted step": stepped}
    return results.report("explorer", __doc__, tables, options, arguments)


if __name__ == "__main__":
    main()
