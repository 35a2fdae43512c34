"""Where the visual tokens of each prompt sit, and which text may ask about them.

Legend: b batch, s sequence, n visual tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Layout:
    """Places of the visual tokens and of the prompt's text in a batch of sequences.

    Attributes:
        visual_bn: long, places of the visual tokens in the sequence, ascending.
        text_bs: bool, prompt text after the image, whose attention may rank visual tokens. Never an answer, never
            padding.
        last_b: long, place of the last prompt token.
        valid_bs: bool, not padding.
        vision_bn: attention each visual token gets inside the vision tower, when known.
    """

    visual_bn: Tensor
    text_bs: Tensor
    last_b: Tensor
    valid_bs: Tensor
    vision_bn: Tensor | None = None


def find_layout(image_bs: Tensor, valid_bs: Tensor, tokens: int, answer_bs: Tensor | None = None) -> Layout:
    """The layout of prompts that hold ``tokens`` visual tokens each.

    Args:
        image_bs: bool, visual tokens.
        valid_bs: bool, not padding.
        tokens: visual tokens in every row; known beforehand, so that nothing waits for the device.
        answer_bs: bool, supervised tokens; what follows the first of them after the image is no prompt.
    """
    # stable: visual places come first and stay in order
    visual_bn = torch.argsort((~image_bs).to(torch.uint8), dim=1, stable=True)[:, :tokens]
    place_s = torch.arange(image_bs.shape[1], device=image_bs.device)
    after_bs = place_s > visual_bn[:, -1:]
    prompt_bs = valid_bs
    if answer_bs is not None:
        prompt_bs = valid_bs & ((answer_bs & after_bs).cumsum(1) == 0)
    last_b = torch.where(prompt_bs, place_s, 0).amax(1)
    return Layout(visual_bn, after_bs & prompt_bs, last_b, valid_bs)
