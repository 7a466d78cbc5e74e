"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pldebias.paths import LONGEST, replace

ENDING = ".partial"
"""Of files that are being written; one that is found later was left by a process that was killed."""


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Give a name to write to beside `path`; what is written there is called `path` once the block has ended, in place of an older file.

    Two processes may write one file at the same time: that of the later stays.

    Yields
    ------
    Path
        It has not the ending of `path`. If the block raises, the file of this name is removed, and `path` is as it was.
    """
    path = Path(path)
    unique = f".{uuid.uuid4().hex[:8]}{ENDING}"
    partial = path.with_name(os.fsdecode(os.fsencode(path.name)[: LONGEST - len(unique)]) + unique)
    try:
        yield partial
        replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def put(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with whole(path) as partial, open(partial, "wb", buffering=0) as file:
        view = memoryview(data)
        while len(view):
            view = view[file.write(view) :]
