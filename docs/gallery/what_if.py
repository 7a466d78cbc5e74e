"""The same network with another scheme: relabelled outputs against logged labels.

No training: the cached logits of one epoch go through another chain. The weights are those of the run.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
result = pld.what_if(run, "la(at=pseudo)")
drawn = pld.plots.what_if(result)
drawn.save(out / "what_if.png", dpi=90)
print("FixMatch's last snapshot, relabelled with adjusted logits; weights unchanged.")
