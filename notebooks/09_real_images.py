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
# # 9. Real images
#
# So far the images were characters, drawn so that the bias can be seen. Is it there on photographs too? This notebook trains nothing. It
# opens runs on **CIFAR-10-LT**, the benchmark of nearly every paper of this field: ten classes of photographs, the labelled ones from 500
# airplanes down to 5 trucks, the unlabelled ones from 4,000 to 40.
#
# The runs lie in `data/gallery/` as small copies. Those that come with this package were trained on two CPU cores, with a network of 78
# thousand parameters and 4,000 steps where the papers take one and a half million parameters and 250,000 steps. Their accuracies are low,
# and are not to be compared with published ones. What the pseudo-labels do is all there. On a GPU, `make gallery` trains the papers'
# setting and puts its runs in the place of these, and this notebook shows them.

# %%
from pathlib import Path

import pandas
from IPython.display import Markdown

import pldebias as pld
from pldebias import metrics
from pldebias.analysis.relabelling.counterpart import outcome

# %% [markdown]
# To look at runs of your own instead, change the folder in the first line of this cell; `pld.open_run` takes folders and zip files alike.

# %%
gallery = Path("../data/gallery")
runs = {run.method: run for run in map(pld.open_run, sorted(gallery.glob("consistent_*_s0.zip")))}
fixmatch = runs["fixmatch"]
fixmatch

# %% [markdown]
# Beside the copies lies the table of all trainings that were made for it, with several seeds, and how it was made.

# %%
Markdown((gallery / "README.md").read_text().partition("| file ")[0].replace("# Gallery", "### Gallery"))

# %% [markdown]
# ## Where do the ships go?
#
# Drag along the carpet to an early epoch, then on to the end. A is FixMatch, B is FixMatch with DASO. Watch the last two rows of the
# matrices: *ship* and *truck* are the rarest classes.

# %%
view = pld.explore(fixmatch, runs["fixmatch+daso"], metric="ratio")
view

# %% [markdown]
# The carpet of FixMatch is purple at the bottom left: for the first epochs nothing is called by a rare name at all. It stays dark blue,
# little, to the end. Where do those images go? They are not spread over the other classes. Ships and trucks go, nearly all of them, to
# one class each, and it is the frequent one that looks like them:

# %%
sweep = fixmatch.confusion("sweep", epoch=-1)
groups = metrics.groups(fixmatch.labelled_counts)
wrong = pandas.DataFrame(100 * sweep / sweep.sum(1, keepdims=True), fixmatch.class_names, fixmatch.class_names)
for name in fixmatch.class_names:
    wrong.loc[name, name] = float("nan")
leaks = pandas.DataFrame({"images": sweep.sum(1), "right, %": 100 * metrics.recall(sweep)}, index=fixmatch.class_names)
leaks["most often called"], leaks["so called, %"] = wrong.idxmax(axis=1), wrong.max(axis=1)
leaks.insert(0, "group", [("head", "medium", "tail")[number] for number in groups.of])
leaks.round(1)

# %% [markdown]
# A ship before a blue background *is* nearly an airplane, if one has seen five hundred airplanes and eight ships. Frequency decides the
# direction: no automobile is called a truck. All images of the tail, by what they were called after five epochs and at the end:

# %%
pld.plots.flows(fixmatch, fixmatch.epochs[4], -1, of="tail")

# %% [markdown]
# ## What every method does about it
#
# *Recall* is how much of the tail is found, *precision* how many of the tail's labels are right. The two pull against each other: who
# calls everything rare finds the rare. All numbers are of one seed and in percent, but for the last column.

# %%
learned = {name: run for name, run in runs.items() if "sweep" in run.kinds}
table = pandas.DataFrame({name: outcome(run) for name, run in learned.items()}).T
last = {name: run.confusion("sweep", epoch=-1) for name, run in learned.items()}
table["tail labels per tail image"] = [each[:, groups.tail].sum() / each[groups.tail].sum() for each in last.values()]
table.sort_values("balanced test accuracy", ascending=False).round(1)

# %%
chosen = {name: runs[name] for name in ("fixmatch", "fixmatch+la", "fixmatch+daso", "fixmatch+debiaspl")}
pld.plots.training_curves(chosen, ("pl_recall_tail", "pl_precision_tail"))

# %% [markdown]
# Note where `supervised` and `supervised+la` stand: they never saw an unlabelled image. With few steps and a small network the unlabelled
# images help little. Whether they do with a large network and the papers' number of steps is what `make gallery` answers.
#
# ## Labels, or features?
#
# Notebook 3 asked whether the tail is lost in the features or only in the labels. A ship that is called an airplane: does it lie among the
# airplanes?

# %%
points = pld.embed(fixmatch, per_class=60)
pld.plots.embedding(points, points.epochs[[0, len(points.epochs) // 2, -1]])

# %% [markdown]
# Large dots are truly tail, the colour is what the network calls them. Of the ten nearest neighbours of a tail image, the share that is of
# its own class (*purity*) rises from epoch to epoch, while hardly a label is right: the features know more than the labels say. It is
# low all the same, and counted among the points shown, in which the tail is no longer rare. A larger network may tell another story.
#
# ## What if?
#
# The last epoch's outputs of FixMatch, labelled as other rules would have labelled them. `trained` is what a training with that rule came
# to: its network grew up on other labels, so the two differ ([notebook 4](04_what_if.ipynb)). The copies keep only eight dimensions of the
# features, and DASO compares features with class prototypes. So they also keep the features in the space of the prototypes, where the
# comparison comes out the same. A copy without them would refuse the question.

# %%
rules = {"fixmatch": None, "fixmatch+daso": "daso", "fixmatch+debiaspl": "debiaspl"}
answers = {}
for name, rule in rules.items():
    relabelled = pld.what_if(fixmatch, rule).confusion
    answers[name] = {
        "what if: tail recall": 100 * metrics.group(relabelled, groups).recall[2],
        "what if: tail precision": 100 * metrics.group(relabelled, groups).precision[2],
        "trained: tail recall": outcome(runs[name])["tail recall"],
        "trained: tail precision": outcome(runs[name])["tail precision"],
    }
pandas.DataFrame(answers).T.round(1)

# %% [markdown]
# ## Exercises
#
# 1. In the explorer, set the cells to "versus prior" (key <kbd>5</kbd>). Which leaks are stronger than the frequencies of the classes alone
#    would make them, and which weaker?
# 2. Which animal is most often taken for which? Is that a matter of frequency, too? (Compare both directions.)
# 3. Open a pair of other methods in the explorer. Does any of them get the ships back without calling airplanes ships?
# 4. Click a cell of the matrix. If CIFAR-10 as Parquet files is on your machine and the environment variable `PLDEBIAS_CIFAR10` names its
#    folder, you see the photographs. Would you have been sure?
#
# <details><summary>Answers</summary>
#
# 1. Ship to airplane and truck to automobile stand out: far more than airplanes' and automobiles' share of all labels. Ships called
#    automobiles are rarer than that share.
# 2. Dogs are called cats more often than cats dogs. Of these two the cat has nearly three times as many labelled images; look-alikes
#    leak towards the frequent one.
# 3. Read precision along with recall: those that find most ships also call most airplanes ships.
# 4. A matter of taste. At 32 x 32 pixels some are hard.
#
# </details>
