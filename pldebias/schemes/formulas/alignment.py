"""Distribution alignment: scale predictions so that their running mean follows a target class distribution.

References
----------
Berthelot et al., ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring, ICLR 2020, section 3.1;
the temperature of the target is CReST+ (Wei et al., CVPR 2021, section 4.3).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

_EPS = 1e-6  # on both sides of the ratio, as in all public code


def temper(target: Float[Tensor, " K"], t: float | Tensor) -> Float[Tensor, " K"]:
    """Target distribution ``target^t``, normalised; 1 leaves it as it is, 0 makes it uniform. Shape ``[K]``."""
    tempered = target**t
    return tempered / tempered.sum()


def align(
    probs: Float[Tensor, "N K"], running: Float[Tensor, " K"], target: Float[Tensor, " K"], t: float | Tensor = 1.0
) -> Float[Tensor, "N K"]:
    """Aligned predictions, ``normalise(probs * (target^t + eps) / (running + eps))`` with eps = 1e-6.

    Parameters
    ----------
    probs : Tensor
        Shape ``[N, K]``, rows summing to one.
    running : Tensor
        Running mean of the predictions, shape ``[K]``.
    target : Tensor
        Class distribution that their mean should have, shape ``[K]``, summing to one.
    t : float or scalar Tensor, default 1.0
        Temperature of the target: `temper`.

    Returns
    -------
    Tensor
        Shape ``[N, K]``, rows summing to one.
    """
    aligned = probs * (temper(target, t) + _EPS) / (running + _EPS)
    return aligned / aligned.sum(1, keepdim=True)


class DistributionAlignment(nn.Module):
    """Alignment to a target by the mean prediction of the latest batches.

    Parameters
    ----------
    target : Tensor
        Class distribution, shape ``[K]``; normalised here.
    window : int, default 128
        Batches whose predictions are averaged.

    Notes
    -----
    In training, call `push` with a batch before `forward`: the mean includes the batch that is aligned. Before the first push the mean is
    the target, so that nothing is changed.
    """

    target: Tensor  # [K]
    sums: Tensor  # [window, K]
    rows: Tensor  # [window]
    pushed: Tensor

    def __init__(self, target: Tensor, window: int = 128):
        super().__init__()
        target = target.float()
        if target.dim() != 1 or bool((target < 0).any()) or not float(target.sum()) > 0:
            raise ValueError(f"a target distribution is class frequencies [K] >= 0 with a positive sum, not {target.tolist()}")
        if window < 1:
            raise ValueError(f"window={window} must be at least 1: the number of batches in the running mean")
        self.register_buffer("target", target / target.sum())
        self.register_buffer("sums", torch.zeros(window, len(target)))
        self.register_buffer("rows", torch.zeros(window))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, probs: Tensor) -> None:
        """Put the predictions ``[M, K]`` of a batch in the place of the oldest one."""
        slot = (self.pushed % len(self.rows))[None]
        self.sums.index_copy_(0, slot, probs.sum(0, keepdim=True).to(self.sums.dtype))
        self.rows.index_fill_(0, slot, len(probs))
        self.pushed += 1

    def estimate_state(self, probs: Tensor) -> str:
        """Take recorded predictions ``[N, K]`` for all of the window; see `Part.estimate_state`."""
        self.sums.zero_()
        self.rows.zero_()
        self.pushed.zero_()
        self.push(probs)
        return "running mean: mean prediction over this epoch's outputs, as they reach the alignment"

    def running(self) -> Tensor:
        """Mean prediction of the window, shape ``[K]``."""
        rows = self.rows.sum()
        return torch.where(rows > 0, self.sums.sum(0) / rows.clamp(min=1), self.target)

    def forward(self, probs: Tensor, t: float | Tensor = 1.0, target: Tensor | None = None) -> Tensor:
        """Predictions ``[N, K]`` aligned by the present window, to another target ``[K]`` if there is one."""
        return align(probs, self.running(), self.target if target is None else target, t)
