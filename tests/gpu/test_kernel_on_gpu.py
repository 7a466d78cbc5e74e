"""The Triton kernel on a CUDA device: the CPU's views to the last bit on 10,000 images, captured, without waiting."""

import pytest
import torch
from on_cuda import capture, no_waiting

from benchmarks.conventional import MEAN, STD, photographs
from pldebias.data import make_augment, ops, randaugment
from pldebias.gpu.graph import register

pytestmark = pytest.mark.gpu


def pictures(n: int, size: int) -> torch.Tensor:
    """Smooth pictures and noise, half of each."""
    x = photographs(n) if size == 32 else torch.nn.functional.interpolate(photographs(n).float(), size=size).to(torch.uint8)
    x[::2] = torch.randint(0, 256, x[::2].shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return x


@pytest.mark.parametrize(("policy", "size", "n"), [("daso", 32, 10_000), ("usb", 32, 10_000), ("daso", 96, 500), ("usb", 28, 500)])
def test_equals_the_cpu(policy, size, n):
    images, generator = pictures(n, size), torch.Generator().manual_seed(1)
    made = make_augment(policy, MEAN, STD, size)
    place, plan, hole = made.place(n, size, generator), made.plan(n, size, size, generator), made.hole(n, size, size, generator)
    x = ops.crop_flip(images, *place)
    weak = made.normalise(x)
    for operation, value, warp in zip(*plan, strict=True):
        x = randaugment.apply(x, operation, value, "grouped", warp)
    strong = made.normalise(ops.cutout(x, *hole, made.paint(x)))

    def there(part):
        return tuple(t.cuda() if isinstance(t, torch.Tensor) else t for t in part)

    for wanted, rest in ((weak, (None, None)), (strong, (there(plan), there(hole)))):
        found = made._by_kernel(images.cuda(), there(place), *rest).cpu()
        assert torch.equal(found, wanted), ((found != wanted).sum(), (found - wanted).abs().max())


@pytest.mark.parametrize("policy", ["daso", "usb", "imagenet"])
def test_kernel_and_operations_agree_on_the_device(policy):
    images = pictures(2000, 32).cuda()
    kernel, masked = (make_augment(policy, MEAN, STD, 32) for _ in range(2))
    kernel.strategy, masked.strategy = "kernel", "masked"
    for view in ("weak", "strong"):
        a, b = (made(images, view, torch.Generator("cuda").manual_seed(4)) for made in (kernel, masked))
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)  # CUDA divides by 255 as a product with its reciprocal


def test_captured_draws_go_on_and_nothing_waits():
    images = pictures(256, 32).cuda()
    made, eager = (make_augment("daso", MEAN, STD, 32) for _ in range(2))
    ours, theirs = (torch.Generator("cuda").manual_seed(5) for _ in range(2))
    for _ in range(2):
        made(images, "strong", ours), eager(images, "strong", theirs)
    assert made.strategy is None, "the kernel did not run"
    with no_waiting():
        made(images, "strong", ours), eager(images, "strong", theirs)
    graph = torch.cuda.CUDAGraph()
    register(graph, ours)
    with capture(graph):
        out = made(images, "strong", ours)
    seen = []
    for _ in range(3):
        graph.replay()
        seen.append(out.clone())
        assert torch.equal(out, eager(images, "strong", theirs))
    assert not torch.equal(seen[0], seen[1])
