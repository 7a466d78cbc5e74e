"""Where the files of a run lie, and reading them within bounds: no link is followed, no size and no time is without limit."""

from __future__ import annotations

import errno
import os
import stat
import zipfile
import zlib
from pathlib import Path

from pldebias.optional import needed
from pldebias.paths import is_address, local
from pldebias.runs.disk import no_link
from pldebias.runs.schema import RunError

CONNECT, SILENCE, WHOLE = 10, 30, 600
"""Seconds that a remote place may take to answer, may say nothing, and may take for one read altogether."""
REQUESTS = 32
"""Files that are asked of a remote place at a time."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def place(address) -> Folder | Zip | Remote:
    """Where the files of a run lie, by its path or address."""
    inside = str(address).removeprefix("zip://::")
    if is_address(inside) or (inside != str(address) and not local(inside).is_file()):
        return Remote(str(address))
    path = local(inside if inside != str(address) else address)
    return Zip(path) if path.is_file() and (path.suffix == ".zip" or zipfile.is_zipfile(path)) else Folder(path)


class Folder:
    """A directory of this machine."""

    def __init__(self, path: Path):
        self.address, self.root = str(path), str(path.absolute())  # the working folder may change
        self._plain: set[str] = set()

    def get(self, names: list[str], limit: int) -> list[bytes | None]:
        """Contents of files, None for those that do not exist.

        Raises
        ------
        RunError
            One is a link, lies behind one, is no plain file, or has more than `limit` bytes.
        """
        return [self._read(name, limit) for name in names]

    def _read(self, name: str, limit: int) -> bytes | None:
        self._no_link(name)
        try:
            handle = no_link(f"{self.root}/{name}", _FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise RunError(f"{self.root} is damaged: {name} is a link, and links inside a run are not followed") from error
            raise
        with os.fdopen(handle, "rb", buffering=0) as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise RunError(f"{self.root} is damaged: {name} is no plain file")
            if found.st_size > limit:
                raise RunError(f"{self.root} is damaged: {name} has {found.st_size} bytes, where at most {limit} belong")
            return file.read()

    def _no_link(self, name: str) -> None:
        """Refuse a file that lies in a linked directory."""
        folder = name.rpartition("/")[0]
        if not folder or folder in self._plain:
            return
        self._no_link(folder)
        if os.path.islink(f"{self.root}/{folder}"):
            raise RunError(f"{self.root} is damaged: {folder} is a link, and links inside a run are not followed")
        self._plain.add(folder)

    def stamp(self, name: str) -> tuple[int, ...] | None:
        """Changes when the file does; None where there is none."""
        try:
            found = os.stat(f"{self.root}/{name}")
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def sizes(self, folder: str, measure: bool = True) -> dict[str, int]:
        """Bytes of every plain file in a folder (-1 unless `measure`); empty if there is no such folder."""
        found: dict[str, int] = {}
        try:
            self._no_link(f"{folder}/")
            with os.scandir(f"{self.root}/{folder}") as entries:
                if not measure:
                    return {entry.name: -1 for entry in entries if entry.is_file(follow_symlinks=False)}
                for entry in entries:
                    if entry.is_symlink():
                        continue
                    try:
                        found[entry.name] = entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:  # a part to which its writer has just given another name
                        continue
        except OSError:
            return {}
        return found

    def store(self):
        """The run for `xarray.open_zarr`."""
        import zarr

        return zarr.storage.LocalStore(self.root, read_only=True)


class Zip:
    """A zip file of this machine."""

    def __init__(self, path: Path):
        self.address, self.root = str(path), str(path.absolute())

    def get(self, names: list[str], limit: int) -> list[bytes | None]:
        """Contents of files, None for those that do not exist; see `Folder.get`."""
        try:
            with zipfile.ZipFile(self.root) as archive:
                return [self._read(archive, name, limit) for name in names]
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:  # the last: it wants a password
            raise RunError(f"cannot read {self.root}: {error}") from error

    def _read(self, archive: zipfile.ZipFile, name: str, limit: int) -> bytes | None:
        try:
            with archive.open(name) as file:
                data = file.read(limit + 1)
        except KeyError:
            return None
        if len(data) > limit:
            raise RunError(f"{self.root} is damaged: {name} has more than the {limit} bytes that belong there")
        return data

    def stamp(self, name: str) -> tuple[int, ...] | None:
        """Changes when the zip file does."""
        return Folder(Path(self.root).parent).stamp(Path(self.root).name)

    def sizes(self, folder: str, measure: bool = True) -> dict[str, int]:
        return {}

    def store(self):
        import zarr

        return zarr.storage.ZipStore(self.root, mode="r")


class Remote:
    """A place that fsspec knows: ``https://``, ``s3://``, ``memory://`` ..."""

    def __init__(self, address: str):
        import fsspec

        self.address, options = address, {}
        self.http = address.startswith(("http://", "https://"))
        if self.http:
            (aiohttp,) = needed("a run at an http address", "remote", "aiohttp")

            options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(total=WHOLE, sock_connect=CONNECT, sock_read=SILENCE)}
        try:
            self.fs, root = fsspec.core.url_to_fs(address, **options)
        except Exception as error:  # an unknown protocol, a missing package, an address that cannot be read
            raise RunError(f"cannot open {address}: {error}") from error
        self.root = root.rstrip("/")

    def get(self, names: list[str], limit: int) -> list[bytes | None]:
        """Contents of files, None for those that do not exist; see `Folder.get`."""
        paths = [f"{self.root}/{name}" for name in names]
        try:
            found = self._fetch(paths, limit)
        except RunError:
            raise
        except Exception as error:  # each file system and its libraries have errors of their own
            raise RunError(f"cannot read {self.root}: {str(error) or type(error).__name__}") from error
        for name, value in zip(names, found, strict=True):
            if isinstance(value, Exception) and not isinstance(value, FileNotFoundError):
                raise RunError(f"cannot read {self.root}/{name}: {str(value) or type(value).__name__}") from value
            if isinstance(value, bytes) and len(value) > limit:
                raise RunError(f"{self.root} is damaged: {name} has more than the {limit} bytes that belong there")
        return [None if isinstance(value, Exception) else bytes(value) for value in found]

    def _fetch(self, paths: list[str], limit: int) -> list:
        if not paths:
            return []
        if not self.fs.async_impl:
            return self.fs.cat_ranges(paths, 0, limit + 1, on_error="return")
        from fsspec.asyn import sync

        if self.http:
            return sync(self.fs.loop, self._over_http, paths, limit, timeout=WHOLE)
        ends = [limit + 1] * len(paths)
        return sync(self.fs.loop, self.fs._cat_ranges, paths, [0] * len(paths), ends, on_error="return", timeout=WHOLE)

    async def _over_http(self, urls: list[str], limit: int) -> list[bytes | Exception]:
        """As fsspec does, but a server that sends more than it should is not listened to."""
        import asyncio

        session, gate = await self.fs.set_session(), asyncio.Semaphore(REQUESTS)

        async def one(url: str) -> bytes | Exception:
            async with gate, session.get(self.fs.encode_url(url), **self.fs.kwargs) as answer:
                if answer.status in (404, 410):
                    return FileNotFoundError(url)
                answer.raise_for_status()
                data = bytearray()
                async for part in answer.content.iter_chunked(2**16):
                    data += part
                    if len(data) > limit:
                        break
                return bytes(data)

        return await asyncio.gather(*map(one, urls))

    def stamp(self, name: str) -> None:
        """Remote runs are not looked at twice: they were copied there when they were finished."""
        return None

    def sizes(self, folder: str, measure: bool = True) -> dict[str, int]:
        return {}

    def store(self) -> str:
        return self.address
