"""Packages that only some features need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def needed(what: str, extra: str | None, *modules: str) -> tuple[ModuleType, ...]:
    """Import what a feature needs.

    Parameters
    ----------
    what : str
        The feature, as the message begins.
    extra : str or None
        Which installs it: the ``loggers`` of ``pldebias[loggers]``.
    *modules : str
        By the names of their packages, as pip knows them; ``package:module`` where the module's name is another.

    Returns
    -------
    tuple of module

    Raises
    ------
    ImportError
        One is not installed or cannot be loaded; the message says what to install.
    """
    found = []
    for name in modules:
        package, _, module = name.rpartition(":")
        package = package or module.partition(".")[0]
        try:
            found.append(import_module(module))
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
            state = "is not installed" if missing else f"cannot be loaded ({error})"
            ways = [f"pip install 'pldebias[{extra}]'"] if extra else []
            raise ImportError(
                f"{what} needs {package}, which {state}: {', or '.join([*ways, f'pip install {package}'])}", name=error.name
            ) from error
    return tuple(found)
