"""The quick benchmarks in turn: ``python -m benchmarks``. `demo`, `schemes` and `accuracy` take minutes and are called by name."""

import subprocess
import sys

for name in ("imports", "start", "recording", "publishing", "analysis", "explorer", "augment", "anatomy", "jobs", "speed"):
    print(f"\n== python -m benchmarks.{name}\n", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
