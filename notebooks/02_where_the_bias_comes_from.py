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
# # 2. Where the bias comes from
#
# Notebook 1 showed pseudo-labels drifting to the head. It is tempting to say: of course, the head has more images. This notebook takes that
# explanation apart. It trains the same method, FixMatch, in four worlds that differ only in how many images of each class there are.
#
# | world | labelled | unlabelled |
# |---|---|---|
# | balanced | all classes the same | all classes the same |
# | long tail | head first | head first, the same way |
# | uniform | head first | all classes the same |
# | reversed | head first | *tail* first |
#
# In the last two the labelled set says nothing true about the unlabelled one. Methods that correct the bias "by the class frequencies" meet
# their test there, for the only frequencies they can see are those of the labels.
#
# To look at four runs of your own, change the line `runs = ...` to `{name: pld.open_run(f"path/{name}") for name in worlds}`.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas

import pldebias as pld
from pldebias import metrics

# %%
short = {"steps": 40, "steps_per_epoch": 10} if os.environ.get("PLDEBIAS_FAST") == "1" else {"steps": 600}
worlds = {
    "balanced": {"n1": 10, "gamma_l": 1, "m1": 500, "gamma_u": 1},
    "long tail": {},
    "uniform": {"m1": 500, "gamma_u": 1},
    "reversed": {"reverse_unlabelled": True},
}
folder = "../runs/course"
runs = {name: pld.train("fixmatch", out=f"{folder}/{name.replace(' ', '-')}", **split, **short) for name, split in worlds.items()}
classes = runs["balanced"].class_names
pandas.DataFrame(
    {(name, kind): getattr(run, f"{kind}_counts") for name, run in runs.items() for kind in ("labelled", "unlabelled")}, index=classes
)

# %% [markdown]
# ## Balanced data, biased labels
#
# Begin with the world in which nothing is rare. For every class: how many pseudo-labels were given for each image that truly belongs to it?
# 1 is a fair share.

# %%
last = {name: run.confusion("sweep", epoch=-1) for name, run in runs.items()}
gain = pandas.DataFrame({name: metrics.gain(confusion) for name, confusion in last.items()}, index=classes)
gain[["balanced"]].T.round(2)

# %% [markdown]
# Not 1 everywhere. The commonest pseudo-class has more than twice the labels of the rarest, although every class has the same number of
# images, labelled and unlabelled. This is the observation behind **DebiasPL** (Wang et al., 2022): pseudo-labels are *naturally
# imbalanced*. Classes that look alike compete, one of them wins by chance, and a method that teaches itself turns a small lead into a large
# one. Which classes compete? In the picture, colour is how much more often a true class (row) got a name (column) than the frequencies of
# both would explain.

# %%
pld.plots.confusion(runs["balanced"], normalize="prior")

# %% [markdown]
# Dark cells off the diagonal come in pairs of look-alikes. So bias has a first source that has nothing to do with counts: **similarity**.
#
# ## A long tail on top
#
# Now the head is frequent. The same question in all four worlds, on a logarithmic scale: above 0 a class is called too often, below 0 too
# rarely.

# %%
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
for (name, values), marker in zip(gain.items(), "osD^", strict=True):
    ax.plot(classes, np.log2(values.where(values > 0)), marker + "-", label=name, lw=1)
ax.axhline(0, color="#999999", lw=0.8, zorder=0)
ax.set(ylabel="log2(labels given / true images)", xlabel="class, head of the labelled set first")
ax.legend(fontsize=8, ncols=2)
plt.show()

# %% [markdown]
# Three of the lines fall from left to right: in every world whose *labelled* set has a head, the head of the labelled set wins. It does so
# too where the unlabelled set is uniform, and where it is reversed and the winners are in truth the rarest classes of all. The network
# learned from its labels how frequent the classes are, and it goes on believing so, whatever it sees afterwards. That is the second
# source: the **prior of the labels**.
#
# The numbers beside it. The *imbalance of the pseudo-labels* is the largest class over the smallest; compare it with the truth. *Tail to
# head* is the share of tail images that carry a head name. (Head and tail are those of the labelled set everywhere; in the balanced world,
# where there is none, simply the first and the last classes.)

# %%
rows = {}
for name, run in runs.items():
    groups = metrics.groups(run.labelled_counts)
    scores, bias = metrics.group(last[name], groups), metrics.bias_indices(last[name], groups)
    rows[name] = {
        "imbalance of the labelled set": metrics.imbalance_ratio(run.labelled_counts),
        "of the unlabelled set": metrics.imbalance_ratio(run.unlabelled_counts),
        "of the pseudo-labels": bias.imbalance_ratio,
        "recall head": scores.recall[0],
        "recall tail": scores.recall[2],
        "tail to head": bias.tail_to_head,
        "balanced test accuracy": metrics.balanced_accuracy(run.confusion("test", epoch=-1)),
    }
pandas.DataFrame(rows).T.astype(float).round(2)

# %% [markdown]
# Look at the uniform world. Its unlabelled set gives no reason at all to prefer a class, and yet the pseudo-labels are far more imbalanced
# than the labelled set ever was.
#
# ## It feeds itself
#
# Has the network been born biased, or did it become so? The distance between the distribution of pseudo-labels and the true one, epoch by
# epoch: solid of all labels, dashed of those that passed the threshold and were learned from.

# %%
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
for name, run in runs.items():
    groups = metrics.groups(run.labelled_counts)
    truth = run.unlabelled_counts / run.unlabelled_counts.sum()
    used = run.confusion("sweep", "accepted").sum(1)
    share = np.divide(used, used.sum(1, keepdims=True), out=np.full(used.shape, np.nan), where=used.sum(1, keepdims=True) > 50)
    (line,) = ax.plot(run.epochs, metrics.bias_indices(run.confusion("sweep"), groups).tv, label=name)
    ax.plot(run.epochs, 0.5 * np.abs(share - truth).sum(1), "--", color=line.get_color(), lw=1)
ax.set(xlabel="epoch", ylabel="total variation distance to the truth", ylim=(0, 1))
ax.legend(fontsize=8, ncols=4, loc="upper right")
plt.show()

# %% [markdown]
# The dashed lines lie above the solid ones: what is *used* is more biased than what is *said*. The threshold lets through what the network
# is sure of, and it is sure of the head. This is the third source: **selection by confidence**, which turns an opinion into a lesson.
#
# The explorer shows the same at every epoch: switch between *all* and *accepted*.

# %%
view = pld.explore(runs["uniform"], metric="ratio")
view

# %% [markdown]
# ## Which cure fits which cause?
#
# A cure that knows the labelled frequencies (logit adjustment) and one that watches what the network tends to say (DebiasPL), asked at the
# last epoch of each world. Nothing is trained here: the stored outputs are labelled again, *weights unchanged: one-step counterfactual*
# (notebook 4 explains how far that goes).

# %%
cures = {"as trained": None, "by labelled frequencies": "la(at=pseudo,tau=1)", "by the mean prediction": "debiaspl(tau=1)"}
answers = {name: {cure: pld.what_if(run, scheme) for cure, scheme in cures.items()} for name, run in runs.items()}
pandas.DataFrame(
    {name: {cure: 100 * metrics.balanced_accuracy(answer.confusion) for cure, answer in row.items()} for name, row in answers.items()}
).T.rename_axis("mean recall of the pseudo-labels, %").round(1)

# %% [markdown]
# In the balanced world the labelled frequencies have nothing to say: the first cure changes nothing at all. The second works there too,
# since it looks at the network and not at the labels.
#
# That was one step. Trained with DebiasPL from the beginning, the estimate of the network's habit can be watched beside the truth; in the
# uniform world the bars are all of one height.

# %%
debiased = pld.train("fixmatch+debiaspl", out=f"{folder}/uniform", **worlds["uniform"], **short)
pld.plots.estimated_prior({"DebiasPL": debiased})

# %%
pandas.DataFrame(
    {
        name: {
            "imbalance of the pseudo-labels": metrics.imbalance_ratio(run.pseudo_counts(epoch=-1)),
            "balanced test accuracy": metrics.balanced_accuracy(run.confusion("test", epoch=-1)),
        }
        for name, run in (("FixMatch", runs["uniform"]), ("FixMatch + DebiasPL", debiased))
    }
).T.astype(float).round(2)

# %% [markdown]
# ## Exercises
#
# 1. Train the balanced world with `seed=1`. Do the same classes win?
# 2. In which world is the *precision* of tail labels highest, and why is that no praise?
# 3. Train the uniform world with `fixmatch(threshold=0.5)`. Which of the three sources do you touch, and what happens to the imbalance?
# 4. `darp` refines labels so that their totals match a target, by default the labelled frequencies. Ask
#    `pld.what_if(runs["reversed"], "darp")`. Then with `prior="oracle"`. What do you conclude about methods that need the frequencies of
#    the unlabelled set?
#
# <details><summary>Answers</summary>
#
# 1. The pairs stay (similarity is in the images), the winners change (chance is in the seed).
# 2. Where tail names are given most rarely: a label that is only given in the clearest cases is usually right.
# 3. Selection by confidence. More labels are used, the tail's among them; the prior of the labels is untouched, so a bias remains.
# 4. With the labelled frequencies it enforces the very bias, with the true ones it helps much. A method that needs frequencies is as good
#    as they are; where the unlabelled set may differ, they have to be estimated.
#
# </details>
#
# The uniform world as a page, which needs neither Python nor a network:

# %%
page = view.to_html("../runs/pages/uniform.html")
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")
