"""What any threshold would have accepted, and how right that would have been.

One threshold for all classes accepts the head and starves the tail; this shows by how much.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
drawn = pld.plots.threshold_sweep(run)
drawn.save(out / "threshold_sweep.png", dpi=100)
print("Acceptance and precision by threshold at the last snapshot; crosses mark the method's own rule.")
