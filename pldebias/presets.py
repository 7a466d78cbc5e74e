"""Every setting of a training, and the named presets of the papers' protocols and of the embedded data.

A preset is a `Config`; an override is one of its fields. Sources of values: [daso] the DASO code's configuration files, [usb] USB's
classic_cv_imb configurations, [glyphs] and [digits] chosen for this project on seeds that its tables do not report.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, get_args

from pldebias.registry import Registry
from pldebias.settings import Range, nearest, normalise, plain, within

Precision = Literal["fp32", "tf32", "bf16"]
Schedule = Literal["constant", "cosine", "steps"]
PRECISIONS, SCHEDULES = get_args(Precision), get_args(Schedule)
POSITIVE, NOT_NEGATIVE = Range("(0, inf)"), Range("[0, inf)")


class ConfigError(ValueError):
    """A setting that is unknown or out of range."""


@dataclass(frozen=True)
class Config:
    """Settings of one training; the defaults are DASO's CIFAR-10-LT protocol [daso].

    Field names are the names of `train`'s arguments and of the command line's options, whose help texts are those below.

    Parameters
    ----------
    method : str, default "fixmatch"
        Learner and schemes, such as ``fixmatch+la+daso(T=0.3)``.
    data : str, default "cifar10-lt"
        Name of the preset or the data.
    seed : int, default 0
        Of the split, the network and everything that is drawn.
    source : str, default "cifar10"
        Where images come from; ``pldebias data`` lists sources.
    n1 : int or None, default 500
        Labelled images of the head class (N1).
    m1 : int or None, default 4000
        Unlabelled images of the head class (M1).
    gamma_l : float, default 100.0
        Imbalance ratio of the labelled set, at least 1.
    gamma_u : float, default 100.0
        Imbalance ratio of the unlabelled set; 1 is uniform.
    reverse_unlabelled : bool, default False
        The labelled tail is the unlabelled head.
    class_order : tuple of str or int or None, optional
        Class names or ids from head to tail; on the command line separated by commas.
    protocol : str, default "daso"
        Paper whose split and normalisation are followed; ``data/README.md`` lists them.
    validation : int, default 5000
        Training images that the protocol sets aside before the split.
    holdout : float, default 0
        Share of the labelled images that schemes such as seval tune on.
    include_labelled : bool, default False
        Also use the labelled images as unlabelled ones.
    unknown_labels : bool, default False
        Treat the true classes of the unlabelled images as unknown.
    relevance : float, default 1.0
        Share of the unlabelled images that belong to the classes.
    distractors : str or None, optional
        Source of the unlabelled images that belong to no class.
    image_size : int or None, optional
        Height and width to which images are resized when they are read; the source's own by default.
    root : str or None, optional
        Folder for downloads and caches.
    augment : str, default "daso"
        Augmentation policy, such as daso or usb.
    view_size : int or None, optional
        Height and width of the augmented views; default: that of the images.
    batch_size : int, default 64
        Labelled images in a batch.
    mu : float, default 2.0
        Unlabelled images per labelled one in a batch.
    balanced : bool or float, default False
        Draw labelled batches class-balanced: true, false, or the beta of effective numbers, below 1.
    stream : bool, default False
        Decode images as they are needed instead of keeping them in memory.
    network : str, default "wrn28_2"
        Backbone, such as wrn28_2, tiny_resnet or cnn_glyphs.
    init : str or None, optional
        Folder of a finished run whose backbone this run starts from.
    optimizer : str, default "sgd"
        sgd or adam.
    lr : float, default 0.03
        Highest learning rate.
    momentum : float, default 0.9
        Momentum of SGD, at least 0 and below 1.
    nesterov : bool, default True
        Use Nesterov momentum.
    weight_decay : float, default 0.0005
        Weight decay, 0 or more.
    decay_norm : bool, default True
        Also decay biases and batch norm.
    schedule : str, default "constant"
        Schedule of the learning rate, such as constant or cosine.
    warmup : int, default 0
        Steps in which the learning rate rises from zero.
    milestones : tuple of int
        Steps at which the step schedule lowers the learning rate, separated by commas.
    lr_decay : float, default 0.01
        Factor of the learning rate at a milestone.
    ema : float, default 0.999
        Momentum of the EMA teacher.
    ema_mode : str, default "train"
        Batch norm of the teacher in training steps: train or eval.
    evaluate : str, default "ema"
        Network that is evaluated: ema or student.
    steps : int, default 250_000
        Optimiser steps of the whole training.
    steps_per_epoch : int, default 500
        Steps between two logged epochs.
    snapshots : int, default 20
        About how many epochs keep logits and features.
    plugins : tuple of str
        Python files and modules with the method, the network or the data.
    precision : str, default "fp32"
        fp32, tf32 or bf16.
    device : str, default "auto"
        auto, cpu, cuda or cuda:N.
    threads : int or None, optional
        CPU threads of one run.
    compile : bool, default False
        torch.compile of the backbone.
    graph : str or bool, default "auto"
        The step as one CUDA graph: auto (where it can be), true (or an error) or false.
    options : dict of dict
        Options of learners and schemes, by their names; what the method string says comes first.
    """

    method: str = "fixmatch"
    data: str = "cifar10-lt"
    seed: Annotated[int, Range("[0, 2147483647]")] = 0

    source: str = "cifar10"
    n1: int | None = 500
    m1: int | None = 4000
    gamma_l: float = 100.0
    gamma_u: float = 100.0
    reverse_unlabelled: bool = False
    class_order: tuple[str | int, ...] | None = None
    protocol: str = "daso"
    validation: int = 5000
    holdout: float = 0
    include_labelled: bool = False
    unknown_labels: bool = False
    relevance: float = 1.0
    distractors: str | None = None
    image_size: int | None = None
    root: str | None = None

    augment: str = "daso"
    view_size: Annotated[int, Range("[1, inf)")] | None = None
    batch_size: Annotated[int, POSITIVE] = 64
    mu: Annotated[float, Range("(0, inf)", "to train on labelled images alone, use the learner 'supervised'")] = 2.0
    balanced: bool | float = False
    stream: bool = False

    network: str = "wrn28_2"
    init: str | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, POSITIVE] = 0.03
    momentum: Annotated[float, Range("[0, 1)", "the part of the last step that the next one keeps")] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, NOT_NEGATIVE] = 5e-4
    decay_norm: bool = True
    schedule: Schedule = "constant"
    warmup: Annotated[int, NOT_NEGATIVE] = 0
    milestones: tuple[int, ...] = ()
    lr_decay: Annotated[float, NOT_NEGATIVE] = 0.01
    ema: Annotated[float, NOT_NEGATIVE] = 0.999
    ema_mode: Literal["train", "eval"] = "train"
    evaluate: Literal["ema", "student"] = "ema"

    steps: Annotated[int, POSITIVE] = 250_000
    steps_per_epoch: Annotated[int, POSITIVE] = 500
    snapshots: Annotated[int, NOT_NEGATIVE] = 20
    plugins: tuple[str, ...] = ()

    precision: Precision = "fp32"
    device: str = "auto"
    threads: Annotated[int, Range("[1, 1024]", "more than the machine has cores make it slower")] | None = None
    compile: bool = False
    graph: Literal["auto", True, False] = "auto"

    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        return self.steps // self.steps_per_epoch

    def __post_init__(self):
        if problem := normalise(self):
            raise ConfigError(problem)
        try:
            within(Config, vars(self), "{}")
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if self.nesterov and not self.momentum and self.optimizer == "sgd":
            raise ConfigError("nesterov=True needs momentum above 0; without momentum give nesterov=False")
        if list(self.milestones) != sorted(self.milestones):
            raise ConfigError(f"milestones={list(self.milestones)!r} must ascend; give {sorted(self.milestones)}")
        if int(self.batch_size * self.mu) < 1:
            raise ConfigError(f"mu={self.mu} of batch_size={self.batch_size} is less than one unlabelled image a step; raise one of them")
        if self.steps % self.steps_per_epoch:
            raise ConfigError(
                f"steps={self.steps} must be a multiple of steps_per_epoch={self.steps_per_epoch}: an epoch is logged whole; "
                f"try steps={max(1, round(self.steps / self.steps_per_epoch)) * self.steps_per_epoch}"
            )


_GLYPHS = Config(  # [glyphs] procedural confusable characters, protocol B of the pilot study
    data="glyphs-lt",
    source="glyphs",
    n1=20,
    gamma_l=5.0,
    m1=2000,
    gamma_u=25.0,
    validation=0,
    augment="glyphs",
    network="cnn_glyphs",
    batch_size=32,
    mu=2.0,
    warmup=20,
    schedule="cosine",
    ema=0.99,
    ema_mode="eval",  # 32 labelled images are too few for the batch statistics of DASO's queue
    steps=1000,
    steps_per_epoch=20,
    snapshots=8,
    threads=1,
)

_OWN = {
    "glyphs-lt": _GLYPHS,
    "digits-lt": replace(  # [digits] scikit-learn's 8x8 digits, protocol F4 of the pilot study
        _GLYPHS,
        data="digits-lt",
        source="digits",
        n1=60,
        gamma_l=20.0,
        m1=64,
        gamma_u=20.0,
        augment="digits",
        network="cnn_digits",
    ),
    "cifar10-lt": Config(),
    "cifar10-lt-1500": replace(Config(), data="cifar10-lt-1500", n1=1500, m1=3000),  # [daso]
    "cifar100-lt": replace(  # [daso]
        Config(),
        data="cifar100-lt",
        source="cifar100",
        n1=50,
        m1=400,
        gamma_l=10.0,
        gamma_u=10.0,
    ),
    "stl10-lt": replace(  # [daso] all 100,000 unlabelled images, whose classes nobody knows; 96 pixels, augmented there and seen at 32
        Config(),
        data="stl10-lt",
        source="stl10",
        n1=450,
        m1=None,
        gamma_l=10.0,
        gamma_u=1.0,
        validation=500,
        view_size=32,
    ),
    "svhn-lt": replace(Config(), data="svhn-lt", source="svhn", n1=500, m1=4000, validation=0),
    "fashionmnist-lt": replace(Config(), data="fashionmnist-lt", source="fashionmnist", n1=500, m1=4000, validation=0),
    "cifar10-lt-usb": replace(  # [usb]
        Config(), data="cifar10-lt-usb", protocol="usb", augment="usb", n1=1500, m1=3000, validation=0, decay_norm=False,
        steps=262_144, steps_per_epoch=1024,
    ),
    "cifar10-lt-cpu": replace(  # a network of 78 thousand parameters that shows the head bias within a minute of CPU time
        Config(), data="cifar10-lt-cpu", network="tiny_resnet", batch_size=32, lr=0.05, ema=0.995, steps=4000, steps_per_epoch=100,
    ),
}  # fmt: skip
LIKE = {"digits-lt": "glyphs-lt", "cifar10-lt-cpu": "glyphs-lt"}
"""Presets of short trainings, in which a part has the option values that it has for another one, unless it declares its own.

The papers' time constants are of 250,000 steps; these are of some 1,000.
"""


class _Presets(Registry[Config]):
    """Presets with the option values that learners and schemes declare for them (`Part.presets`)."""

    def __getitem__(self, name: str) -> Config:
        from pldebias.methods import LEARNERS, SCHEMES

        preset, options = super().__getitem__(name), {}
        for part, cls in (*LEARNERS.items(), *SCHEMES.items()):
            values = cls.presets.get(name, cls.presets.get(LIKE.get(name, ""), {}))
            options |= {part: dict(values)} if values else {}
        return replace(preset, options={**options, **preset.options})


PRESETS: Registry[Config] = _Presets("preset", _OWN)

SOURCES = {
    "glyphs": "procedural confusable characters, 16x16 grey, rendered here",
    "digits": "scikit-learn's handwritten digits, 8x8 grey, embedded",
    "cifar10": "CIFAR-10, downloaded on first use",
    "cifar100": "CIFAR-100, downloaded on first use",
    "stl10": "STL-10 with its 100,000 unlabelled images, downloaded on first use",
    "svhn": "SVHN, downloaded on first use",
    "fashionmnist": "FashionMNIST, downloaded on first use",
    "imagefolder:PATH": "a folder with one folder of images per class",
    "parquet:PATH": "Parquet files in Hugging Face layout (image bytes, label)",
    "huggingface:PATH": "a folder that Hugging Face's datasets saved, or a clone of a repository",
}
"""What images can come from, for people to read."""


def resolve(method: str, data: str = "glyphs-lt", seed: int = 0, learner: str | None = None, **overrides: Any) -> Config:
    """The full configuration of a training.

    Parameters
    ----------
    method : str
    data : str
        Name of a preset, or a source (``"cifar10"``, ``"imagefolder:PATH"``, ``"parquet:PATH"``), which takes DASO's CIFAR-10-LT settings.
    seed : int
    learner : str, optional
        The method's learner, whose overrides apply.
    **overrides
        Fields of `Config`; None leaves the preset's value. ``options`` is merged part by part.

    Raises
    ------
    ConfigError
        If the preset, a field or a value is not known.
    """
    known = {f.name for f in fields(Config)}
    for name in overrides:
        if name not in known:
            raise ConfigError(f"setting {name!r} is not known{nearest(name, known)}; known: {', '.join(sorted(known))}")
    data = plain(data)
    if not isinstance(data, str):
        raise ConfigError(f"data={data!r}: give one preset, {', '.join(PRESETS)}, or one source such as 'imagefolder:PATH'")
    preset = PRESETS.get(data)
    if preset is None:
        from pldebias.data import DataError
        from pldebias.data.sources import parse_source

        try:
            parse_source(data)
        except DataError as error:
            near = nearest(data, PRESETS)
            raise ConfigError(f"data {data!r} is no preset{near}; presets: {', '.join(PRESETS)}. As a source: {error}") from error
        preset = replace(Config(), data=data, source=data, validation=0, n1=None, m1=None, gamma_l=1.0, gamma_u=1.0)
    overrides = {name: value for name, value in overrides.items() if value is not None}
    options = {part: dict(values) for part, values in preset.options.items()}
    given = overrides.pop("options", {})
    if not isinstance(given, dict) or not all(isinstance(values, dict) for values in given.values()):
        raise ConfigError(f"options={given!r}: give a dict of options by learner and scheme, such as {{'daso': {{'T': 0.3}}}}")
    for part, values in given.items():
        options.setdefault(part, {}).update(values)
    special = _settings_of(learner, data)
    try:
        return replace(preset, **{**special, "method": method, "seed": seed, **overrides, "options": options})
    except TypeError as error:
        raise ConfigError(str(error)) from error


def _settings_of(learner: str | None, data: str) -> dict[str, Any]:
    if learner is None:
        return {}
    from pldebias.methods import LEARNERS

    return LEARNERS[learner].settings.get(data, {}) if learner in LEARNERS else {}


def as_dict(config: Config) -> dict[str, Any]:
    """The configuration as JSON-able values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
