"""Mean, deviation and interval over seeds."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

__all__ = ["Spread", "over_seeds"]


class Spread(NamedTuple):
    """What several seeds say, each of the shape of one seed's values."""

    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


@lru_cache
def _quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + level / 2, freedom))


def over_seeds(values, level: float = 0.95) -> Spread:
    """Mean over the first axis with sample deviation and Student's interval of the mean.

    Parameters
    ----------
    values : array_like, shape ``[S, ...]``
        One row per seed. NaN (undefined) is left out of the mean and not counted in ``n``.
    level : float
        Of the interval.

    Returns
    -------
    Spread
        ``sd`` (divisor n - 1), ``low`` and ``high`` are NaN where fewer than two seeds are defined: one seed has no interval.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95; got {level!r}")
    values = np.asarray(values, np.float64)
    if values.ndim < 1 or not len(values):
        raise ValueError("values has shape [S, ...] with at least one seed")
    defined = ~np.isnan(values)
    n = defined.sum(0)
    mean = np.divide(np.where(defined, values, 0).sum(0), n, out=np.full(n.shape, np.nan), where=n > 0)
    with np.errstate(invalid="ignore"):  # of an infinite value (KL where a class has no sample) the deviation is undefined
        squares = np.where(defined, (values - mean) ** 2, 0).sum(0)
    sd = np.sqrt(np.divide(squares, n - 1, out=np.full(n.shape, np.nan), where=n > 1))
    half = np.full(n.shape, np.nan)
    for count in np.unique(n[n > 1]):
        where = n == count
        half[where] = _quantile(level, int(count) - 1) * sd[where] / np.sqrt(count)
    return Spread(mean, sd, mean - half, mean + half, n)
