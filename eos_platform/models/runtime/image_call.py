"""What a call of the whole model brings: which placeholders its images and films fill, and whose units these are.

Legend: b batch, s sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Call, Parts, has_media
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.runtime.images import placeholders
from eos_platform.models.runtime.visual_spans import MediaItem, Units, share_out


@dataclass
class ImageCall:
    """A call, until the language model is reached and it is known what came of its images."""

    call: Call
    mask_bs: Tensor | None
    answer_bs: Tensor | None


def image_call_of(call: Call, answer_bs: Tensor | None) -> ImageCall | None:
    """A call with images; None where none comes with it (text, or a decode step).

    Raises:
        EosError: a mask that tells no padding.
    """
    if not has_media(call):
        return None
    mask = call.get("attention_mask")
    if mask is not None and (not isinstance(mask, Tensor) or mask.dim() != 2):
        raise EosError(
            "an operator needs a 2-D attention mask; static caches, which bring their own, are not supported"
        )
    return ImageCall(dict(call), mask, answer_bs)


@contextmanager
def whole_images(call: Call) -> Iterator[None]:
    """While images are counted: of a prompt fed in chunks, which come with what was encoded before, say what is wrong.

    Raises:
        EosError: the images are not those of the prompts.
    """
    try:
        yield
    except EosError as error:
        if call.get("mm_encoder_outputs") is None or cache_of(call) is None:
            raise
        raise EosError(
            f"{error}; if the prompt is fed in chunks, the first must hold its images whole, and where images may be of"
            " any size only one"
        ) from None


def trust_shapes(placeholder_bs: Tensor) -> bool:
    """Whether to take a call's shapes at their word, as counting its placeholders would wait for the device.

    Only of a single prompt: as many images as prompts may still be two of one prompt and none of the next. Of several,
    placeholders are counted; transformers waits for such a count itself, whenever images come.
    """
    waits = placeholder_bs.device.type != "cpu" or torch.compiler.is_compiling()
    return waits and len(placeholder_bs) == 1


def one_image_each(parts: Parts, call: Call) -> bool:
    """Whether every prompt holds one image of the usual size and no other."""
    family = parts.family
    assert family is not None
    if not family.single_image(parts, call):
        return False
    placeholder_bs = placeholders(parts, call, parts.image_token)
    if trust_shapes(placeholder_bs):
        return True
    counts, usual = placeholder_bs.sum(1).tolist(), parts.grid[0] * parts.grid[1]
    # a total that is not theirs is the model's to refuse
    return set(counts) == {usual} or sum(counts) != usual * len(counts)


def units_of(parts: Parts, image_call: ImageCall, captured: Sequence[Any]) -> list[tuple[Tensor, Units]]:
    """For images, and for films: their placeholders (b, s), and the units these make up.

    Host and device wait for each other only where there are several prompts.

    Raises:
        EosError: the images are not those of the prompts.
    """
    family = parts.family
    assert family is not None
    units = []
    for kind, items in family.media_items(parts, image_call.call, captured).items():
        token = parts.image_token if kind == "image" else parts.video_token
        assert token is not None
        placeholder_bs = placeholders(parts, image_call.call, token)
        usual = parts.grid[0] * parts.grid[1]
        if trust_shapes(placeholder_bs) and items is not None:
            counts: tuple[int, ...] = (sum(piece.tokens for piece in items),)
        elif trust_shapes(placeholder_bs) and family.single_image(parts, image_call.call):
            counts = (usual,)
        else:
            counts = tuple(placeholder_bs.sum(1).tolist())
        if items is None:
            items = [MediaItem((parts.grid,))] * (sum(counts) // usual)
        units.append((placeholder_bs, share_out(items, counts)))
    return units
