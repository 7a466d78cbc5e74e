"""What a scheme learned for every class: SEVAL's offsets and thresholds.

Every series that a scheme logs can be drawn; ``run.series`` lists them.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

runs = {"FixMatch+SEVAL": root / "glyphs-lt" / "fixmatch+seval"}
figure = pld.plots.learned_state(runs, ("seval/offsets", "seval/thresholds"), error="sd")
figure.save(out / "learned_state.png", dpi=110)
print(figure.caption)
