"""Where the pseudo-labels of tail samples went between two epochs.

Grey ribbons kept their label; coloured ones left it for the group of that colour.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
drawn = pld.plots.flows(run, start=0, end=-1, of="tail")
drawn.save(out / "flows.png", dpi=100)
print("Samples of tail classes, by pseudo-label at the first and the last epoch.")
