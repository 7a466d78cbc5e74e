"""Recall and precision of the pseudo-labels, class by class.

A list of runs under one label is its seeds: the mark is their mean, the bar one standard deviation (or, by default, Student's 95 %
interval of the mean, which is wide with three seeds).
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
figure = pld.plots.recall_precision(runs, error="sd")
figure.save(out / "recall_precision.png", dpi=110)
print(figure.caption)
