"""Classes by epochs: how many labels every class was given, for one it has.

Blue classes starve, orange ones are overfed; one glance shows when a bias sets in.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
drawn = pld.plots.carpet(run, metric="ratio")
drawn.save(out / "carpet.png", dpi=110)
print("log2 of labels given per true sample; dark blue: none given.")
