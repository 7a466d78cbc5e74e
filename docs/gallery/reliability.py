"""How sure the network is, and how right, for labels of head, medium and tail.

Below the diagonal it is surer than it is right. The run must have kept its logits, as ``snapshots`` asks.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
drawn = pld.plots.reliability(run)
drawn.save(out / "reliability.png", dpi=100)
print("Reliability of the pseudo-labels at the last snapshot, by the group of the label; lines are 95 % Wilson intervals.")
