"""Test accuracy and group recall of the pseudo-labels over the training.

Any measure of a table can be a panel, and so can any scalar that was logged.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = {
    "FixMatch": root / "glyphs-lt" / "fixmatch",
    "FixMatch+DASO": root / "glyphs-lt" / "fixmatch+daso",
    "FixMatch+DebiasPL": root / "glyphs-lt" / "fixmatch+debiaspl",
}
figure = pld.plots.training_curves(runs, values=("balanced_accuracy", "pl_recall"), error="sd")
figure.save(out / "training_curves.png", dpi=110)
print(figure.caption)
