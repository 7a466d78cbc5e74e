"""Everything that a training changes as it goes: networks, optimiser, data stream, counters."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pldebias.data import ResidentLoader, StreamLoader, make_augment, with_labelled
from pldebias.data.loaders import resume_generator
from pldebias.nets import build_network
from pldebias.paths import local
from pldebias.presets import ConfigError, as_dict
from pldebias.runs import RunError
from pldebias.schemes import Models, Problem
from pldebias.training import checkpoints
from pldebias.training.ema import EMA
from pldebias.training.failures import kind
from pldebias.training.schedules import lr_factor

if TYPE_CHECKING:
    from pldebias.data import Dataset
    from pldebias.methods import Method
    from pldebias.nets import Network
    from pldebias.presets import Config

MACHINE = ("device", "threads", "root", "stream", "graph", "compile", "plugins")
"""Settings that say where a training runs and its code lies, and not what it computes."""
SHARE = 0.7
"""Part of a GPU's free memory that images may take; a training needs the rest."""
_GENERATION = 1009  # seeds of a new generation's network and streams are this far apart


def identity(config: Config, fingerprint: str) -> dict[str, Any]:
    """What makes two trainings one: every setting but those of the machine, and the data, as JSON keeps them.

    Raises
    ------
    ConfigError
        A setting, such as an option of a scheme, is nothing that JSON can keep.
    """
    kept: dict[str, Any] = {}
    for name, value in {**as_dict(config), "fingerprint": fingerprint}.items():
        try:
            kept[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{name}={value!r} cannot be kept with the run ({error}); give numbers, texts, lists and dicts") from error
    return {name: value for name, value in kept.items() if name not in MACHINE}


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """What two trainings do not share, in words; empty if they are one."""
    names = [name for name in sorted({*ours, *theirs}) if _text(ours.get(name)) != _text(theirs.get(name))]
    different = [f"{name} is {theirs.get(name)!r} there, {ours.get(name)!r} here" for name in names if name != "fingerprint"]
    if "fingerprint" in names:
        different.append("the images or their split (the fingerprint) are others")
    return "; ".join(different[:6]) + (f"; and {len(different) - 6} more" if len(different) > 6 else "")


def _text(value: Any) -> str:
    """The same text for settings that are equal: 5 and 5.0, but not 1 and True."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def make_optimizer(network: torch.nn.Module, config: Config, lr: Tensor) -> torch.optim.Optimizer:
    """The preset's optimiser; one fused kernel updates all parameters, with the learning rate that it finds in `lr`, a scalar."""
    trained = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in trained if config.decay_norm or p.ndim > 1]
    bare = [p for p in trained if not config.decay_norm and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]
    if bare:
        groups.append({"params": bare, "weight_decay": 0.0})
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, lr, fused=True, capturable=lr.is_cuda)
        optimizer._warned_capturable_if_run_uncaptured = True  # the first steps, and those of a scheme without a graph, are no mistake
        return optimizer
    return torch.optim.SGD(groups, lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)


def streams(config: Config, dataset: Dataset, device: torch.device) -> bool:
    """Whether images stream through workers: where that is asked for, and where they do not fit into memory or on the device."""
    parts = [part for part in (dataset.labelled, dataset.unlabelled, dataset.test) if part is not None]
    sizes = [part.images.numel() for part in parts if isinstance(part.images, Tensor)]
    if config.stream or len(sizes) < len(parts):
        return True
    size = sum(sizes)
    if device.type != "cuda" or size <= SHARE * torch.cuda.mem_get_info(device)[0]:
        return False
    free = torch.cuda.mem_get_info(device)[0]
    warnings.warn(
        f"the images ({size / 2**30:.1f} GiB) would take more than {SHARE:.0%} of the free memory of {device} ({free / 2**30:.1f} GiB); "
        "they stream through workers, as with stream=True",
        RuntimeWarning,
        stacklevel=5,
    )
    return True


def load_backbone(network: Network, run: Path) -> None:
    """Start from the backbone that another run ended with (the network that it evaluated).

    Raises
    ------
    ConfigError
        There is no checkpoint at `run`, or its backbone is another one; nothing is loaded silently in part.
    """
    saved = checkpoints.load(checkpoints.folder_of(run))
    if saved is None:
        raise ConfigError(f"init={str(run)!r} holds no checkpoint; give the folder of a run that was trained here (…/s0)")
    try:
        weights: dict[str, Tensor] = saved[saved["evaluated"]]
        theirs = {name.removeprefix("backbone."): value for name, value in weights.items() if name.startswith("backbone.")}
        shapes = {name: value.shape for name, value in theirs.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"init={str(run)!r} holds a checkpoint without the network of a training ({error!r})") from error
    ours = network.backbone.state_dict()
    different = [name for name in {*ours, *theirs} if name not in ours or name not in shapes or ours[name].shape != shapes[name]]
    if different:
        raise ConfigError(f"init={str(run)!r} was trained with another network ({len(different)} tensors differ, such as {min(different)})")
    network.backbone.load_state_dict(theirs)


class TrainingState:
    """Networks, optimiser, data stream and counters of one training; saved and restored as a whole.

    Parameters
    ----------
    config : Config
    method : Method
        Built, not yet set up.
    dataset : Dataset
    device : torch.device
    """

    def __init__(self, config: Config, method: Method, dataset: Dataset, device: torch.device):
        self.config, self.method, self.dataset, self.device = config, method, dataset, device
        self.augment = make_augment(config.augment, dataset.mean, dataset.std, config.view_size or dataset.image_shape[-1])
        self.done = 0  # optimiser steps
        # CUDA's fused kernels read a float32; on a CPU nothing is lost of the number that the host computed.
        self.lr = torch.tensor(config.lr, dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device)
        self.rate = config.lr
        self.generation, self.generation_start = 0, 0
        self.extra: tuple[Tensor, Tensor] | None = None  # unlabelled rows, and their labels, that joined the labelled set
        self._start()
        self.problem = Problem(
            num_classes=len(dataset.class_names),
            labelled_counts=dataset.labelled_counts,
            num_unlabelled=len(dataset.unlabelled),
            total_steps=config.steps,
            steps_per_epoch=config.steps_per_epoch,
            feature_dim=self.student.feature_dim,
            unlabelled_counts=dataset.unlabelled_counts,
            fingerprint=dataset.fingerprint,
            held_out=tuple(split for split in ("holdout", "validation") if getattr(dataset, split) is not None),
        )
        method.setup(self.problem).to(device)
        self.generator = torch.Generator(device).manual_seed(config.seed + 30_011)  # draws inside methods
        self.t = torch.zeros((), dtype=torch.int64, device=device)

    def _start(self) -> None:
        config, dataset, learner = self.config, self.dataset, self.method.learner
        seed = config.seed + _GENERATION * self.generation
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels, classes = dataset.labelled.images.shape[1], len(dataset.class_names)
            student = build_network(config.network, channels, classes, self.method.heads, self.method.cosine)
        if config.init:
            load_backbone(student, local(config.init))
        student.backbone.requires_grad_(learner.trains_backbone)
        self.student = student.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.student.bf16 = config.precision == "bf16"
        self.ema = EMA(self.student, config.ema, config.ema_mode)
        if config.compile:
            self.student.compile_backbone()  # after the teacher was copied, which runs in two modes and many batch sizes
        self.models = Models(self.student, self.ema.teacher)
        self.optimizer = make_optimizer(self.student, config, self.lr)
        self.loader = (StreamLoader if streams(config, dataset, self.device) else ResidentLoader)(
            dataset if self.extra is None else with_labelled(dataset, *self.extra),
            self.augment,
            batch_size=config.batch_size,
            mu=config.mu,
            labelled_views=learner.labelled_views,
            unlabelled_views=learner.unlabelled_views,
            device=self.device,
            seed=seed,
            balanced=config.balanced,
        )

    def rate_of(self, step: int) -> float:
        """Learning rate of a step (from 0) of the generation under way."""
        config, length = self.config, self.config.steps // self.method.generations
        local = max(step - self.generation_start, 0)
        return config.lr * lr_factor(local, length, config.schedule, config.warmup, config.milestones, config.lr_decay)

    def is_finite(self) -> bool:
        """Whether no weight of student or teacher is NaN or infinite; waits for the device."""
        return bool(torch.stack([t.isfinite().all() for t in (*self.ema.ours, *self.ema.theirs)]).all())

    def begin_step(self) -> None:
        """The host's part of a step, before it: the learning rate and the weight of the teacher's update, on the device."""
        self.rate = self.rate_of(self.done)
        self.lr.fill_(self.rate)
        self.ema.begin()

    def end_step(self) -> bool:
        """The host's part of a step, after it: count it, and let schemes work on the whole set; returns whether one did."""
        self.done += 1
        return self.method.after_step(self.done)

    def new_generation(self, index: Tensor, labels: Tensor) -> None:
        """Start over with a fresh network; these unlabelled rows join the original labelled set under these labels."""
        self.extra = (index.cpu(), labels.cpu())
        self.generation, self.generation_start = self.generation + 1, self.done
        self._start_generation()

    def _start_generation(self) -> None:
        """Fresh networks, and a method whose labelled set has the original images and those of `extra`."""
        self._start()
        _, labels = cast("tuple[Tensor, Tensor]", self.extra)
        more = torch.bincount(labels, minlength=self.problem.num_classes)
        self.method.restart(self.dataset.labelled_counts + more, self.generation_start)

    @property
    def identity(self) -> dict[str, Any]:
        """See `identity`."""
        return identity(self.config, self.dataset.fingerprint)

    @property
    def evaluated(self) -> Network:
        """The network that the preset evaluates: the EMA teacher or the student."""
        return self.ema.teacher if self.config.evaluate == "ema" else self.student

    @property
    def images_per_step(self) -> int:
        """Augmented images that one step draws."""
        rows = int(self.config.batch_size * self.config.mu)
        return self.config.batch_size * len(self.loader.labelled_views) + rows * len(self.loader.unlabelled_views)

    def state_dict(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "identity": self.identity,
            "evaluated": "teacher" if self.config.evaluate == "ema" else "student",
            "generation": [self.generation, self.generation_start],
            "extra": self.extra,
            "student": self.student.state_dict(),
            "teacher": self.ema.teacher.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self._optimizer_state(),
            "method": self.method.state_dict(),
            "loader": self.loader.state_dict(),
            "generator": self.generator.get_state(),
        }

    def _optimizer_state(self) -> dict[str, Any]:
        state = self.optimizer.state_dict()
        for group in state["param_groups"]:
            group["lr"] = self.rate  # `begin_step` sets it
        return state

    def restore(self, state: dict[str, Any], where: Path) -> None:
        """Go on from a checkpoint in the folder `where`.

        Raises
        ------
        RunError
            It is of another configuration or other data, which the message names, or it does not fit the networks.
        """
        if different := differences(state.get("identity", self.identity), self.identity):
            raise RunError(f"the checkpoint in {where} is of another training: {different}. Choose another out=, or overwrite=True")
        try:
            self.load_state_dict(state)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            if kind(error):  # of the machine
                raise
            what = str(error).partition("\n")[0]
            raise RunError(f"the checkpoint in {where} does not fit this training ({type(error).__name__}: {what})") from error

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = state["done"]
        self.generation, self.generation_start = state["generation"]
        self.extra = state["extra"]
        if self.extra is not None:
            self._start_generation()
        self.student.load_state_dict(state["student"])
        self.ema.teacher.load_state_dict(state["teacher"])
        self.ema.updates = state["ema_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
            if "capturable" in group:
                group["capturable"] = self.lr.is_cuda  # a checkpoint may come from another kind of device
        self.method.load_state_dict(state["method"])
        self.loader.load_state_dict(state["loader"])
        resume_generator(self.generator, state["generator"])
        self.t.fill_(self.done)
