"""Paths that a user gives, as places on this machine. Every function of the package that takes a path asks here."""

from __future__ import annotations

import hashlib
import os
import re
import time
import unicodedata
import urllib.parse
from collections.abc import Callable
from pathlib import Path

WINDOWS = os.name == "nt"
_ADDRESS = re.compile(r"(?:[\w+.-]+::)*[A-Za-z][\w+.-]+://")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^}]*)\})")
PATIENCE = 5.0
"""Seconds for which a file may be locked on Windows, which replaces none that a reader or a virus scanner has open."""
LONGEST = 255
"""Bytes that file systems allow in the name of a file or folder."""
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789")}
_RESERVED = re.compile(r'[<>:"|?*\x00-\x1f]')


class PathError(ValueError):
    """A path that names no place on this machine."""


def composed(name: str) -> str:
    """A name in the one form of its letters that Unicode calls composed; macOS writes file names in the other."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_address(path) -> bool:
    """Whether `path` is the address of another place (``https://...``, ``s3://...``, ``zip://::...``).

    ``file://`` is this machine, and ``::`` alone may stand in the name of a folder.
    """
    text = str(path)
    return _ADDRESS.match(text) is not None and not text.lower().startswith("file://")


def local(path) -> Path:
    """Where a path is on this machine.

    Parameters
    ----------
    path : str or PathLike
        ``~``, ``~user`` and environment variables (``$NAME``, ``${NAME}``) stand for what they are here; ``file://`` may stand before it.

    Returns
    -------
    Path
        Relative where `path` is.

    Raises
    ------
    PathError
        Not a path, an address of another machine, an empty text, an unknown user, a variable that is not set (unless a folder has this
        very name), a name longer than file systems allow, or on Windows one that it reserves.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise PathError(f"a path is a text or a path object; got {str(path)[:80]!r} ({type(path).__name__})") from None
    if is_address(text):
        raise PathError(f"{text} is an address; give a path on this machine")
    text = _of_uri(text)
    if not text.strip() or "\0" in text:
        raise PathError(f"{text!r} is no path: it is empty, or holds a null character; give the name of a file or folder")
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        part = match.end() + len(re.split(r"[/\\]", text[match.end() :], maxsplit=1)[0])
        if not os.environ.get(name) and not os.path.lexists(os.path.expanduser(os.path.expandvars(text[:part]))):
            raise PathError(f"{text}: the environment variable {name} is not set; set it, or write the path out")
    found = os.path.expanduser(os.path.expandvars(text))
    if found.startswith("~") and not os.path.lexists(user := re.split(r"[/\\]", found, maxsplit=1)[0]):
        raise PathError(f"{text}: the home folder of {user} is not known on this machine; write the path out")
    for part in re.split(r"[/\\]" if WINDOWS else "/", found):
        if (length := len(os.fsencode(part))) > LONGEST:
            raise PathError(f"a name of {length} bytes, {part[:30]!r}..., is too long; file systems take {LONGEST}: choose a shorter one")
    if WINDOWS and (wrong := [part for part in re.split(r"[/\\]", os.path.splitdrive(found)[1]) if not is_portable(part)]):
        raise PathError(f"{text}: Windows takes no file or folder named {wrong[0]!r}; choose another name")
    return Path(found)


def _of_uri(text: str) -> str:
    """The path in ``file:///tmp/a%20b``, as `Path.as_uri` writes it; a folder whose name really has a "%20" is taken as it is."""
    if not text.lower().startswith("file://"):
        return text
    path = text[7:]
    if path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    if WINDOWS and re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    return path if os.path.lexists(path) else urllib.parse.unquote(path)


def output(path):
    """`local` for a file that is to be written; the folder that it goes into is made. An open file is returned as it is.

    Raises
    ------
    PathError
        As `local`, or nothing can be written there: it is a folder, or `output_folder` refuses its folder.
    """
    if hasattr(path, "write"):
        return path
    found = local(path)
    if found.is_dir():
        raise PathError(f"{found} is a folder; give the name of a file")
    output_folder(found.parent)
    return found


def output_folder(path) -> Path:
    """`local` for a folder that is to be written into; it is made.

    Raises
    ------
    PathError
        As `local`, or it is a file, cannot be made, or may not be written.
    """
    found = local(path)
    try:
        found.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(part for part in (found, *found.parents) if part.exists())
        raise PathError(f"cannot write into {found}: {file} is a file, no folder; choose another folder") from None
    except OSError as error:
        raise PathError(
            f"the folder {found} cannot be made ({error.strerror or error}); choose another place, or make it writable"
        ) from error
    if not os.access(found, os.W_OK):
        raise PathError(f"the folder {found} may not be written; choose another place, or make it writable")
    return found


def is_portable(name: str) -> bool:
    """Whether a file or folder of this name can be made on Windows too."""
    if name in ("", ".", ".."):
        return True
    return not _RESERVED.search(name) and name[-1] not in ". " and name.partition(".")[0].rstrip().lower() not in _DEVICES


def portable(name: str, most: int | None = None) -> str:
    """A name that is made of a text, such that every system takes it for a folder.

    Parameters
    ----------
    name : str
    most : int, optional
        Characters; a longer name is cut and ends in a digest of the whole. Default 200, and 70 on Windows, where a whole path has 260.
    """
    most = most or (70 if WINDOWS else 200)
    name = re.sub(r"[/\\]", "_", _RESERVED.sub("_", name))
    made = name if len(name) <= most else f"{name[: most - 20]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    made = made.rstrip(". ") or "_"
    return made if is_portable(made) else f"_{made}"


def patiently(work: Callable, *arguments):
    """``work(*arguments)``, tried again on Windows while another process has the file open."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work(*arguments)
        except PermissionError:
            if not WINDOWS or time.monotonic() > until:
                raise
            time.sleep(0.02)


def replace(source: str | Path, target: str | Path) -> None:
    """Give a file or folder another name, in place of the file that has it."""
    patiently(os.replace, source, target)
