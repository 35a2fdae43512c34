"""Pictures looked at and opened: several at a time, few of them in memory at once."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError
from eos_platform.common.files import shown_path
from eos_platform.tasks.data.media import Source, bytes_of

T = TypeVar("T")
U = TypeVar("U")
AHEAD = 2  # pictures under way, for each thread
NO_FORMAT = "no format of pictures that is known here"
SMALLEST = 2  # pixels a side; processors take a side of 1 or 3 for colours


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a picture: the SHA-256 of its bytes, and its size as it is meant to be looked at."""

    digest: bytes
    width: int
    height: int


def look(source: Source, whole: bool = False) -> Look:
    """Read a picture and its head.

    Args:
        source: of the picture.
        whole: decode it too, which finds what is cut off or damaged.

    Raises:
        EosError: it cannot be read, is no picture, is cut off, or is of an impossible size.
    """
    data = bytes_of(source)
    with _decoding(source), Image.open(io.BytesIO(data)) as result:
        width, height = _size(result, source)
        if whole:
            result.load()
        if result.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # turned by a quarter
            width, height = height, width
    return Look(hashlib.sha256(data).digest(), width, height)


def opened(source: Source) -> Image.Image:
    """The picture, as it is meant to be looked at, in three colours; the first of several in one file.

    Raises:
        EosError: it can no longer be read.
    """
    data = bytes_of(source)
    with _decoding(source), Image.open(io.BytesIO(data)) as result:
        _size(result, source)
        return ImageOps.exif_transpose(result).convert("RGB")


def _size(result: Image.Image, source: Source) -> tuple[int, int]:
    """Width and height, before anything is decoded.

    Raises:
        EosError: a picture of that size cannot be meant.
    """
    width, height = result.size
    if min(width, height) < SMALLEST:
        raise EosError(f"picture {shown_path(str(source))} is {width}x{height} pixels; the least is {SMALLEST} a side")
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        pixels = f"{width * height / 1e6:,.0f} million pixels; the most is {most / 1e6:.0f}"
        raise EosError(f"picture {shown_path(str(source))} has {pixels}")
    return width, height


@contextmanager
def _decoding(source: Source) -> Iterator[None]:
    """Whatever Pillow raises becomes one line; its decoders have no common error."""
    try:
        yield
    except EosError:
        raise
    except Exception as error:
        text = NO_FORMAT if isinstance(error, UnidentifiedImageError) else error_text(error)
        raise EosError(f"picture {shown_path(str(source))} cannot be opened: {text}") from None


@contextmanager
def quiet_bombs() -> Iterator[None]:
    """Without Pillow's warning of pictures that unpack to too much, which are errors here.

    Around threads, not inside them: filters of warnings belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def threads() -> int:
    """How many pictures are read at a time."""
    return max(2, min(8, os.cpu_count() or 2))


def ahead(run: Callable[[T], U], things: Iterable[T], workers: int | None = None) -> Iterator[tuple[T, U | EosError]]:
    """``run`` of each thing, in order, by several threads, which are never far ahead of whoever takes the results.

    What ``run`` raises as an ``EosError`` takes the place of its result.
    """
    workers = workers or threads()
    waiting: deque[tuple[T, Future[U]]] = deque()

    def first() -> tuple[T, U | EosError]:
        thing, future = waiting.popleft()
        try:
            return thing, future.result()
        except EosError as error:
            return thing, error

    with ThreadPoolExecutor(workers) as pool:
        try:
            for thing in things:
                waiting.append((thing, pool.submit(run, thing)))
                if len(waiting) >= AHEAD * workers:
                    yield first()
            while waiting:
                yield first()
        finally:
            for _, future in waiting:
                future.cancel()
