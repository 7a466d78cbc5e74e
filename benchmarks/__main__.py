"""The quick benchmarks in turn: ``python -m benchmarks [--save]``. `schemes`, `load` and `accuracy` take minutes and are called by name."""

import subprocess
import sys

for name in ("imports", "recording", "analysis", "speed", "explorer"):
    print(f"\n== python -m benchmarks.{name}\n", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=True)
