"""The captured step on a CUDA device: what eager steps compute, what a CPU computes, no waiting, resumable mid-run."""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from on_cuda import capture, forget, no_waiting
from test_methods import TABLE

import pldebias as pld
from pldebias.data import Batch, build
from pldebias.gpu.graph import WARMUP
from pldebias.methods import LEARNERS, parse
from pldebias.training import checkpoints
from pldebias.training.program import StepProgram, compute, step_program
from pldebias.training.state import TrainingState
from pldebias.training.train import configure, make_dataset

pytestmark = pytest.mark.gpu

TINY = {"data": "digits-lt", "n1": 20, "gamma_l": 4.0, "m1": 20, "gamma_u": 4.0, "batch_size": 8, "steps": 40, "steps_per_epoch": 10,
        "snapshots": 2, "lr": 0.01, "warmup": 3, "options": {"fixmatch": {"threshold": 0.12}}}  # fmt: skip
METHODS = [row.method for row in TABLE]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    short = {**TINY, "steps": 2, "steps_per_epoch": 1}
    return pld.train("fixmatch", out=tmp_path_factory.mktemp("base"), device="cpu", progress=False, **short).path


@pytest.fixture(autouse=True, scope="module")
def data_are_read_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["pldebias.training.train"], "build", cache(build))
        yield


def start(method: str, base: str, device: str = "cuda", **settings) -> TrainingState:
    learner = LEARNERS[parse(method)[0].name]
    config, built = configure(method.replace("BASE", base), **{**TINY, **settings}, init=base if learner.requires_init else None)
    return TrainingState(config, built, make_dataset(config), torch.device(device))


@pytest.fixture(autouse=True)
def graphs_read_what_is_alive(monkeypatch):
    monkeypatch.setattr("pldebias.gpu.graph.torch.cuda.graph", capture)


@pytest.mark.parametrize("method", METHODS)
def test_replayed_equals_eager(method, base):
    """Ten steps of each: the same draws, and losses and weights up to the order of additions."""
    graphed = step_program(start(method, base, graph=True))
    eager = step_program(start(method, base, graph=False))
    for i in range(10):
        graphed.step()
        eager.step()
        assert graphed.captured is (i >= WARMUP)
    assert type(eager) is StepProgram and eager.refusal == "graph=False"
    ours, theirs = graphed.means(10), eager.means(10)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == pytest.approx(theirs[name], rel=2e-2, abs=2e-2), name
    a, b = graphed.state, eager.state
    assert int(a.t) == int(b.t) == 10
    for one, other in ((a.generator, b.generator), (a.loader.generator, b.loader.generator)):
        assert torch.equal(one.get_state(), other.get_state())
    for (name, p), q in zip(a.student.named_parameters(), b.student.parameters(), strict=True):
        assert (p - q).norm() <= 0.02 * q.norm() + 1e-4, name
    for (name, p), q in zip(a.ema.teacher.named_parameters(), b.ema.teacher.parameters(), strict=True):
        assert (p - q).norm() <= 0.02 * q.norm() + 1e-4, name


def moved(batch: Batch, device: str) -> Batch:
    def views(of):
        return {name: images.to(device) for name, images in of.items()}

    return Batch(
        views(batch.labelled), batch.y.to(device), batch.labelled_index.to(device), views(batch.unlabelled), batch.index.to(device)
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_that_of_a_cpu(method, base):
    """Losses, pseudo-labels and gradients of one batch with equal weights."""
    here, there = start(method, base, "cpu"), start(method, base, "cuda")
    there.student.load_state_dict(here.student.state_dict())
    there.ema.teacher.load_state_dict(here.ema.teacher.state_dict())
    batch = here.loader.next()
    before = here.generator.get_state()
    losses, step = here.method.losses(here.models, batch, here.t, here.generator)
    if not torch.equal(before, here.generator.get_state()):
        pytest.skip("the method draws random numbers, which a GPU draws differently")
    sum(losses.values()).backward()
    theirs, other = there.method.losses(there.models, moved(batch, "cuda"), there.t, there.generator)
    sum(theirs.values()).backward()
    for name, loss in losses.items():
        torch.testing.assert_close(theirs[name].cpu(), loss, rtol=2e-3, atol=2e-4, msg=name)
    if step.label is not None:
        assert (other.label.cpu() == step.label).float().mean() > 0.9
        assert (other.mask.cpu() == step.mask).float().mean() > 0.9
    for (name, p), q in zip(here.student.named_parameters(), there.student.parameters(), strict=True):
        if p.grad is not None:
            assert (q.grad.cpu() - p.grad).norm() <= 0.02 * p.grad.norm() + 1e-5, name


@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits(method, base):
    program = step_program(start(method, base))
    for _ in range(WARMUP + 2):
        program.step()
    program.state.method.after_step = lambda done: False  # the one place where the host may wait
    with no_waiting():
        for _ in range(3):
            program.step()
    eager = start(method, base)
    batch = eager.loader.next()
    for _ in range(2):
        eager.begin_step()
        compute(eager, batch)
    with no_waiting():
        eager.begin_step()
        compute(eager, eager.loader.next())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_optimisers_and_precisions_are_captured(optimizer, precision, base):
    program = step_program(start("fixmatch+daso(start=0)", base, optimizer=optimizer, precision=precision, graph=True))
    for _ in range(8):
        program.step()
    assert program.captured and all(np.isfinite(value) for value in program.means(8).values())


def test_a_learning_rate_that_changes_reaches_the_graph(base):
    program = step_program(start("fixmatch", base, graph=True))
    for _ in range(WARMUP + 1):
        program.step()
    state = program.state
    weights = [p.detach().clone() for p in state.student.parameters()]
    state.config = replace(state.config, lr=1e-30)
    program.step()
    for p, before in zip(state.student.parameters(), weights, strict=True):
        assert torch.equal(p, before)


def test_moved_state_is_captured_anew(base):
    program = step_program(start("fixmatch+debiaspl", base, graph=True))
    for _ in range(WARMUP + 1):
        program.step()
    program.renew()
    assert program.captured
    program.state.method.chain[0].prior = program.state.method.chain[0].prior.clone()
    program.renew()
    assert not program.captured
    for _ in range(WARMUP + 1):
        program.step()
    assert program.captured


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("method", ["fixmatch+daso(start=0)", "remixmatch(ramp=0)", "fixmatch+darp(start=0.0,period=1)", "fixmatch+crest"])
def test_training_is_recorded_and_resumes(method, stream, tmp_path, monkeypatch):
    """Interrupted after each checkpoint, and on a CPU in between; every visit is counted although no Python sees a replay."""
    settings = {**TINY, "progress": False, "stream": stream, "device": "cuda"}
    whole = pld.train(method, out=tmp_path / "whole", **settings)
    assert (whole.confusion("visits").sum((1, 2)) == 10 * 16).all()
    save, devices = checkpoints.save, iter(["cuda", "cpu", "cuda", "cuda", "cuda"])

    def cut(folder, state):
        save(folder, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", cut)
    for device in devices:
        try:
            run = pld.train(method, out=tmp_path / "cut", **{**settings, "device": device})
            break
        except KeyboardInterrupt:
            continue
    assert run.finished and list(run.epochs) == list(whole.epochs)
    assert (run.confusion("visits").sum((1, 2)) == 10 * 16).all()
    kept = [checkpoints.load(checkpoints.folder_of(Path(r.path))) for r in (run, whole)]
    for stream_of in ("labelled", "unlabelled"):
        assert torch.equal(kept[0]["loader"][stream_of]["start"], kept[1]["loader"][stream_of]["start"])
        assert kept[0]["loader"][stream_of]["position"] == kept[1]["loader"][stream_of]["position"]


def test_resumed_on_the_same_gpu_draws_the_same(tmp_path, monkeypatch):
    """Generators and counters go on as if nothing had happened; sums may differ in their order."""
    settings = {**TINY, "progress": False, "device": "cuda"}
    whole = pld.train("fixmatch+daso(start=0)", out=tmp_path / "whole", **settings)
    save = checkpoints.save

    def cut(folder, state):
        save(folder, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "save", cut)
        pld.train("fixmatch+daso(start=0)", out=tmp_path / "cut", **settings)
    run = pld.train("fixmatch+daso(start=0)", out=tmp_path / "cut", **settings)
    ours, theirs = (checkpoints.load(checkpoints.folder_of(Path(r.path))) for r in (run, whole))
    assert torch.equal(ours["generator"], theirs["generator"])
    assert torch.equal(ours["loader"]["augment"], theirs["loader"]["augment"])
    assert ours["ema_updates"] == theirs["ema_updates"] == 40
    np.testing.assert_allclose(run.scalars["loss/labelled"], whole.scalars["loss/labelled"], rtol=0.05, atol=0.02)


def test_memory_of_cifar_stays_below_four_gib():
    """WRN-28-2 at DASO's batch, in float32, the largest of the precisions, step by step and captured."""
    from benchmarks import contenders, speed

    options = speed.parse(["--precision", "fp32", "--device", "cuda"])
    for graph in (False, True):
        forget()
        ours = contenders.Ours(options, contenders.pictures(1000, 10_000, 10), "fp32", graph)
        ours.begin()
        ours.steps(WARMUP, True)  # in which cuDNN tries out what it has, with as much memory as there is
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        ours.steps(3, True)
        torch.cuda.synchronize()
        ours.end()
        assert torch.cuda.max_memory_allocated() < 4 * 2**30
        del ours
