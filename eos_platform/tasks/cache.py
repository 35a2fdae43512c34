"""What a vision tower made of a task's pictures, on disk: computed once, mapped into every process.

The files lie in ``$EOS_CACHE`` (default ``~/.cache/eos-platform``; ``off``: no cache) and take at most
``$EOS_CACHE_GB`` gigabytes (default 8): the longest unused go first. They are safetensors and hold tensors only; one
that cannot be read is made again, and where none can be written nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from eos_platform.errors import EosError
from eos_platform.files import check_regular

FOLDER, LIMIT = "EOS_CACHE", "EOS_CACHE_GB"
GIGABYTES = 8.0
SUFFIX = ".features"


def key_of(parameters: Iterable[Tensor], *facts: object) -> str:
    """A name for what these weights make of what ``facts`` tell; other weights, another name."""
    digest = hashlib.sha256(repr((torch.__version__, *facts)).encode())
    for value in parameters:
        digest.update(f"{value.dtype}{tuple(value.shape)}{value.device.type}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def folder() -> Path | None:
    """Where the files lie; None: there is no cache."""
    told = os.environ.get(FOLDER, "")
    if told == "off":
        return None
    return Path(told) if told else Path.home() / ".cache" / "eos-platform"


def load(key: str) -> dict[str, Tensor] | None:
    """The tensors of that name, mapped and not read; None: they are not there."""
    place = folder()
    if place is None:
        return None
    path = place / (key + SUFFIX)
    try:
        found = load_file(check_regular(path, "features"))
        os.utime(path)  # used just now
    except (EosError, OSError, SafetensorError):
        return None
    return found


def save(key: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep tensors, if there is room for them."""
    place = folder()
    if place is None:
        return
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    with contextlib.suppress(OSError, SafetensorError):
        place.mkdir(parents=True, exist_ok=True)
        if size > _limit() or 2 * size > shutil.disk_usage(place).free:
            return
        _make_room(place, size)
        handle, temporary = tempfile.mkstemp(dir=place, prefix=".")
        os.close(handle)
        try:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
            os.replace(temporary, place / (key + SUFFIX))
        finally:
            Path(temporary).unlink(missing_ok=True)


def _limit() -> float:
    try:
        return float(os.environ.get(LIMIT, GIGABYTES)) * 1e9
    except ValueError:
        return GIGABYTES * 1e9


def _make_room(place: Path, size: int) -> None:
    """Take the longest unused away until ``size`` bytes fit; who has one mapped keeps what it has."""
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in place.glob("*" + SUFFIX))
    held = sum(taken for _, taken, _ in files)
    for _, taken, path in files:
        if held + size <= _limit():
            return
        path.unlink(missing_ok=True)
        held -= taken
