"""The images themselves: tail samples that were labelled wrongly with most confidence.

Under each image its true class and its pseudo-label; the strip is its label at every epoch.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
drawn = pld.plots.samples(run, "confidently wrong", of="tail", n=16)
drawn.save(out / "samples.png", dpi=90)
print("Sixteen tail samples, most confidently wrong first, at the last epoch.")
