"""Training on the labelled images alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from pldebias.learners.base import Learner

if TYPE_CHECKING:
    from pldebias.schemes import Step

_DASO_PRESETS = ("cifar10-lt", "cifar10-lt-1500", "cifar100-lt", "stl10-lt", "svhn-lt", "fashionmnist-lt")
_DASO = {"lr": 0.1, "warmup": 6250, "schedule": "steps", "milestones": (199_999, 225_000), "evaluate": "student"}  # the DASO code's


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
    presets: ClassVar = {"glyphs-lt": {"threshold": 0.9}, "digits-lt": {"threshold": 0.8}, "cifar10-lt-cpu": {"threshold": 0.8}}
    settings: ClassVar = dict.fromkeys(_DASO_PRESETS, _DASO)
    offers = frozenset({"labelled", "prediction"})

    def __init__(self, augment: Literal["weak", "strong"] = "weak", threshold: float = 0.95):
        super().__init__(threshold)
        self.labelled_views = (augment,)

    def losses(self, step: Step) -> dict[str, Tensor]:
        self.forward(step)
        return {"labelled": self.labelled_loss(step)}
