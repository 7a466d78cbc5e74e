"""Decoding image files to uint8, the cache of decoded images under the data root, and images too many for memory."""

from __future__ import annotations

import errno
import io
import itertools
import os
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pldebias._files import whole
from pldebias.data.errors import DataError
from pldebias.hardware import memory

SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"])
_PNG = b"\x89PNG\r\n\x1a\n"

PIXELS = 2**26
"""Most pixels of one image: what a header claims is compared with it before memory is taken."""


def decode(data: bytes, where: str, channels: int, size: int | None = None) -> Tensor:
    """One image file as uint8 ``[C, H, W]``, the pixels that a viewer shows.

    Parameters
    ----------
    data : bytes
        The file's content.
    where : str
        Names the image in an error.
    channels : {1, 3}
        Convert to grey or RGB.
    size : int, optional
        Resize to ``size x size``, bilinear and antialiased, without regard to the aspect.

    Raises
    ------
    DataError
        If this is no image, a broken one, one of more than 8 bits a channel, or one of several frames.

    Notes
    -----
    An EXIF orientation is applied, a palette is resolved, CMYK becomes RGB, and what is transparent is laid on white.
    """
    from PIL import Image

    width, height, components = _jpeg_header(data)
    _check_size((width, height), where)
    pixels = _fast_jpeg(data, channels) if components in (1, 3) else None
    if pixels is None:
        with _opened(data, where) as image:
            image = _upright(image)
            mode = "L" if channels == 1 else "RGB"
            array = np.array(image if image.mode == mode else image.convert(mode))
        pixels = torch.from_numpy(array.reshape(*array.shape[:2], channels)).permute(2, 0, 1)
    if size is not None and tuple(pixels.shape[1:]) != (size, size):
        array = pixels[0].numpy() if channels == 1 else pixels.permute(1, 2, 0).numpy()
        image = Image.fromarray(array).resize((size, size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image).reshape(size, size, channels)).permute(2, 0, 1)
    return pixels


@contextmanager
def _opened(data: bytes, where: str):
    """An image that Pillow can read, of a size and a depth that we take; what goes wrong inside is said of `where`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(image.size, where)
            _check_png(data)
            if image.mode[0] in "IF" or any(_deep(tile) for tile in image.tile):
                raise DataError(f"{where}: its pixels have more than 8 bits (mode {image.mode}); convert it, so that none is cut off")
            # A phone's JPEG carries its preview as a second frame.
            if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                raise DataError(f"{where}: it holds {frames} frames or pages; save the one that is meant as a file of its own")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {error}; at most {PIXELS:,} pixels are decoded") from error
    except Exception as error:  # Pillow raises a dozen kinds for broken files
        raise DataError(f"{where}: not a readable image ({_reason(data, error)}); repair or remove it") from error


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    if data.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS; fetch the file itself by git lfs pull"
    if type(error).__name__ == "UnidentifiedImageError":
        return "its content is of no format that Pillow knows"
    return f"{type(error).__name__}: {error}"


def _check_png(data: bytes) -> None:
    """Compare a PNG's checksums, which Pillow leaves out for pixels, so that damaged ones are not taken for others."""
    at, kind = 8, b""
    while data[:8] == _PNG and kind != b"IEND":
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if len(data) < end + 4:
            raise OSError("the file is truncated")
        if kind == b"IDAT" and zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise OSError("its pixels are damaged")
        at = end + 4


def _deep(tile: tuple) -> bool:
    """Return True if Pillow would cut the channels of this tile to 8 bits, as it does silently for 16-bit colour."""
    codec, _, _, args = tile
    args = args if isinstance(args, tuple) else (args,)
    return any(isinstance(a, str) and ";16" in a for a in args) or (codec.startswith("ppm") and args[-1] > 255)


def _upright(image):
    """`image` turned by its EXIF orientation, and on white where it is transparent."""
    from PIL import Image, ImageOps

    with suppress(Exception):  # a damaged tag turns nothing; damaged pixels raise again when they are read
        ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _check_size(size: tuple[int, int], where: str) -> None:
    if size[0] * size[1] > PIXELS:
        raise DataError(f"{where}: an image of {size[0]} x {size[1]} pixels; at most {PIXELS:,} pixels are decoded, so make it smaller")


def _jpeg_header(data: bytes) -> tuple[int, int, int]:
    """Width, height and number of components that a JPEG's header claims; zeros if this is none."""
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 10 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big"), data[at + 9]
        at += 1 if kind == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0, 0


def _fast_jpeg(data: bytes, channels: int) -> Tensor | None:
    """Decode by torchvision: the pixels of Pillow in a third of the time; None where it cannot, so that Pillow tries (and reports)."""
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:  # torchvision announces that its decoders will go
        return None
    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=mode, apply_exif_orientation=True)
        except RuntimeError:
            return None


def coloured(data: bytes, where: str) -> bool:
    """Return True if an image file may hold colour, by its header."""
    components = _jpeg_header(data)[2]
    if components:
        return components > 1
    if data[:8] == _PNG and len(data) > 25:
        return data[25] not in (0, 4)
    with _opened(data, where) as image:
        return image.mode not in ("1", "L", "LA")


def probe(samples: Iterable[tuple[bytes, str]]) -> int:
    """Channels that a set of images needs: 1 if every sample is grey, else 3."""
    return 3 if any(coloured(data, where) for data, where in samples) else 1


class ArrayReader:
    """Rows of a ``.npy`` file of uint8 images, mapped into memory; it pickles as its path."""

    def __init__(self, path: str | os.PathLike):
        self.path = str(path)
        self._array = None

    @property
    def array(self) -> np.ndarray:
        """The mapped array."""
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="c")  # copy-on-write: nothing is ever written back
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return tuple(self.array.shape)

    def read(self, positions: Sequence[int]) -> Tensor:
        """uint8 ``[len(positions), C, H, W]``."""
        return torch.from_numpy(self.array[np.asarray(positions)])

    def __getstate__(self):
        return {"path": self.path, "_array": None}


class FileReader:
    """Image files decoded whenever they are asked for."""

    def __init__(self, paths: Sequence[str], channels: int, size: int):
        self.paths, self.channels, self.size = list(paths), channels, size

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.paths), self.channels, self.size, self.size)

    def read(self, positions: Sequence[int]) -> Tensor:
        """uint8 ``[len(positions), C, size, size]``."""
        images = [decode(Path(self.paths[i]).read_bytes(), self.paths[i], self.channels, self.size) for i in positions]
        return torch.stack(images) if images else torch.zeros((0, *self.shape[1:]), dtype=torch.uint8)


class LazyImages:
    """Images that stay on disk: a length, a shape, and uint8 tensors for lists of positions.

    Parameters
    ----------
    reader : ArrayReader or FileReader
        Reads by position in the source.
    rows : Tensor or None
        Positions in the source, int64 ``[N]``; None is all.
    """

    def __init__(self, reader: ArrayReader | FileReader, rows: Tensor | None = None):
        self.reader = reader
        self.rows = torch.arange(reader.shape[0]) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.rows), *self.reader.shape[1:])

    def __getitem__(self, index: Tensor | Sequence[int] | slice | int) -> Tensor:
        rows = self.rows[index]
        return self.reader.read(rows.tolist()) if rows.ndim else self.reader.read([int(rows)])[0]

    def select(self, index: Tensor) -> LazyImages:
        """The images at `index`, still on disk."""
        return LazyImages(self.reader, self.rows[index])


def subset(images: Tensor | LazyImages, index: Tensor) -> Tensor | LazyImages:
    """Return the images at `index`, which stay where they are, in memory or on disk."""
    return images[index] if isinstance(images, Tensor) else images.select(index)


def decoded(images: Iterator[tuple[Tensor, str]], count: int, path: Path, *, description: str, progress: bool) -> Tensor | LazyImages:
    """Write a stream of decoded images to the cache file `path` and map it; where the data root cannot be written, keep them in memory.

    Parameters
    ----------
    images : iterator of (Tensor, str)
        `count` uint8 images ``[C, H, W]`` of one size, and the name of each for an error.
    count : int
        How many.
    path : Path
        The ``.npy`` file. It appears under its name only when it is whole.
    description, progress
        Of the progress bar, and whether to show it.
    """
    first, origin = next(images, (None, ""))
    if first is None:
        raise DataError(f"{description}: no image where {count} are promised; the file is damaged")
    images = itertools.chain([(first, origin)], images)
    shape = (count, *first.shape)
    try:
        with whole(path) as partial:
            array = _reserved(partial, shape)
            try:
                _fill(array, images, description, progress)
                array.flush()
            finally:
                array = None  # Windows renames and removes no file that is mapped
    except _NoRoom as error:
        warnings.warn(
            f"cannot keep decoded images in {path.parent} ({error}), so they are decoded again each time; set PLDEBIAS_DATA to a writable "
            "folder",
            stacklevel=2,
        )
        array = np.empty(shape, np.uint8)
        _fill(array, images, description, progress)
        return torch.from_numpy(array)
    return mapped(path)


def _fill(array: np.ndarray, images: Iterator[tuple[Tensor, str]], description: str, progress: bool) -> None:
    """Write images, all of the first one's size and as many as there is room for, into `array`."""
    from pldebias.progress import bar

    count, first, i = len(array), "", -1
    with bar(total=count, desc=description, unit=" images", disable=not progress) as shown:
        for i, (image, where) in enumerate(images):
            first = first or where
            if i == count:
                raise DataError(f"{description}: more than the {count} images that are promised; the file is damaged")
            if image.shape != array.shape[1:]:
                size = _size(array.shape[1:])
                raise DataError(f"{where} is {_size(image.shape)} but {first} is {size}: give image_size to resize all")
            array[i] = image.numpy()
            shown.update()
    if i + 1 < count:
        raise DataError(f"{description}: {i + 1} images where {count} are promised; the file is damaged")


class _NoRoom(Exception):
    """The disk does not take a file."""


def _reserved(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new array on the disk, with room for all of it: writing beyond that through memory would end the process by a signal."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    except OSError as error:
        raise _NoRoom(error) from error
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # else the file system cannot reserve room
                raise _NoRoom(error) from error
    return array


def _size(shape: Sequence[int]) -> str:
    return f"{shape[2]} x {shape[1]} pixels"


def mapped(path: Path) -> Tensor | LazyImages:
    """A cached array as a tensor mapped into memory, or as lazy images where it is larger than half of the memory."""
    reader = ArrayReader(path)
    return LazyImages(reader) if path.stat().st_size > memory() // 2 else torch.from_numpy(reader.array)
