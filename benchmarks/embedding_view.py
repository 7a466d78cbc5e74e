"""How smooth the embedding view is, how large its page, and how long a chain of UMAP layouts takes, on made-up outputs of real size.

    python -m benchmarks.embedding_view [--quality] [--umap] [--points N] [--snapshots E] [--seconds S]

The page is opened from disk in headless Chromium without a network. Its slider is dragged through all snapshots and back for some seconds,
with a new position for every frame that the browser offers, so that every frame moves all points; beside it stands what the browser reaches
where nothing is drawn. ``--quality`` adds purity and trustworthiness of all snapshots (a minute), ``--umap`` the chain of ten UMAP frames
of 12,000 x 128 (minutes); PCA is in `benchmarks.analysis`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.analysis import embedding, record
from benchmarks.browser import chromium
from benchmarks.timing import load, machine, print_machine, table

DRAG = """async ([seconds, still]) => {
  const root = document.querySelector(".pld-embedding"), slider = root.querySelector("input"), E = +slider.max;
  const draws = [], began = performance.now();
  let frames = 0, now = began;
  while (now - began < 1000 * seconds) {
    if (!still) {
      const turn = ((now - began) / 2000) % 2; // two seconds from the first snapshot to the last
      slider.value = E * (turn < 1 ? turn : 2 - turn);
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    }
    now = await new Promise(requestAnimationFrame);
    frames++;
    if (!still) draws.push(+root.dataset.drawMs);
  }
  return { rate: (1000 * frames) / (now - began), draws };
}"""


def dragged(browser, path: Path, seconds: float) -> dict[str, float]:
    """Frames a second with and without movement, milliseconds of a drawing (fastest, median, 95th percentile) and until the first one."""
    page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
    began = time.perf_counter()
    page.goto(path.resolve().as_uri())
    page.locator(".pld-embedding[data-epoch]").wait_for()
    opened = 1000 * (time.perf_counter() - began)
    page.evaluate(DRAG, [1, False])  # what is compiled on first use
    moving, still = page.evaluate(DRAG, [seconds, False]), page.evaluate(DRAG, [seconds, True])
    page.close()
    fast, middle, slow = np.percentile(moving["draws"], [0, 50, 95])
    return {"rate": moving["rate"], "floor": still["rate"], "fast": fast, "median": middle, "slow": slow, "opened": opened}


def view(browser, folder: Path, points: int, snapshots: int, seconds: float, quality: bool) -> list[tuple[str, str, str]]:
    """Rows of what, measured, goal."""
    import pldebias as pld

    embedded = pld.embed(record(folder / "run", points, 10, 128, snapshots), per_class=None)
    made = pld.embedding_view(embedded, quality=False)
    path = made.to_html(folder / "view.html")
    result = dragged(browser, path, seconds)
    rows = [
        ("slider drag, frames a second", f"{result['rate']:.1f}", "> 30"),
        ("the same page where nothing moves, frames a second", f"{result['floor']:.1f}", ""),
        ("one drawing, ms: fastest, median, 95th percentile", ", ".join(f"{result[k]:.1f}" for k in ("fast", "median", "slow")), ""),
        ("page opened and drawn, ms", f"{result['opened']:.0f}", ""),
        ("page, MB", f"{path.stat().st_size / 1e6:.2f}", "< 2.5"),
        ("of which points, before base64, MB", f"{len(made.data) / 1e6:.2f}", ""),
    ]
    if quality:
        began, spent = time.perf_counter(), time.process_time()
        embedded.purity, embedded.trustworthiness  # noqa: B018 - kept once they are asked for
        told = f"{time.perf_counter() - began:.0f} ({time.process_time() - spent:.0f})"
        rows.append(("purity and trustworthiness of all snapshots, s: wall (processor)", told, ""))
    return rows


def main(arguments: list[str] | None = None) -> list[tuple[str, str, str]]:
    """Print the table; returns its rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=12_000)
    parser.add_argument("--snapshots", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=6, help="of dragging")
    parser.add_argument("--quality", action="store_true", help="also purity and trustworthiness of all snapshots (a minute)")
    parser.add_argument("--umap", action="store_true", help="also a chain of UMAP frames (minutes)")
    options = parser.parse_args(arguments)
    print_machine(machine())
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        rows = view(browser, Path(folder), options.points, options.snapshots, options.seconds, options.quality)
        if options.umap:
            name, _, wall, processor, goal = embedding(Path(folder), True)[-1]
            rows.append((f"{name}, s: wall (processor)", f"{wall / 1000:.0f} ({processor / 1000:.0f})", f"< {goal / 1000:.0f}"))
    print(table([f"{options.points:,} points x {options.snapshots} snapshots", "measured", "goal"], rows))
    print(f"\nload at the end: {load()}")
    return rows


if __name__ == "__main__":
    main()
