"""What share of the pseudo-labels each class received, against the truth.

On a log scale the tail can be seen; TV is the share of labels that would have to move.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = {
    "FixMatch": root / "glyphs-lt" / "fixmatch",
    "+DASO": root / "glyphs-lt" / "fixmatch+daso",
    "+DebiasPL": root / "glyphs-lt" / "fixmatch+debiaspl",
}
figure = pld.plots.label_distribution(runs, error="sd")
figure.save(out / "label_distribution.png", dpi=150)
print(figure.caption)
