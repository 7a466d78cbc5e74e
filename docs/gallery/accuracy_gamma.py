"""Accuracy against the imbalance ratio of the unlabelled set, reversed sets included.

A folder of runs is enough: lines are methods, points are ratios, and a missing combination is a gap.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = pld.catalogue(root / "ratios")
figure = pld.plots.accuracy_gamma(runs[runs["method"] != "supervised"], "balanced_accuracy", gamma="gamma_u", error="sd")
figure.save(out / "accuracy_gamma.png", dpi=150)
print(figure.caption)
