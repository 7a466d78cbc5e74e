"""Old names that still work: one place for every rename, with one message (docs/deprecation.md has the policy)."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
REMOVED_IN = "0.3"


def deprecated(old: str, new: str, *, stacklevel: int = 2) -> None:
    """Warn that `old` is now called `new`.

    Parameters
    ----------
    old, new : str
        As the user writes them: ``"pld.table(sort=)"``, ``"kind='sweep'"``.
    stacklevel : int
        2 blames the caller of the function that calls this one.

    Warns
    -----
    DeprecationWarning
    """
    warnings.warn(f"{old} is deprecated and goes in pldebias {REMOVED_IN}: use {new}", DeprecationWarning, stacklevel=stacklevel + 1)


def moved(package: str, places: dict[str, str], otherwise: Callable[[str], Any] | None = None) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that finds names and submodules which have moved.

    A moved submodule needs no file: ``import package.old``, ``from package.old import name`` and ``package.old.name``
    all lead to the new module.

    Parameters
    ----------
    package : str
        ``__name__`` of the module that had the names.
    places : dict of str to str
        By old name: ``"module:name"`` of an object, ``"module"`` of a submodule.
    otherwise : callable, optional
        The module's own ``__getattr__``, asked for every other name.

    Examples
    --------
    In ``pldebias/analysis/__init__.py``::

        __getattr__ = moved(__name__, {
            "whatif": "pldebias.analysis.relabelling.whatif",        # a submodule
            "confusion_of": "pldebias.analysis.comparing:matrix",    # a function, renamed
        })
    """
    _finder.places.update({f"{package}.{old}": new for old, new in places.items() if ":" not in new})

    def __getattr__(name: str) -> Any:
        if name in places:
            module, _, attribute = places[name].partition(":")
            deprecated(f"{package}.{name}", ".".join(filter(None, (module, attribute))))
            found = import_module(module)
            return getattr(found, attribute) if attribute else found
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__


class _Finder(MetaPathFinder, Loader):
    """Imports a moved submodule from its new place; asked last, so that files come first."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self.places else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        name = module.__name__
        deprecated(name, self.places[name])
        sys.modules[name] = import_module(self.places[name])  # the import system returns what stands here afterwards


_finder = _Finder()
sys.meta_path.append(_finder)


def renamed_arguments(**names: str) -> Callable[[F], F]:
    """Decorate a function so that old keyword arguments are passed on by their new names.

    Parameters
    ----------
    **names : str
        New name by old name: ``@renamed_arguments(norm="normalize")``.

    Raises
    ------
    TypeError
        By the decorated function, if both names of an argument are given.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old, new in names.items():
                if old in kwargs:
                    if new in kwargs:
                        raise TypeError(f"{function.__name__}() got both {new}= and {old}=, its old name: give {new}= alone")
                    deprecated(f"{old}= of {function.__name__}()", f"{new}=")
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def renamed(new: str) -> Callable[[F], F]:
    """Decorate a function or method that stays under its old name: it warns and works as before.

    Parameters
    ----------
    new : str
        What to use instead.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            deprecated(f"{function.__qualname__}()", new)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
