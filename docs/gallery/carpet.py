"""Classes by epochs: how many labels every class was given, for one it has.

Blue classes starve, orange ones are overfed; one glance shows when a bias sets in. Of several seeds the mean is drawn.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = {"FixMatch": root / "glyphs-lt" / "fixmatch", "FixMatch+DASO": root / "glyphs-lt" / "fixmatch+daso"}
figure = pld.plots.carpet(runs, metric="ratio")
figure.save(out / "carpet.png", dpi=110)
print(figure.caption)
