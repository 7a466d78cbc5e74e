"""Every operation equals Pillow's, value for value."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pillow_reference import crop_flip, cutout, operate, smooth, to_image, to_tensor

from pldebias.data import make_augment, ops, randaugment
from pldebias.data.randaugment import IDENTITY, OPERATIONS, apply, daso_values, usb_values

STRATEGIES = ("grouped", "masked")


def test_golden_operations_at_every_level_and_sign(golden):
    arrays, meta = golden("daso_seval/randaug_ops")
    assert tuple(op["name"] for op in meta["hyperparameters"]["pool"]) == OPERATIONS
    images = torch.from_numpy(arrays["in_img32"]).permute(2, 0, 1).expand(18, 3, 32, 32).contiguous()
    level, negative = torch.arange(1, 10).repeat_interleave(2), torch.tensor([True, False] * 9)
    for k, name in enumerate(OPERATIONS):
        operation = torch.full((18,), k)
        value = daso_values(operation, level, negative, 32, 32)
        wanted = torch.from_numpy(arrays[f"out_{name}"]).permute(0, 1, 4, 2, 3).flatten(0, 1)
        for strategy in STRATEGIES:
            assert torch.equal(apply(images, operation, value, strategy), wanted), (name, strategy)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 8), (1, 16), (3, 32), (1, 32), (3, 96), (3, 224)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_equal_pillow(name, channels, size):
    n = 24 if size <= 32 else 4
    images = smooth(n, channels, size, seed=size)
    operation = torch.full((n,), OPERATIONS.index(name))
    magnitude = torch.rand(n, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    value = usb_values(operation, magnitude, size, size)
    wanted = torch.stack([to_tensor(operate(to_image(x), name, v)) for x, v in zip(images, value.tolist(), strict=True)])
    for strategy in STRATEGIES:
        assert torch.equal(apply(images, operation, value, strategy), wanted), strategy


@pytest.mark.parametrize("angle", [0.0, 90.0, -90.0, 180.0, 30.0, -30.0, 0.003])
def test_rotation_by_special_angles(angle):
    images = smooth(3, 3, 17)
    wanted = torch.stack([to_tensor(x.rotate(angle)) for x in map(to_image, images)])
    assert torch.equal(ops.affine(images, ops.rotation(torch.full((3,), angle), 17, 17)), wanted)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(1, 8), (3, 12), (3, 32)]), st.integers(1, 60), st.sampled_from(["daso", "usb"]))
def test_strategies_agree_bit_for_bit(seed, shape, n, policy):
    channels, size = shape
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, channels, size, size), generator=generator, dtype=torch.uint8)
    augment = make_augment(policy, (0.5,) * channels, (0.2,) * channels, size)
    operation, value = augment.draw(n, size, size, generator)
    for k in range(len(operation)):
        grouped = apply(images, operation[k], value[k], "grouped")
        assert torch.equal(grouped, apply(images, operation[k], value[k], "masked"))
        images = grouped


def test_identity_is_free_of_side_effects():
    images = smooth(5, 3, 16)
    before = images.clone()
    for strategy in STRATEGIES:
        out = apply(images, torch.full((5,), IDENTITY), torch.zeros(5, dtype=torch.float64), strategy)
        assert torch.equal(out, before)
        out.zero_()
        assert torch.equal(images, before)


def test_every_operation_changes_a_picture():
    images = smooth(4, 3, 32)[2:]
    for k, name in enumerate(OPERATIONS):
        value = usb_values(torch.full((2,), k), torch.full((2,), 0.1), 32, 32)
        assert torch.equal(apply(images, torch.full((2,), k), value), images) == (name == "Identity"), name


def test_crop_flip():
    images = smooth(30, 3, 16)
    generator = torch.Generator().manual_seed(1)
    dx, dy = (torch.randint(-4, 5, (30,), generator=generator) for _ in range(2))
    flip = torch.rand(30, generator=generator) < 0.5
    wanted = [crop_flip(*row, pad=4) for row in zip(images, dx.tolist(), dy.tolist(), flip.tolist(), strict=True)]
    assert torch.equal(ops.crop_flip(images, dx, dy, flip), torch.stack(wanted))


def test_golden_cutout(golden):
    arrays, _ = golden("daso_seval/randaug_pipeline")
    image = torch.from_numpy(arrays["in_img32"]).permute(2, 0, 1)[None]
    centres = torch.tensor([np.random.RandomState(seed).uniform(0, 32, 2).tolist() for seed in arrays["in_seeds"]], dtype=torch.float64)
    n = len(centres)
    grey = torch.full((1, 3, 1, 1), 127, dtype=torch.uint8)
    out = ops.cutout(image.expand(n, -1, -1, -1), centres[:, 0], centres[:, 1], 16.0, grey)
    assert torch.equal(out.permute(0, 2, 3, 1), torch.from_numpy(arrays["out_cutout"]))
    hole = ops.cutout(torch.zeros(n, 1, 32, 32, dtype=torch.uint8), centres[:, 0], centres[:, 1], 16.0, grey[:, :1])[:, 0] > 0
    size = torch.stack([hole.any(2).sum(1), hole.any(1).sum(1)], 1)
    assert torch.equal(size, torch.from_numpy(arrays["out_cut_hw"])) and size.max() == 17


def test_cutout_with_fractional_sides():
    images = smooth(60, 3, 20)
    u = torch.rand(3, 60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x, y, side = 20 * u[0], 20 * u[1], 10 * u[2]
    fill = torch.tensor((125, 123, 114), dtype=torch.uint8).view(1, 3, 1, 1)
    wanted = [
        to_tensor(cutout(to_image(i), *p, (125, 123, 114))) for i, p in zip(images, torch.stack([x, y, side], 1).tolist(), strict=True)
    ]
    assert torch.equal(ops.cutout(images, x, y, side, fill), torch.stack(wanted))


@pytest.mark.parametrize(("source", "target"), [(96, 32), (32, 96), (50, 32), (8, 16), (31, 8), (224, 64), (32, 33)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_equals_pillow(source, target, channels):
    images = smooth(4, channels, source, seed=target)
    wanted = [to_tensor(to_image(x).resize((target, target), Image.Resampling.BILINEAR)) for x in images]
    assert torch.equal(ops.resize(images, target), torch.stack(wanted))


def test_values_cover_the_papers_ranges():
    operation = torch.arange(len(OPERATIONS))
    low, high = (usb_values(operation, torch.full((14,), u, dtype=torch.float64), 40, 20) for u in (0.0, 1 - 1e-9))
    ranges = {"Brightness": (0.05, 0.95), "Posterize": (4, 7), "Rotate": (-30, 30), "ShearX": (-0.3, 0.3), "Solarize": (0, 256)}
    ranges |= {"TranslateX": (-6, 6), "TranslateY": (-12, 12), "Equalize": (0, 0)}
    for name, (a, b) in ranges.items():
        k = OPERATIONS.index(name)
        assert (low[k].item(), high[k].item()) == pytest.approx((a, b), abs=1e-5), name
    assert set(randaugment.TABLES) | set(randaugment.WARPS) | {randaugment.COLOR, randaugment.SHARPNESS, IDENTITY} == set(range(14))
