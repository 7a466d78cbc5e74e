"""What a training sets on its machine while it lasts: threads, a CPU's freed memory, products of float32 on a GPU."""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import torch

import pldebias as pld
from pldebias.presets import ConfigError
from pldebias.training import memory, sweep
from pldebias.training.device import float32_products, machine, pick_device
from pldebias.training.train import configure

CPU = torch.device("cpu")
BLOCK = 48 << 20  # bytes: glibc gives blocks of more than 32 MB back as soon as they are freed


def faults() -> int:
    """Page faults of using a large block five times, freed in between."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(BLOCK, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def held() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _in_a_process_of_its_own(pipe):
    pages = BLOCK // os.sysconf("SC_PAGE_SIZE")
    usual, before = faults(), held()
    with memory.kept() as works:
        first = faults()
        again, resident = faults(), held() - before
    left = held() - before
    pipe.send((pages, works, usual, first, again, resident, left, faults()))


@pytest.mark.skipif(not memory.glibc(), reason="only glibc's allocator can be told")
def test_freed_memory_is_kept_while_a_training_lasts_and_then_given_back():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_in_a_process_of_its_own, args=(theirs,))
    process.start()
    pages, works, usual, first, again, resident, left, after = ours.recv()
    process.join()
    assert works and usual > 4 * pages > 1.2 * first, "with pages of 2 MB, say, there would be nothing to see"
    assert again < pages / 10 and resident > BLOCK / 2
    assert left < BLOCK / 2 and after > pages / 2  # its pages are gone; a hole of the heap that they were may serve once more


def test_an_allocator_that_somebody_tuned_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    assert memory.glibc() is None
    with memory.kept() as works:
        assert not works


def test_jobs_share_the_cores(tmp_path, monkeypatch):
    """Each process gets its part of the threads, where nobody says how many it is to have."""
    module, seen = sys.modules["pldebias.training.sweep"], []

    class Pool:
        def __init__(self, workers, *args):
            self.workers = workers

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def submit(self, function, job):
            seen.append((self.workers, job.get("threads"), job["progress"]))
            future = module.concurrent.futures.Future()
            future.set_result(str(run))
            return future

    short = {"steps": 4, "steps_per_epoch": 2, "out": tmp_path}
    run = pld.train("fixmatch", "digits-lt", progress=False, **short).path
    monkeypatch.setattr(module.concurrent.futures, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    asked = {"seeds": (0, 1, 2), "progress": False, **short}
    sweep(["fixmatch"], "cifar10-lt", jobs=2, **asked)
    sweep(["fixmatch"], "cifar10-lt", jobs=20, **asked)  # as many as there are runs
    sweep(["fixmatch"], "cifar10-lt", jobs=2, threads=5, **asked)
    sweep(["fixmatch"], "glyphs-lt", jobs=2, **asked)  # whose preset says one
    assert seen == [(2, 4, False)] * 3 + [(3, 2, False)] * 3 + [(2, 5, False)] * 3 + [(2, None, False)] * 3


@pytest.fixture
def products():
    """How float32 is multiplied, put back afterwards."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9 has one switch alone")
    parts = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends
    before = [part.fp32_precision for part in parts]
    yield lambda: [part.fp32_precision for part in parts]
    for part, value in zip(reversed(parts), reversed(before), strict=True):
        part.fp32_precision = value


@pytest.mark.parametrize("choice", ["default", "convolutions", "everything"])
def test_products_are_as_precise_as_asked_whatever_was_set_before(choice, products):
    """By the older switches and by the newer ones, which refuse to be read by the older."""
    if choice == "convolutions":
        torch.backends.cudnn.conv.fp32_precision = "ieee"
    elif choice == "everything":
        torch.backends.fp32_precision = "tf32"
    before = products()
    for mode in ("ieee", "tf32"):
        with float32_products(mode):
            assert set(products()) == {mode}
            assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is (mode == "tf32")
        assert products() == before


def test_a_cpu_training_leaves_everything_as_it_was(products):
    config, _ = configure("fixmatch", threads=1)
    threads, before = torch.get_num_threads(), products()
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # a mixture that the older switches cannot tell is nobody's problem here
    with machine(config, CPU):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads and products()[1] == "ieee" != before[1]


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"device='cuda:7' was asked for, but torch finds cuda:0..cuda:1 here"):
        pick_device("cuda:7", "fp32")
