# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7. Figures for a paper
#
# Every figure of the package is one function. It takes runs, returns a figure in the width of a column with its fonts inside, the arrays
# it drew, and what its caption must say. The [gallery](../docs/gallery.md) shows all of them; this notebook makes four and saves some.

# %%
import os
from pathlib import Path
from textwrap import fill

import pandas

import pldebias as pld
from pldebias.report import report

# %% [markdown]
# The runs of notebook 6, trained here if they are missing. For figures of your own runs, change the last line of the cell: a label, and the
# folder of its seeds.

# %%
fast = os.environ.get("PLDEBIAS_FAST") == "1"
length = {"steps": 20, "steps_per_epoch": 10, "m1": 200} if fast else {"steps": 300, "steps_per_epoch": 20}
for method in ["fixmatch", "fixmatch+daso", "fixmatch+debiaspl"]:
    for seed in [0, 1] if fast else [0, 1, 2]:
        pld.train(method, data="glyphs-lt", seed=seed, out="../runs/compare", progress=False, **length)
root = Path("../runs/compare/glyphs-lt")
runs = {"FixMatch": root / "fixmatch", "DASO": root / "fixmatch+daso", "DebiasPL": root / "fixmatch+debiaspl"}

# %% [markdown]
# ## Recall and precision, class by class
#
# A folder (or a list of runs) under a label is its seeds. By default the bars are Student's 95 % intervals of the mean, which are honest
# and, with three seeds, wide; `error="sd"` draws standard deviations. The caption says which.

# %%
figure = pld.plots.recall_precision(runs, error="sd")
print(fill(figure.caption, 110))
figure

# %% [markdown]
# With both methods the tail's recall rises and its precision falls: they call more images a tail class, rightly and wrongly.
#
# ## Over the training
#
# Any measure of a table can be a panel.

# %%
pld.plots.training_curves(runs, ("balanced_accuracy", "pl_recall"), error="sd")

# %% [markdown]
# ## What blending does
#
# DASO has two opinions of every image: that of the linear classifier, and that of the nearest class prototype, the *semantic* one. It
# blends them, with a weight that is large where the linear one is given too often. The run kept what all three need, so they can be held
# against the truth: the semantic label finds the tail and overshoots, the linear one is the other way round.

# %%
pld.plots.blending({"DASO": runs["DASO"]}, error="sd")

# %% [markdown]
# ## Where two methods differ
#
# Orange cells got more, blue ones less. Numbers carry their sign, and lines in the other figures differ in dash and marker, so that a grey
# print and a colour-blind reader lose nothing. Cells whose interval over the seeds holds zero are grey.

# %%
difference = pld.plots.confusion_difference({"FixMatch": runs["FixMatch"], "DebiasPL": runs["DebiasPL"]})
difference

# %% [markdown]
# ## Save it
#
# The ending chooses the format. PDF has TrueType fonts embedded (as the forms of publishers ask), SVG draws outlines, and both are exactly
# 3.5 or 7.16 inches wide, so that `\includegraphics` needs no scaling and the letters keep their size. `font="Times New Roman"` takes the
# paper's letters, if your machine has them. No LaTeX is needed.

# %%
out = Path("../runs/figures")
out.mkdir(parents=True, exist_ok=True)
figure.save(out / "recall_precision.pdf")
difference.save(out / "difference.pdf")
pld.plots.label_distribution(runs, width="single", error="sd").save(out / "distribution.svg")
sorted(path.name for path in out.iterdir())

# %% [markdown]
# ## The numbers behind it
#
# A figure gives back the arrays that it drew, in class order; `backend="none"` gives them without drawing, to make a figure of your own.

# %%
recall = pld.plots.recall_precision(runs, backend="none").values["runs"]["DASO"]["recall"]
names = pld.open_run(root / "fixmatch" / "s0").class_names
pandas.DataFrame({"mean": recall.mean, "sd": recall.sd, "n": recall.n}, index=names).round(1)

# %% [markdown]
# ## Everything on one page
#
# `pldebias report RUN... -o report.html` writes a page with the explorer, the table, these figures, all settings and where the runs came
# from. It opens from disk, without a network and without Python: the thing to send to a co-author, or to put beside the paper.

# %%
page = report({label: path / "s0" for label, path in runs.items()}, out / "report.html", baseline="FixMatch")
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Exercises
#
# 1. Draw the first figure without `error="sd"`. By how much do the bars grow, and why?
# 2. `groups=(10, 5)` sets cut-offs in place of thirds. Which classes change their group? Read the caption.
# 3. `split="accepted"` draws what the loss really saw. What happens to FixMatch's tail?
# 4. In the difference, a cell may be grey although its number is large. What does that say?
#
# <details><summary>Answers</summary>
#
# 1. By 2.5: the interval of the mean is 4.3 standard deviations, divided by the root of three.
# 2. Head is now what has more than 10 labelled images, tail what has fewer than 5: the fourth class joins the head, and the tail shrinks
#    to the last two.
# 3. Its recall falls to zero and its precision, of the last classes, is undefined or rests on a handful of labels: hardly any tail label
#    passes the threshold.
# 4. That the seeds disagree: the interval of the difference holds zero.
#
# </details>
