"""The recipe of Yang & Xu (2020) against its code, part by part: class counts, selection, schedule, rotations; and the EMAN teacher."""

import numpy as np
import torch
from torch import nn

from pldebias.data import class_counts
from pldebias.data.longtail import imbalance
from pldebias.schemes.formulas.rotation import rotate
from pldebias.training.ema import EMA
from pldebias.training.schedules import lr_factor
from tests.golden_files import vectors

HEADS = {"cifar10": (5000, 10), "cifar100": (500, 100), "svhn": (1000, 10)}


def test_class_counts(golden):
    arrays, _ = golden("debiaspl_adello/ibss_class_counts")
    compared = 0
    for key, wanted in arrays.items():
        data, kind, *rest = key.split("_")
        if kind == "exp":
            head, classes = HEADS[data]
            assert class_counts(head, 1 / float(rest[0]), classes) == wanted.tolist()
            compared += 1
        elif kind.startswith("unlabeled"):  # the code truncates before and after scaling to the total
            ours = class_counts(int(wanted[0]), 1 / float(rest[1].removeprefix("unl")), 10)
            assert abs(np.array(ours) - wanted).max() <= 5
            compared += 1
    assert compared == 24 + 24


def test_class_counts_of_the_abc_code(golden):
    arrays, _ = golden("daso_seval/lt_counts_abc")
    for (classes, head, gamma, step), wanted in zip(arrays["in_K_n1_gamma_step"].tolist(), arrays["out_counts"], strict=True):
        if not step:  # two-level imbalance is not offered
            assert class_counts(head, gamma, classes) == wanted[:classes].tolist()


@vectors("debiaspl_adello/ibss_select_K*")
def test_selection(vector, golden):
    arrays, _ = golden(vector)
    picked = imbalance(arrays["labels"], arrays["counts"], range(len(arrays["counts"])), seed=0)
    np.testing.assert_array_equal(picked, arrays["picked_idx"])


def test_schedule_and_rotations(golden):
    arrays, _ = golden("debiaspl_adello/ibss_lr_rotation")
    ours = [0.1 * lr_factor(epoch, 200, "steps", 5, (161, 181), 0.01) for epoch in range(1, 201)]  # epochs count from 1 there
    np.testing.assert_allclose(ours, arrays["lr"], rtol=1e-9)
    turned = rotate(torch.tensor(arrays["img"]), torch.tensor(arrays["rot_target"]))
    assert torch.equal(turned, torch.tensor(arrays["rotated"]))


def test_teacher_with_averaged_statistics(golden):
    """The ADELLO code's EMAN: parameters and buffers, decay rising from 0; that of DebiasPL, without the rise, is in test_debiaspl."""
    arrays, _ = golden("debiaspl_adello/ema_eman_adellofork")
    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

    def load(prefix):
        student.load_state_dict({name: torch.tensor(arrays[f"{prefix}/{name}"]) for name in student.state_dict()})

    load("init")
    ema, steps = EMA(student, 0.999), 0
    while f"s{steps}_net/0.weight" in arrays:
        load(f"s{steps}_net")
        ema.update()
        for name, value in ema.teacher.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, torch.tensor(arrays[f"s{steps}_eman/{name}"]), msg=f"step {steps}: {name}")
        steps += 1
    assert steps == 4
