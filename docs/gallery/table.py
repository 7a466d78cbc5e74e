"""The numbers as a table: Markdown here, booktabs LaTeX with ``to_latex``, everything unrounded with ``to_csv``.

Deviations over seeds, best in bold, the difference to a baseline paired by seed; what a caption must say stands underneath.
"""

import sys
from pathlib import Path

import pldebias as pld

root, out = Path(sys.argv[1]), Path(sys.argv[2])

table = pld.table(root / "glyphs-lt", values=("balanced_accuracy", "recall", "pl_recall_tail"), baseline="fixmatch")
table.to_latex(out / "table.tex", label="tab:glyphs")
print(table.to_markdown())
