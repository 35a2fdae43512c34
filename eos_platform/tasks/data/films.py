"""Films as a few pictures, evenly over their length (``eos-platform[video]``)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError
from eos_platform.common.extras import needed
from eos_platform.common.files import open_regular, shown_path
from eos_platform.tasks.data.media import Source, bytes_of
from eos_platform.tasks.data.pictures import Look

FRAMES, MOST_FRAMES = 8, 256
LONGEST = 10_000_000  # frames of a film that are counted
PIECE = 1 << 20


def frames(source: Source, count: int = FRAMES) -> list[Image.Image]:
    """``count`` pictures from the middles of equal parts of the film; all, where it has fewer.

    Raises:
        EosError: it cannot be decoded, or is of a length nobody means.
    """
    av = needed("av", "video", "a film")
    with _stream(source) as data, _reading(source, "decoded"), av.open(data) as film:
        stream = _video(film, source)
        total = stream.frames or _counted(film, stream, source)
        wanted = sorted({min(total - 1, (2 * part + 1) * total // (2 * count)) for part in range(count)})
        result: list[Image.Image] = []
        film.seek(0)
        for number, frame in enumerate(film.decode(stream)):
            if number in wanted:
                result.append(frame.to_image())
                if len(result) == len(wanted):
                    break
        if not result:
            raise EosError(f"film {shown_path(str(source))} has no frames")
        return result


def look(source: Source, whole: bool = False) -> Look:
    """The SHA-256 of a film's bytes, and its size.

    Args:
        source: of the film.
        whole: decode it too.

    Raises:
        EosError: it cannot be read or decoded.
    """
    av = needed("av", "video", "a film")
    digest = hashlib.sha256()
    stream: Any = _stream(source)
    with stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
        stream.seek(0)
        with _reading(source, "opened"), av.open(stream) as film:
            context = _video(film, source).codec_context
            size = context.width, context.height
    if whole:
        frames(source, 1)
    return Look(digest.digest(), *size)


@contextmanager
def _reading(source: Source, what: str) -> Iterator[None]:
    """Whatever FFmpeg raises becomes one line, without the numbers that it has for itself."""
    try:
        yield
    except EosError:
        raise
    except Exception as error:  # av's own errors, and those of the file
        text = getattr(error, "strerror", None) or error_text(error)
        raise EosError(f"film {shown_path(str(source))} cannot be {what}: {text} (no film, or cut off)") from None


def _stream(source: Source) -> Any:
    from pathlib import Path

    return open_regular(source, "film", None) if isinstance(source, Path) else io.BytesIO(bytes_of(source))


def _video(film: Any, source: Source) -> Any:
    if not film.streams.video:
        raise EosError(f"film {shown_path(str(source))} has no pictures")
    return film.streams.video[0]


def _counted(film: Any, stream: Any, source: Source) -> int:
    total = 0
    for _ in film.decode(stream):
        total += 1
        if total > LONGEST:
            raise EosError(f"film {shown_path(str(source))} does not end")
    if not total:
        raise EosError(f"film {shown_path(str(source))} has no frames")
    return total
