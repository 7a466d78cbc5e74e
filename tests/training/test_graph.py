"""The step as a program over fixed tensors: the plainly written step bit for bit, and on a GPU nothing that a CUDA graph forbids."""

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache

import pytest
import torch
from fake_cuda import Leaves, on_fake_cuda
from test_methods import TABLE

import pldebias as pld
from benchmarks.timing import no_host_sync
from pldebias.data import build
from pldebias.gpu.graph import WARMUP, GraphProgram, signature
from pldebias.methods import LEARNERS, parse
from pldebias.presets import ConfigError
from pldebias.training import schedules
from pldebias.training.evaluate import score
from pldebias.training.program import StepProgram
from pldebias.training.state import TrainingState
from pldebias.training.train import configure, make_dataset

TINY = {"data": "digits-lt", "n1": 20, "gamma_l": 4.0, "m1": 20, "gamma_u": 4.0, "batch_size": 8, "steps": 40, "steps_per_epoch": 10,
        "lr": 0.01, "warmup": 3, "options": {"fixmatch": {"threshold": 0.12}}}  # fmt: skip
METHODS = [row.method for row in TABLE]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    short = {**TINY, "steps": 2, "steps_per_epoch": 1}
    return pld.train("fixmatch", out=tmp_path_factory.mktemp("base"), progress=False, **short).path


@pytest.fixture(autouse=True, scope="module")
def data_are_read_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["pldebias.training.train"], "build", cache(build))
        yield


def start(method: str, base: str, **settings) -> TrainingState:
    learner = LEARNERS[parse(method)[0].name]
    config, built = configure(method.replace("BASE", base), **{**TINY, **settings}, init=base if learner.requires_init else None)
    return TrainingState(config, built, make_dataset(config), torch.device("cpu"))


def plain_step(state: TrainingState) -> dict[str, torch.Tensor]:
    """One step as textbooks have it: fresh tensors, the learning rate and the teacher's decay as Python numbers."""
    config = state.config
    losses, step = state.method.losses(state.models, state.loader.next(), torch.tensor(state.done), state.generator)
    length = config.steps // state.method.generations
    for group in state.optimizer.param_groups:
        group["lr"] = config.lr * schedules.lr_factor(state.done, length, config.schedule, config.warmup)
    sum(losses.values()).backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    decay = min(1 - 1 / (state.done + 1), config.ema)
    with torch.no_grad():
        for ours, theirs in zip(state.ema.teacher.parameters(), state.student.parameters(), strict=True):
            ours.lerp_(theirs, 1 - decay)
        for ours, theirs in zip(state.ema.teacher.buffers(), state.student.buffers(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 1 - decay)
    state.done += 1
    state.method.after_step(state.done)
    seen = {f"loss/{name}": loss.detach() for name, loss in losses.items()}
    return seen if step.label is None else {**seen, "mask_rate": step.mask.mean()}


@pytest.mark.parametrize("method", METHODS)
def test_program_is_the_plain_step_to_the_bit_and_stays_on_the_gpu(method, base):
    """Nothing is done that a replayed graph would miss: tensors stay where they are, and plain settings what they were.

    And on tensors of a GPU that is not there no value is read, nothing is copied between host and device, no devices are mixed.
    """
    program, plain = StepProgram(start(method, base)), start(method, base)
    totals, fixed, run = {}, set(), program._run

    def watched():
        with no_host_sync():  # backward passes included
            run()

    for i in range(4):
        program.step()
        program._run = watched
        if i > 0:  # constants are made in the first step
            fixed.add((signature(program.state), *(t.data_ptr() for t in program.inputs)))
        for name, value in plain_step(plain).items():
            totals[name] = totals[name] + value if name in totals else value
    assert program.means(4) == {name: float(total) / 4 for name, total in totals.items()}
    assert len(fixed) == 1, set.symmetric_difference(*(set(places[0]) for places in list(fixed)[:2]))
    ours = program.state
    assert ours.done == int(ours.t) == plain.done == 4
    for a, b in ((ours.student, plain.student), (ours.ema.teacher, plain.ema.teacher), (ours.method, plain.method)):
        for (name, value), other in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    assert torch.equal(ours.generator.get_state(), plain.generator.get_state())
    assert torch.equal(ours.loader.generator.get_state(), plain.loader.generator.get_state())
    program._run = run
    with on_fake_cuda(program):  # last, for it leaves the program without values
        run()


@pytest.mark.parametrize("policy", ["daso", "usb", "imagenet"])
def test_nothing_in_a_batch_of_photographs_leaves_the_gpu(policy, base):
    """The policies of colour images, by their operations; the kernel that stands for them needs a GPU."""
    program = StepProgram(start("fixmatch", base, augment=policy))
    program.state.loader.augment.strategy = "masked"
    program.step()
    with on_fake_cuda(program):
        batch = program.state.loader.make(*program.inputs)
        assert batch.unlabelled["strong"].device.type == "cuda"


def test_what_leaves_the_gpu_is_noticed(base):
    program = StepProgram(start("fixmatch+la", base))
    program.step()
    with on_fake_cuda(program):
        with pytest.raises(Leaves, match="copy from cpu to cuda"):
            torch.ones(3, device="cpu").to(program.state.t.device)
        with pytest.raises(Leaves, match="host waits"):
            program.state.t.item()
        program.state.method.chain[0].tau = torch.ones(10)  # a tensor that was forgotten on the host
        with pytest.raises(Exception, match=r"two devices|same device|different devices"):
            program._run()


@pytest.mark.parametrize("method", ["fixmatch+daso(start=0)", "mixmatch(ramp=0)"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_is_what_is_written(method, precision, base):
    """By torch's own compiler, forwards and backwards, in as many batch sizes as the method has."""
    compiled, plain = (StepProgram(start(method, base, precision=precision, compile=c)) for c in (True, False))
    first = torch.cat([p.detach().flatten() for p in plain.state.student.parameters()])
    for _ in range(4):
        compiled.step()
        plain.step()
    ours, theirs = compiled.state, plain.state
    assert ours.student.compiled is not None and ours.config.compile and theirs.student.compiled is None
    near, of_way = (1e-5, 1e-4) if precision == "fp32" else (2e-2, 0.1)  # compiled code rounds to bfloat16 less often
    assert compiled.means(4) == pytest.approx(plain.means(4), rel=near, abs=near)
    there, here = (torch.cat([p.detach().flatten() for p in state.student.parameters()]) for state in (ours, theirs))
    assert 0 < (there - here).norm() <= of_way * (here - first).norm()
    assert ours.student.state_dict().keys() == theirs.student.state_dict().keys()  # a checkpoint does not know


def test_only_the_learning_student_is_compiled(monkeypatch, base):
    """The teacher and evaluations run in other modes and batch sizes, each of which would be compiled for minutes."""
    state, sizes = start("fixmatch+cdmad(start=0)", base, compile=True), []
    student, backbone = state.student, state.student.backbone
    monkeypatch.setattr(student, "compiled", lambda x: (sizes.append(len(x)), backbone(x))[1])
    program = StepProgram(state)
    program.step()
    assert sizes == [8 * (1 + 3 * 2)]  # not CDMAD's image alone
    score(state.ema.teacher, state.loader, "test"), score(student, state.loader, "test")
    assert len(sizes) == 1 and state.ema.teacher.compiled is None


@pytest.mark.parametrize("late", [False, True])
def test_a_compiler_that_fails_changes_nothing_but_the_speed(late, monkeypatch, base):
    """In the forward pass, or in the backward pass, which is compiled later: what the step had done until then is undone."""
    method = "fixmatch+daso(start=0)"
    program, plain = StepProgram(start(method, base, compile=True)), start(method, base)
    state = program.state

    def broken(x):
        if not late:
            raise RuntimeError("\nFailed to find C compiler. Please specify via CC environment variable.")
        out = state.student.backbone(x)
        out.register_hook(lambda gradient: 1 / 0)
        return out

    state.student.compiled = broken
    with pytest.warns(RuntimeWarning, match=r"torch\.compile failed \((Failed to find C compiler|division by zero).*as with compile=False"):
        program.step()
    plain_step(plain)
    for _ in range(2):
        program.step()
        plain_step(plain)
    assert state.student.compiled is None and state.config.compile is False
    for a, b in ((state.student, plain.student), (state.ema.teacher, plain.ema.teacher), (state.method, plain.method)):
        for (name, value), other in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    assert torch.equal(state.loader.generator.get_state(), plain.loader.generator.get_state())


def test_an_error_that_is_not_the_compilers_comes_through(monkeypatch, base):
    program = StepProgram(start("fixmatch", base, compile=True))
    monkeypatch.setattr(program.state.method.learner, "losses", lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        program.step()


class Graph:
    """What a CUDA graph is to a `GraphProgram`, on a CPU: nothing happens in a capture, everything in a replay."""

    def __init__(self):
        self.generators, self.mode, self.replays = [], None, 0

    def register_generator_state(self, generator):
        self.generators.append(generator)

    def replay(self):
        assert self.mode == "captured"
        self.replays += 1
        StepProgram._run(self.program)

    def reset(self):
        self.mode = "reset"


@pytest.fixture
def on_stand_in(monkeypatch, base):
    """A program on a CPU that takes its device for a GPU."""

    def make(method: str, fails: str | Exception = "", **settings) -> GraphProgram:
        state = start(method, base)
        stream = type("Stream", (), {"wait_stream": lambda self, other: None})

        @contextmanager
        def capture(graph, stream, capture_error_mode):
            assert capture_error_mode == "thread_local"
            if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13):
                assert graph.generators == [state.generator, state.loader.generator]
            program._run, graph.mode = lambda: failing() if fails else None, "captured"
            try:
                yield
            finally:
                del program._run
                if fails:
                    raise RuntimeError("operation failed due to a previous error during capture")

        def failing():
            raise fails if isinstance(fails, Exception) else RuntimeError(fails)

        real = torch.Generator
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream())
        monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", capture)
        monkeypatch.setattr(torch, "Generator", lambda device=None: real())
        Graph.program = program = GraphProgram(state)
        state.device, state.config, program.refusal = torch.device("cuda"), replace(state.config, **settings), None
        return program

    return make


@pytest.mark.parametrize("method", ["fixmatch+daso(start=0)", "fixmatch+darp(start=0.0,period=1)", "remixmatch(ramp=0)"])
def test_warm_up_capture_and_replays_are_the_steps_they_stand_for(method, on_stand_in, base):
    program, plain = on_stand_in(method), start(method, base)
    assert program.refusal is None
    for i in range(7):
        program.step()
        plain_step(plain)
        assert program.captured is (i >= WARMUP)
    assert program._graph.replays == 7 - WARMUP
    for value, other in zip(program.state.student.state_dict().values(), plain.student.state_dict().values(), strict=True):
        assert torch.equal(value, other)
    program.renew()
    assert program.captured
    old, buffer = program._graph, next(iter(program.state.student.buffers()))
    buffer.data = buffer.data.clone()  # work between two epochs that moves a tensor
    program.renew()
    assert not program.captured and old.mode == "reset"
    for _ in range(WARMUP + 1):
        program.step()
    assert program.captured and program._graph is not old


def test_a_capture_that_fails_goes_on_step_by_step(on_stand_in, base):
    """With the very draws that the captured step would have made."""
    program = on_stand_in("mixmatch(ramp=0)", fails="operation not permitted when stream is capturing\nmore")
    plain = start("mixmatch(ramp=0)", base)
    with pytest.warns(RuntimeWarning, match=r"mixmatch\(ramp=0\): the step runs without a CUDA graph.*when stream is capturing\)"):
        for _ in range(WARMUP + 3):
            program.step()
    for _ in range(WARMUP + 3):
        plain_step(plain)
    assert not program.captured and "could not be captured" in program.refusal
    for value, other in zip(program.state.student.state_dict().values(), plain.student.state_dict().values(), strict=True):
        assert torch.equal(value, other)


def test_a_capture_without_memory_goes_on_step_by_step(on_stand_in):
    program = on_stand_in("fixmatch", fails=torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB."))
    with pytest.warns(RuntimeWarning, match="without a CUDA graph.*out of memory"):
        for _ in range(WARMUP + 2):
            program.step()
    assert program.state.done == WARMUP + 2


def test_a_gpu_lost_during_a_capture_is_not_taken_for_a_refusal(on_stand_in):
    """Nor is a refusal, which CUDA words as an error too, taken for a lost GPU."""
    program = on_stand_in("fixmatch", fails="CUDA error: unspecified launch failure")
    with pytest.raises(RuntimeError):
        for _ in range(WARMUP + 1):
            program.step()
    assert program.refusal is None
    program = on_stand_in("fixmatch", fails="CUDA error: operation not permitted when stream is capturing")
    with pytest.warns(RuntimeWarning, match="when stream is capturing"):
        for _ in range(WARMUP + 1):
            program.step()


def test_a_capture_that_must_not_fail_says_why(on_stand_in):
    program = on_stand_in("fixmatch", fails="operation not permitted", graph=True)
    with pytest.raises(ConfigError, match=r"graph=True: .* fixmatch could not be captured \(operation not permitted\); use graph=False"):
        for _ in range(WARMUP + 1):
            program.step()
