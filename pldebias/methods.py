"""From ``"fixmatch+la+daso(T=0.3)"`` to a method: a learner and an ordered chain of schemes.

This is the staircase between the two wings of the package: training builds a method to learn with, analysis builds one to relabel
cached outputs with.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pldebias import learners, schemes
from pldebias._deprecate import moved
from pldebias.learners import Learner
from pldebias.paths import portable
from pldebias.registry import Registry
from pldebias.schemes import Chain, EpochEnd, Models, Problem, Scheme, Step
from pldebias.schemes.part import call
from pldebias.schemes.step import Network
from pldebias.settings import fitted, nearest


class MethodError(ValueError):
    """A method string that names something unknown or impossible."""


@dataclass(frozen=True)
class PartSpec:
    """One name of a method string and the options written behind it."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def __str__(self) -> str:
        options = ", ".join(f"{k}={v if str(v).isidentifier() else repr(v)}" for k, v in self.options.items())
        return f"{self.name}({options})" if options else self.name


class MethodSpec(tuple[PartSpec, ...]):
    """A method string that has been read: the learner and its schemes, in order.

    Hashable; ``str`` gives the canonical spelling. Whatever takes a method string takes this.
    """

    __slots__ = ()

    @property
    def learner(self) -> PartSpec:
        """The first part."""
        return self[0]

    @property
    def schemes(self) -> MethodSpec:
        """All other parts."""
        return MethodSpec(self[1:])

    def __str__(self) -> str:
        return "+".join(map(str, self))

    def __repr__(self) -> str:
        return f"parse({str(self)!r})"


def _exported(module: Any, base: type) -> dict[str, type]:
    classes = (getattr(module, name) for name in module.__all__)
    return {cls.name: cls for cls in classes if isinstance(cls, type) and issubclass(cls, base) and cls is not base}


LEARNERS: Registry[type[Learner]] = Registry("learner", _exported(learners, Learner))
SCHEMES: Registry[type[Scheme]] = Registry("scheme", _exported(schemes, Scheme))


def parse(method: str | MethodSpec) -> MethodSpec:
    """Split a method string into its parts.

    Parameters
    ----------
    method : str or MethodSpec
        ``name`` or ``name(option=value, ...)``, joined by ``+``. Values are Python literals; a bare word is a string. What has been read
        already is returned as it is.

    Raises
    ------
    MethodError
        If the string cannot be read.
    """
    if isinstance(method, MethodSpec):
        return method
    if not isinstance(method, str):
        raise MethodError(f"method {_short(method)} is no text; write it like 'fixmatch+la+daso(T=0.3)'")
    try:
        node = ast.parse(method.strip(), mode="eval").body
        parts: list[PartSpec] = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            parts.append(_part(node.right))
            node = node.left
        parts.append(_part(node))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise MethodError(f"method {_short(method)} cannot be read; write it like 'fixmatch+la+daso(T=0.3)'") from error
    return MethodSpec(reversed(parts))


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 300 else f"{shown[:300]} ... ({len(shown)} characters)"


def _part(node: ast.expr) -> PartSpec:
    if isinstance(node, ast.Name):
        return PartSpec(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)) or node.args:
        raise ValueError("a part is name or name(option=value)")
    options: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("an option is name=value")
        value = keyword.value
        options[keyword.arg] = value.id if isinstance(value, ast.Name) else ast.literal_eval(value)
    return PartSpec(node.func.id, options)


def slug(method: str | MethodSpec) -> str:
    """The method as the name of a folder, as in ``runs/glyphs-lt/fixmatch+daso/s0``; what is too long for one ends in a digest."""
    return portable(re.sub(r"[^A-Za-z0-9+=.,-]+", "_", str(parse(method)).replace(", ", ",")).strip("_"))


def check_options(name: str, options: Mapping[str, Any]) -> list[str]:
    """Raise `MethodError` unless `name` is a learner or a scheme that takes these options; returns all that it takes."""
    parts = {**LEARNERS, **SCHEMES}
    if name not in parts:
        raise MethodError(f"options of {_short(name)}, which is no learner or scheme{nearest(name, parts)}; there are {', '.join(parts)}")
    known = [p.name for p in inspect.signature(parts[name]).parameters.values() if p.kind is not p.VAR_KEYWORD]
    if unknown := [option for option in options if option not in known]:
        raise MethodError(f"{name} has no option {unknown[0]!r}{nearest(unknown[0], known)}; it takes {', '.join(known) or 'none'}")
    return known


def _create(table: Registry[Any], part: PartSpec, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    if part.name not in table:
        other = LEARNERS if table is SCHEMES else SCHEMES
        hint = nearest(part.name, table) or nearest(part.name, other)
        if part.name in other:
            hint = " (a method starts with one learner; schemes follow)"
        raise MethodError(
            f"{table.kind} {_short(part.name)} is not known{hint}; choose one of {', '.join(sorted(table))}, or load the plugin that has it"
        )
    cls = table[part.name]
    known = check_options(part.name, part.options)
    given = {**{k: v for k, v in defaults.get(part.name, {}).items() if k in known}, **part.options}
    try:
        given = fitted(cls.__init__, given, f"{part.name}({{}})")
        for option, value in given.items():
            if (option.startswith("lambda") or option.endswith("weight")) and value is not None and value < 0:
                raise ValueError(f"{part.name}({option}={value:g}) must not be negative: it is the weight of a loss")
        return cls(**given)
    except ValueError as error:
        raise MethodError(str(error)) from error


class Method(nn.Module):
    """A learner with its schemes: everything of a training that is not the network, the data or the optimiser.

    Its buffers are the method's whole state; `state_dict` saves and restores it.
    """

    def __init__(self, learner: Learner, chain: Chain, spec: str | MethodSpec):
        super().__init__()
        self.learner, self.chain, self.spec = learner, chain, parse(spec)
        for scheme in chain:
            learner.serve(scheme)

    def setup(self, problem: Problem) -> Method:
        """Allocate the state of the learner and of every scheme.

        Parameters
        ----------
        problem : Problem
            Of the whole training; a method that makes several generations of it divides the steps among them.

        Raises
        ------
        MethodError
            If a part cannot work on this problem.
        """
        self.problem, self.began = problem, 0
        self.stage = replace(problem, total_steps=problem.total_steps // self.generations, generations=self.generations)
        try:
            call("setup", self.parts, self.stage)
        except ValueError as error:
            raise MethodError(str(error)) from error
        return self

    @property
    def spelling(self) -> str:
        """Canonical method string."""
        return str(self.spec)

    @property
    def parts(self) -> tuple[Learner | Scheme, ...]:
        """The learner and its schemes."""
        return (self.learner, *self.chain)

    @property
    def heads(self) -> tuple[tuple[str, int | None], ...]:
        """Extra linear heads that the network needs: name and width (None: K)."""
        return tuple(head for part in self.parts for head in part.heads.items())

    @property
    def cosine(self) -> float | None:
        """Scale of the cosine classifier that a scheme asks for, or None: a linear classifier."""
        return next((part.cosine for part in self.parts if part.cosine is not None), None)

    @property
    def needs(self) -> dict[str, Any]:
        """Settings that the learner and the schemes cannot do without."""
        return {name: value for part in self.parts for name, value in part.needs.items()}

    @property
    def generations(self) -> int:
        """Trainings, each from fresh networks, that the method makes of one."""
        return max(part.generations for part in self.parts)

    @property
    def predicts(self) -> bool:
        """True if the network learns to classify; pre-training does not."""
        return "prediction" in self.learner.offers

    def losses(self, models: Models, batch: Any, t: Tensor, generator: torch.Generator | None = None) -> tuple[dict[str, Tensor], Step]:
        """Loss terms of one training step, and the record of what was pseudo-labelled."""
        step = Step(self.local(t), self.stage, self.chain, index=batch.index, batch=batch, models=models, generator=generator)
        call("before", self.parts, step)
        return self.learner.losses(step), step

    def relabel(self, logits: Tensor, features: Tensor, t: Tensor, index: Tensor | None = None) -> Step:
        """Pseudo-labels that this method, in its present state, gives to given weak-view outputs ``[N, K]`` and ``[N, D]``."""
        step = self.cached(logits, features, t, index)
        self.learner.pseudo_label(step)
        return step

    def cached(self, logits: Tensor, features: Tensor, t: Tensor, index: Any = None) -> Step:
        """The record of a step that has weak-view outputs ``[N, K]`` and ``[N, D]`` and no pseudo-labels yet."""
        return Step(self.local(t), self.stage, self.chain, index=index, logits=logits, features=features)

    def predict(self, features: Tensor, logits: Tensor, network: Network) -> Tensor:
        """Test-time logits ``[N, K]``."""
        return self.chain.predict(logits, features, network)

    def local(self, t: Tensor) -> Tensor:
        """Step `t` of the training as a step of the generation under way."""
        return next((t - part.began for part in self.parts if part.generations > 1), t)

    def after_step(self, done: int) -> bool:
        """Let parts work on the whole set after `done` steps of the training; returns whether one did."""
        return call("after_step", self.parts, done - self.began)

    def end_epoch(self, end: EpochEnd) -> None:
        """Let parts re-estimate their state."""
        call("end_epoch", self.parts, end)

    def restart(self, labelled_counts: Tensor, done: int) -> None:
        """A new generation begins with fresh networks after `done` steps; its labelled set has these class counts ``[K]``."""
        self.stage, self.began = replace(self.stage, labelled_counts=labelled_counts), done
        for part in self.parts:
            device = next((buffer.device for buffer in part.buffers()), "cpu")
            part.restart(self.stage, done)
            part.to(device)

    def series(self) -> dict[str, Tensor]:
        """State to log every epoch, by ``"part/name"``, each ``[K]``."""
        return call("series", self.parts)

    def snapshot(self) -> dict[str, Tensor]:
        """Larger state to log at snapshot epochs, by ``"part/name"``, first dimension K.

        What parts log of themselves, and every other buffer that relabelling may read: with the series of the same epoch, `restore`
        gives a method that labels as this one does. Left out are queues and tables of samples (larger than K prototypes) and counters.
        """
        logged = call("snapshot", self.parts)
        known = self.series() | logged
        rest = {name: buffer for name, buffer in self.logged_buffers().items() if known.get(name) is not buffer}
        return logged | {name: _by_class(buffer, self.problem.num_classes) for name, buffer in rest.items()}

    def restore(self, logged: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Set buffers from a run's series and snapshot state at one epoch, by name; returns the names of those that are not in it.

        A value has the shape in which `snapshot` gives it, or that of the buffer.
        """
        missing = []
        for name, buffer in self.logged_buffers().items():
            kept = _by_class(buffer, self.problem.num_classes)
            if name in logged and logged[name].shape in (kept.shape, buffer.shape):
                buffer.copy_(logged[name].flatten()[: buffer.numel()].view(buffer.shape))
            else:  # never logged, or by a method with other options
                missing.append(name)
        return tuple(missing)

    def logged_buffers(self) -> dict[str, Tensor]:
        """Buffers that `snapshot` and `series` log, by ``"part/name"``."""
        limit = self.problem.num_classes * max(self.problem.feature_dim, 128)
        named = {f"{part.name}/{name}": buffer for part in self.parts for name, buffer in part.named_buffers()}
        return {n: b for n, b in named.items() if b.numel() <= limit and (b.is_floating_point() or b.dim() == 0)}


def _by_class(buffer: Tensor, classes: int) -> Tensor:
    """The buffer with a first dimension of K; one that has none is flattened, filled up with zeros and cut into K rows."""
    if buffer.dim() and len(buffer) == classes:
        return buffer
    flat = buffer.flatten()
    return nn.functional.pad(flat, (0, -len(flat) % classes)).view(classes, -1)


def build_method(method: str | MethodSpec, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> Method:
    """Build a method from its string.

    Parameters
    ----------
    method : str or MethodSpec
        Such as ``"fixmatch+la+daso"``; see `parse`.
    defaults : mapping, optional
        Options by part name, such as ``{"fixmatch": {"threshold": 0.9}}``, under those that the string writes out.

    Raises
    ------
    MethodError
        If a name or an option is not known, a scheme is named twice, or a scheme would change what the learner does not do.
    """
    defaults, spec = defaults or {}, parse(method)
    learner = _create(LEARNERS, spec.learner, defaults)
    chain = Chain(_create(SCHEMES, part, defaults) for part in spec.schemes)
    names = [part.name for part in spec.schemes]
    for name in names:
        if names.count(name) > 1:
            raise MethodError(f"scheme {name!r} is named twice in {str(method)!r}; a scheme acts once, remove one")
    for scheme in chain:
        if impossible := scheme.acts_on - learner.offers:
            can = [n for n, c in LEARNERS.items() if scheme.acts_on <= c.offers]
            part = " and ".join(sorted(impossible)).replace("_", "-")
            raise MethodError(
                f"{str(method)!r}: {scheme.name} changes the {part} step, which {learner.name} has not; it goes with {', '.join(can)}"
            )
    built = Method(learner, chain, spec)
    heads = [name for name, _ in built.heads]
    for scheme in chain:
        for head in scheme.reads_heads:
            if head not in heads:
                raise MethodError(
                    f"{scheme.name} reads a head {head!r} that no part of {str(method)!r} brings; its heads: {heads or 'none'}"
                )
    return built


__getattr__ = moved(__name__, {"Part": "pldebias.methods:PartSpec"})
