"""The class distribution that methods estimated, its distance to the truth, and the calibration error.

Each method logs its estimate under a name of its own; the legend tells which was taken.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = {
    "ADELLO": root / "glyphs-lt" / "fixmatch+adello",
    "DebiasPL": root / "glyphs-lt" / "fixmatch+debiaspl",
    "DASO": root / "glyphs-lt" / "fixmatch+daso",
}
figure = pld.plots.estimated_prior(runs, error="sd")
figure.save(out / "estimated_prior.png", dpi=110)
print(figure.caption)
