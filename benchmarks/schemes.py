"""Cost of every scheme beside FixMatch's step, and time of re-estimations of a whole set.

    python -m benchmarks.schemes [--methods "fixmatch+daso(start=0)" ...] [--network wrn28_2] [--batch 64] [--mu 2] [--rounds 3] [--save]

Every method steps on one fixed batch of random pictures of 32 x 32 pixels, in turns, with everything it has switched on from the first
step. A ratio is taken round by round to the two turns of FixMatch around it. Rows are the images that go through a network in one step:
of the student with gradient, and of the student or its teacher without. A method with FixMatch's rows may cost 15 % more than FixMatch at
most; one with more rows says in this table where they come from.

Work between steps (`after_step`) is left out of the step and measured by itself below: DARP's refinement, SEVAL's offsets and thresholds,
CReST's selection, on 12,000 samples of 10 classes and on 50,000 of 100; the limits are 1 and 10 seconds.

On a CPU the clock is processor time on one thread, which other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import results
from benchmarks.contenders import Fixed, pictures, step_parser
from benchmarks.results import quantity
from benchmarks.timing import alternate, counting
from pldebias.hardware import native_bf16
from pldebias.methods import build_method
from pldebias.nets import Network
from pldebias.presets import PRECISIONS, resolve
from pldebias.schemes import EpochEnd, Problem, Scheme
from pldebias.training.device import machine as training_machine
from pldebias.training.loop import train_step
from pldebias.training.state import TrainingState

BASE = "fixmatch"
METHODS = {
    "fixmatch(weak_stats=detached)": "",
    "fixmatch+la": "",
    "fixmatch+daso(start=0)": "the teacher's features of the labelled batch",
    "fixmatch+debiaspl": "",
    "fixmatch+debiaspl(cld=0.3)": "",
    "fixmatch(views=2,teacher=ema)+debiaspl(cld=0.3)": "two weak and two strong views; a teacher labels",
    "fixmatch+seval": "",
    "fixmatch+adello(start=0)": "",
    "fixmatch+udal": "",
    "fixmatch+darp(start=0.0)": "",
    "fixmatch+crest": "",
    "fixmatch+crestplus": "",
    "fixmatch+abc(views=1)": "",
    "fixmatch+abc": "a second strong view",
    "fixmatch+abc(views=1)+daso(start=0)": "as daso",
    "fixmatch+acr(start=0)": "a second strong view",
    "fixmatch+abcla(start=0)": "",
    "fixmatch+saw(estimate=running)": "",
    "fixmatch+adsh": "",
    "fixmatch+cdmad(start=0,soft=False)": "one white image",
    "fixmatch+cdmad(start=0)": "one white image, a second strong view",
    "fixmatch+simpro": "a strong view of labelled images, a second one of unlabelled images",
    "fixmatch+cb": "",
    "fixmatch+drw(start=0.0)+focal": "",
    "fixmatch+ldam": "",
}
"""Methods, and why they have more rows than FixMatch."""
EVERY = 4  # methods between two turns of FixMatch
SIZES = ((12_000, 10, 1.0), (50_000, 100, 10.0))
"""Samples, classes and the limit in seconds of a re-estimation."""


class Stepping:
    """A training that steps on one batch."""

    def __init__(self, method: str, options: argparse.Namespace, data: Any):
        settings = {"network": options.network, "batch_size": options.batch, "mu": options.mu, "precision": options.precision}
        config = resolve(method, "cifar10-lt", learner=method.partition("(")[0].partition("+")[0], **settings)
        self.state = TrainingState(config, build_method(method, config.options), data, torch.device(options.device))
        self.state.loader = Fixed(self.state.loader.next())
        self.state.method.after_step = lambda done: False
        self.count = options.steps

    def __call__(self) -> None:
        for _ in range(self.count):
            train_step(self.state)

    def rows(self) -> tuple[int, int]:
        """Images through a network in one step, with gradient and without."""
        seen, forward = [0, 0], Network.forward

        def counted(network: Network, x: torch.Tensor):
            seen[not (torch.is_grad_enabled() and network is self.state.student)] += len(x)
            return forward(network, x)

        Network.forward = counted
        try:
            train_step(self.state)
        finally:
            Network.forward = forward
        return seen[0], seen[1]


def operations(method: str, options: argparse.Namespace, data: Any) -> int:
    """Operations that a warm step dispatches, views apart; they do not depend on the batch size, and a small one is used."""
    stepping = Stepping(method, argparse.Namespace(**{**vars(options), "batch": 4, "steps": 1}), data)
    stepping()
    with counting() as counts:
        stepping()
    return counts.operations.total()


def measure_steps(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of every method's step, and its ratio to FixMatch's."""
    data = pictures(max(512, options.batch), max(1024, int(options.batch * options.mu)), 64)
    steppings = {method: Stepping(method, options, data) for method in (BASE, *options.methods)}
    rows = {method: stepping.rows() for method, stepping in steppings.items()}  # this step warms up
    contenders: dict[str, Callable[[], None]] = {}
    for i, method in enumerate(options.methods):
        if i % EVERY == 0:
            contenders[f"{BASE} {i // EVERY}"] = steppings[BASE]
        contenders[method] = steppings[method]
    contenders[f"{BASE} {-(-len(options.methods) // EVERY)}"] = steppings[BASE]
    base = steppings[BASE].state
    with training_machine(base.config, base.device):
        times = alternate(contenders, options.rounds, base.device, options.clock, warmup=int(base.device.type == "cpu"))
    times[BASE] = [value for name, values in times.items() if name not in options.methods for value in values]
    more, found = {method: operations(method, options, data) for method in (BASE, *options.methods)}, []
    for i, method in enumerate((BASE, *options.methods), -1):
        cost = [1.0]
        if method != BASE:
            around = zip(times[f"{BASE} {i // EVERY}"], times[f"{BASE} {i // EVERY + 1}"], strict=True)
            cost = [mine / ((before + after) / 2) for mine, (before, after) in zip(times[method], around, strict=True)]
        with_gradient, without = rows[method]
        row = {"what": method, "step": quantity(times[method], "ms", 1000 / options.steps), "times FixMatch's": quantity(cost)}
        row |= {"rows with gradient": with_gradient, "without": without, "more operations": more[method] - more[BASE]}
        found.append({**row, "more rows for": METHODS.get(method, "")})
    return found


def outputs(samples: int, classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits ``[N, K]`` of a fairly good classifier that favours its head, labels ``[N]`` and their long-tailed counts ``[K]``."""
    generator = torch.Generator().manual_seed(0)
    prior = torch.logspace(0, -2, classes) / torch.logspace(0, -2, classes).sum()
    labels = torch.multinomial(prior, samples, True, generator=generator)
    noise = 1.5 * torch.randn(samples, classes, generator=generator)
    return noise + 3 * torch.nn.functional.one_hot(labels, classes) + prior.log(), labels, (prior * samples).round().long().clamp(min=1)


def re_estimations(samples: int, classes: int) -> dict[str, Callable[[], None]]:
    """Work of schemes between steps or epochs, ready to call, on a set of this size."""
    logits, labels, counts = outputs(samples, classes)
    problem = Problem(classes, counts, samples, 1000, 100, 8, counts)
    unknown = torch.full_like(labels, -1)

    def score(split: str):
        return logits, torch.zeros(samples, 1), unknown if split == "unlabelled" else labels

    def scheme(method: str) -> Scheme:
        return build_method(method).setup(problem).chain[0]

    def at_epoch_end(scheme: Scheme) -> Callable[[], None]:
        return lambda: scheme.end_epoch(EpochEnd(0, 1000, score, lambda *extra: None))

    darp = scheme("fixmatch+darp(start=0.0,period=1)")
    darp.table.copy_(logits.softmax(1))
    return {
        "darp: refinement": lambda: darp.after_step(1),
        "seval: offsets and thresholds": at_epoch_end(scheme("fixmatch+seval")),
        "crest: selection": at_epoch_end(scheme("fixmatch+crest(generations=2)")),
        "adsh: thresholds": at_epoch_end(scheme("fixmatch+adsh")),
        "saw: weights": at_epoch_end(scheme("fixmatch+saw")),
    }


def measure_re_estimations(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of every re-estimation on every size."""
    found = []
    for samples, classes, limit in SIZES:
        times = alternate(re_estimations(samples, classes), options.rounds, "cpu", options.clock)
        found += [{"what": f"{what}, {samples:,} x {classes}", "time": quantity(t, "s"), "limit, s": limit} for what, t in times.items()]
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options, with the defaults that depend on the machine."""
    parser = step_parser(__doc__)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), help="methods to compare with fixmatch")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: bf16 where the device has it, else fp32")
    parser.add_argument("--steps", type=int, help="steps a turn; default: 1 on a CPU, 50 on CUDA")
    options = parser.parse_args(arguments)
    cuda = torch.device(options.device).type == "cuda"
    options.precision = options.precision or ("bf16" if cuda or native_bf16() else "fp32")
    options.steps = options.steps or (50 if cuda else 1)
    options.clock = "wall" if cuda else "cpu"
    return options


def main(arguments: list[str] | None = None) -> results.Tables:
    """Measure and print; returns the tables."""
    options = parse(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tables = {"step of": measure_steps(options), "re-estimation": measure_re_estimations(options)}
        sizes = f"{options.network}, {options.precision}, {options.batch} labelled and {int(options.batch * options.mu)} unlabelled images"
        return results.report("schemes", __doc__, tables, options, arguments, step=sizes, clock=options.clock)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
