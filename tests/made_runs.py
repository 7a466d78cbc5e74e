"""Small recorded runs whose numbers are known beforehand, for tests of tables, figures and reports."""

import numpy as np

from pldebias.runs import Recorder, open_run

HOSTILE = (r"a&b_%$#{}~^\c", "<script>alert(1)</script>", "|pipe| *star*", 'naïve "fox" $x$', "=1+1", "</style>--><!--")
"""Class names that break LaTeX, HTML, Markdown or a formula in a plot where somebody forgot to escape."""
DATA = {"source": "cifar10", "n1": 500, "m1": 4000, "gamma_l": 100.0, "gamma_u": 100.0, "reverse_unlabelled": False}
CONFIG = DATA | {"lr": 0.03, "steps": 40}


def counts(right, n: int = 20) -> np.ndarray:
    """``[K, K]`` with ``right[k]`` of `n` samples of class k on the diagonal and the others labelled with the next class."""
    matrix = np.diag(right)
    for k, hits in enumerate(right):
        matrix[k, (k + 1) % len(right)] += n - hits
    return matrix


def samples(matrix) -> tuple[np.ndarray, np.ndarray]:
    """True classes and labels that have this matrix."""
    true, label = np.nonzero(matrix)
    return np.repeat(true, matrix[true, label]), np.repeat(label, matrix[true, label])


def make_run(path, method="fixmatch", seed=0, right=(18, 16, 12, 9, 5, 2), *, epochs=4, names=None, labelled=(90, 60, 40, 20, 9, 3),
             per_class=20, unknown=False, num_epochs=None, series=True, outputs=False, attrs=None,
             **config):  # fmt: skip
    """Record a run whose test and sweep matrices are ``counts(right)`` at the last epoch and worse before.

    Labels are accepted where they are right; scalars and the state of a scheme come with it, and, with `outputs`, the logits of a linear
    classifier that calls every sample the first class and of a semantic one that is always right. Settings go into its config.
    """
    right = np.asarray(right)
    k = len(right)
    truth = np.repeat(np.arange(k), per_class)
    told = {"method": method, "data": "cifar10-lt", "seed": seed, "fingerprint": f"split {seed}", "config": CONFIG | config} | (attrs or {})
    given = np.full(len(truth), -1) if unknown else truth
    names = names or [f"class {i}" for i in range(k)]
    with Recorder(path, given, labelled[:k], names, num_epochs=num_epochs or epochs, attrs=told) as recorder:
        for epoch in range(epochs):
            matrix = counts(right * (epoch + 1) // epochs, per_class)
            label = samples(matrix)[1]
            state = {"seval/offsets": np.linspace(1, 2, k) + epoch, "seval/thresholds": np.linspace(0.9, 0.5, k),
                     "adello/prior": np.full(k, 1 / k)} if series else {}  # fmt: skip
            made = {"logits": np.eye(k)[0 * truth], "semantic": np.eye(k)[truth]} if outputs else {}
            recorder.update(np.arange(len(truth)), label, label == truth)
            recorder.end_epoch(
                iteration=10 * (epoch + 1),
                scalars={"ece": 0.3 - 0.05 * epoch, "mask_rate": 0.5, "loss/labelled": 1 / (epoch + 1)},
                sweep=(label, label == truth),
                test=matrix,
                series=state,
                **made,
            )
    return open_run(path)


def make_snapshots(path, *, names=None, unknown=False, features=True, logits=True, method="fixmatch(threshold=0.95)", epochs=(0, 2, 3)):
    """Record four epochs of 120 samples of six classes, with outputs at some of them; clusters move apart and labels get better.

    As trained, the chain reproduces the labels and acceptances that are logged.
    """
    random, k, dim = np.random.default_rng(0), 6, 8
    truth = np.repeat(np.arange(k), 20)
    centres = random.normal(size=(k, dim))
    attrs = {"method": method, "seed": 0} if method else {"seed": 0}
    given = np.full(len(truth), -1) if unknown else truth
    with Recorder(path, given, (90, 60, 40, 20, 9, 3), names or [f"class {i}" for i in range(k)], num_epochs=4, attrs=attrs) as recorder:
        for epoch in range(4):
            scores = (random.normal(size=(len(truth), k)) + (1 + epoch) * np.eye(k)[truth] * np.linspace(2, 0.6, k)[truth][:, None]) * 2
            scores = scores.astype(np.float16).astype(np.float32)
            probs = np.exp(scores - scores.max(1, keepdims=True))
            accepted = probs.max(1) / probs.sum(1) >= 0.95
            outputs = {}
            if epoch in epochs:
                if features:
                    outputs["features"] = (random.normal(size=(len(truth), dim)) + epoch * centres[truth]).astype(np.float32)
                if logits:
                    outputs["logits"] = scores
            recorder.end_epoch(sweep=(scores.argmax(1), accepted), iteration=epoch + 1, **outputs)
    return open_run(path)
