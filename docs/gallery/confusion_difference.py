"""Where two methods differ, cell by cell.

Orange cells got more, blue ones less, and signs are printed, so that a grey print can be read. With several seeds, cells whose interval
holds zero are grey.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

fixmatch, debiaspl = (root / "glyphs-lt" / name for name in ("fixmatch", "fixmatch+debiaspl"))
figure = pld.plots.confusion_difference({"FixMatch": fixmatch, "FixMatch+DebiasPL": debiaspl})
figure.save(out / "confusion_difference.png", dpi=150)
print(figure.caption)
