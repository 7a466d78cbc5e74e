"""Training on the labelled images alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from pldebias.learners.base import Learner

if TYPE_CHECKING:
    from pldebias.schemes import Step


class Supervised(Learner):
    """Cross-entropy on labelled images.

    Parameters
    ----------
    augment : {"weak", "strong"}, default "weak"
        Augmentation of the labelled images. ``strong`` is the control that tells what of a semi-supervised gain is augmentation.
    threshold : float, default 0.95
        Confidence at which the pseudo-labels that the network *would* give count as accepted in the log; nothing is trained on them.
    """

    name = "supervised"
    offers = frozenset({"labelled", "prediction"})

    def __init__(self, augment: str = "weak", threshold: float = 0.95):
        super().__init__(threshold)
        if augment not in ("weak", "strong"):
            raise ValueError(f"supervised(augment={augment!r}) is not known; choose 'weak' or 'strong'")
        self.labelled_views = (augment,)

    def losses(self, step: Step) -> dict[str, Tensor]:
        self.forward(step)
        return {"labelled": self.labelled_loss(step)}
