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
# # 1. Scrub through a training
#
# Labels are dear, images are cheap. *Semi-supervised learning* trains a network on a few labelled images and many unlabelled ones. The
# method this course starts from, **FixMatch**, does it so: show the network an unlabelled image, slightly shifted. If it is sure what it
# sees (here: probability above 0.9), believe it. That belief is the **pseudo-label**. Then show it the same image, badly distorted, and
# teach it to answer with the pseudo-label.
#
# The network is its own teacher, and that is the danger. When one class is a hundred times rarer than another, a young network rarely
# guesses the rare class, so it rarely teaches it, so it guesses it still more rarely. This notebook watches that happen, epoch by epoch,
# and then watches three methods that lean against it.

# %%
import os

import matplotlib.pyplot as plt
import pandas

import pldebias as pld
from pldebias import metrics
from pldebias.analysis.comparing.compare import summary
from pldebias.data import SplitSpec, build

# %% [markdown]
# Seven trainings on the same images. Those that `make demo` has left in `runs/` are opened; what is missing is trained now, which takes a
# CPU a minute or less for each. To look at runs of your own, from a GPU for instance, change one line of this cell:
# `runs = {method: pld.open_run(f"path/{method}/s0") for method in methods}`.

# %%
methods = ["supervised", "supervised(augment=strong)", "fixmatch", "usadtm", "fixmatch+la", "fixmatch+daso", "fixmatch+debiaspl"]
short = {"steps": 40, "steps_per_epoch": 10} if os.environ.get("PLDEBIAS_FAST") == "1" else {}
runs = {method: pld.train(method, data="glyphs-lt", seed=0, out="../runs", **short) for method in methods}
fixmatch = runs["fixmatch"]
fixmatch

# %% [markdown]
# ## The data: a long tail
#
# Ten characters, drawn in a thousand ways. Some are easily taken for each other: `8` for `B`, `5` for `S`, `F` for `E`. The classes are
# ordered from the **head** (many images) to the **tail** (few), and the rare ones look like the frequent ones on purpose.

# %%
table = pandas.DataFrame({"labelled": fixmatch.labelled_counts, "unlabelled": fixmatch.unlabelled_counts}, index=fixmatch.class_names)
groups = metrics.groups(fixmatch.labelled_counts)
table.insert(0, "group", [("head", "medium", "tail")[number] for number in groups.of])
table

# %%
images = build(SplitSpec(source="glyphs", n1=20, gamma_l=5, m1=2000, gamma_u=25), seed=0).labelled
figure, axes = plt.subplots(3, 10, figsize=(9, 2.9))
for number, column in enumerate(axes.T):
    examples = images.images[images.labels == number][:3]
    for ax, example in zip(column, examples, strict=True):
        ax.imshow(example[0], cmap="gray")
        ax.axis("off")
    column[0].set_title(f"{fixmatch.class_names[number]}\n{table['group'].iloc[number]}", fontsize=9)
plt.show()

# %% [markdown]
# In a real project nobody knows the classes of the unlabelled images. Here we do, and the training never sees them: they are kept aside
# so that every pseudo-label can be marked right or wrong afterwards. That is what a *run* in this package is: for each epoch, how many
# images of which true class got which pseudo-label.
#
# ## FixMatch drifts to the head
#
# Each row of the coloured **carpet** on the left is a class, head on top; each column is an epoch. It shows log2(pseudo-labels given /
# images that truly belong to the class): white is a fair share, **orange** too many, **blue** too few, **purple** none at all; one step
# of the scale is a factor of two. The square on the right is the **confusion matrix** of one epoch: the row is what an image is, the
# column what it was called. On the diagonal is what went right; what sits in the left half of the last rows are tail images that were
# called a head class.
#
# Drag along the carpet or the curves, or click once and use the keyboard: <kbd>←</kbd> <kbd>→</kbd> an epoch, <kbd>Space</kbd> plays,
# <kbd>c</kbd> changes what the carpet shows, <kbd>1</kbd> to <kbd>5</kbd> what the matrix shows, <kbd>?</kbd> lists all keys,
# <kbd>Esc</kbd> gives the keyboard back to the notebook. Point at a cell to read its numbers.

# %%
view = pld.explore(fixmatch, metric="ratio")
view

# %% [markdown]
# In the first epochs the network guesses wildly, and the tail gets more labels than it deserves. Then it becomes sure. Follow the orange
# curve at the bottom of the overview: the tail ends with a small part of the labels it should have. Now look at the last rows of the
# matrix near the end: the images of the tail have not vanished, they have been given away to the classes that they resemble.
#
# The same in numbers. *Recall* of a class is the share of its images that carry its label; *tail to head* is the share of all tail images
# that carry the label of a head class.

# %%
sweep = fixmatch.confusion("sweep")
scores, bias = metrics.group(sweep, groups), metrics.bias_indices(sweep, groups)
drift = pandas.DataFrame(
    {
        "recall head": scores.recall[:, 0],
        "recall tail": scores.recall[:, 2],
        "tail labels per tail image": sweep[:, :, groups.tail].sum((1, 2)) / scores.support[:, 2],
        "tail to head": bias.tail_to_head,
        "test: balanced accuracy": metrics.balanced_accuracy(fixmatch.confusion("test")),
    },
    index=pandas.Index(fixmatch.epochs, name="epoch"),
)
drift.loc[[epoch for epoch in (0, 3, 7, 15, 30, 49) if epoch in drift.index]].round(2)

# %% [markdown]
# Balanced accuracy, the mean recall of all ten classes, climbs all the while: nothing in the usual training curve betrays what happens to
# the tail. One number for a whole training hides it; the matrix does not.
#
# ## A different opinion: semantic pseudo-labels
#
# The network that decides is a linear layer, and such a layer learns how *frequent* classes are along with how they look. **USADTM** asks
# differently: it keeps one prototype for each class, the mean of its features, and calls an image after the nearest prototype. A
# prototype does not know how many images stand behind it. Below, A is FixMatch and B is USADTM, at the same epoch; <kbd>x</kbd> swaps
# them.

# %%
pld.explore(fixmatch, runs["usadtm"], metric="ratio")

# %% [markdown]
# The lean is the other way round. Where FixMatch gives the tail too few labels, USADTM gives it too many: more tail images are found (look
# at the recall bars beside the matrix), and many head images are called by tail names (look at the precision bars below it). Neither is
# right; one is too timid about rare classes, the other too bold.
#
# ## Pulling back: DASO and DebiasPL
#
# * **DASO** mixes the two opinions: the more a class is already over-represented among the pseudo-labels, the more it trusts the
#   prototypes instead of the linear layer.
# * **DebiasPL** keeps a running average of what the network tends to say, whatever it is shown, and subtracts that habit before it
#   decides.

# %%
pld.explore(runs["fixmatch+daso"], runs["fixmatch+debiaspl"], metric="ratio")

# %% [markdown]
# How much of the tail is found, by all methods that use the unlabelled images:

# %%
recall = {
    name: metrics.group(run.confusion("sweep"), groups).recall[:, 2] for name, run in runs.items() if not name.startswith("supervised")
}
tail = pandas.DataFrame(recall, index=pandas.Index(fixmatch.epochs, name="epoch"))
lines = {"style": ["-", "--", "-.", ":", "-s"], "ms": 4, "markevery": 6}
tail.plot(ylabel="recall of the tail's pseudo-labels", ylim=(0, 1), figsize=(7, 3.4), **lines)
plt.show()

# %% [markdown]
# ## What it was worth
#
# All numbers are percent. *bal. acc.* is on a balanced test set, at the end and as the median of the last 20 epochs; *post-hoc LA* is the
# same network with its class frequencies divided out of its answers; *PL* columns are about the pseudo-labels of the last epoch; *tail PL
# / true* is how many tail labels were given for each true tail image.

# %%
overview = summary("../runs/glyphs-lt")
names = [run.name for run in runs.values()]
overview[overview["run"].isin(names)].drop(columns="data").set_index("run").loc[names]

# %%
test = pandas.Series({name: 100 * metrics.balanced_accuracy(run.confusion("test", epoch=-1)) for name, run in runs.items()})
baseline = test["supervised(augment=strong)"]
print(f"balanced test accuracy; the baseline that never saw an unlabelled image, supervised(augment=strong), has {baseline:.1f} %")
for name, value in test.sort_values(ascending=False).items():
    print(f"  {name:28s}{value:5.1f} %   {value - baseline:+5.1f}")

# %% [markdown]
# Read that list with care. Two baselines stand in it, both trained on the hundred labelled images alone. The first, `supervised`, is the
# one that papers usually show, and everything beats it. The second, `supervised(augment=strong)`, merely distorts its labelled images as
# FixMatch distorts its unlabelled ones; a method below it in the list has gained nothing from two thousand unlabelled images that a
# better augmentation had not given for free. A gain *over FixMatch* is not yet a gain *from the unlabelled data*.
#
# And this is a **demonstration, not a benchmark**: one seed, made-up characters, a network that trains in a minute on a CPU, settings
# chosen so that the bias can be seen. Another seed moves such numbers by several points. What is general is the mechanism that you
# scrubbed through; how much each cure is worth depends on the data, and has to be measured on yours.
#
# ## Exercises
#
# 1. In the first explorer, press <kbd>c</kbd> until the carpet shows *precision*. Some cells are hatched. What does a hatched cell mean,
#    and why would it be wrong to paint it as 0?
# 2. Switch from *sweep* to *visits*, then between *all*, *accepted* and *rejected*. Are the labels that pass the threshold less biased
#    than all of them, or more?
# 3. Choose "versus prior" for the cells (key <kbd>5</kbd>). Which pairs of characters stay dark orange off the diagonal? Is that leak a
#    matter of frequency, or of looks?
# 4. Compare `supervised` with `supervised(augment=strong)`. At which epoch do their tails part?
# 5. Train `fixmatch` with a lower threshold, `pld.train("fixmatch(threshold=0.5)", out="../runs")`, and set it beside the run above. What
#    happens to the tail, and what to its precision?
#
# <details><summary>Answers</summary>
#
# 1. Nothing was ever called by that name in that epoch: 0 labels, 0 of them right, and 0/0 is undefined. A zero would say that the
#    label was given and was always wrong.
# 2. More: the network is sure about what it sees often, so the threshold lets the head through and stops the tail. Compare the *n
#    predicted* bars above the matrix.
# 3. `8` called `B`, `5` called `S`, `F` called `E`: they exceed what the frequencies alone would give, so looks play a part. Frequency
#    decides the direction: in a balanced set the leak would run both ways.
# 4. Within the first third of the training; the strongly augmented network does not memorise its few tail images.
# 5. More labels are accepted, also wrong ones. Whether the tail gains depends on what it was mistaken for: look, do not guess.
#
# </details>
#
# ## Take it with you
#
# An explorer can be written as a page that needs neither Python nor a network. Everything in it still moves; send it to a colleague.

# %%
page = view.to_html("../runs/pages/drift.html")
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")
