"""Memory of a CPU: what a step frees, the next step asks for again."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20}  # what glibc arrives at by itself once large blocks were freed


def glibc() -> ctypes.CDLL | None:
    """The C library if it is glibc and nobody has tuned it by hand, else None."""
    if "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return None
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None


@contextmanager
def kept() -> Iterator[bool]:
    """Keep freed memory for the next allocation while this lasts, and give it back afterwards.

    By default glibc returns blocks of 32 MB or more to the system when they are freed, and the end of its heap too; the activations of
    WRN-28-2 are such blocks, and in float32 about a fifth of a step went into the page faults of getting them anew (see
    ``benchmarks/RESULTS.md``). Peak memory is the same within some percent. Where the C library is another one, nothing happens.

    Yields
    ------
    bool
        Whether it had an effect.
    """
    library = glibc()
    if library is None:
        yield False
        return
    done = library.mallopt(_TRIM_THRESHOLD, -1)  # -1: never
    if not library.mallopt(_MMAP_THRESHOLD, -1):  # refused by glibc before 2.35
        done = library.mallopt(_MMAP_MAX, 0) and done
    try:
        yield bool(done)
    finally:
        for parameter, value in _USUAL.items():
            library.mallopt(parameter, value)
        library.mallopt(_MMAP_MAX, 65536)
        library.malloc_trim(0)
