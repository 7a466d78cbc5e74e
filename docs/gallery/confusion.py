"""One confusion matrix, with its groups and the recall of every class.

The explorer shows the same matrix at any epoch; this is its still image for a page.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch+daso" / "s0")
drawn = pld.plots.confusion(run, split="accepted", normalize="true", title="FixMatch+DASO, accepted")
drawn.save(out / "confusion.png", dpi=110)
print("Accepted pseudo-labels of the last epoch, shares of the true class in percent.")
