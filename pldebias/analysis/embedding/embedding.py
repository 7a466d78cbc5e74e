"""Embedding of a run's features in the plane, over its snapshots."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from pldebias import metrics
from pldebias.analysis.embedding.frames import cache_folder, chain, is_flat, pca_frames
from pldebias.analysis.relabelling.outputs import outputs
from pldebias.analysis.relabelling.whatif import what_if
from pldebias.methods import MethodError
from pldebias.runs import NotLogged, Run
from pldebias.runs.run import as_run
from pldebias.settings import typed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FLIPS", "Embedding", "embed", "purity", "sample", "trustworthiness"]

FLIPS = ("same label", "became right", "became wrong", "from one wrong label to another", "changed, truth unknown")
"""Changes of a pseudo-label since the snapshot before, by code."""
METHODS = ("pca", "umap", "tsne")
NEIGHBOURS = 10
QUALITY_POINTS = 1500  # trustworthiness is quadratic in memory; more points are sampled down to this


@dataclass(frozen=True, repr=False)
class Embedding:
    """Points of the same samples at several epochs.

    Attributes
    ----------
    frames : ndarray, shape ``[E, n, 2]``, float32
        Positions, centred and scaled so that the last frame lies in [-1, 1]; only relative positions mean something.
    index : ndarray, shape ``[n]``
        Unlabelled indices of the samples, ascending.
    epochs : ndarray, shape ``[E]``
    true : ndarray, shape ``[n]``
        -1 where unknown.
    label, accepted : ndarray, shape ``[E, n]``
        Pseudo-labels that the sweep logged at each epoch.
    groups : Groups
    run : Run
    method : str
    settings : dict
        Everything that the positions depend on, beside the features.
    explained : float
        Share of the variance that both axes carry (PCA); NaN otherwise, and where the features do not differ.
    left_out : ndarray
        Unlabelled indices that belong to the sample and have no place, because their features are not finite at one of the epochs.
    flat : tuple of int
        Epochs of too few different points for UMAP or t-SNE, which are placed by PCA.
    """

    frames: np.ndarray
    index: np.ndarray
    epochs: np.ndarray
    true: np.ndarray
    label: np.ndarray
    accepted: np.ndarray
    groups: metrics.Groups
    run: Run
    method: str
    settings: dict
    explained: float
    left_out: np.ndarray
    flat: tuple[int, ...] = ()

    @property
    def group(self) -> np.ndarray:
        """Group of each sample's true class, of its last pseudo-label where the truth is unknown: 0 head, 1 medium, 2 tail."""
        return self.groups.of[np.where(self.true >= 0, self.true, self.label[-1])]

    @property
    def wrong(self) -> np.ndarray:
        """True where the pseudo-label is wrong, ``[E, n]``; False where the truth is unknown."""
        return (self.label != self.true) & (self.true >= 0)

    @property
    def flipped(self) -> np.ndarray:
        """Change of each pseudo-label since the frame before, as codes of `FLIPS`, ``[E, n]`` uint8; all 0 in the first frame."""
        now, before, known = self.label[1:], self.label[:-1], self.true >= 0
        kind = np.select([now == before, ~known, now == self.true, before == self.true], [0, 4, 1, 2], 3)
        return np.vstack([np.zeros((1, len(self.index)), np.uint8), kind.astype(np.uint8)])

    @property
    def right(self) -> np.ndarray:
        """Share of the points whose pseudo-label is right, by epoch and group of the true class (head, medium, tail, all), ``[E, 4]``.

        NaN for a group without points of known truth. The points are a sample in which tail classes are complete and others are not, so
        that a share over several classes is not that in the whole set.
        """
        members = np.stack([*(self.group == number for number in range(3)), np.ones(len(self.index), bool)]) & (self.true >= 0)
        n = members.sum(1)
        hits = ((self.label == self.true).astype(np.int64) @ members.T.astype(np.int64)).astype(float)
        return np.divide(hits, n, out=np.full(hits.shape, np.nan), where=n > 0)

    @cached_property
    def confidence(self) -> np.ndarray:
        """Confidence of each pseudo-label, ``[E, n]`` float32; NaN at epochs without logits.

        The confidence that the run's own method computed, where its chain reproduces the logged labels of the epoch; otherwise, and for
        a run of unknown method, the softmax probability of the logged label. `confidence_source` says which at each epoch.
        """
        return self._confidence[0]

    @property
    def confidence_source(self) -> tuple[str, ...]:
        """``"method"``, ``"softmax"`` or ``""`` (no logits) for each epoch."""
        return self._confidence[1]

    @cached_property
    def _confidence(self) -> tuple[np.ndarray, tuple[str, ...]]:
        values, sources = np.full(self.label.shape, np.nan, np.float32), []
        have = self.run.logged("logits")
        for number, epoch in enumerate(self.epochs):
            sources.append("")
            if epoch not in have:
                continue
            try:
                result = what_if(self.run, epoch=int(epoch))
            except MethodError:  # a run that does not say its method, or whose state is not in the log
                result = None
            if result is not None and result.reproduces:
                values[number], sources[-1] = result.confidence[self.index], "method"
            else:
                probs = outputs(self.run, int(epoch)).probs[torch.as_tensor(self.index)]
                values[number] = probs.gather(1, torch.as_tensor(self.label[number])[:, None])[:, 0].numpy()
                sources[-1] = "softmax"
        return values, tuple(sources)

    @cached_property
    def purity(self) -> np.ndarray:
        """Neighbourhood label purity in *feature space* by epoch and group (head, medium, tail, all), ``[E, 4]``; see `purity`."""
        return np.stack([purity(f, self.true, self.groups) for f in self._features("purity")])

    @cached_property
    def trustworthiness(self) -> np.ndarray:
        """Trustworthiness of each frame, ``[E]``: 1 if neighbours in the plane are neighbours in feature space. See `trustworthiness`."""
        return np.array([trustworthiness(f, p) for f, p in zip(self._features("trustworthiness"), self.frames, strict=True)])

    @cached_property
    def movement(self) -> np.ndarray:
        """Median step of a point between frames, in standard deviations of the later frame, ``[E - 1]``; NaN where all points coincide."""
        steps, spread = np.median(np.linalg.norm(np.diff(self.frames, axis=0), axis=2), 1), self.frames[1:].std(1).mean(1)
        return np.divide(steps, spread, out=np.full_like(steps, np.nan), where=spread > 0)

    def _features(self, what: str):
        from pldebias.progress import bar

        for epoch in bar(self.epochs, desc=what, leave=False, unit=" snapshots", delay=2):  # seconds; a thousand points take less
            yield _features(self.run, int(epoch), self.index, self.settings["normalise"])

    def frame(self, epoch: int = -1) -> int:
        """Number of the frame of an epoch; -1 is the last."""
        if epoch == -1:
            return len(self.epochs) - 1
        if epoch not in self.epochs:
            raise NotLogged(f"this embedding has the epochs {', '.join(map(str, self.epochs))}; not {epoch}")
        return int(np.searchsorted(self.epochs, epoch))

    def caption(self) -> str:
        """Return a caption: method, sample, samples left out."""
        share = "features do not differ" if np.isnan(self.explained) else f"{100 * self.explained:.0f} % of the variance"
        recipe = {
            "pca": f"PCA, one basis for all epochs ({share})",
            "umap": f"UMAP (n_neighbors={self.settings.get('n_neighbors')}), each epoch started from the next one's positions",
            "tsne": f"t-SNE (perplexity={self.settings.get('perplexity')}), each epoch started from the next one's positions",
        }[self.method]
        most = self.settings["per_class"]
        kept = f"all tail samples, at most {most} of every other class" if most else "all samples"
        missing = f", without {len(self.left_out):,} whose features are not finite" if len(self.left_out) else ""
        flat = f"; too few different points, placed by PCA: epochs {', '.join(map(str, self.flat))}" if self.flat else ""
        return f"{self.run.name}: {recipe}; {kept} (n = {len(self.index):,}{missing}){flat}"

    def __repr__(self) -> str:
        return f"<Embedding of {self.caption()}; epochs {', '.join(map(str, self.epochs))}>"


def sample(labels, groups: metrics.Groups, per_class: int | None = 200, seed: int = 0) -> np.ndarray:
    """A tail-complete sample: every sample of a tail class, at most `per_class` of any other.

    Parameters
    ----------
    labels : array_like, shape ``[N]``
        Class of each sample; -1 is sampled as a class of its own.
    groups : Groups
    per_class : int or None
        None keeps everything.
    seed : int

    Returns
    -------
    ndarray, shape ``[n]``
        Ascending indices.
    """
    labels = np.asarray(labels)
    if per_class is None:
        return np.arange(len(labels))
    if per_class < 1:
        raise ValueError(f"per_class={per_class} must be at least 1, or None for all samples")
    random, chosen = np.random.default_rng(seed), []
    for k in (-1, *groups.order):
        rows = np.flatnonzero(labels == k)
        if k not in groups.tail and len(rows) > per_class:
            rows = random.choice(rows, per_class, replace=False)
        chosen.append(rows)
    return np.sort(np.concatenate(chosen))


def purity(features: np.ndarray, true: np.ndarray, groups: metrics.Groups, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Mean share of a sample's nearest neighbours in feature space that have its true class, by group.

    Parameters
    ----------
    features : ndarray, shape ``[n, D]``
    true : ndarray, shape ``[n]``
        Samples of unknown truth (-1) are left out, as neighbours too.
    groups : Groups
    neighbours : int, default 10

    Returns
    -------
    ndarray, shape ``[4]``
        Head, medium, tail, all; NaN for a group without samples. Chance is the class's share among the samples, which in a tail-complete
        sample is not that in the whole set.
    """
    from sklearn.neighbors import NearestNeighbors

    known = np.flatnonzero(true >= 0)
    if len(known) <= neighbours:
        return np.full(4, np.nan)
    near = NearestNeighbors(n_neighbors=neighbours).fit(features[known]).kneighbors(return_distance=False)
    same, of = (true[known][near] == true[known][:, None]).mean(1), groups.of[true[known]]
    return np.array([same[members].mean() if members.any() else np.nan for members in (of == 0, of == 1, of == 2, of >= 0)])


def trustworthiness(features: np.ndarray, positions: np.ndarray, neighbours: int = NEIGHBOURS) -> float:
    """scikit-learn's trustworthiness of a frame, on at most 1,500 evenly taken samples; NaN for fewer than three times `neighbours`."""
    from sklearn.manifold import trustworthiness as measure

    if len(features) > QUALITY_POINTS:
        rows = np.linspace(0, len(features) - 1, QUALITY_POINTS).round().astype(int)
        features, positions = features[rows], positions[rows]
    if len(features) < 3 * neighbours:
        return float("nan")
    return float(measure(features, positions, n_neighbors=neighbours))


def _features(run: Run, epoch: int, index: np.ndarray, normalise: bool) -> np.ndarray:
    features = run.features(epoch)[index]
    if normalise:
        with np.errstate(invalid="ignore"):  # infinite features become NaN, and are left out
            features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return features


@typed
def embed(
    run: Run | str | Path,
    method: str = "pca",
    epochs: Sequence[int] | None = None,
    *,
    per_class: int | None = 200,
    seed: int = 0,
    normalise: bool = True,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    perplexity: float = 30.0,
    groups: str | tuple[int, int] = "tertiles",
    cache: str | Path | bool = True,
    progress: bool = True,
) -> Embedding:
    """Features of a run's snapshots in the plane, aligned over epochs.

    Parameters
    ----------
    run : Run or path
    method : {"pca", "umap", "tsne"}, default "pca"
        ``pca``: one basis fitted on all snapshots together; linear, deterministic, instant. ``umap`` and ``tsne`` are computed from the
        last snapshot backwards, where structure is clearest, each started from the positions of the one after it.
    epochs : sequence of int, optional
        Snapshot epochs; all that have features when None.
    per_class : int or None, default 200
        Every tail sample is kept and at most this many of any other class (`sample`); None keeps all.
    seed : int, default 0
        Of the sample and of UMAP and t-SNE.
    normalise : bool, default True
        Scale features to unit length first, so that frames show directions, which classifiers and prototypes compare, and not the growth
        of features during training.
    n_neighbors, min_dist : int and float
        Of UMAP.
    perplexity : float, default 30
        Of t-SNE; at most a third of the samples.
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    cache : bool or path, default True
        Keep computed frames, by content, in ``cache/embed`` under the data root (beside the run, then a temporary folder, if that cannot be
        written); a path names the folder; False computes anew. PCA is not kept: it is faster than reading.
    progress : bool, default True

    Returns
    -------
    Embedding

    Notes
    -----
    It can be interrupted: finished frames are in the cache, and the same call goes on from there. Where no truth is known, the sample is
    drawn by the last pseudo-labels. Distances between clusters and sizes of clusters in UMAP and t-SNE say little; `Embedding.purity` is
    measured in feature space for that reason.

    Samples whose features are not finite at one of the epochs (a network that diverged, values beyond float16) are left out with a warning;
    `Embedding.left_out` lists them. A frame with fewer than four different points, as of a collapsed network, is placed by PCA.

    Raises
    ------
    NotLogged
        The run kept no features, or not at these epochs.
    ValueError
        A setting out of its range, no unlabelled sample, or an epoch at which no sample has finite features.
    """
    run = as_run(run)
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; choose one of {', '.join(METHODS)}")
    if not (n_neighbors >= 2 and 0 <= min_dist <= 1 and perplexity > 0):
        raise ValueError(
            f"n_neighbors must be at least 2, min_dist in [0, 1] and perplexity above 0; got {n_neighbors}, {min_dist} and {perplexity}"
        )
    if not run.num_unlabelled:
        raise ValueError(f"{run.name} has no unlabelled samples, so there is nothing to place")
    placed = _epochs(run, epochs)
    parts = metrics.groups(run.labelled_counts, groups)
    history = [run.history(int(e)) for e in placed]
    true = run.true_labels
    index = sample(np.where(true >= 0, true, history[-1][0]) if (true < 0).all() else true, parts, per_class, seed)
    index = index[np.all([h[0][index] >= 0 for h in history], axis=0)]  # those without a label have no place in its colours
    if not len(index):
        raise ValueError(f"{run.name} has no sample with a label at all of these epochs, so there is nothing to place")
    features = np.stack([_features(run, int(e), index, normalise) for e in placed])
    finite = _finite(run, features, index, placed)
    left_out, index, features = index[~finite], index[finite], features[:, finite]
    settings = {"per_class": per_class, "seed": int(seed), "normalise": normalise}
    explained, flat = float("nan"), ()
    if method == "pca":
        frames, explained = pca_frames(features)
    else:
        own = {
            "umap": {"n_neighbors": min(int(n_neighbors), len(index) - 1), "min_dist": float(min_dist)},
            "tsne": {"perplexity": float(min(perplexity, max(1, (len(index) - 1) // 3)))},
        }[method]
        settings |= own
        flat = tuple(int(e) for e, frame in zip(placed, features, strict=True) if is_flat(frame))
        frames = chain(features, method, {**own, "seed": int(seed)}, cache_folder(run, cache), placed if progress else None)
    frames = frames - frames[-1].mean(0)
    return Embedding(
        frames=(frames / (np.abs(frames[-1]).max() or 1)).astype(np.float32), index=index, epochs=placed, true=true[index],
        label=np.stack([h[0][index] for h in history]).astype(np.int64), accepted=np.stack([h[1][index] for h in history]).astype(bool),
        groups=parts, run=run, method=method, settings=settings, explained=explained, left_out=left_out, flat=flat,
    )  # fmt: skip


def _finite(run: Run, features: np.ndarray, index: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """Return the samples that have finite features at every epoch, as a mask ``[n]``; warn of the others by name."""
    each = np.isfinite(features).all(2)
    finite = np.asarray(each.all(0))
    if not finite.any():
        worst = epochs[each.mean(1) < 1]
        raise ValueError(
            f"the features of {run.name} are not finite (NaN or infinite) for any sample at all of these epochs; choose others than "
            f"{', '.join(map(str, worst))} with epochs="
        )
    if not finite.all():
        bad = index[~finite]
        listed = ", ".join(map(str, bad[:5].tolist())) + (" ..." if len(bad) > 5 else "")
        warnings.warn(
            f"{len(bad)} of {len(index)} samples are left out, since their features are not finite (NaN or infinite) at one of the epochs: "
            f"sample {listed}",
            RuntimeWarning,
            stacklevel=3,
        )
    return finite


def _epochs(run: Run, epochs: Sequence[int] | None) -> np.ndarray:
    have = np.intersect1d(run.logged("features"), run.logged("history"))
    if not len(have):
        raise NotLogged(f"{run.name} kept no features; train it with snapshots=8 (or pass features= and sweep= to Recorder.end_epoch)")
    if epochs is None:
        return have
    wanted = np.unique([have[-1] if e == -1 else e for e in epochs])
    if len(absent := np.setdiff1d(wanted, have)) or not len(wanted):
        raise NotLogged(f"{run.name} has features at the epochs {', '.join(map(str, have))}; not at {', '.join(map(str, absent))}")
    return wanted
