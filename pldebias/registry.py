"""Schemes, learners, networks, data sets and presets by name, and the plugins that bring more of them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
import warnings
from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pldebias.paths import PathError, local
from pldebias.settings import nearest

T = TypeVar("T")
GROUP = "pldebias.plugins"
"""Entry points by which installed packages name the modules that register something."""
SESSION = "__main__"
"""Origin of what was defined in a notebook or at the prompt, where no other process finds it."""
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class PluginError(ValueError):
    """A plugin that cannot be loaded, or something that cannot be registered."""


class Registry(UserDict[str, T]):
    """The package's own things of one kind by name, and those that plugins add.

    A listing, and a name that is not there, first load the plugins of installed packages.

    Parameters
    ----------
    kind : str
        ``"scheme"``, ``"learner"``, ``"network"``, ``"data set"`` or ``"preset"``, for messages.
    own : mapping
        What the package brings.
    """

    def __init__(self, kind: str, own: Mapping[str, T]):
        super().__init__(own)
        self.kind = kind
        self.origins: dict[str, str] = {}
        """Plugin (file or module) by the name of what it registered."""
        self._defined: dict[str, Any] = {}

    def add(self, name: str, thing: T, source: Any = None) -> None:
        """Take `thing` in under a name, for the plugin that is being loaded or else the module of `source`, `thing` itself by default.

        Raises
        ------
        PluginError
            The name is taken. What the same plugin defined before, as of a notebook's cell that is run again, is replaced.
        """
        global _added
        source = thing if source is None else source
        defined = (_loading[-1] if _loading else _origin(source), getattr(source, "__qualname__", None))
        if name in self and self._defined.get(name) != defined:
            by = f"by {self.origins[name]}" if name in self.origins else "by one of the package's own"
            raise PluginError(f"the name {name!r} of a {self.kind} is taken {by}; choose another one")
        self.data[name], self.origins[name], self._defined[name] = thing, defined[0], defined
        _added += 1

    def unknown(self, name: Any) -> str:
        """The message about a name that is not here."""
        return f"{self.kind} {name!r} is not known{nearest(name, self)}; choose one of {', '.join(self)}"

    def __contains__(self, name: object) -> bool:
        return name in self.data or (load_installed() and name in self.data)

    def __missing__(self, name: str) -> T:
        load_installed()
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        load_installed()
        return iter(self.data)

    def __or__(self, other: Any) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return {**self, **other}

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.origins.pop(name, None)


def _origin(thing: Any) -> str:
    """Plugin that would bring `thing` in another process: its module, or the file of the script that runs."""
    module = getattr(thing, "__module__", SESSION)
    if module not in (SESSION, "__mp_main__"):
        return module
    return getattr(sys.modules.get(module), "__file__", None) or SESSION


_loading: list[str] = []  # plugins whose code runs just now, the innermost last
_loaded: dict[str, ModuleType] = {}  # by what was asked for
_failed: dict[str, str] = {}  # why an installed plugin could not be loaded
_added = 0  # registrations so far
_looked = False  # whether the installed ones were looked for


def load_plugin(plugin: str | Path) -> ModuleType:
    """Run a Python file or import a module that registers schemes, learners, networks or data sets.

    Parameters
    ----------
    plugin : str or path
        ``"my_methods.py"``, or ``"package.module"``, which may also lie in the working directory. A plugin is code: it can do whatever you
        can. One that is loaded is not run again.

    Returns
    -------
    module

    Raises
    ------
    PluginError
        It is missing or raises an error, with the place in it.

    Examples
    --------
    >>> pld.load_plugin("my_methods.py")  # doctest: +SKIP
    >>> pld.train("fixmatch+mine")  # doctest: +SKIP
    """
    name = str(plugin)
    if name not in _loaded:
        is_file = isinstance(plugin, Path) or name.endswith(".py") or not _MODULE.fullmatch(name)
        _loaded[name] = _run(name, lambda: _from_file(name) if is_file else _from_module(name))
    return _loaded[name]


def load_plugins(plugins: Iterable[str | Path]) -> None:
    """Load each of several plugins, as `load_plugin` does."""
    for plugin in plugins:
        load_plugin(plugin)


def load_installed() -> bool:
    """Load the plugins of installed packages (entry points ``pldebias.plugins``), once; one that fails is left out with a warning."""
    global _looked
    if not _looked:
        _looked = True  # before: a plugin reads the registries, too
        for entry in entry_points(group=GROUP):
            try:
                load_plugin(entry.module)
            except PluginError as error:
                _failed[entry.module] = str(error)
                package = entry.dist.name if entry.dist else "an installed package"
                warnings.warn(f"{package}: {error}; it is left out", RuntimeWarning, stacklevel=3)
    return True


def _run(name: str, load: Any) -> ModuleType:
    before, known = _added, len(sys.modules)
    _loading.append(name)
    try:
        module = load()
        if len(sys.modules) > known and _added == before:
            raise PluginError("it registers nothing; call pld.register on its classes and functions")
        return module
    except PluginError as error:
        raise PluginError(f"plugin {name!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"plugin {name!r} cannot be loaded: {_last_line(error)}") from error
    finally:
        _loading.pop()


def _from_file(name: str) -> ModuleType:
    try:
        path = local(name).resolve()
    except PathError as error:
        raise PluginError(str(error)) from error
    if not path.is_file():
        raise PluginError(f"there is no file {path}; give a Python file such as my_methods.py, or a module such as package.module")
    for module in list(sys.modules.values()):  # imported under its own name, or the script that runs
        if (file := getattr(module, "__file__", None)) and file.endswith(path.name) and Path(file).resolve() == path:
            return module
    _findable(path.parent)
    called = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(called, path)
    if spec is None or spec.loader is None:
        raise PluginError("it is no Python file; its name must end in .py")
    module = sys.modules[called] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[called]
        raise
    return module


def _from_module(name: str) -> ModuleType:
    _findable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise PluginError(f"there is no module {error.name!r}; for a file write {name}.py, for a package install it") from error
        raise


def _findable(folder: Path) -> None:
    """Let modules in `folder` be imported, after all others."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _last_line(error: BaseException) -> str:
    """The end of a traceback, and the place in the plugin that it leads to."""
    what = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        return f"{what} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames if frame.filename != __file__]
    return f"{what} ({own[-1].filename}, line {own[-1].lineno})" if own else what


def provenance(plugins: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each plugin's file, by plugin, to be kept with a run; empty where there is no file."""
    found = {}
    for name in plugins:
        module = None if name == SESSION else _loaded.get(name) or sys.modules.get(name)
        file = getattr(module, "__file__", None) or name
        found[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest() if Path(file).is_file() else ""
    return found


def missing_plugins(attrs: Mapping[str, Any]) -> str:
    """Name the plugins that a run with these attributes needs and that are not loaded: the end of a message, empty if there are none.

    A run may come from anybody, so that the plugins that it names are never loaded by themselves.
    """
    plugins = attrs.get("plugins")
    names = [name for name in plugins if isinstance(name, str) and name not in _loaded] if isinstance(plugins, dict) else []
    if not names:
        return ""
    if names == [SESSION]:
        return "; the run was trained with a class of a notebook: run its cell first"
    return f"; the run was trained with {', '.join(names)}: load it first, with pld.load_plugin({names[0]!r}) or --plugin {names[0]}"
