"""Frames of an embedding: PCA of all epochs together, or a chain of UMAP or t-SNE, each frame started from the one after it."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pldebias._files import whole
from pldebias.data.sources import data_root
from pldebias.optional import needed
from pldebias.paths import is_address, local

if TYPE_CHECKING:
    from pldebias.runs import Run

__all__ = ["align", "cache_folder", "chain", "is_flat", "pca_frames"]

_VERSION = 2  # of what a cached frame means
DISTINCT = 4  # different points that UMAP and t-SNE need
LEAST = 1e-15  # smaller differences have no square in float32, and t-SNE crashes on distances that are all zero


def align(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """`moving` turned, mirrored and shifted (not scaled) to lie nearest to `fixed`; both ``[n, 2]`` (orthogonal Procrustes)."""
    from scipy.linalg import orthogonal_procrustes

    turn, _ = orthogonal_procrustes(moving - moving.mean(0), fixed - fixed.mean(0))
    return ((moving - moving.mean(0)) @ turn + fixed.mean(0)).astype(np.float32)


def pca_frames(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Two principal components of all epochs together, so that one basis serves every frame.

    Parameters
    ----------
    features : ndarray, shape ``[E, n, D]``

    Returns
    -------
    frames : ndarray, shape ``[E, n, 2]``, float32
    explained : float
        Share of the pooled variance.
    """
    flat = features.reshape(-1, features.shape[2])
    centred = flat - flat.mean(0, dtype=np.float64).astype(flat.dtype)  # of equal rows, exactly that row
    tensor = torch.from_numpy(centred)  # NumPy takes x.T @ x for a symmetric rank-k update, which its OpenBLAS does 20 times slower
    total = (tensor.T @ tensor).double().numpy()
    values, vectors = np.linalg.eigh(total)
    basis = vectors[:, ::-1][:, :2]
    if basis.shape[1] < 2:
        basis = np.hstack([basis, np.zeros((len(basis), 2 - basis.shape[1]))])
    # Signs of eigenvectors are arbitrary: the largest entry of each is made positive.
    basis = basis * np.where(basis[np.abs(basis).argmax(0), np.arange(2)] < 0, -1, 1)
    explained = float(values[::-1][:2].sum() / values.sum()) if values.sum() > 0 else float("nan")
    return (centred @ basis.astype(features.dtype)).reshape(*features.shape[:2], 2).astype(np.float32), explained


def is_flat(features: np.ndarray) -> bool:
    """Return True if a frame ``[n, D]`` has too few different points for UMAP and t-SNE."""
    return np.ptp(features) < LEAST or len({row.tobytes() for row in features + 0.0}) < DISTINCT  # + 0.0: -0.0 becomes 0.0


def chain(features: np.ndarray, method: str, settings: dict, folder: Path | None, labels: np.ndarray | None) -> np.ndarray:
    """Frames ``[E, n, 2]``, from the last to the first; each is kept as soon as it is there."""
    from pldebias.progress import bar

    compute = {"umap": _umap, "tsne": _tsne}[method]
    frames: list[np.ndarray] = []
    key = hashlib.sha256(json.dumps([_VERSION, method, settings], sort_keys=True).encode()).hexdigest()
    with bar(total=len(features), desc=method, unit=" frames", disable=labels is None) as shown:
        for number in reversed(range(len(features))):
            if labels is not None:
                shown.set_postfix(epoch=int(labels[number]), refresh=False)
            key = hashlib.sha256(key.encode() + np.ascontiguousarray(features[number]).tobytes()).hexdigest()
            frame = _read(folder, key, len(features[number]))
            if frame is None:
                after = frames[-1] if frames else None
                # Neither method can begin from points that are all in one place, nor without several different ones.
                begin = None if after is None or is_flat(after) else after
                seen = np.pad(features[number], ((0, 0), (0, max(0, 2 - features.shape[2]))))
                frame = pca_frames(seen[None])[0][0] if is_flat(seen) else compute(seen, begin, settings).astype(np.float32)
                frame = frame if after is None else align(frame, after)
                _write(folder, key, frame)
            frames.append(frame)
            shown.update()
    return np.stack(frames[::-1])


def _umap(features: np.ndarray, after: np.ndarray | None, settings: dict) -> np.ndarray:
    # Small steps from the next frame keep clusters where they are, and more neighbours than large ones (benchmarks/umap_frames.py).
    start = {"init": "pca"} if after is None else {"init": after, "n_epochs": 100, "learning_rate": 0.25}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap and numba speak of TensorFlow, of threads and of compilation
        (umap,) = needed("UMAP", "embed", "umap-learn:umap")
        model = umap.UMAP(
            n_neighbors=settings["n_neighbors"], min_dist=settings["min_dist"], random_state=settings["seed"], n_jobs=1, **start
        )
        return model.fit_transform(features)


def _tsne(features: np.ndarray, after: np.ndarray | None, settings: dict) -> np.ndarray:
    from sklearn.manifold import TSNE

    # Started from the next frame, the phase of early exaggeration would only tear it apart.
    start: dict[str, Any] = {"init": "pca"} if after is None else {"init": after, "early_exaggeration": 1.0, "max_iter": 300}
    return TSNE(perplexity=settings["perplexity"], random_state=settings["seed"], **start).fit_transform(features)


def cache_folder(run: Run, cache: str | Path | bool) -> Path | None:
    """Folder of finished frames, made if need be; None where none is wanted or can be written."""
    if cache is False:
        return None
    if cache is not True:
        candidates = [local(cache)]
    else:
        candidates = [data_root(None) / "cache" / "embed", Path(tempfile.gettempdir()) / "pldebias-embed"]
        if not is_address(run.path):
            candidates.insert(1, Path(run.path).parent / f".{Path(run.path).name}.embed")
    problems = []
    for folder in candidates:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            problems.append(f"{folder}: {error.strerror or error}")
    warnings.warn(f"embeddings cannot be kept and will be computed again each time ({'; '.join(problems)})", RuntimeWarning, stacklevel=3)
    return None


def _read(folder: Path | None, key: str, rows: int) -> np.ndarray | None:
    if folder is None:
        return None
    try:
        frame = np.load(folder / f"{key}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged: it is computed again
        return None
    return frame if frame.shape == (rows, 2) else None


def _write(folder: Path | None, key: str, frame: np.ndarray) -> None:
    if folder is None:
        return
    with whole(folder / f"{key}.npy") as partial, partial.open("wb") as file:
        np.save(file, frame)
