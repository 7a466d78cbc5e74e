"""UMAP of the snapshots of one recorded run: the chain of `pldebias.embed` beside `umap.AlignedUMAP`.

    python -m benchmarks.umap_frames [--run PATH] [--snapshots 8] [--samples 500] [--save]

The last snapshots of the run are taken; without a run, FixMatch is trained on glyphs (a minute). Features have unit length, both methods
15 neighbours and min_dist 0.1; AlignedUMAP relates every sample to itself in the frames beside. Processor time is without compilation.
Trustworthiness and neighbours kept (of a sample's 15 nearest in feature space, the share that is among its 15 nearest in the plane) are
those of each frame. A step is the median way of a point between frames, in standard deviations of the later one. Two calculations with
one seed are of the last three frames.
"""

from __future__ import annotations

import tempfile
import time
import warnings

import numpy as np

from benchmarks import results
from pldebias.analysis.embedding import trustworthiness
from pldebias.analysis.embedding.frames import chain

NEIGHBOURS, DISTANCE = 15, 0.1


def features_of(path: str | None, count: int, samples: int) -> np.ndarray:
    """Features of unit length, ``[E, n, D]``."""
    import pldebias as pld

    run = pld.open_run(path) if path else pld.train("fixmatch", out=tempfile.mkdtemp(), snapshots=20)
    rows = np.sort(np.random.default_rng(0).permutation(run.num_unlabelled)[:samples])
    features = np.stack([run.features(int(epoch))[rows] for epoch in run.logged("features")[-count:]]).astype(np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=2, keepdims=True), 1e-12)


def own(features: np.ndarray) -> np.ndarray:
    """Frames of the package's chain."""
    return chain(features, "umap", {"n_neighbors": NEIGHBOURS, "min_dist": DISTANCE, "seed": 0}, None, None)


def aligned(features: np.ndarray) -> np.ndarray:
    """Frames of AlignedUMAP."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import AlignedUMAP

        same = [{i: i for i in range(features.shape[1])}] * (len(features) - 1)
        model = AlignedUMAP(n_neighbors=NEIGHBOURS, min_dist=DISTANCE, random_state=0)
        return np.stack(model.fit(list(features), relations=same).embeddings_)


def kept(features: np.ndarray, positions: np.ndarray) -> float:
    """Share of nearest neighbours in feature space that are nearest in the plane."""
    from sklearn.neighbors import NearestNeighbors

    near = [NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x).kneighbors(return_distance=False) for x in (features, positions)]
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]) / NEIGHBOURS)


def measured(name: str, place, features: np.ndarray) -> dict:
    """A row of the table."""
    place(features[:2, :200])  # compiles
    began = time.process_time()
    frames = place(features)
    spent = time.process_time() - began
    steps = np.median(np.linalg.norm(np.diff(frames, axis=0), axis=2), 1) / frames[1:].std(1).mean(1)
    row = {
        "method": name,
        "processor time": results.quantity([spent], "s"),
        "trustworthiness": results.quantity([trustworthiness(x, p) for x, p in zip(features, frames, strict=True)]),
        "neighbours kept": results.quantity([kept(x, p) for x, p in zip(features, frames, strict=True)]),
        "step": results.quantity(steps),
        "two calculations differ by": float(np.abs(place(features[-3:]) - place(features[-3:])).max()),
    }
    print(row, flush=True)
    return row


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure and print; returns the tables."""
    parser = results.parser(__doc__)
    parser.add_argument("--run")
    parser.add_argument("--snapshots", type=int, default=8)
    parser.add_argument("--samples", type=int, default=500)
    options = parser.parse_args(arguments)
    features = features_of(options.run, options.snapshots, options.samples)
    title = "{} snapshots of {:,} samples x {} features".format(*features.shape)
    rows = [measured("chain of pldebias.embed", own, features), measured("umap.AlignedUMAP", aligned, features)]
    return results.report("umap_frames", __doc__, {title: rows}, options, arguments)


if __name__ == "__main__":
    main()
