"""DARP's refinement on a CPU, in a time that grows with N instead of N K.

All classes together keep about ``alpha N`` of the N K entries. Every other entry of row i is a factor of the row times
``exp(-nu_k h_i)``: a function of the row's entropy h_i. Sums over those are taken on a grid of entropies, onto which rows are spread by
polynomials of degree 7, each good for a stretch on which the exponent changes by one (relative error about 1e-9).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

EPS = 1e-6
ENOUGH = 1e-4
"""A Newton step after which nothing is left to do: the error behind it is of the order of its square."""

_DEGREE = 7
FAR = 45.0
"""Entries that are smaller than another one of their row by a factor ``exp(FAR)``, or 3e19, are not told apart from zero."""

_NODES = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))  # Chebyshev's, on [-1, 1]


class _Grid(NamedTuple):
    entropy: np.ndarray  # [C, degree + 1] of the nodes of every stretch
    cell: np.ndarray  # [N] stretch of a row
    weights: np.ndarray  # [N, degree + 1] of a row on the nodes of its stretch

    def gather(self, logs: np.ndarray) -> np.ndarray:
        """A function's logarithm, at the nodes -> at the rows."""
        top = logs.max(1)
        return np.log(np.einsum("ij,ij->i", self.weights, np.exp(logs - top[:, None])[self.cell])) + top[self.cell]

    def spread(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of the rows' weights -> the nodes' weights ``[C, degree + 1]``, which have the same sums, less ``exp([C, 1, 1])``."""
        top = np.full(len(self.entropy), -np.inf)
        np.maximum.at(top, self.cell, logs)
        parts = self.weights * np.exp(logs - top[self.cell])[:, None]
        top[top == -np.inf] = top.max()  # stretches without a row
        return np.stack([np.bincount(self.cell, part, len(top)) for part in parts.T], 1), top[:, None, None]


def _grid(entropy: np.ndarray, steepest: float) -> _Grid | None:
    """A grid for ``exp(-nu h)`` with nu in 0..`steepest`; None if it would have half as many nodes as there are rows.

    A stretch may be as wide as ``(h - min h) / FAR``: where nu changes the exponent by more than one over it, the exponent is below -FAR.
    """
    low, high = float(entropy.min()), float(entropy.max())
    width, edges = 1 / steepest, [0.0]
    while edges[-1] < high - low or len(edges) == 1:
        if 2 * len(edges) * (_DEGREE + 1) > len(entropy):
            return None
        edges.append(edges[-1] + max(width, edges[-1] / FAR))
    edges = low + np.array(edges)
    cell = np.searchsorted(edges[1:-1], entropy, side="right")
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    x = (entropy - middle[cell]) / half[cell]
    weights = np.ones((len(x), _DEGREE + 1))
    for j, node in enumerate(_NODES):
        for other in np.delete(_NODES, j):
            weights[:, j] *= (x - other) / (node - other)
    return _Grid(middle[:, None] + half[:, None] * _NODES, cell, weights)


def likeliest(probs: np.ndarray, quota: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and class of each class's `quota` likeliest samples, ties by row; ordered by class."""
    rows = []
    for column, number in zip(np.ascontiguousarray(probs.T), np.minimum(quota, len(probs)), strict=True):
        if number < 1:
            rows.append(np.empty(0, np.int64))
            continue
        least = np.partition(column, len(column) - number)[len(column) - number]
        above = np.flatnonzero(column > least)
        rows.append(np.sort(np.concatenate([above, np.flatnonzero(column == least)[: number - len(above)]])))
    return np.concatenate(rows), np.repeat(np.arange(len(quota)), [len(part) for part in rows])


class _Prior(NamedTuple):
    """Entries that each class keeps, and the value of all others; logarithms."""

    row: np.ndarray  # [M] of the kept entries, ordered by class
    column: np.ndarray  # [M]
    rest: np.ndarray  # [N] of every entry of a row that is not kept
    kept: np.ndarray  # [M] of the kept entries above the rest
    own: np.ndarray  # [M] of the kept entries
    entropy: np.ndarray  # [N] of a row; no logarithm


def _prior(probs: np.ndarray, target: np.ndarray, alpha: float) -> _Prior:
    """`pldebias.schemes.formulas.refinery.select`."""
    samples, classes = probs.shape
    row, column = likeliest(probs, (alpha * target + 1e-3).astype(np.int64))
    kept = probs[row, column].astype(np.float64)
    kept *= ((target + EPS) / (np.bincount(column, kept, classes) + EPS))[column]
    total = np.bincount(row, kept, samples) + classes * EPS
    rest, kept = EPS / total, kept / total[row]
    own = kept + rest[row]
    entropy = -np.bincount(row, own * np.log(own + EPS), samples)
    entropy -= (classes - np.bincount(row, minlength=samples)) * rest * np.log(rest + EPS)
    with np.errstate(divide="ignore"):  # a kept probability of zero
        return _Prior(row, column, np.log(rest), np.log(kept), np.log(own), entropy)


def refine(probs: np.ndarray, target: np.ndarray, alpha: float, rounds: int) -> np.ndarray | None:
    """`pldebias.schemes.formulas.refinery.refine` with its solver "newton"; None where a grid of entropies would save nothing.

    Shapes ``[N, K]`` and ``[K]`` (counts that sum to N), to ``[N, K]`` in the dtype of `probs`.
    """
    samples, classes = probs.shape
    row, column, rest, kept, own, entropy = _prior(probs, target, alpha)
    at, goal = entropy[row], np.log(np.maximum(target, EPS))
    rows, nu, steepest = entropy, np.zeros(classes), 0.0
    grid: Any = None
    for _ in range(rounds):
        logs, spread, scale, base = kept + rows[row], None, 0.0, 0.0
        for _ in range(50):
            if spread is None or nu.min() < base - 5 or (nu - base).max() > steepest:  # a little below zero the grid is good, too
                base = nu.min()  # exponents are taken relative to the class with the least
                if grid is None or (nu - base).max() > steepest:
                    steepest = max(8.0, 4 * float((nu - base).max()))
                    grid = _grid(entropy, steepest)
                    if grid is None:
                        return None
                spread, scale = grid.spread(rest + rows - base * entropy)
            exponents = (scale - grid.entropy[..., None] * (nu - base)).reshape(-1, classes)
            top = exponents.max(0)  # the kept entries exceed it by less than double precision can hold
            there = np.exp(exponents - top)
            here = np.exp(logs - nu[column] * at - top[column])
            sums = spread.ravel() @ there + np.bincount(column, here, classes)
            slopes = (spread * grid.entropy).ravel() @ there + np.bincount(column, here * at, classes)
            step = (np.log(sums) + top - goal) * sums / slopes
            nu = nu + step
            if np.abs(step).max() < ENOUGH:
                break
        least = rest - base * entropy + grid.gather(np.logaddexp.reduce(-grid.entropy[..., None] * (nu - base), 2))
        rows = -(least + np.log1p(np.bincount(row, np.exp(kept - nu[column] * at - least[row]), samples)))
    refined = np.empty_like(probs)
    for start in range(0, samples, 2048):  # what fits a core's cache is done twice as fast as what does not
        block = slice(start, start + 2048)
        refined[block] = np.exp((rest + rows)[block, None] - np.outer(entropy[block], nu))
    refined[row, column] = np.exp(own + rows[row] - nu[column] * at)
    return refined
