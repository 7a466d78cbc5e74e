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
# # 3. Tail clusters
#
# A pseudo-label is the last step of a network: it turns an image into some dozens of numbers, its **features**, and a linear layer reads
# the class off them. When the tail vanishes from the pseudo-labels, which of the two has failed? Do tail images lie among the others, so
# that nobody could tell them apart? Or do they lie well together, in a cluster of their own, and merely carry the wrong name?
#
# The difference matters. A wrong name can be corrected by a rule (notebook 4); features that were never learned cannot.

# %%
import os

import matplotlib.pyplot as plt
import pandas

import pldebias as pld
from pldebias import metrics

# %% [markdown]
# For runs of your own, from a GPU for instance, change one line of this cell: `runs = {"fixmatch": pld.open_run("path/to/a/run"), ...}`.
# They need snapshots with features (`snapshots=8`).

# %%
fast = os.environ.get("PLDEBIAS_FAST") == "1"
short = {"steps": 40, "steps_per_epoch": 10} if fast else {}
runs = {method: pld.train(method, seed=0, out="../runs", **short) for method in ("fixmatch", "fixmatch+daso")}
run = runs["fixmatch"]

# %% [markdown]
# ## A map of the features
#
# Features have far more than two dimensions, a screen has two. **PCA** turns the cloud so that its two longest axes lie in the screen. One
# turn is used for all epochs, so that a point that moves has really moved.
#
# Which points are shown is not a detail. Ten random images out of a hundred would contain hardly any tail image, and a picture without the
# tail shows a beautiful training. Here *all* tail images are shown, and at most 80 of every other class.

# %%
points = pld.embed(run, per_class=80)
pld.plots.embedding(points, points.epochs[[1, len(points.epochs) // 2, -1]])

# %% [markdown]
# Large dots are truly tail. The colour is what the network *calls* them: orange is a tail name, blue a head name. A dark ring is a wrong
# name. Follow the large dots from the first panel to the last: in the beginning many of them are orange, at the end they are blue.
#
# ## Sharper, and less honest: UMAP
#
# PCA cannot show every cluster in two straight axes. **UMAP** and **t-SNE** bend space until neighbours stay neighbours. The price: sizes
# of clusters and distances between them mean little, and two separate runs of UMAP give two different pictures. Here the last epoch is
# laid out first, and each earlier one starts from the positions of its successor, so that clusters do not jump about.

# %%
sample = {"per_class": 15, "epochs": run.logged("features")[-2:]} if fast else {"per_class": 45}
umap = pld.embed(run, "umap", progress=False, **sample)
view = pld.embedding_view(umap, link="tail")
view

# %% [markdown]
# Move the slider or press Space: the points travel. Point at a dot to see which image it is, what it is called, and its way through the
# training. Press `2` to colour by the truth instead, `3` for what has just changed its name.
#
# Now draw a lasso around a heap of large blue dots. Beside the picture stands what they are and what they are called; and the explorer
# below, which has the same `link` name, rings their cells in its matrix and shows their labels epoch by epoch. It works the other way too:
# choose a cell there, and its points light up here.

# %%
explorer = pld.explore(run, link="tail", kinds=("sweep",))
explorer

# %% [markdown]
# What you have selected is there for your own code, as indices into the unlabelled set. Without a lasso, these are the points truly `8`:

# %%
names = list(run.class_names)
chosen = view.selection or umap.index[umap.true == names.index("8")]
pandas.Series([names[label] for label in run.history(-1)[0][chosen]], name="called").value_counts().to_frame()

# %% [markdown]
# Both views in one page, for a talk or a colleague, without Python or a network:

# %%
page = view.to_html("../runs/pages/tail.html", explorer=explorer)
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Do not trust blobs
#
# A picture persuades even where there is nothing to see. Two numbers stand over each panel. **Trust** says how far neighbours on the
# screen are neighbours in truth (1 is faithful). **Purity** does not look at the picture at all: of the ten nearest neighbours in the
# *full* feature space, what share has the same true class?

# %%
columns = ["head", "medium", "tail", "all"]
purity = {name: pld.embed(each).purity for name, each in runs.items()}
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for ax, (name, values) in zip(axes, purity.items(), strict=True):
    for column, colour, dash in ((0, "#0072B2", "-"), (1, "#999999", ":"), (2, "#D55E00", "--")):
        ax.plot(points.epochs, values[:, column], dash, color=colour, marker="o", ms=3, label=columns[column])
    ax.set(title=name, xlabel="epoch", ylim=(0, 1))
axes[0].set_ylabel("neighbours of the same true class")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Clusters without a name
#
# Put purity beside recall. In FixMatch the tail's purity *rises* through the whole training: its images find each other. Its recall falls.

# %%
groups = metrics.groups(run.labelled_counts)
recall = metrics.group(run.confusion("sweep", epoch=points.epochs), groups).recall
index = pandas.Index(points.epochs, name="epoch")
pandas.DataFrame({"purity of the tail": purity["fixmatch"][:, 2], "recall of the tail": recall[:, 2]}, index=index).round(2)

# %% [markdown]
# So the features are not the main culprit. The tail images lie together more and more, next to the head class that they resemble, and the
# linear layer draws its boundary on the wrong side of them. That is what methods such as DASO live on: prototypes read the *features*, and
# the features know more than the labels say.
#
# ## Who left, and where to?
#
# From an early epoch (left) to the last (right), tail images only. Grey kept its label; a coloured ribbon left it for a class of that
# colour's group.

# %%
early = int(run.epochs[min(3, len(run.epochs) - 2)])
pld.plots.flows(run, early, -1, of="tail")

# %% [markdown]
# Almost all of it flows up, to the head. And in which order were the classes learned at all?

# %%
pld.plots.learning_order(run)

# %% [markdown]
# ## Look at the images
#
# Tail images whose wrong label the network is most sure of. Under each: what it is, what it is called, how sure. The strip is the label in
# every epoch, blue for a head name; dark where it was right.

# %%
pld.plots.samples(run, "confidently wrong", n=16)

# %% [markdown]
# And those that changed their name most often. They lie on a boundary; for them, a little help decides.

# %%
pld.plots.samples(run, "most flipped", n=16)

# %% [markdown]
# A label that is wrong, and of which the network is certain, is the worst case for every method that learns from confident labels: no
# threshold stops it. How certain may one be of a label? The **reliability** diagram compares confidence with the share that is right, by
# what images were *called*. Under the dashed line a network is surer than it may be.

# %%
pld.plots.reliability(run)

# %% [markdown]
# ## Exercises
#
# 1. Draw `pld.plots.embedding(points, colour="true")`. Where do truly tail images lie at the last epoch?
# 2. Repeat the map for `runs["fixmatch+daso"]`. Which large dots are orange now?
# 3. Give `pld.embed(run, "umap", n_neighbors=5)` and `n_neighbors=50` (a minute each). What changes in the picture, and what in `purity`?
# 4. The samples above are called by head names with great confidence. Would a higher threshold have helped?
# 5. `pld.embed(run, per_class=None)` draws all images. What becomes of the tail in the picture?
#
# <details><summary>Answers</summary>
#
# 1. In heaps of their own, at the edges of the head classes that they resemble: `8` beside `B`, `5` beside `S`.
# 2. Many of those in the heaps; DASO has moved the boundary, not the images.
# 3. The picture falls into more and smaller pieces, or into fewer and rounder ones. Purity is the same to the last digit: it is measured in
#    feature space and not in the picture.
# 4. No: they are as sure as the right ones. A threshold sorts by confidence, and confidence is what is biased.
# 5. It drowns. The dots are there, but five thousand head images lie around and over them.
#
# </details>
