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
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eos_platform.common.strict_types import Int

if TYPE_CHECKING:  # an operator's file is read where nobody should wait for torch
    import torch
    from torch import Tensor

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
        from eos_platform.operators.steer import packed

        if text_kd.shape != visual_kd.shape:
            raise ValueError(f"text {tuple(text_kd.shape)} and visual {tuple(visual_kd.shape)} differ in shape")
        return cls(rank=len(text_kd), text=packed(text_kd), visual=packed(visual_kd))

    def tensors(self, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
        """The two matrices (k, d), float32, to do with as one likes."""
        import torch

        from eos_platform.operators.steer import unpacked

        where = torch.device("cpu" if device is None else device)
        return unpacked(self.text, self.rank, where).clone(), unpacked(self.visual, self.rank, where).clone()
