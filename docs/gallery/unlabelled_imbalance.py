"""Whom unlabelled data help: the gain of head, medium and tail over the labelled images alone.

Differences are taken seed by seed, at the same ratio. Below zero, the unlabelled data hurt.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = pld.catalogue(root / "ratios")
figure = pld.plots.unlabelled_imbalance(runs, baseline="supervised", error="sd")
figure.save(out / "unlabelled_imbalance.png", dpi=110)
print(figure.caption)
