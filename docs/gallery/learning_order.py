"""When each class was learned, against how many labels it has.

A class counts as learned at the first epoch from which its recall stays above a level.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
drawn = pld.plots.learning_order(run, level=0.5)
drawn.save(out / "learning_order.png", dpi=110)
print("First epoch from which recall of the pseudo-labels stays above 50 %; open triangles: never.")
