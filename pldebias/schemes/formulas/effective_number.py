"""Class weights by the effective number of samples.

References
----------
Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def effective_weights(counts: Shaped[Tensor, " K"], beta: float | None = None) -> Float[Tensor, " K"]:
    """Class weights ``(1 - beta) / (1 - beta^n_k)``, scaled to the sum K (Cui et al.).

    Parameters
    ----------
    counts : Tensor
        n, shape ``[K]``; fractions are allowed, and anything below 1 counts as 1.
    beta : float, optional
        In [0, 1]; 1 gives the inverse frequencies, 0 gives ones. ``(N - 1) / N`` with N the mean count when None, which is SAW.
    """
    counts = counts.double().clamp(min=1)
    if beta == 1:
        weights = 1 / counts
    else:
        log_beta = torch.log1p(-1 / counts.mean()) if beta is None else torch.as_tensor(beta, dtype=torch.float64).log()
        weights = -1 / torch.expm1(counts * log_beta)
    return (weights * len(counts) / weights.sum()).float()
