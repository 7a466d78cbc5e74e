"""Progress of long work: a bar in a terminal or a notebook, lines in a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

from tqdm import std

EVERY = 30.0
"""Seconds between two lines."""
_TIMES = "{elapsed} elapsed"
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit} ({percentage:.0f} %), " + _TIMES + ", {remaining} left{postfix}"
_ENDLESS = "{desc}: {n_fmt} {unit}, " + _TIMES + "{postfix}"


class Lines(std.tqdm):
    """A `tqdm` for logs: a line every 30 seconds, at `refresh` and at the end, and no carriage return.

    Work that ends before its first line leaves none if it would leave no bar either (``leave=False``).
    """

    monitor_interval = 0  # no thread that makes lines more frequent

    def __init__(self, *args: Any, **options: Any):
        self._told = -1
        super().__init__(*args, **{**options, "delay": 1e-9, "mininterval": EVERY, "miniters": 1, "smoothing": 0})

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write a line."""
        shown = {**self.format_dict, "prefix": self.desc.removesuffix(": ") or "progress", "unit": self.unit.strip(), "ncols": None}
        line = self.format_meter(**{**shown, "bar_format": _LINE if self.total else _ENDLESS})
        if msg != "":
            self.fp.write(" ".join(line.split()) + "\n")
            self.fp.flush()
            self._told = self.n
        return True

    def clear(self, nolock: bool = False) -> None:
        """Nothing to clear: lines stay."""

    def close(self) -> None:
        """Write the last line, unless it is there."""
        if self.disable:
            return
        self.disable = True
        self._decr_instances(self)  # pyright: ignore[reportAttributeAccessIssue]
        if self._told != self.n and (self.leave or self._told >= 0):
            self.display()

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:
        """Print between the lines."""
        print(s, file=file or sys.stdout, end=end, flush=True)


def _kind() -> type:
    from tqdm.auto import tqdm  # of the notebook, where there is one

    notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    return tqdm if notebook or getattr(sys.stderr, "isatty", lambda: False)() else Lines


def bar(iterable: Iterable | None = None, **options: Any) -> Any:
    """A progress bar with the arguments of `tqdm`, on standard error; in a file or a pipe it writes `Lines`."""
    if sys.stderr is None:  # a program of Windows without a console
        options["disable"] = True
    return _kind()(iterable, **options)


@contextmanager
def of_downloads():
    """Downloads by torchvision, which has a `tqdm` of its own, show progress as everything else does."""
    from torchvision.datasets import utils

    own, utils.tqdm = utils.tqdm, lambda **options: bar(**{"desc": "download", **options})
    try:
        yield
    finally:
        utils.tqdm = own
