"""The base of learners and schemes: the life cycle of a part of a method, and its set-up from a recorded run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from pldebias._deprecate import deprecated
from pldebias.settings import within

if TYPE_CHECKING:
    from pldebias.schemes.step import EpochEnd, Problem, Step

F = TypeVar("F", bound=Callable[..., Any])


class Seen(Protocol):
    """Outputs of a recorded epoch, from which `Part.estimate_state` sets up state that was not logged."""

    problem: Problem
    epoch: int
    name: str
    """Name of the run, for messages."""
    missing: frozenset[str]
    """Buffers of the part whose values are not known."""
    oracle: bool
    """True if the true labels may be used."""
    mu: float
    """Unlabelled rows that training draws for each labelled one."""
    logits: Tensor  # [N, K]
    probs: Tensor  # [N, K], softmax of the logits
    includes_labelled: bool
    """True if the unlabelled set begins with the labelled images."""

    @property
    def truth(self) -> Tensor:
        """True labels ``[N]``. Raises ValueError if one is unknown."""
        ...

    def prototypes(self) -> tuple[Tensor, str]:
        """Mean feature of each class ``[K, D]``, and how it was found. Raises ValueError if the run kept no features."""
        ...

    def step(self, before: Part | None = None) -> Step:
        """All samples, labelled by the method as it is set up so far; the blending of `before` and of later schemes left out."""
        ...


class Button(NamedTuple):
    """A button of the what-if panel: its label, the chain that it shows, and the prior, if another than each scheme's own."""

    label: str
    chain: str
    prior: str | None = None


class Slider(NamedTuple):
    """A slider of the what-if panel for a number among a part's options, shown while the part is in the chain."""

    option: str
    low: float
    high: float
    step: float


class Switch(NamedTuple):
    """A check box of the what-if panel for an option that is True or False."""

    option: str


Combine = Callable[..., Any]
HOOKS: dict[str, Combine] = {}
"""Function that makes one hook of those of several parts, by the hook's name; `hook` fills it."""


def each(parts: Iterable[Any], name: str, *args: Any) -> None:
    """Call the hook of every part."""
    for part in parts:
        getattr(part, name)(*args)


def pipe(parts: Iterable[Any], name: str, value: Any, *args: Any) -> Any:
    """Send a value through the hooks, one after the other."""
    for part in parts:
        value = getattr(part, name)(value, *args)
    return value


def gather(parts: Iterable[Any], name: str, *args: Any) -> dict[str, Tensor]:
    """Join the tensors that hooks return by name, under ``"part/name"``."""
    return {f"{part.name}/{key}": value for part in parts for key, value in getattr(part, name)(*args).items()}


def either(parts: Iterable[Any], name: str, *args: Any) -> bool:
    """Call the hook of every part and tell whether one of them returned True."""
    return any([getattr(part, name)(*args) for part in parts])


def hook(combine: Combine) -> Callable[[F], F]:
    """Declare a method of a part to be a hook, and how those of several parts make one."""

    def declare(function: F) -> F:
        HOOKS[function.__name__] = combine
        return function

    return declare


def call(name: str, parts: Iterable[Any], *args: Any) -> Any:
    """Call the hook `name` of several parts as it declares."""
    return HOOKS[name](parts, name, *args)


_RENAMED = {"recover": "estimate_state", "recovered": "estimate_order", "takes_prior": "prior_buffer"}  # names of 0.1


class LifeCycle:
    """Hooks that a training calls on the parts of a method. A part overrides what it needs; every hook is inherited as "do nothing"."""

    @hook(each)
    def setup(self, problem: Problem) -> None:
        """Allocate state for `problem`."""

    @hook(each)
    def restart(self, problem: Problem, done: int) -> None:
        """Fresh networks begin a new generation after `done` optimiser steps, on the labelled set that `problem` counts.

        What was learned of the old networks is forgotten, and what corrects for the labelled classes follows the new counts.
        """
        self.setup(problem)

    @hook(each)
    def before(self, step: Step) -> None:
        """See the batch and the networks before the forward pass (training only)."""

    @hook(each)
    def prepare(self, step: Step) -> None:
        """See the forward pass before pseudo-labels are made (training only)."""

    @hook(each)
    def observe(self, step: Step) -> None:
        """Update state once the pseudo-labels of this step are known (training only)."""

    @hook(either)
    def after_step(self, done: int) -> bool:
        """Work on the whole set between two steps, `done` optimiser steps into the generation; the host may wait here.

        Returns whether there was any to do: a captured step is then looked at anew.
        """
        return False

    @hook(each)
    def end_epoch(self, end: EpochEnd) -> None:
        """Re-estimate state between epochs; the host may wait here."""

    @hook(gather)
    def series(self) -> dict[str, Tensor]:
        """State to log every epoch, each of shape ``[K]``."""
        return {}

    @hook(gather)
    def snapshot(self) -> dict[str, Tensor]:
        """Larger state that relabelling cached outputs needs, logged at snapshot epochs, first dimension K."""
        return {}


def _checked(init: F) -> F:
    """Return `init`, with the ranges and choices of its annotations checked first."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def __init__(self: Part, *args: Any, **options: Any) -> None:
        within(init, signature.bind(self, *args, **options).arguments, f"{self.name}({{}})")
        init(self, *args, **options)

    return __init__  # type: ignore[return-value]


class Part(LifeCycle, nn.Module):
    """A learner or a scheme. State (running priors, queues, thresholds) is registered as buffers in `setup`."""

    name: ClassVar[str]
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Values of options in place of their defaults, by the preset of the data. A preset that is like another one (`presets.LIKE`) takes the
    values of that."""
    buttons: ClassVar[tuple[Button, ...]] = ()
    """Buttons of the part in the what-if panel."""
    controls: ClassVar[tuple[Slider | Switch, ...]] = ()
    """Options that the what-if panel lets a reader move."""
    heads: ClassVar[dict[str, int | None]] = {}
    """Extra linear heads on the features, name -> width (None: K), reached as ``models.student.heads[name]``."""
    uncapturable: str = ""
    """Why a step cannot be captured as a CUDA graph, such as work of the host inside it; such steps run operation by operation."""
    cosine: float | None = None
    """Scale of a cosine classifier that the network should have in place of its linear one; None leaves the linear one."""
    generations: int = 1
    """Trainings, each from fresh networks, that the part makes of one. Schedules and step counters run once in each. A part that makes
    several keeps the first step of the one under way in a buffer ``began``, int64."""
    prior_buffer: str | None = None
    """Name of the buffer ``[K]`` that ``prior=`` of a what-if fills; None for a part that reads no class distribution, or not with its
    options."""
    given_series: tuple[str, ...] = ()
    """Series that hold a class distribution which the part was given; others of such names are estimates."""
    learns_truth: ClassVar[bool] = False
    """True if ``prior="oracle"`` lets a what-if estimate the state from the true labels."""
    reads_features: ClassVar[bool] = False
    """True if pseudo-labels depend on the features beside the logits."""
    follows: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Beginnings of the names of logged buffers that follow from options, and which: a what-if with others recovers them anew."""
    starts: str = ""
    """Attribute that holds the first step at which the part changes pseudo-labels; empty for one that does so from the beginning."""
    estimated: ClassVar[tuple[str, ...] | None] = None
    """Buffers that `estimate_state` sets, which is called where one of them is not known; empty for a part whose buffers follow from the
    problem and the options. None: it is called where any buffer is not known."""
    estimate_order: ClassVar[int] = 0
    """Order of `estimate_state` among the parts of a method. 0 reads the outputs alone. A part that reads what the method makes of them
    comes with the step that it changes itself: 1 refinement, 2 alignment or blending, 3 threshold."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:  # nn.Module has Tensor | Module here; what `setup` registers are tensors
            ...

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _checked(cls.__init__)
        for old, new in _RENAMED.items():
            if old in vars(cls):
                deprecated(f"{cls.__name__}.{old}", new, stacklevel=2)
                setattr(cls, new, vars(cls)[old])

    @property
    def needs(self) -> dict[str, Any]:
        """Settings of the training and the split that the part cannot do without, such as a hold-out."""
        return {}

    # -- what-if: set up from a recorded run ----------------------------------------------------------------------------

    def estimate_state(self, seen: Seen) -> str | None:
        """Set the buffers ``seen.missing`` to what the part's own formulas give on recorded outputs.

        Called after `setup`, only where something is missing. A part with buffers has to define it, or to say that nothing needs to be
        `estimated`.

        Returns
        -------
        str or None
            How it was estimated, for the reader.

        Raises
        ------
        ValueError
            The run does not hold what the estimate needs; the message says what is missing and what to pass instead.
        """
        raise ValueError(
            f"{self.name} keeps state ({', '.join(sorted(seen.missing))}) that {seen.name} did not log, and does not say how to estimate "
            f"it from outputs (estimate_state); pass state=run of a training with {self.name}"
        )

    def take_prior(self, prior: Tensor) -> set[str]:
        """Take the class distribution ``[K]`` of a what-if; returns the names of the buffers that it set."""
        if self.prior_buffer is None:
            return set()
        self.get_buffer(self.prior_buffer).copy_(prior)
        return {self.prior_buffer}

    def begin(self, step: int) -> str | None:
        """Act at `step` of the training or generation, even if it is earlier than the first one; returns what the reader must know."""
        first = getattr(self, self.starts) if self.starts else 0
        if step >= first:
            return None
        setattr(self, self.starts, step)
        return f"acts from step {first:,} of a training on; shown as if it had begun at step {step:,}"
