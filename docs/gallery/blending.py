"""What DASO's blending does: the linear, the semantic and the blended pseudo-label, class by class.

Three labels of one network, from the outputs that its snapshots keep; on the right the weight that the semantic one gets.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

figure = pld.plots.blending({"FixMatch+DASO": root / "glyphs-lt" / "fixmatch+daso"}, error="sd")
figure.save(out / "blending.png", dpi=110)
print(figure.caption)
