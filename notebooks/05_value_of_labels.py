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
# # 5. The value of labels
#
# A label carries two things: it says what an image shows, and it says how frequent the class is, or seems to be. The first is what we pay
# for. The second comes along unasked, and notebook 2 showed what harm it does. Yang and Xu (*Rethinking the Value of Labels for Improving
# Class-Imbalanced Learning*, 2020) ask what unlabelled images can do about it, in two simple ways that stand at the two ends of a training:
#
# * **self-training** labels the unlabelled images once, by a finished network, and trains a new one on everything;
# * **self-supervised pre-training** never looks at a label. The network first learns to see, then what things are called.
#
# A third way needs no unlabelled image at all: **re-training the classifier** (Kang et al., 2020) keeps the features and learns the last
# layer anew, from batches in which every class is equally frequent.

# %%
import os

import matplotlib.pyplot as plt
import pandas

import pldebias as pld
from pldebias import metrics
from pldebias.analysis.relabelling.counterpart import outcome

# %% [markdown]
# All trainings below are short and of one seed. `supervised(augment=strong)`, on the labelled images alone, is where everything starts
# from. To start from a run of yours, change the line `base = ...` to `base = pld.open_run("path/to/a/run")`.

# %%
fast = os.environ.get("PLDEBIAS_FAST") == "1"
short = {"steps": 40, "steps_per_epoch": 10} if fast else {"steps": 500}
folder, start = "../runs/course/value", "supervised(augment=strong)"
base = pld.train(start, out=folder, **short)
groups = metrics.groups(base.labelled_counts)
pandas.DataFrame({"labelled": base.labelled_counts, "unlabelled": base.unlabelled_counts}, index=base.class_names).T

# %% [markdown]
# ## What a label is worth
#
# The head class has 20 labelled images above, the last one 4. Here with half and with twice as many.

# %%
more = {n1: pld.train(start, out=f"{folder}/{n1}-labels", n1=n1, **short) for n1 in (10, 40)}
by_labels = {10: more[10], 20: base, 40: more[40]}
pandas.DataFrame.from_dict(
    {
        f"{run.labelled_counts.sum()} labelled images": {"fewest in a class": run.labelled_counts.min(), **outcome(run)}
        for run in by_labels.values()
    },
    orient="index",
).round(1)

# %% [markdown]
# That is the price list against which the rest has to be read: whatever an algorithm gains without a label can be translated into labelled
# images that it saved.
#
# ## Self-training: you learn what you are told
#
# The base network labels all unlabelled images once, right or wrong, and a new network learns from those labels and the labelled images
# together. But what does it learn from? From the base's labels, and these are imbalanced:

# %%
self_trained = pld.train(f"selftraining(base='{base.path}')", out=folder, **short)
told = base.confusion("sweep", epoch=-1)
learned = self_trained.confusion("sweep", epoch=-1)
pandas.DataFrame(
    {
        "labels given by the base, per true image": metrics.gain(told),
        "labels given by its student": metrics.gain(learned),
        "recall of the base": metrics.recall(told),
        "recall of its student": metrics.recall(learned),
    },
    index=base.class_names,
).T.round(2)

# %% [markdown]
# The student repeats its teacher, the tail's errors included, and often a little more firmly. Self-training cannot invent a tail that the
# teacher never names.
#
# ## A better teacher
#
# So give it a teacher that names the tail. Classifier re-training takes a few seconds: the backbone of the base stays as it is, only the
# last layer is learned again, from balanced batches. Then the student is trained on *its* labels.

# %%
retrained = pld.train("crt", out=folder, init=base.path, **{**short, "steps": 20 if fast else 200})
better = pld.train(f"selftraining(base='{retrained.path}')", out=folder, **short)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
pld.plots.confusion(base, ax=axes[0], title="labels by the base", colourbar=False)
pld.plots.confusion(retrained, ax=axes[1], title="labels after re-training the last layer", colourbar=False)
plt.show()

# %% [markdown]
# The features are the same in both pictures, to the last digit. All that differs is one linear layer. So the base *could* have told many
# of the tail images apart; its classifier would not. (Notebook 3 came to the same end by looking at neighbours.)
#
# Epoch by epoch, the student of the biased teacher beside that of the better one; the page holds the same without Python.

# %%
view = pld.explore(self_trained, better, metric="ratio")
view.to_html("../runs/pages/students.html")
view

# %% [markdown]
# ## Pre-training: seeing before naming
#
# Two tasks that need no label. *Rotation*: by which quarter was this image turned? *Contrast* (MoCo): which of many images is this another
# view of? Neither knows of classes, so neither can learn that some are rare. Afterwards the same supervised training as at the beginning,
# from the learned backbone instead of random numbers.

# %%
pretrained = {name: pld.train(name, out=folder, **short) for name in ("rotation", "moco")}
named = {name: pld.train(start, out=f"{folder}/after-{name}", init=run.path, **short) for name, run in pretrained.items()}

# %%
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
curves = {"from random numbers": base, **{f"after {name}": run for name, run in named.items()}}
for (name, run), dash in zip(curves.items(), ("-", "--", ":"), strict=True):
    ax.plot(run.epochs, 100 * metrics.balanced_accuracy(run.confusion("test")), dash, label=name)
ax.set(xlabel="epoch", ylabel="balanced test accuracy, %")
ax.legend()
plt.show()

# %% [markdown]
# ## All ways side by side
#
# FixMatch too, for comparison: it is self-training in every step, by a teacher that is still learning.

# %%
fixmatch = pld.train("fixmatch", out=folder, **short)
ways = {
    "labelled images alone": base,
    "FixMatch": fixmatch,
    "self-training": self_trained,
    "re-trained classifier": retrained,
    "self-training from the re-trained one": better,
    "pre-trained by rotation": named["rotation"],
    "pre-trained by contrast": named["moco"],
    "twice the labels": by_labels[40],
}
table = pandas.DataFrame({name: outcome(run) for name, run in ways.items()}).T
table.sort_values("balanced test accuracy").round(1)

# %% [markdown]
# Three things to take away.
#
# * Unlabelled images help where they bring what labels cannot (pre-training) or where the bias was removed *before* they were labelled
#   (self-training from the re-trained classifier). Labelled by a biased teacher, they hand its bias on; FixMatch, whose teacher is biased
#   and a beginner besides, ends below the labelled images alone after so short a training.
# * A gain must be compared with the cheapest alternative. Re-training one layer costs seconds and no unlabelled image.
# * Nothing in the list is worth what twice the labels are worth.
#
# And as ever: one seed, made-up characters, a network that trains in seconds. Repeat with `seed=1` before you believe a difference of two
# or three points (notebook 6 shows how).
#
# ## Exercises
#
# 1. Which of the ways changes the *recall* of the tail most, and which its precision?
# 2. Combine: `pld.train("crt", init=named["rotation"].path, out="../runs/course/value/both")`. Do the two gains add up?
# 3. Train `fixmatch` from the rotation backbone (`init=pretrained["rotation"].path`). Is the drift to the head gone?
# 4. What would the student have learned from only those labels of the base that it is sure of? Look at
#    `pld.plots.threshold_sweep(base)` first, then answer.
# 5. Self-training weighs the unlabelled part by `weight`. What happens at 0.2 and at 2?
#
# <details><summary>Answers</summary>
#
# 1. Re-training the classifier and what builds on it raise the tail's recall; its precision is highest where tail names are hardly given.
# 2. Mostly: one improves the features, the other the boundary.
# 3. No. It starts from better features and has the same habit of learning from what it is sure of.
# 4. Hardly any tail at all: the higher the threshold, the more of the head. That is FixMatch's selection, done once.
# 5. Near 0 it is the base again; large weights make the student an exact copy of its teacher's errors.
#
# </details>
