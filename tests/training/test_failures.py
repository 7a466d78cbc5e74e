"""What a machine does to a training: memory runs out, a GPU is lost or old, data are too many. No GPU is needed to see it handled."""

import numpy as np
import pytest
import torch

import pldebias as pld
from pldebias.data import StreamLoader
from pldebias.presets import ConfigError
from pldebias.training import TrainingError, loop, train
from pldebias.training import state as states
from pldebias.training.device import pick_device
from pldebias.training.failures import kind
from pldebias.training.program import StepProgram
from pldebias.training.state import TrainingState
from pldebias.training.train import configure, make_dataset

TINY = {"data": "digits-lt", "n1": 20, "gamma_l": 4.0, "m1": 20, "gamma_u": 4.0, "batch_size": 8, "steps": 12, "steps_per_epoch": 4,
        "snapshots": 1, "progress": False}  # fmt: skip


def fail_at(monkeypatch, number: int, error: Exception):
    """Let the step `number` (from 0) of the whole training raise `error`."""
    step = StepProgram.step

    def failing(program):
        if program.state.done == number:
            raise error
        step(program)

    monkeypatch.setattr(StepProgram, "step", failing)


def test_out_of_memory_says_what_to_lower(tmp_path, monkeypatch):
    fail_at(monkeypatch, 5, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ..."))
    with pytest.raises(
        TrainingError,
        match=r"fixmatch: out of memory after step 5 \(.*Tried to allocate 2\.00 GiB.*up to step 4 is kept in .*"
        r"lower batch_size \(now 8\) or mu \(now 2\); use precision='bf16' \(now 'fp32'\).*stream=True",
    ):
        pld.train("fixmatch", out=tmp_path, **TINY)


def test_out_of_memory_before_the_first_step(tmp_path, monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(TrainingState, "_start", full)
    with pytest.raises(TrainingError, match="nothing was finished yet"):
        pld.train("fixmatch", out=tmp_path, **TINY)


def test_a_lost_gpu_is_said_and_the_run_goes_on(tmp_path, monkeypatch):
    whole = pld.train("fixmatch+debiaspl", out=tmp_path / "whole", **TINY)
    error = getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: unspecified launch failure\nCompile with ...")
    with monkeypatch.context() as patch:
        fail_at(patch, 9, error)
        with pytest.raises(TrainingError, match=r"device cpu failed after step 9 \(.*launch failure\); .* up to step 8 .* same command"):
            pld.train("fixmatch+debiaspl", out=tmp_path / "lost", **TINY)
    resumed = pld.train("fixmatch+debiaspl", out=tmp_path / "lost", **TINY)
    assert resumed.finished
    for column in ("loss/labelled", "loss/unlabelled", "balanced_accuracy"):
        np.testing.assert_array_equal(resumed.scalars[column], whole.scalars[column])
    np.testing.assert_array_equal(resumed.confusion("visits"), whole.confusion("visits"))


def test_other_errors_are_not_mistaken(tmp_path, monkeypatch):
    assert kind(RuntimeError("shapes do not match")) is None and kind(ValueError("CUDA error")) is None
    assert kind(MemoryError()) == kind(RuntimeError("DefaultCPUAllocator: can't allocate memory")) == "memory"
    assert kind(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")) == "device"
    fail_at(monkeypatch, 2, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        pld.train("fixmatch", out=tmp_path, **TINY)
    assert not isinstance(caught.value, TrainingError)


@pytest.mark.parametrize(("precision", "missing"), [("bf16", "bfloat16"), ("tf32", "TF32")])
def test_an_old_card_says_what_it_lacks(monkeypatch, precision, missing):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    with pytest.warns(RuntimeWarning, match=f"Tesla V100 has no {missing}; training in fp32"):
        assert pick_device("cuda", precision) == (torch.device("cuda"), "fp32")
    assert pick_device("cuda", "fp32") == (torch.device("cuda"), "fp32")


def test_images_that_do_not_fit_a_gpu_stream(monkeypatch):
    config, _ = configure("fixmatch", **{k: v for k, v in TINY.items() if k != "progress"})
    data, cuda = make_dataset(config), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    assert states.streams(config, data, cuda) is False
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2**31))
    with pytest.warns(RuntimeWarning, match=r"images \(0\.0 GiB\) would take more than 70% .* stream through workers"):
        assert states.streams(config, data, cuda) is True
    assert states.streams(config, data, torch.device("cpu")) is False


def test_images_that_do_not_fit_memory_stream(tmp_path, monkeypatch):
    """An array beyond half of the memory stays on disk; a training of it needs no setting, and sees the same batches."""
    from PIL import Image

    for part, count in (("train", 40), ("test", 4)):
        for name in "ab":
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for i in range(count):
                grey = np.full((8, 8, 3), (60 if name == "a" else 180) + i, np.uint8)
                Image.fromarray(grey).save(tmp_path / "images" / part / name / f"{i}.png")
    settings = {"n1": 10, "gamma_l": 1.0, "m1": 20, "gamma_u": 1.0, "network": "tiny_resnet", "root": str(tmp_path / "root")}
    config, method = configure("fixmatch", f"imagefolder:{tmp_path / 'images'}", batch_size=4, steps=2, steps_per_epoch=1, **settings)
    here = TrainingState(config, method, make_dataset(config), torch.device("cpu"))
    monkeypatch.setattr("pldebias.data.decode.memory", lambda: 100)
    config, method = configure("fixmatch", f"imagefolder:{tmp_path / 'images'}", batch_size=4, steps=2, steps_per_epoch=1, **settings)
    there = TrainingState(config, method, make_dataset(config), torch.device("cpu"))
    assert isinstance(there.loader, StreamLoader) and not isinstance(here.loader, StreamLoader)
    for _ in range(2):
        ours, theirs = loop.train_step(here)[0], loop.train_step(there)[0]
        assert {k: v.item() for k, v in ours.items()} == {k: v.item() for k, v in theirs.items()}
    there.loader.close()


def test_a_graph_that_cannot_be_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"graph=True: the step of fixmatch cannot be a CUDA graph \(it runs on the device 'cpu'"):
        train("fixmatch", out=tmp_path, graph=True, **TINY)
    with pytest.raises(ConfigError, match=r"graph='always' is not known; choose 'auto', True or False"):
        train("fixmatch", out=tmp_path, graph="always", **TINY)
    assert not list(tmp_path.rglob("zarr.json"))


def test_a_method_that_cannot_be_captured_says_why():
    from pldebias.training.program import refusal

    config, method = configure("fixmatch+la", "glyphs-lt")
    assert refusal(config, method, torch.device("cuda")) is None
    method.chain[0].uncapturable = "it asks an oracle on the host"
    assert refusal(config, method, torch.device("cuda")) == "la: it asks an oracle on the host"
    config, method = configure("fixmatch+darp(compat='official')", "glyphs-lt", graph=True)
    with pytest.raises(ConfigError, match=r"darp: compat='official' refines within the step, on the host\); use graph='auto'"):
        refusal(config, method, torch.device("cuda"))
