"""`register`: a scheme, learner, network, data set or preset of your own, known by its name from then on."""

from __future__ import annotations

import keyword
import re
from functools import partial
from importlib import import_module
from typing import Any

from pldebias.registry import PluginError, Registry

_REGISTRIES = {
    "scheme": "pldebias.methods:SCHEMES",
    "learner": "pldebias.methods:LEARNERS",
    "network": "pldebias.nets:NETWORKS",
    "data": "pldebias.data.sources:KNOWN",
    "preset": "pldebias.presets:PRESETS",
}
_HOW = (
    "give a subclass of Scheme or Learner with a name, a torch module or kind='network' with a function of the number of channels, "
    "kind='data' with a function that returns a pldebias.data.Source, or a Config"
)


def _registry(kind: str) -> Registry:
    module, _, name = _REGISTRIES[kind].partition(":")
    return getattr(import_module(module), name)


def register(thing: Any = None, *, name: str | None = None, kind: str | None = None) -> Any:
    """Make a scheme, learner, network, data set or preset known by its name, everywhere a name is taken.

    Parameters
    ----------
    thing : class, function or Config
        * a subclass of `pldebias.schemes.Scheme` or `pldebias.learners.Learner`, which states its ``name``;
        * a network: a torch module class or a function that takes the number of image channels and returns a module that maps images
          ``[N, C, H, W]`` to features ``[N, D]`` and states D as ``feature_dim``;
        * a data set: a function that takes the folder for downloads and returns a `pldebias.data.Source`;
        * a preset: a `pldebias.Config`, whose ``data`` is its name.

        Left out, `register` returns a decorator.
    name : str, optional
        Of a network or data set; by default that of the class or function.
    kind : {"scheme", "learner", "network", "data", "preset"}, optional
        Needed for functions, which do not say what they are.

    Returns
    -------
    class, function or Config
        `thing` itself.

    Raises
    ------
    PluginError
        It is none of these, or the name is taken or cannot be written in a method string. A definition that is run once more (a cell of a
        notebook) replaces the former one.

    Examples
    --------
    ::

        @pld.register
        class Mine(Scheme):
            name = "mine"

        @pld.register(kind="network")
        def mlp(channels): ...
    """
    if thing is None:
        return partial(register, name=name, kind=kind)
    kind = _kind(thing) if kind is None else kind
    if kind not in _REGISTRIES:
        raise PluginError(f"kind={kind!r} is not known; choose one of {', '.join(_REGISTRIES)}")
    name, value = {"scheme": _part, "learner": _part, "network": _network, "data": _data, "preset": _preset}[kind](kind, thing, name)
    if kind in ("scheme", "learner"):
        other = _registry("learner" if kind == "scheme" else "scheme")
        if name in other:
            raise PluginError(f"{name!r} is taken by a {other.kind}, and options go by name; choose another one")
    _registry(kind).add(name, value, thing)
    return thing


def _kind(thing: Any) -> str:
    from torch import nn

    from pldebias.learners import Learner
    from pldebias.presets import Config
    from pldebias.schemes import Scheme

    if isinstance(thing, Config):
        return "preset"
    if isinstance(thing, type):
        for kind, base in (("scheme", Scheme), ("learner", Learner), ("network", nn.Module)):
            if issubclass(thing, base):
                return kind
    raise PluginError(f"register({thing!r}): not a Scheme, Learner, network or Config; {_HOW}")


def _part(kind: str, thing: Any, name: str | None) -> tuple[str, Any]:
    from pldebias.learners import Learner
    from pldebias.schemes import Scheme

    base = Scheme if kind == "scheme" else Learner
    if not (isinstance(thing, type) and issubclass(thing, base)):
        raise PluginError(f"register({thing!r}, kind={kind!r}): not a subclass of {base.__name__}; {_HOW}")
    own = getattr(thing, "name", None)
    if name is not None and name != own:
        raise PluginError(f"register({thing.__name__}, name={name!r}): the class calls itself {own!r}; write name = {name!r} in it")
    if not isinstance(own, str) or not own.isidentifier() or keyword.iskeyword(own):
        raise PluginError(f"{thing.__name__}.name is {own!r}; write name = 'word' in the class: a word as in Python, for method strings")
    if kind == "learner" and thing.losses is Learner.losses:
        raise PluginError(f"learner {own!r} does not define losses(step), by which it trains")
    return own, thing


def _network(kind: str, thing: Any, name: str | None) -> tuple[str, Any]:
    return _word(kind, thing, name), thing


def _data(kind: str, thing: Any, name: str | None) -> tuple[str, Any]:
    from pldebias.data.sources import Known
    from pldebias.presets import SOURCES

    name = _word(kind, thing, name)
    SOURCES.setdefault(name, (thing.__doc__ or "").strip().partition("\n")[0])
    return name, Known(load=thing)


def _preset(kind: str, thing: Any, name: str | None) -> tuple[str, Any]:
    return _word(kind, thing, name or thing.data), thing


def _word(kind: str, thing: Any, name: str | None) -> str:
    if kind != "preset" and not callable(thing):
        raise PluginError(f"register({thing!r}, kind={kind!r}): it cannot be called; {_HOW}")
    if name is None:
        name = getattr(thing, "name", None) if isinstance(thing, type) else None
        name = name or getattr(thing, "__name__", None)
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]*", name):
        raise PluginError(f"register({thing!r}): the name {name!r} must be letters, digits and . + - _; give name=")
    return name
