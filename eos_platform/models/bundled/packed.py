"""Weights of a bundled model in eight bits a number, and the folder that they are unpacked to.

A packed folder is a Hugging Face model folder whose weights are ``model.int8.safetensors``. Every weight ``NAME`` of
two or more axes is there as

    NAME         int8, of the weight's shape, from -127 to 127
    NAME.scale   float32, one for each index of the first axis

and means ``NAME * NAME.scale`` rounded to bfloat16; weights of one axis are there as they are. The file's metadata says
``format: eos-int8`` and ``version: 1``. ``unpack`` makes an ordinary folder of it, which ``from_pretrained`` reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.common.files import check_regular, read_bytes, shown_path

PACKED, WEIGHTS = "model.int8.safetensors", "model.safetensors"
FORMAT = {"format": "eos-int8", "version": "1"}
SCALE, MOST = ".scale", 127
PLAIN = (torch.bfloat16, torch.float16, torch.float32)


def packed(weights: dict[str, Tensor]) -> bytes:
    """The content of a packed file."""
    packed_weights: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.dim() < 2:
            packed_weights[name] = weight.contiguous()
            continue
        rows = weight.float().flatten(1)
        scale = rows.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / MOST
        packed_weights[name] = (rows / scale[:, None]).round().clamp(-MOST, MOST).to(torch.int8).view(weight.shape)
        packed_weights[name + SCALE] = scale
    return bytes(save(packed_weights, FORMAT))


def unpacked(path: str | Path) -> dict[str, Tensor]:
    """The weights of a packed file.

    Raises:
        EosError: it is no such file, or something in it is not as the format has it.
    """
    where = shown_path(Path(path))
    try:
        with safe_open(check_regular(Path(path), "packed weights"), framework="pt") as saved:
            metadata = dict(saved.metadata() or {})
            held = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise EosError(f"{where}: no safetensors file: {error}") from None
    if metadata != FORMAT:
        raise EosError(f"{where}: its metadata must say {FORMAT}, not {metadata}")
    scales = {name for name in held if name.endswith(SCALE) and name.removesuffix(SCALE) in held}
    weights: dict[str, Tensor] = {}
    for name, value in held.items():
        if name in scales:
            continue
        if value.dtype == torch.int8:
            weights[name] = _weight(value, held.get(name + SCALE), f"{where}: '{name}'")
        elif value.dtype not in PLAIN or name + SCALE in scales:
            raise EosError(f"{where}: '{name}': int8 with a scale is expected, or a number of its own, not both")
        else:
            weights[name] = value
        if not weights[name].isfinite().all():
            raise EosError(f"{where}: '{name}': numbers that are not finite")
    return weights


def _weight(value: Tensor, scale: Tensor | None, where: str) -> Tensor:
    if scale is None:
        raise EosError(f"{where} has no scale ('{SCALE}')")
    if value.dim() < 2 or scale.dtype != torch.float32 or scale.shape != value.shape[:1]:
        raise EosError(f"{where}: of shape {tuple(value.shape)}, its scale of {tuple(scale.shape)} {scale.dtype}")
    if not (scale.isfinite().all() and (scale > 0).all()):
        raise EosError(f"{where}: scales must be finite and above 0")
    if (value == -MOST - 1).any():
        raise EosError(f"{where}: numbers go from -{MOST} to {MOST}")
    return (value.float() * scale.view(-1, *[1] * (value.dim() - 1))).bfloat16()


def unpack(folder: Path, place: Path | None) -> Path:
    """An ordinary model folder with what a packed one holds: below ``place``, where it is made only once.

    What lies there already is compared with what ought to, byte by byte, and written anew where it differs.

    Args:
        folder: the packed one.
        place: of the cache; None, or one that cannot be written to: a temporary folder, gone when the process ends.

    Raises:
        EosError: the packed weights are not as their format has them.
    """
    files = {file.name: read_bytes(file, "model file") for file in sorted(folder.iterdir()) if file.name != PACKED}
    files[WEIGHTS] = bytes(save(unpacked(folder / PACKED), {"format": "pt"}))
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    if place is not None:
        target = place / "models" / f"{folder.name}-{digest.hexdigest()[:12]}"
        with contextlib.suppress(OSError):
            target.mkdir(parents=True, exist_ok=True)
            _write(target, files)
            return target
    made = tempfile.TemporaryDirectory(prefix=f"{folder.name}-")  # kept by the list below until the process ends
    _TEMPORARY.append(made)
    _write(Path(made.name), files)
    return Path(made.name)


_TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []


def _write(target: Path, files: dict[str, bytes]) -> None:
    """Put the files there that are not there yet, each under another name first."""
    for name, content in files.items():
        path = target / name
        if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        handle, temporary = tempfile.mkstemp(dir=target, prefix=".")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
