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
# # 6. Compare methods
#
# "Method B gets 61.0 %, method A 57.8 %" is not yet a result. How much would the numbers change with another seed? Did both see the same
# images? Who gained, the head or the tail? This notebook makes a table that answers, and shows what it refuses to answer.

# %%
import os
import subprocess
import sys
from textwrap import fill

import pldebias as pld
from pldebias.analysis.comparing.published import lookup, published
from pldebias.analysis.comparing.selection import Incomparable

# %% [markdown]
# Three methods, three seeds each, on the embedded characters. The trainings are short, so that this takes a minute or two; what was trained
# before is opened. A seed changes everything that is random: the split, the network, the batches, the augmentation.

# %%
fast = os.environ.get("PLDEBIAS_FAST") == "1"
length = {"steps": 20, "steps_per_epoch": 10, "m1": 200} if fast else {"steps": 300, "steps_per_epoch": 20}
methods, seeds = ["fixmatch", "fixmatch+daso", "fixmatch+debiaspl"], [0, 1] if fast else [0, 1, 2]
for method in methods:
    for seed in seeds:
        pld.train(method, data="glyphs-lt", seed=seed, out="../runs/compare", progress=False, **length)

# %% [markdown]
# ## A catalogue is a data frame
#
# `pld.catalogue` lists every run below a folder: settings, last values, medians of the last 20 epochs. Choose from it as from any data
# frame. To compare runs of your own, change the folder in the first line below.

# %%
runs = pld.catalogue("../runs/compare/glyphs-lt")
runs[["method", "seed", "epochs", "finished", "final.balanced_accuracy", "median20.balanced_accuracy"]].round(3)

# %% [markdown]
# ## The table
#
# One row a method; runs of one method that differ in nothing but their seed are put together. Read it with three questions.
#
# * **How sure?** ± is the standard deviation over the seeds, *n* their number.
# * **Who gained?** Head, medium and tail are thirds of the classes, by labelled count.
# * **At whose cost?** Recall of the tail alone is cheap: call everything a tail class. Precision pays for it.

# %%
table = pld.table(runs, values=("balanced_accuracy", "recall", "pl_recall_tail", "pl_precision_tail"), baseline="fixmatch")
table

# %% [markdown]
# The column Δ is not the difference of two means with two deviations. Seed 0 of both methods saw the *same* split, so their difference is
# taken seed by seed, and the split's luck cancels. With three pairs the 95 % interval is still wide: Student's factor is 4.3 there, and 2.8
# with five. When it holds zero, these runs do not show that one method is better.
#
# With a single seed no interval is invented:

# %%
pld.table(runs[runs["seed"] == 0], values="balanced_accuracy", baseline="fixmatch")

# %% [markdown]
# ## The same runs on another CPU
#
# A seed repeats a run exactly on one machine. Another CPU adds floating-point numbers in another order, and a training turns a difference
# in the last bit into a different network within a few hundred steps. You can see this without a second machine: the two variables below
# make an x86 CPU compute as one of 2008 does. The cell trains the same methods with the same seeds once more.

# %%
older_cpu = os.environ | {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
command = [sys.executable, "-m", "pldebias", "train", *methods, "--data", "glyphs-lt", "--out", "../runs/compare-older-cpu", "--json"]
command += [f"--seed={seed}" for seed in seeds] + [f"--{name.replace('_', '-')}={value}" for name, value in length.items()]
subprocess.run(command, env=older_cpu, stdout=subprocess.DEVNULL, check=True)
pld.table("../runs/compare-older-cpu/glyphs-lt", values=("balanced_accuracy", "pl_recall_tail"), baseline="fixmatch")

# %% [markdown]
# Compare the two columns Δ. On the machine where this notebook was written (AMD EPYC with AVX-512), the interval of DASO's gain was
# [−2.8, +5.4] points with the CPU's own instructions, [+1.3, +3.1] with those of AVX2 and [+0.6, +3.4] with the oldest. DebiasPL's was
# [+2.4, +3.3], [−0.1, +7.4] and [+0.4, +6.6]. The same code, data and seeds give an interval that excludes zero on one CPU and holds it on
# another. Three seeds are too few for a difference of this size: report an interval, use more seeds, and do not quote the tenths of a
# percent. If both tables are equal, your CPU does not know these variables.

# %% [markdown]
# The same as a picture: the lines are means, the bands one standard deviation over the seeds.

# %%
pld.plots.training_curves(runs, ("balanced_accuracy", "pl_recall_tail"), width="single", error="sd")

# %% [markdown]
# Behind each row of the table are trainings. One pair of them, epoch by epoch; `to_html` keeps it as a page that needs no Python.

# %%
view = pld.explore(*(f"../runs/compare/glyphs-lt/{method}/s0" for method in ("fixmatch", "fixmatch+debiaspl")), metric="ratio")
view.to_html("../runs/pages/pair.html")
view

# %% [markdown]
# ## What cannot be compared is refused
#
# A run on other data does not belong into this column, however similar its folder's name is. The message says which runs differ, and in
# what.

# %%
uniform = pld.train("fixmatch+daso", data="glyphs-lt", seed=0, gamma_u=1.0, out="../runs/uniform", progress=False, **length)
try:
    pld.table({"FixMatch": "../runs/compare/glyphs-lt/fixmatch", "DASO, uniform": uniform})
except Incomparable as refusal:
    print(fill(str(refusal), 110, break_on_hyphens=False))

# %% [markdown]
# Made part of the question, it is welcome: one column for each imbalance ratio of the unlabelled set. Where there is no run, the table says
# so.

# %%
pld.table(["../runs/compare/glyphs-lt", uniform], rows="method", cols="gamma_u", values=("balanced_accuracy", "recall_tail"))

# %% [markdown]
# ## Published numbers
#
# The accuracies of the papers come with the package, each with its source, so that a reproduction can stand beside what it reproduces
# (`pld.table(..., published=True)`). Characters are no CIFAR-10, so there is nothing to set beside the runs above; this is what is known of
# DASO in its main setting. The two differ, as the two protocols do.

# %%
print(f"{len(published())} published accuracies")
setting = {"source": "cifar10", "n1": 500, "m1": 4000, "gamma_l": 100, "gamma_u": 100}
lookup("fixmatch+daso", setting)[["source", "method", "value", "sd"]]

# %% [markdown]
# ## Into the paper
#
# `to_latex` needs nothing but `\usepackage{booktabs}`; names are escaped, and the caption carries what a reader must know. `to_markdown` is
# for a page, `to_csv` has every number unrounded.

# %%
print(table.to_latex(label="tab:glyphs"))

# %% [markdown]
# ## Exercises
#
# 1. Leave a seed out: `pld.table(runs[runs["seed"] != 2], values="balanced_accuracy", baseline="fixmatch")`. What becomes of the intervals?
# 2. In the table above, compare the interval of DebiasPL's Δ with the two deviations beside it. Why can it be the narrower one?
# 3. Add `"ece"` to `values`. Is the method with the best tail also the best calibrated?
# 4. Take the refused pair and leave out `cols=`: `pld.table(["../runs/compare/glyphs-lt", uniform], values="balanced_accuracy")`. What does
#    the table do with the odd run?
# 5. Train two more seeds (`seeds = [0, 1, 2, 3, 4]`). Which of your conclusions survive?
#
# <details><summary>Answers</summary>
#
# 1. They become two to three times as wide, though two of the three trainings are still there: Student's factor is 12.7 with two pairs and
#    4.3 with three.
# 2. The deviations hold the luck of the split, which is the same for both methods of a seed and cancels in their difference.
# 3. Read it off: calibration is about how sure the network is of what it says, the tail's recall about what it never says.
# 4. It stands in a row of its own, which names what is different (`gamma_u`); no mean is taken over it and the others.
# 5. Those whose interval shrinks away from zero. With five pairs Student's factor is 2.8.
#
# </details>
