"""The quick benchmarks one after the other: ``python -m benchmarks``. `demo` and `accuracy` train for minutes and are called by name."""

import subprocess
import sys

for name in ("imports", "recording", "publishing", "analysis", "explorer", "augment", "speed"):
    print(f"\n== python -m benchmarks.{name}\n", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
