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
# # 8. Log your own loop
#
# You have a training loop already, and you want to know what its pseudo-labels were. Three lines do it:
#
# ```python
# recorder = pld.Recorder("runs/mine", true_labels, labelled_counts, class_names)   # once
# recorder.update(index, label, accepted)                                           # every step
# recorder.end_epoch(scalars={"test_accuracy": 0.71})                               # every epoch
# ```
#
# `index` says which unlabelled samples were in the batch, `label` what they were called, `accepted` whether the loss used them. The tensors
# may live on a GPU: nothing waits for it. The true classes stay on the recorder's side; a training never sees them. Without true classes
# (`true_labels=None, num_unlabelled=N`) it records all the same, and what needs the truth says so.

# %%
import os
import shutil

import numpy as np
import torch
from sklearn.datasets import load_digits

import pldebias as pld
from pldebias.interop import from_csv, read_tensorboard, write_tensorboard

epochs = 4 if os.environ.get("PLDEBIAS_FAST") == "1" else 25
for name in ("torch", "numpy", "csv", "events"):
    shutil.rmtree(f"../runs/own/{name}", ignore_errors=True)

# %% [markdown]
# ## Data: digits with a long tail
#
# 60 labelled zeros down to 4 labelled nines; the unlabelled set leans the same way.

# %%
digits = load_digits()
x, y = digits.data.astype(np.float32) / 16, digits.target
order = np.random.default_rng(0).permutation(len(y))
labelled_counts = [60, 44, 33, 24, 18, 13, 10, 7, 5, 4]
labelled = np.concatenate([order[y[order] == k][:n] for k, n in enumerate(labelled_counts)])
unlabelled = np.concatenate([order[y[order] == k][60 : 60 + 2 * n] for k, n in enumerate(labelled_counts)])
test = np.setdiff1d(np.arange(len(y)), np.concatenate([labelled, unlabelled]))
names = [str(k) for k in range(10)]
print(f"{len(labelled)} labelled, {len(unlabelled)} unlabelled and {len(test)} test images")

# %% [markdown]
# ## A loop in PyTorch
#
# Confident predictions become labels of the next step. The lines with `recorder` are all that was added.

# %%
torch.manual_seed(0)
torch.set_num_threads(1)
x_l, y_l, x_u, x_t = torch.tensor(x[labelled]), torch.tensor(y[labelled]), torch.tensor(x[unlabelled]), torch.tensor(x[test])
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimiser = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)

recorder = pld.Recorder("../runs/own/torch", y[unlabelled], labelled_counts, names, attrs={"method": "self-training", "seed": 0})
for epoch in range(epochs):
    for _ in range(10):
        index = torch.randint(len(x_u), (64,))
        confidence, label = network(x_u[index]).detach().softmax(1).max(1)
        accepted = confidence > 0.9
        noisy = x_u[index] + 0.2 * torch.randn_like(x_u[index])
        loss = torch.nn.functional.cross_entropy(network(x_l), y_l)
        loss = loss + (torch.nn.functional.cross_entropy(network(noisy), label, reduction="none") * accepted).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        recorder.update(index, label, accepted)
    with torch.no_grad():
        confidence, label = network(x_u).softmax(1).max(1)
        predicted = network(x_t).argmax(1)
    scalars = {"loss": float(loss.detach())}
    recorder.end_epoch(sweep=(label, confidence > 0.9), test=(y[test], predicted), scalars=scalars, iteration=10 * (epoch + 1))
recorder.close()

# %% [markdown]
# The run now has everything that the trainings of this package have: the explorer, tables, figures, the report.

# %%
mine = pld.open_run("../runs/own/torch")
mine

# %%
view = pld.explore(mine, kind="sweep", split="all")
view.to_html("../runs/pages/mine.html")  # the same as a page that needs neither Python nor a network
view

# %% [markdown]
# ## A loop without PyTorch: Keras, JAX, numpy
#
# The recorder takes whatever numpy can read: the tensors of Keras, the arrays of JAX, plain lists. In a custom Keras loop or around a
# jitted JAX step it is the same three lines; only one thing deserves a thought. Reading a device array into numpy *waits* for it, so keep
# the arrays of an epoch in a list and hand them over at its end: the steps then run on without a pause.
#
# ```python
# rows.append((index, *step(state, x_l, y_l, x_u[index])))        # label and accepted stay on the device
# for row in rows: recorder.update(*row)                          # at the end of the epoch
# ```
#
# Here is that loop whole, in numpy, so that it runs without either framework: softmax regression that teaches itself in mini-batches. What
# it hands over (32-bit labels, a mask of floats) is what a Keras or JAX step would.

# %%
random = np.random.default_rng(0)
weights = np.zeros((64, 10), np.float32)
recorder = pld.Recorder("../runs/own/numpy", y[unlabelled], labelled_counts, names, attrs={"method": "numpy self-training", "seed": 0})
for epoch in range(epochs):
    rows = []
    for _ in range(10):
        index = random.integers(0, len(unlabelled), 64)
        batch, score = x[unlabelled][index], np.exp(3 * x[unlabelled][index] @ weights)
        probability = score / score.sum(1, keepdims=True)
        label, accepted = probability.argmax(1).astype(np.int32), (probability.max(1) > 0.5).astype(np.float32)
        rows.append((index, label, accepted))
        inputs, targets = np.concatenate([x[labelled], batch]), np.concatenate([y[labelled], label])
        score = np.exp(3 * inputs @ weights)
        error = score / score.sum(1, keepdims=True) - np.eye(10, dtype=np.float32)[targets]
        used = np.concatenate([np.ones(len(labelled)), accepted])[:, None]
        weights -= 0.3 * inputs.T @ (error * used).astype(np.float32) / len(inputs)
    for row in rows:
        recorder.update(*row)
    score = np.exp(3 * x[unlabelled] @ weights)
    probability = score / score.sum(1, keepdims=True)
    clean, predicted = probability.argmax(1), (x[test] @ weights).argmax(1)
    recorder.end_epoch(sweep=(clean, probability.max(1) > 0.5), test=(y[test], predicted), iteration=10 * (epoch + 1))
recorder.close()

# %% [markdown]
# Both runs in one table; what the two call a tail class, and how often they are right.

# %%
pld.table([mine, "../runs/own/numpy"], values=("balanced_accuracy", "recall", "pl_recall_tail"))

# %% [markdown]
# scikit-learn has no steps, so it needs no `update`: one `end_epoch(sweep=(label, accepted))` after each round of `fit` is a whole record.

# %% [markdown]
# ## Lightning and USB
#
# In **Lightning**, return the three tensors from the training step and hand the callback to the trainer. Metrics logged with `self.log`
# become scalars; an interrupted training leaves an unfinished run that can be resumed.
#
# ```python
# from pldebias.interop import lightning_callback
#
# def training_step(self, batch, _):
#     ...
#     return {"loss": loss, "pseudo_labels": (index, label, accepted)}
#
# trainer = lightning.Trainer(callbacks=[lightning_callback(recorder)])
# ```
#
# In **USB** and its forks, register a hook. It derives from USB's own base class, and so is made where `semilearn` is installed; it listens
# to the hooks that make the pseudo-labels and the mask.
#
# ```python
# from pldebias.interop import usb_hook
#
# algorithm.register_hook(usb_hook(recorder), "RecorderHook", "LOWEST")
# ```
#
# ## From logs you already have
#
# A CSV with the columns `epoch`, `index` and `label` (and `true`, `accepted`, if known) is enough; arrays go through `from_numpy`,
# ConfusionFlow's logs through `from_confusionflow`. Here the run above goes out as a data frame and comes back.

# %%
frame = mine.to_dataframe("history")
frame.to_csv("../runs/own/history.csv", index=False)
again = from_csv("../runs/own/csv", "../runs/own/history.csv", labelled_counts=labelled_counts, class_names=names)
print("the same matrices:", bool((again.confusion("sweep") == mine.confusion("sweep")).all()))
frame.tail(3)

# %% [markdown]
# ## To other tools
#
# `run.to_dataframe()` for pandas and R, `run.to_netcdf("run.nc")` for one file, `xarray.open_zarr(run.path)` for the store itself, and
# TensorBoard, both ways. A run can be opened from any address that fsspec knows: `pld.open_run("https://...")`.

# %%
write_tensorboard(mine, "../runs/own/events")
read_tensorboard("../runs/own/events").tail(3).round(3).T

# %% [markdown]
# ## Exercises
#
# 1. Lower the threshold 0.9 of the PyTorch loop to 0.5 and look at the tail's rows of the explorer, *accepted* beside *all*.
# 2. Interrupt the kernel in the middle of the PyTorch loop. What does `pld.open_run("../runs/own/torch")` hold?
# 3. Record without the truth, `None` in place of `y[unlabelled]` and `num_unlabelled=len(unlabelled)`. What can the explorer still show?
# 4. Record a loop of your own.
#
# <details><summary>Answers</summary>
#
# 1. More labels are used, and wrong ones with them; the share of tail labels among the accepted ones comes nearer to their share among all.
# 2. Every epoch that was finished, and nothing of the one under way.
# 3. The test set. Sweeps and visits are counted by true class, which is unknown; how often each label was given is in
#    `run.pseudo_counts()` all the same.
#
# </details>
