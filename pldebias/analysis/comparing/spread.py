"""Mean, deviation and interval over seeds."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

__all__ = ["Spread", "over_seeds"]


class Spread(NamedTuple):
    """Statistics over seeds, each of the shape of one seed's values."""

    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


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
    n = (~np.isnan(values)).sum(0)
    with warnings.catch_warnings():  # NaN is the answer where too few seeds are defined, or one is infinite (KL)
        warnings.simplefilter("ignore", RuntimeWarning)
        mean, sd = np.nanmean(values, 0), np.nanstd(values, 0, ddof=1)
        half = stdtrit(n - 1, 0.5 + level / 2) * sd / np.sqrt(n)
    return Spread(mean, sd, mean - half, mean + half, n)
