"""Which tokens of the prompt are still there after a site, and what later layers need to know about them.

Legend: b batch, s prompt, k tokens present, n visual tokens present, r those that stay, t other tokens, d width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eos_platform.models.layout import Layout
from eos_platform.models.scores import Rope, Sequence, attention_features, take_tokens
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.tokens import Tokens


@dataclass(frozen=True)
class Present:
    """The tokens present. Everything is indexed by their order of today; slots are places in the whole prompt."""

    slot_bk: Tensor
    position_bk: Tensor
    valid_bk: Tensor
    text_bk: Tensor
    last_b: Tensor
    visual_bn: Tensor
    other_bt: Tensor
    size_bn: Tensor
    origin_bn: Tensor
    vision_bn: Tensor | None
    bias_bk: Tensor | None
    original_bk: Tensor  # positions in the unreduced prompt
    length: int  # of the whole prompt
    shift: int  # how far renumbering moved the positions of what follows the image

    @classmethod
    def all(cls, layout: Layout, position_bs: Tensor) -> Present:
        """Every token of the prompt."""
        batch, length = layout.valid_bs.shape
        tokens = layout.visual_bn.shape[1]
        device = layout.visual_bn.device
        visual_bs = torch.zeros(batch, length, dtype=torch.uint8, device=device).scatter(1, layout.visual_bn, 1)
        position_bk = position_bs.expand(batch, -1)
        return cls(
            slot_bk=torch.arange(length, device=device).expand(batch, -1),
            position_bk=position_bk,
            valid_bk=layout.valid_bs,
            text_bk=layout.text_bs,
            last_b=layout.last_b,
            visual_bn=layout.visual_bn,
            other_bt=torch.argsort(visual_bs, dim=1, stable=True)[:, : length - tokens],
            size_bn=torch.ones(batch, tokens, device=device),
            origin_bn=torch.arange(tokens, device=device).expand(batch, -1),
            vision_bn=layout.vision_bn,
            bias_bk=None,
            original_bk=position_bk,
            length=length,
            shift=0,
        )

    @property
    def count(self) -> int:
        """Tokens present."""
        return self.slot_bk.shape[1]

    def sequence(self, x_bkd: Tensor, rope: Rope) -> Sequence:
        """These tokens as attention sees them."""
        return Sequence(
            x_bkd, rope, self.valid_bk, self.bias_bk, self.visual_bn, self.other_bt, self.text_bk, self.last_b
        )


class Step(NamedTuple):
    """What a site did: the tokens now present, their hidden states, and which of the previous ones they are."""

    present: Present
    x_bkd: Tensor
    keep_bk: Tensor


def needed(site: SiteSpec, tokens: int) -> tuple[str, ...]:
    """The features a site reads when ``tokens`` visual tokens arrive."""
    ranks = site.selector == "score" and site.keep < tokens
    weighs = site.transfer.gamma > 0 and 0 < site.keep < tokens and site.transfer.source == "importance"
    if not (ranks or weighs or site.rho > 0):
        return ()
    return tuple(name for name, weight in site.score.items() if weight)


def apply_site(site: SiteSpec, present: Present, x_bkd: Tensor, rope: Rope, layer: Any, grid: tuple[int, int]) -> Step:
    """Reduce the visual tokens at one site.

    Args:
        site: the site.
        present: the tokens before it.
        x_bkd: their hidden states.
        rope: their rotary embeddings.
        layer: the decoder layer it stands before.
        grid: rows and columns of the unreduced visual tokens.
    """
    found = attention_features(
        needed(site, present.visual_bn.shape[1]), layer, present.sequence(x_bkd, rope), present.vision_bn
    )
    tokens = Tokens(take_tokens(x_bkd, present.visual_bn), present.size_bn, present.origin_bn)
    reduced, index_br = reduce(site, tokens, found, grid)
    stays_br = present.visual_bn.gather(1, index_br)
    # nothing here asks the device how many stay: that is known from the operator
    drop_bk = torch.zeros_like(present.slot_bk).scatter(1, present.visual_bn, 1).scatter(1, stays_br, 0)
    kept = present.count - present.visual_bn.shape[1] + index_br.shape[1]
    keep_bk = torch.argsort(drop_bk.to(torch.uint8), dim=1, stable=True)[:, :kept]
    before_bk = drop_bk.cumsum(1)

    def moved(place: Tensor) -> Tensor:
        return place - before_bk.gather(1, place)

    visual_br = moved(stays_br)
    slot_bk = present.slot_bk.gather(1, keep_bk)
    original_bk = present.original_bk.gather(1, keep_bk)
    position_bk, shift = present.position_bk.gather(1, keep_bk), present.shift
    if site.positions == "renumber":
        position_bk = original_bk - slot_bk + torch.arange(kept, device=slot_bk.device)
        shift = present.length - kept
    bias_bk = None
    if site.beta > 0:
        zeros_bk = torch.zeros(slot_bk.shape, device=slot_bk.device)
        bias_bk = zeros_bk.scatter(1, visual_br, site.beta * reduced.size_bn.float().log())
    after = replace(
        present,
        slot_bk=slot_bk,
        position_bk=position_bk,
        valid_bk=present.valid_bk.gather(1, keep_bk),
        text_bk=present.text_bk.gather(1, keep_bk),
        last_b=moved(present.last_b[:, None])[:, 0],
        visual_bn=visual_br,
        other_bt=moved(present.other_bt),
        size_bn=reduced.size_bn,
        origin_bn=reduced.origin_bn,
        vision_bn=None if present.vision_bn is None else present.vision_bn.gather(1, index_br),
        bias_bk=bias_bk,
        original_bk=original_bk,
        shift=shift,
    )
    x_bkd = take_tokens(x_bkd, keep_bk)
    place_brd = visual_br[:, :, None].expand(-1, -1, x_bkd.shape[2])
    return Step(after, x_bkd.scatter(1, place_brd, reduced.x_bnd.to(x_bkd.dtype)), keep_bk)
