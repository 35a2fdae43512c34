"""The matrices of ``steering`` at work.

Legend: b batch, k rank, d width.
"""

from __future__ import annotations

import base64
import struct
from functools import lru_cache

import torch
from torch import Tensor

from eos_platform.common.when_imported import when_imported

BYTES = 2  # of a float16 number, as in the operator's file


def packed(values_kd: Tensor) -> str:
    """A matrix as ``Steering`` keeps it."""
    half_kd = values_kd.detach().to("cpu", torch.float16)  # what is too large becomes infinite, and is refused
    return base64.b64encode(half_kd.numpy().astype("<f2").tobytes()).decode()


@lru_cache(maxsize=64)
def unpacked(text: str, rank: int, device: torch.device) -> Tensor:
    """One of the matrices of a ``Steering`` (k, d), float32; kept, as every prompt asks for it: never change it."""
    data = base64.b64decode(text)
    with torch.inference_mode(False):  # cached, see grid_tables.py
        flat = torch.tensor(struct.unpack(f"<{len(data) // BYTES}e", data), dtype=torch.float32)
        return flat.view(rank, -1).to(device)


# a tuple, even of one: see ``reduce._direction``
def constants(text: str, rank: int, device: torch.device) -> tuple[Tensor]:
    """``unpacked``, which a compiled site takes for a constant."""
    return (unpacked(text, rank, device),)


# not as a decorator: that would import the compiler
when_imported("torch._dynamo", lambda: torch.compiler.assume_constant_result(constants))


def steered(probe_d: Tensor, text_kd: Tensor, visual_kd: Tensor, question_bd: Tensor) -> Tensor:
    """The direction to look along for each question (b, d).

    Args:
        probe_d: the probe.
        text_kd, visual_kd: see above.
        question_bd: mean direction of each prompt's text.
    """
    dtype = torch.promote_types(question_bd.dtype, text_kd.dtype)
    read_bk = question_bd.to(dtype) @ text_kd.to(dtype).mT
    return probe_d.to(dtype) + read_bk @ visual_kd.to(dtype)


def seen_by(x_bnd: Tensor, text_kd: Tensor, visual_kd: Tensor) -> Tensor:
    """Tokens as a learned metric compares them (b, n, d), at least float32: x + sum_k visual_k (text_k . x).

    Args:
        x_bnd: the tokens.
        text_kd, visual_kd: the two matrices; ``visual_kd`` of zeros changes nothing.
    """
    wide_bnd = x_bnd.to(torch.promote_types(x_bnd.dtype, torch.float32))
    return wide_bnd + (wide_bnd @ text_kd.to(wide_bnd.dtype).mT) @ visual_kd.to(wide_bnd.dtype)
