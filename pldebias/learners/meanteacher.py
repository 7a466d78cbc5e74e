"""Mean Teacher: the student's prediction of one view is pulled to the EMA teacher's of another.

References
----------
Tarvainen & Valpola, Mean Teachers are Better Role Models, NeurIPS 2017; weight and ramp of the DASO code (lib/algorithm/mean_teacher.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pldebias.learners.consistency import Consistency

if TYPE_CHECKING:
    from pldebias.schemes import Step


class MeanTeacher(Consistency):
    """Mean squared error between the student's and the teacher's class probabilities on two weak views.

    Parameters
    ----------
    lambda_u : float, default 50.0
        Weight of the consistency loss.
    ramp : float, default 0.4
        Part of the training over which that weight grows linearly from zero.
    """

    name = "meanteacher"
    unlabelled_views = ("weak", "weak2")

    def __init__(self, lambda_u: float = 50.0, ramp: float = 0.4):
        super().__init__(lambda_u, ramp)

    def losses(self, step: Step) -> dict[str, Tensor]:
        chain = step.chain
        student = self.forward(step, ("weak",), draws=1)["weak"]
        with torch.no_grad():
            teacher = step.models.teacher(step.batch.unlabelled["weak2"])
        self.label(step, teacher)
        distance = (chain.margin(student.logits, step).softmax(1) - step.probs).square().mean()
        return {"labelled": self.labelled_loss(step), "unlabelled": self.lambda_u * self.ramp_up(step) * distance, **chain.losses(step)}
