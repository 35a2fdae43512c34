"""Where the visual tokens of each prompt sit, which text may ask about them, and what the vision tower said of them.

Legend: m images, b batch, s sequence, n visual tokens, r those that came out of the vision tower, e width of its keys,
d width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.runtime.visual_spans import Grid


@dataclass(frozen=True)
class TowerTokens:
    """The visual tokens that came out of a vision tower that made fewer of them than the prompt has places for.

    Attributes:
        index_br: long, ascending: their places among all visual tokens of the unreduced picture.
        size_br: how many original tokens each stands for.
    """

    index_br: Tensor
    size_br: Tensor


@dataclass
class Layout:
    """Places of the visual tokens and of the prompt's text in a batch of sequences.

    Attributes:
        visual_bn: long, places of the visual tokens in the sequence, ascending.
        text_bs: bool, prompt text after the image, whose attention may rank visual tokens. Never an answer, never
            padding.
        last_b: long, place of the last prompt token.
        valid_bs: bool, not padding.
        features: what the vision tower said of the visual tokens that came out of it, by name: (b, n) each, or (b, n,
            e) of ``keys``; r instead of n where ``seen`` is given.
        seen: which visual tokens came out of the tower, when not all did; the other places hold nothing, and are
            dropped before anything else.
        units: what every prompt alike holds, each reduced by itself: grids, and how many units of each; ``visual_bn``
            lists their tokens in this order, unit by unit. Empty: one unit, of the model's usual grid.
    """

    visual_bn: Tensor
    text_bs: Tensor
    last_b: Tensor
    valid_bs: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    seen: TowerTokens | None = None
    units: tuple[tuple[Grid, int], ...] = ()


@dataclass
class VisionFeatures:
    """What the vision tower said about a batch of images; of the visual tokens that came out of it."""

    features: dict[str, Tensor] = field(default_factory=dict)  # some of READ, or padding; (m, r) or (m, r, e)
    seen: TowerTokens | None = None
    # where pictures may differ in size, by feature name: one tensor a picture, of all its visual tokens
    pictures: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def rows(self, take: Callable[[Tensor], Tensor]) -> VisionFeatures:
        """The same of some of the images."""
        seen = self.seen and TowerTokens(take(self.seen.index_br), take(self.seen.size_br))
        return VisionFeatures({name: take(tensor) for name, tensor in self.features.items()}, seen=seen)

    def add_to(self, layout: Layout) -> None:
        """Tell a layout of one prompt an image."""
        layout.features, layout.seen = self.features, self.seen


def concatenated(parts: Sequence[VisionFeatures]) -> VisionFeatures:
    """Several batches of images as one."""
    first = parts[0]
    features = {name: torch.cat([vision.features[name] for vision in parts]) for name in first.features}
    seen = [vision.seen for vision in parts if vision.seen is not None]
    if not seen:
        return VisionFeatures(features)
    return VisionFeatures(
        features, seen=TowerTokens(torch.cat([one.index_br for one in seen]), torch.cat([one.size_br for one in seen]))
    )


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


def check_layout(layout: Layout, x_bsd: Tensor, tokens: int, entering: int) -> None:
    """Refuse a layout that is not of these sequences.

    Args:
        layout: of the sequences.
        x_bsd: their embeddings.
        tokens: visual tokens each has places for.
        entering: visual tokens that the operator lets out of the vision tower.

    Raises:
        EosError: other sequences, or pictures that were not encoded with the operator.
    """
    if x_bsd.shape[:2] != layout.valid_bs.shape:
        raise EosError(f"layout of {tuple(layout.valid_bs.shape)} tokens for {tuple(x_bsd.shape[:2])} embeddings")
    if layout.units:  # each of them is reduced by its share, whatever its grid
        return
    seen = tokens if layout.seen is None else layout.seen.index_br.shape[1]
    if seen != entering:
        raise EosError(
            f"the operator lets {entering} visual tokens out of the vision tower, and {seen} came: encode the pictures"
            " with it"
        )
