"""Long-tailed class counts and the index-exact splits of the published protocols.

Everything here works on label arrays and returns index arrays, so that a split can be checked, stored and compared without an
image. Two protocols are reproduced index for index: ``"daso"`` (Oh et al. 2022, DASO; also SEVAL) and ``"usb"`` (Wang et al.
2022, USB; also ADELLO and CoSSL).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pldebias.data.errors import DataError


def class_counts(head: int, gamma: float, num_classes: int, reverse: bool = False) -> list[int]:
    """Images per class of a long-tailed set, ``int(head * (1 / gamma) ** (k / (K - 1)))`` for rank k = 0 (head) .. K - 1 (tail).

    Parameters
    ----------
    head : int
        Images of the head class, N1 (labelled) or M1 (unlabelled) in the papers.
    gamma : float
        Imbalance ratio head / tail, at least 1; 1 gives every class `head` images.
    num_classes : int
        K.
    reverse : bool, default False
        Return the counts tail first.

    Returns
    -------
    list of int
        K counts by rank. They are truncated, never rounded, and ``1 / gamma`` is taken first, as in DASO's official code.

    Raises
    ------
    DataError
        If `gamma` is below 1, or `head` or `num_classes` is below 1.

    Examples
    --------
    >>> class_counts(500, 100, 10)
    [500, 299, 179, 107, 64, 38, 23, 13, 8, 5]
    """
    check_gamma("gamma", gamma)
    if head < 1 or num_classes < 1:
        raise DataError(f"class_counts needs head and num_classes of at least 1; got head={head}, num_classes={num_classes}")
    if num_classes == 1:
        return [int(head)]
    inverse = 1 / gamma
    counts = [int(head * inverse ** (k / (num_classes - 1))) for k in range(num_classes)]
    return counts[::-1] if reverse else counts


def check_gamma(name: str, gamma: float) -> None:
    """Raise `DataError` unless `gamma` is a number of at least 1."""
    if not gamma >= 1 or gamma == float("inf"):
        raise DataError(
            f"{name}={gamma}: an imbalance ratio is head / tail and at least 1 (1 is uniform); for an unlabelled set whose tail is the "
            "labelled head use reverse_unlabelled=True"
        )


def split_validation(labels: np.ndarray, total: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut ``total // K`` images of every class off, as DASO does before anything else; returns (rest, validation), class by class."""
    rng = np.random.RandomState(seed)
    per_class = total // num_classes
    rest, validation = [], []
    for c in range(num_classes):
        index = np.flatnonzero(labels == c)
        rng.shuffle(index)
        validation.append(index[:per_class])
        rest.append(index[per_class:])
    return np.concatenate(rest), np.concatenate(validation)


def imbalance(labels: np.ndarray, counts: Sequence[int], order: Sequence[int], seed: int) -> np.ndarray:
    """Keep ``counts[c]`` shuffled images of every class c, classes in `order`: DASO's ``make_imbalance``."""
    rng = np.random.RandomState(seed)
    kept = []
    for c in order:
        index = np.flatnonzero(labels == c)
        rng.shuffle(index)
        kept.append(index[: counts[c]])
    return np.concatenate(kept)


def split_daso(
    labels: np.ndarray,
    labelled_counts: Sequence[int],
    unlabelled_counts: Sequence[int],
    *,
    order: Sequence[int],
    reverse: bool = False,
    validation: int = 0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labelled, unlabelled and validation positions by the protocol of DASO and SEVAL (labelled and unlabelled sets are disjoint).

    Each of the three cuts (validation, pools, imbalance) starts a new ``RandomState(seed)``, as the official code does.

    Parameters
    ----------
    labels : ndarray
        Class ids of the source, shape ``[N]``.
    labelled_counts, unlabelled_counts : sequence of int
        Wanted images of every class id, K values.
    order : sequence of int
        Class ids from head to tail; it fixes the order of the result where classes are thinned out.
    reverse : bool, default False
        Whether the unlabelled counts run against `order`.
    validation : int, default 0
        Images set aside first, in total and class-balanced (DASO: 5000 of CIFAR).
    seed : int, default 0
    """
    num_classes = len(order)
    if validation:
        rest, held = split_validation(labels, validation, num_classes, seed)
    else:
        rest, held = np.arange(len(labels)), np.zeros(0, np.int64)
    head_l, head_u = max(labelled_counts), max(unlabelled_counts, default=0)
    rng = np.random.RandomState(seed)
    pool_l, pool_u = [], []
    for c in range(num_classes):
        index = np.flatnonzero(labels[rest] == c)
        rng.shuffle(index)
        # A class too small for both full pools gives way on the labelled side, down to what it must deliver.
        cut = min(head_l, len(index) - unlabelled_counts[c])
        pool_l.append(rest[index[:cut]])
        pool_u.append(rest[index[cut : cut + head_u]])
    pools = []
    for pool, counts, class_list in ((pool_l, labelled_counts, order), (pool_u, unlabelled_counts, order[::-1] if reverse else order)):
        flat = np.concatenate(pool)
        if [len(part) for part in pool] != list(counts):
            flat = flat[imbalance(labels[flat], counts, class_list, seed)]
        pools.append(flat)
    return pools[0], pools[1], held


def split_usb(
    labels: np.ndarray,
    labelled_counts: Sequence[int],
    unlabelled_counts: Sequence[int],
    *,
    validation: int = 0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labelled, unlabelled and validation positions by the protocol of USB: one shuffle per class, class ids ascending.

    USB draws from numpy's global generator seeded by `seed`; ``RandomState(seed)`` is the same stream. USB itself has no
    validation set: when one is asked for it is set aside first, as in `split_daso`. Parameters as there.
    """
    num_classes = len(labelled_counts)
    if validation:
        rest, held = split_validation(labels, validation, num_classes, seed)
        rest = np.sort(rest)
    else:
        rest, held = np.arange(len(labels)), np.zeros(0, np.int64)
    rng = np.random.RandomState(seed)
    labelled, unlabelled = [], []
    for c in range(num_classes):
        index = np.flatnonzero(labels[rest] == c)
        rng.shuffle(index)
        index = rest[index]
        labelled.append(index[: labelled_counts[c]])
        unlabelled.append(index[labelled_counts[c] : labelled_counts[c] + unlabelled_counts[c]])
    return np.concatenate(labelled), np.concatenate(unlabelled), held


def cut_holdout(labels: np.ndarray, amount: float, num_classes: int, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cut a hold-out off a labelled set; returns positions (rest, holdout), class by class.

    Parameters
    ----------
    labels : ndarray
        Class ids of the labelled set in its own (already shuffled) order, shape ``[N]``.
    amount : float
        An integer of at least 1 takes the first `amount` images of each class (DARP); a fraction in (0, 1) takes the first
        ``int(amount * n_c)`` of class c, so that the hold-out is as imbalanced as the set (SEVAL).
    num_classes : int
        K.
    seed : int or None, default None
        Shuffle every class by ``RandomState(seed)`` first (SEVAL on Semi-Aves, whose images come in file order).
    """
    rng = None if seed is None else np.random.RandomState(seed)
    rest, held = [], []
    for c in range(num_classes):
        index = np.flatnonzero(labels == c)
        if rng is not None:
            rng.shuffle(index)
        take = int(amount) if amount >= 1 else int(len(index) * amount)
        held.append(index[:take])
        rest.append(index[take:])
    return np.concatenate(rest), np.concatenate(held)
