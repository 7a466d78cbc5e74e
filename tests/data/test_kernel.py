"""The Triton kernel equals the batched PyTorch path to the last bit, compiles for a GPU that is not there, and can be missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pillow_reference import smooth

from pldebias.data import make_augment
from pldebias.data.pixel import DasoAugment

TESTS = Path(__file__).parents[1]


def alone(code: str, **environment: str) -> str:
    """Run `code` in a process of its own: Triton reads its environment when it is imported."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Triton is made for Linux")
    paths = os.pathsep.join(map(str, (TESTS.parent, TESTS, TESTS / "data")))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=570,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


COMPARE = """
import torch
from pillow_reference import smooth
from pldebias.data import make_augment, ops, randaugment
from pldebias.gpu import kernel

torch.set_num_threads(1)

def pictures(n, channels, size):
    x = smooth(n, channels, size)
    x[0], x[1] = 0, 255          # flat pictures: nothing to stretch or to equalise
    x[2] = torch.randint(0, 256, x[2].shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x[3] = (x[3] > 127) * 255    # two levels
    return x

for policy in ("daso", "usb", "imagenet"):
    for channels, size, n in ((3, 32, 8), (1, 12, 6), (3, 40, 5)):
        x = pictures(n, channels, size)
        for view in ("weak", "strong"):
            wanted, found = (make_augment(policy, (0.49, 0.48, 0.45)[:channels], (0.25, 0.24, 0.26)[:channels], 32 if size == 40 else size)
                             for _ in range(2))
            wanted.strategy, found.strategy = "masked", "kernel"
            a, b = (made(x, view, torch.Generator().manual_seed(3)) for made in (wanted, found))
            assert torch.equal(a, b) and b.is_contiguous(memory_format=torch.channels_last), (policy, channels, size, view, (a != b).sum())

for channels, size in ((3, 16), (1, 12), (3, 4)):
    x = pictures(6, channels, size)
    for name in randaugment.OPERATIONS:
        operation = torch.full((6,), randaugment.OPERATIONS.index(name))
        value = randaugment.usb_values(operation, torch.tensor([0, 0.999, 0.5, 0.3, 0.77, 0.01], dtype=torch.float64), size, size)
        plan = operation[None], value[None], randaugment.coefficients(operation, value, size, size)[None]
        assert torch.equal(kernel.augment(x, plan=plan), randaugment.apply(x, operation, value)), (name, channels, size)
assert kernel.augment(x[:0]).shape == (0, 3, 4, 4)
print("equal")
"""


def test_kernel_equals_its_reference():
    assert "equal" in alone(COMPARE, TRITON_INTERPRET="1")


COMPILE = """
import re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pldebias.gpu import kernel

function = kernel._augment
sizes = dict(H=32, W=32, C=3, CROP=True, OPERATIONS=2, CUT=True, NORMALISE=True, BLOCK=1024)
types = dict(images="*u8", out="*fp32", scratch="*u8", dx="*i64", dy="*i64", flip="*u8", operation="*i64", value="*fp64", warp="*i32",
             centre_x="*fp64", centre_y="*fp64", side="*fp64", paint="*u8", normal="*fp32", count="i32")
names = function.arg_names
signature = {n: types.get(n, "constexpr") for n in names}
source = ASTSource(fn=function, signature=signature, constexprs={(names.index(k),): v for k, v in sizes.items()})
made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(num_warps=4, num_stages=1, enable_fp_fusion=False))
ptx = made.asm["ptx"]
assert "bar.sync" in ptx, "an operation reads what other threads wrote"
assert not re.findall(r"fma\\.rn\\.f|div\\.full|ld\\.global\\.nc", ptx), "rounded, or read, otherwise than the reference does"
print("cubin" in made.asm)
"""


def test_kernel_compiles_for_a_gpu_that_is_not_there(tmp_path):
    assert "True" in alone(COMPILE, TRITON_CACHE_DIR=str(tmp_path))


@pytest.mark.parametrize("policy", ["daso", "usb", "imagenet"])
def test_without_triton_the_same_views_come_from_pytorch(policy, monkeypatch):
    monkeypatch.setattr(DasoAugment, "prefers_kernel", staticmethod(lambda images: True))
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "pldebias.gpu.kernel", raising=False)
    made, plain = (make_augment(policy, (0.5,) * 3, (0.25,) * 3, 16) for _ in range(2))
    plain.strategy = "masked"
    images, (one, other) = smooth(8, 3, 16), (torch.Generator().manual_seed(2) for _ in range(2))
    with pytest.warns(RuntimeWarning, match=r"without the Triton kernel.*ModuleNotFoundError"):
        found = made(images, "strong", one)
    assert torch.equal(found, plain(images, "strong", other)), "no random number is drawn twice"
    assert torch.equal(made(images, "strong", one), plain(images, "strong", other)), "said once"
