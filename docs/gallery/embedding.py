"""Where the tail's features are: a projection aligned over epochs, every tail sample in it.

Points are filled by the group of their pseudo-label; a dark ring is a wrong one. ``"umap"`` and ``"tsne"`` go in the place of ``"pca"``.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

run = pld.open_run(root / "glyphs-lt" / "fixmatch" / "s0")
points = pld.embed(run, "pca", progress=False)
drawn = pld.plots.embedding(points, epochs=[points.epochs[0], points.epochs[-1]])
drawn.save(out / "embedding.png", dpi=100)
print("Features of the unlabelled set in the plane; percentages are measured in feature space.")
