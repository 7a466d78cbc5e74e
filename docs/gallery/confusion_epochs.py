"""Confusion of the pseudo-labels at chosen epochs, one row per method.

The counts of all seeds are added up; a class without samples is hatched, an exact zero is white.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = {
    "FixMatch": root / "glyphs-lt" / "fixmatch",
    "FixMatch+DebiasPL": root / "glyphs-lt" / "fixmatch+debiaspl",
}
figure = pld.plots.confusion_epochs(runs, epochs=(2, 10, -1))
figure.save(out / "confusion_epochs.png", dpi=100)
print(figure.caption)
