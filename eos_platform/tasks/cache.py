"""What a vision tower made of a task's pictures, and prompts, on disk: made once, mapped into every process.

The files lie in ``$EOS_CACHE`` (default ``~/.cache/eos-platform``; ``off``: no cache) and take at most
``$EOS_CACHE_GB`` gigabytes (default 8): the longest unused go first. They are safetensors and hold tensors only. One
that cannot be read, has other tensors than it should, numbers that are not finite or another checksum than it was
written with is made again; where none can be written nothing is lost but time. Files are written under another name and
renamed, so that processes that share the folder see whole ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from eos_platform.common.cache_folder import FOLDER as FOLDER
from eos_platform.common.cache_folder import cache_folder
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_regular

LIMIT = "EOS_CACHE_GB"
GIGABYTES = 8.0
SUFFIX = ".features"
CHECKSUM = "crc32"  # in the file's header
PART = 2**22  # numbers looked at together
Form = tuple[torch.dtype, tuple[int, ...]]


def key_of(parameters: Iterable[Tensor], *facts: object) -> str:
    """A name for what these weights make of what ``facts`` tell; other weights, another name."""
    digest = hashlib.sha256(repr((torch.__version__, *facts)).encode())
    for value in parameters:
        digest.update(f"{value.dtype}{tuple(value.shape)}{value.device.type}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def load(key: str, forms: Mapping[str, Form] | None = None) -> dict[str, Tensor] | None:
    """The tensors of that name, mapped; None: they are not there, or not what was kept.

    Args:
        forms: what they must be: the type and shape of each, by name.
    """
    place = cache_folder()
    if place is None:
        return None
    path = place / (key + SUFFIX)
    try:
        with safe_open(check_regular(path, "features"), framework="pt") as saved:
            kept = (saved.metadata() or {}).get(CHECKSUM)
            tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        if not _fit(tensors, forms) or kept != checksum(tensors):
            return None
        os.utime(path)  # used just now
    except (EosError, OSError, SafetensorError, ValueError, RuntimeError, TypeError):
        return None
    return tensors


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and every byte. It finds what went wrong by itself; it keeps no secret."""
    crc = 0
    for name, value in sorted(tensors.items()):
        crc = zlib.crc32(repr((name, str(value.dtype), tuple(value.shape))).encode(), crc)
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        crc = zlib.crc32(flat.numpy().data, crc)
    return f"{crc:08x}"


def _fit(tensors: Mapping[str, Tensor], forms: Mapping[str, Form] | None) -> bool:
    """Whether the tensors are of these forms, and their numbers finite."""
    if forms is not None and {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()} != forms:
        return False
    parts = (part for value in tensors.values() for part in value.reshape(-1).split(PART))  # no mask as large as them
    return all(bool(part.isfinite().all()) for part in parts)


def save(key: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep tensors, if there is room for them."""
    place = cache_folder()
    if place is None:
        return
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    if not _fit(tensors, None):
        return  # it would never be taken
    with contextlib.suppress(OSError, SafetensorError):
        place.mkdir(parents=True, exist_ok=True)
        if size > limit() or 2 * size > shutil.disk_usage(place).free:
            return
        _make_room(place, size)
        handle, temporary = tempfile.mkstemp(dir=place, prefix=".")
        os.close(handle)
        try:
            plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
            save_file(plain, temporary, {CHECKSUM: checksum(plain)})
            os.replace(temporary, place / (key + SUFFIX))
        finally:
            Path(temporary).unlink(missing_ok=True)


def limit() -> float:
    """Bytes that the files may take."""
    try:
        return float(os.environ.get(LIMIT, GIGABYTES)) * 1e9
    except ValueError:
        return GIGABYTES * 1e9


def _make_room(place: Path, size: int) -> None:
    """Take the longest unused away until ``size`` bytes fit; who has one mapped keeps what it has."""
    files = []
    for path in place.glob("*" + SUFFIX):
        with contextlib.suppress(FileNotFoundError):  # another process takes some away, too
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    files.sort()
    held = sum(taken for _, taken, _ in files)
    for _, taken, path in files:
        if held + size <= limit():
            return
        path.unlink(missing_ok=True)
        held -= taken
