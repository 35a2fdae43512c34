"""How a question steers a site's probe, so that other questions keep other tokens.

A probe alone ranks tokens the same way whatever is asked. Steered, the direction that tokens are compared with is
probe + sum_k visual_k (text_k . q), where q is the mean direction of the prompt's text as it enters the language model:
a product of low rank, found once a prompt, that costs next to nothing beside looking at every token.

Legend: b batch, k rank, d width.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from functools import lru_cache
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from eos_platform.common.strict_types import Int

BYTES = 2  # of a number


class Steering(BaseModel):
    """Two matrices of ``rank`` rows as wide as the probe; each base64 of float16 numbers (little-endian), row by row.

    Thousands of numbers nobody reads: packed, a file stays small, and an operator is compared and looked up fast.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: Annotated[Int, Field(ge=1, le=1024)]
    text: str = Field(repr=False)  # what is read of the question
    visual: str = Field(repr=False)  # which direction each reading adds to the probe

    @model_validator(mode="after")
    def _holds_numbers(self) -> Steering:
        sizes = set()
        for name in ("text", "visual"):
            try:
                data = base64.b64decode(getattr(self, name), validate=True)
            except (binascii.Error, ValueError):
                raise ValueError(f"{name} is not base64") from None
            if not data or len(data) % (BYTES * self.rank):
                raise ValueError(f"{name} does not hold {self.rank} rows of float16 numbers")
            if not all(map(math.isfinite, struct.unpack(f"<{len(data) // BYTES}e", data))):
                raise ValueError(f"{name} holds numbers that are not finite")
            sizes.add(len(data))
        if len(sizes) > 1:
            raise ValueError("text and visual differ in width")
        return self

    @property
    def width(self) -> int:
        """Of the tokens it was made for."""
        return len(base64.b64decode(self.text)) // BYTES // self.rank

    @classmethod
    def of(cls, text_kd: Tensor, visual_kd: Tensor) -> Steering:
        """Pack two matrices (k, d).

        Raises:
            ValueError: they differ in shape, or a number is none that float16 holds.
        """
        if text_kd.shape != visual_kd.shape:
            raise ValueError(f"text {tuple(text_kd.shape)} and visual {tuple(visual_kd.shape)} differ in shape")
        return cls(rank=len(text_kd), text=_packed(text_kd), visual=_packed(visual_kd))

    def tensors(self, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
        """The two matrices (k, d), float32, to do with as one likes."""
        where = torch.device("cpu" if device is None else device)
        return unpacked(self.text, self.rank, where).clone(), unpacked(self.visual, self.rank, where).clone()


def _packed(values_kd: Tensor) -> str:
    half_kd = values_kd.detach().to("cpu", torch.float16)  # what is too large becomes infinite, and is refused
    return base64.b64encode(half_kd.numpy().astype("<f2").tobytes()).decode()


@lru_cache(maxsize=64)
def unpacked(text: str, rank: int, device: torch.device) -> Tensor:
    """One of the matrices of a ``Steering`` (k, d), float32; kept, as every prompt asks for it: never change it."""
    data = base64.b64decode(text)
    with torch.inference_mode(False):  # cached, see grid.py
        flat = torch.tensor(struct.unpack(f"<{len(data) // BYTES}e", data), dtype=torch.float32)
        return flat.view(rank, -1).to(device)


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
