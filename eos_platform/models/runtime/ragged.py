"""Prompts that may lose unequal numbers of tokens, kept a rectangle.

Padding leaves with the visual tokens, as far as the batch stays a rectangle: a prompt of a small picture must not hold
up what a larger one beside it saves. A prompt that has too little of it keeps some of what goes as fillers, which
nobody attends to. All counts are known on the host.

Legend: b batch, k tokens present, t other tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eos_platform.models.runtime.visual_spans import numbers

Counts = tuple[int, ...]


@dataclass(frozen=True)
class Ragged:
    """What is counted of such prompts.

    Attributes:
        other_bk: bool, neither visual nor filler.
        nth_bk: how many tokens of the whole prompt that are no padding there are up to each.
        alive: tokens of each prompt that are no fillers.
        padding: of which so many are padding.
        visual: of which so many are visual.
        whole: tokens of each whole prompt that are no padding.
    """

    other_bk: Tensor
    nth_bk: Tensor
    alive: Counts
    padding: Counts
    visual: Counts
    whole: Counts

    @classmethod
    def of(cls, valid_bs: Tensor, visual_bs: Tensor, padding: Counts, visual: Counts) -> Ragged:
        """Of whole prompts.

        Args:
            valid_bs: bool, not padding.
            visual_bs: bool, to be reduced.
            padding: how many tokens of each prompt are padding, where the host knows; such may leave. Else empty.
            visual: how many of each are visual.
        """
        batch, length = valid_bs.shape
        padding = padding or (0,) * batch
        whole = tuple(length - pads for pads in padding)
        return cls(~visual_bs, valid_bs.long().cumsum(1), (length,) * batch, padding, visual, whole)

    def other_bt(self) -> Tensor:
        """Places of the other tokens; behind them, where a prompt has fewer, of tokens that never ask."""
        most = max(count - visual for count, visual in zip(self.alive, self.visual, strict=True))
        return torch.argsort((~self.other_bk).to(torch.uint8), dim=1, stable=True)[:, :most]

    def gone(self) -> Counts:
        """How many tokens of each prompt, padding apart, have left."""
        counts = zip(self.whole, self.alive, self.padding, strict=True)
        return tuple(whole - alive + padding for whole, alive, padding in counts)

    def keeping(self, stays_bk: Tensor, valid_bk: Tensor, gone: Counts) -> tuple[Ragged, Tensor, Tensor | None]:
        """What is left; which of the tokens of before that is (b, k); which of these are no fillers (None: all).

        Args:
            stays_bk: bool, neither a filler nor a visual token that leaves.
            valid_bk: bool, neither padding nor filler.
            gone: how many visual tokens of each prompt leave.
        """
        full = [alive - pads - left for alive, pads, left in zip(self.alive, self.padding, gone, strict=True)]
        width = max(full)
        padding = tuple(min(pads, width - count) for pads, count in zip(self.padding, full, strict=True))
        if padding != self.padding:
            pad_bk = ~valid_bk & self.other_bk
            leaving = tuple(had - left for had, left in zip(self.padding, padding, strict=True))
            leaves_bk = pad_bk & (pad_bk.cumsum(1) <= numbers(leaving, pad_bk.device)[:, None])
            stays_bk = stays_bk & ~leaves_bk
        alive = tuple(count + pads for count, pads in zip(full, padding, strict=True))
        keep_bk = torch.argsort((~stays_bk).to(torch.uint8), dim=1, stable=True)[:, :width]
        alive_bk = None
        if min(alive) < width:  # fillers go where they stood
            keep_bk = keep_bk.sort(dim=1).values
            alive_bk = stays_bk.gather(1, keep_bk)
        other_bk = self.other_bk.gather(1, keep_bk)
        after = replace(
            self,
            other_bk=other_bk if alive_bk is None else other_bk & alive_bk,
            nth_bk=self.nth_bk.gather(1, keep_bk),
            alive=alive,
            padding=padding,
            visual=tuple(count - left for count, left in zip(self.visual, gone, strict=True)),
        )
        return after, keep_bk, alive_bk
