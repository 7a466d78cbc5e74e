"""Policies: equal to the papers' pipelines image by image, and the warps of the small grey sources."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from pillow_reference import crop_flip, cutout, operate, smooth, to_image, to_tensor

from pldebias.data import DataError, SplitSpec, augment, build, make_augment
from pldebias.data.augment import Augment
from pldebias.data.randaugment import OPERATIONS
from tests.golden_files import vectors

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
POLICIES = ("daso", "usb", "imagenet", "glyphs", "digits")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def reference(images, policy, strong, seed):
    """The policy one image at a time, by Pillow and torchvision, from the same random numbers."""
    n, c, h, w = images.shape
    made, g = make_augment(policy, MEAN[:c], STD[:c], h), generator(seed)
    pad = 4 if policy == "daso" else h // 8
    u = torch.rand(3, n, generator=g, dtype=torch.float64)
    shift = (u[:2] * (2 * pad + 1)).long() - pad
    out = [crop_flip(x, dx, dy, f, pad) for x, dx, dy, f in zip(images, *shift.tolist(), (u[2] < 0.5).tolist(), strict=True)]
    if strong:
        operation, value = made.draw(n, h, w, g)
        v = torch.rand(2 if policy == "daso" else 3, n, generator=g, dtype=torch.float64).tolist()
        for i in range(n):
            picture = to_image(out[i])
            for k in range(len(operation)):
                picture = operate(picture, OPERATIONS[operation[k, i]], value[k, i].item())
            if policy == "daso":
                box = (v[0][i] * w, v[1][i] * h, 16, (127, 127, 127))
            else:
                box = (w - (w - 1) * v[0][i], h - (h - 1) * v[1][i], 0.5 * w * v[2][i], (125, 123, 114))
            out[i] = to_tensor(cutout(picture, *box[:3], box[3] if c == 3 else {127: 127, 125: 123}[box[3][0]]))
    return torch.stack([TF.normalize(TF.to_tensor(to_image(x)), MEAN[:c], STD[:c]) for x in out])


@pytest.mark.parametrize("strategy", ["grouped", "masked"])
@pytest.mark.parametrize("view", ["weak", "strong"])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (3, 96)])
@pytest.mark.parametrize("policy", ["daso", "usb"])
def test_policies_equal_the_conventional_pipeline(policy, channels, size, view, strategy):
    images = smooth(80 if size < 96 else 12, channels, size)
    made = make_augment(policy, MEAN[:channels], STD[:channels], size)
    made.strategy = strategy
    assert torch.equal(made(images, view, generator(7)), reference(images, policy, view == "strong", 7))


@vectors("daso_seval/eval_transform_*")
def test_golden_evaluation_transforms(vector, golden):
    arrays, _ = golden(vector)
    constants = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)) if vector.endswith("cifar100") else (MEAN, STD)
    image = torch.from_numpy(arrays["in_img"]).permute(2, 0, 1)[None]
    out = make_augment("daso", *constants, 32)(image, "identity")
    assert np.array_equal(out[0].numpy(), arrays["out_tensor"])


def test_stl10_is_augmented_at_its_own_size_and_then_resized():
    images = smooth(6, 3, 96)
    large, small = make_augment("daso", (0, 0, 0), (1, 1, 1), 96), make_augment("daso", (0, 0, 0), (1, 1, 1), 32)
    for view in ("weak", "strong"):
        full = (large(images, view, generator(3)) * 255).round().to(torch.uint8)
        wanted = torch.stack([to_tensor(to_image(x).resize((32, 32), 2)) for x in full])
        assert torch.equal((small(images, view, generator(3)) * 255).round().to(torch.uint8), wanted)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_contract_of_every_policy(policy, channels):
    size = 16
    images = smooth(40, channels, size)
    before = images.clone()
    made = make_augment(policy, (0.5,) * channels, (0.25,) * channels, size)
    assert policy in repr(made)
    for view in ("identity", "weak", "strong"):
        out = made(images, view, generator(1))
        assert out.shape == (40, channels, size, size) and out.dtype == torch.float32 and out.isfinite().all()
        assert channels == 1 or out.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(out, made(images, view, generator(1))), "the same generator gives the same view"
        assert torch.equal(out, made(images, view, generator(2))) == (view == "identity")
    assert torch.equal(images, before)
    state = torch.get_rng_state()
    made(images, "strong", generator(1))
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"


@pytest.mark.parametrize("policy", POLICIES)
def test_images_of_a_batch_are_augmented_independently(policy):
    images = smooth(3, 1, 32)[2:].expand(64, -1, -1, -1).contiguous()
    views = make_augment(policy, (0.5,), (0.25,), 32)(images, "strong", generator())
    assert len(views.flatten(1).unique(dim=0)) > 55


def test_identity_in_chunks_equals_identity_in_one():
    images = smooth(augment.CHUNK * 2 + 5, 3, 8)
    made = make_augment("daso", MEAN, STD, 8)
    parts = torch.cat([made(x[None], "identity") for x in images])
    assert torch.equal(made(images, "identity"), parts)


def test_imagenet_crops_and_flips():
    ramp = torch.arange(224, dtype=torch.uint8).expand(3, 224, 224)[None].expand(200, -1, -1, -1).contiguous()
    out = make_augment("imagenet", (0, 0, 0), (1 / 255,) * 3, 64)(ramp, "weak", generator())
    assert out.shape == (200, 3, 64, 64)
    rise = out[:, 0, 0, -1] - out[:, 0, 0, 0]
    assert 60 < (rise > 0).sum() < 140, "half are flipped"
    width = rise.abs() / 224
    assert 0.3 < width.min() < 0.5 and width.max() > 0.9, "20 to 100 % of the area"
    assert make_augment("imagenet", MEAN, STD, 64)(ramp[:4], "identity").shape == (4, 3, 64, 64)


@pytest.mark.parametrize(("policy", "size"), [("glyphs", 16), ("digits", 8), ("glyphs", 32)])
def test_warps_have_their_strength(policy, size):
    made = make_augment(policy, (0.25,), (0.25,), size)
    centre = (size - 1) / 2
    grid = torch.arange(size) - centre
    spot = (255 * torch.exp(-(grid[:, None] ** 2 + grid**2) / (size / 8) ** 2)).round().to(torch.uint8).expand(2000, 1, size, size)
    weak = made(spot, "weak", generator()) * 0.25 + 0.25
    mass = weak.sum((1, 2, 3))
    x = (weak.sum((1, 2)) * grid).sum(1) / mass
    limit = made.weak.shift * size / made.native
    assert x.abs().max() < limit * 1.25 and x.std() == pytest.approx(limit / 3**0.5, rel=0.25)
    strong = made(spot, "strong", generator())
    flat = (strong == 0).flatten(1).sum(1)
    side = made.strong.cutout * size / made.native
    assert flat.max() <= (side + 1) ** 2 and flat.float().median() >= side**2 / 2, "a square is cut out"
    assert weak.min() >= -1e-6, "weak views are interpolations"


def test_a_turn_by_the_warp_is_a_turn():
    """The sampling grid rotates about the image centre: a quarter turn of the grid is torch.rot90."""
    from pldebias.data.warp import GlyphsAugment, Strength

    made = GlyphsAugment((0.0,), (1 / 255,), 16)
    made.weak = Strength(rotation=90, shift=0)
    images = smooth(2, 1, 16)
    u = torch.zeros(9, 2)
    u[0] = 1
    grid = made._grid(u, made.weak, 16, 16)
    out = torch.nn.functional.grid_sample(images.float(), grid, align_corners=False)
    assert torch.allclose(out, torch.rot90(images.float(), 1, (2, 3)), atol=0.01)


def test_warp_batches_are_fast_enough_to_ignore():
    """Weak and strong views of 96 glyphs took about 1 ms when this was written; ten times that would be a defect."""
    import time

    d = build(SplitSpec("glyphs", 32, 64, 1, 1))
    made, g = make_augment("glyphs", d.mean, d.std, 16), generator()
    torch.set_num_threads(1)  # a thread that waits for another counts as processor time
    times = []
    for _ in range(15):
        start = time.process_time()
        made(d.unlabelled.images[:96], "weak", g)
        made(d.unlabelled.images[:64], "strong", g)
        times.append(time.process_time() - start)
    assert sorted(times)[3] < 0.01


@pytest.mark.parametrize(
    ("name", "message"), [("glyph", "did you mean 'glyphs'"), ("mixup", "choose one of daso, usb, imagenet, glyphs, digits")]
)
def test_unknown_policy(name, message):
    with pytest.raises(DataError, match=message):
        make_augment(name, (0.5,), (0.5,), 16)


def test_bad_calls():
    made = make_augment("glyphs", (0.5,), (0.5,), 16)
    with pytest.raises(DataError, match="'medium'; allowed: identity, weak, strong"):
        made(smooth(2, 1, 16), "medium", generator())
    with pytest.raises(DataError, match=r"needs a torch\.Generator"):
        made(smooth(2, 1, 16), "weak")
    with pytest.raises(DataError, match="std above 0"):
        Augment((0.5,), (0.0,), 16)
