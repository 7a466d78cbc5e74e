"""The EMA teacher: recorded updates, buffers, modes."""

import pytest
import torch
from torch import nn

from pldebias.training.ema import EMA


class Recorded(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.linear.weight.data, self.linear.bias.data = torch.tensor(weight), torch.tensor(bias)

    def forward(self, x):
        return self.norm(self.linear(x))


def test_recorded_updates(golden):
    arrays, _ = golden("daso_seval/ema_update")
    student = Recorded(arrays["in_w0"], arrays["in_b0"])
    ema = EMA(student, 0.999)
    for i, number in enumerate(arrays["in_steps"]):
        student.train()(torch.tensor(arrays["in_x"][i]))
        student.linear.weight.data += 0.1 * torch.tensor(arrays["in_delta"][i])
        ema.updates = int(number)
        ema.update()
        teacher = ema.teacher
        for ours, name in ((teacher.linear.weight, "w"), (teacher.norm.running_mean, "rm"), (teacher.norm.running_var, "rv")):
            torch.testing.assert_close(ours.data, torch.tensor(arrays[f"out_ema_{name}"][i]), atol=2e-5, rtol=2e-4)


def test_first_update_copies_the_student_buffers_too():
    student = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = EMA(student, 0.999)
    student(torch.randn(16, 2))
    student[0].weight.data.add_(1)
    ema.update()
    for ours, theirs in zip(ema.teacher.state_dict().values(), student.state_dict().values(), strict=True):
        if ours.is_floating_point():
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("mode", "training"), [("train", True), ("eval", False)])
def test_mode_between_evaluations(mode, training):
    assert EMA(nn.BatchNorm1d(2), mode=mode).teacher.training is training


def test_teacher_has_no_gradient_and_bad_settings_are_refused():
    assert not any(p.requires_grad for p in EMA(nn.Linear(2, 2)).teacher.parameters())
    with pytest.raises(ValueError, match=r"ema=1\.5.*\[0, 1\)"):
        EMA(nn.Linear(2, 2), 1.5)
    with pytest.raises(ValueError, match=r"ema_mode='off'.*'train' or 'eval'"):
        EMA(nn.Linear(2, 2), mode="off")
