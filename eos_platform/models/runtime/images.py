"""What a call of the whole model tells about its prompts: where the image tokens are, and what is padding or answer.

Legend: b batch, s sequence, d width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts
from eos_platform.models.loading.devices import moved
from eos_platform.models.runtime.layout import Layout, find_layout


def layout_of_call(parts: Parts, tokens: int, call: dict[str, Any], answer_bs: Tensor | None) -> Layout | None:
    """The layout of the prompts in a call; None where no image comes with them (text, or a decode step).

    Args:
        parts: of the model.
        tokens: visual tokens an image has.
        call: arguments by name.
        answer_bs: bool, supervised tokens.

    Raises:
        EosError: not one image a prompt, or a mask that tells no padding.
    """
    images = call.get("pixel_values")
    if images is None:
        encoded = (call.get("mm_encoder_outputs") or {}).get("image")
        if encoded is None:
            return None
        images = encoded.pooler_output
    mask = call.get("attention_mask")
    image_bs = placeholders(parts, call, parts.image_token)
    if len(images) != len(image_bs):
        raise EosError(f"operators need one image a prompt; {len(images)} images came with {len(image_bs)} prompts")
    # only where asking costs no wait; elsewhere the model's own count of image tokens must do
    if image_bs.device.type == "cpu" and not torch.compiler.is_compiling():
        counts = {int(count) for count in image_bs.sum(1)}
        if counts != {tokens}:
            raise EosError(f"prompts hold {sorted(counts)} visual tokens; the operator is for {tokens} in each")
    if mask is not None and mask.dim() != 2:
        raise EosError(
            "an operator needs a 2-D attention mask; static caches, which bring their own, are not supported"
        )
    valid_bs = torch.ones_like(image_bs) if mask is None else moved(mask, image_bs.device).bool()
    return find_layout(image_bs, valid_bs, tokens, moved(answer_bs, image_bs.device))


def placeholders(parts: Parts, call: dict[str, Any], token: int) -> Tensor:
    """Where a call's prompts hold the token of images, or of films (b, s), bool."""
    ids: Tensor | None = call.get("input_ids")
    if ids is not None:
        return ids == token
    x_bsd = call["inputs_embeds"]
    index = torch.full((), token, dtype=torch.long, device=x_bsd.device)
    image_d = moved(parts.language_model.get_input_embeddings()(index), x_bsd.device)
    placeholder_bs: Tensor = (x_bsd == image_d).all(-1)
    return placeholder_bs
