"""Which tokens of the prompt are still there after a site, and what later layers need to know about them.

Legend: b batch, s prompt, k tokens present, n visual tokens present, r those that stay, t other tokens, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eos_platform.models.adapters.base import Parts
from eos_platform.models.attention.queries import Sequence, layer_features, take_tokens
from eos_platform.models.attention.rope import Rope, own_positions
from eos_platform.models.attention.text_queries import choose_raters, question, relevance
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.required_features import OPENING, RATED, needed
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.tokens import Tokens, partition, pick, wide


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
    bias_bk: Tensor | None
    original_bk: Tensor  # positions in the unreduced prompt
    length: int  # of the whole prompt
    shift: int  # how far renumbering moved the positions of what follows the image
    # what was known of each visual token before the decoder (b, n) or (b, n, e), by name
    given: Mapping[str, Tensor] = field(default_factory=dict)
    rater_bt: Tensor | None = None  # which of the other tokens rate visual ones
    question_bd: Tensor | None = None  # mean direction of the text

    @classmethod
    def all(cls, layout: Layout, position_bs: Tensor) -> Present:
        """Every token of the prompt, whether or not all visual ones came out of the vision tower."""
        batch, length = layout.valid_bs.shape
        tokens = layout.visual_bn.shape[1]
        device = layout.visual_bn.device
        visual_bs = torch.zeros(batch, length, dtype=torch.bool, device=device).scatter(1, layout.visual_bn, True)
        position_bk = position_bs.expand(batch, -1)
        return cls(
            slot_bk=torch.arange(length, device=device).expand(batch, -1),
            position_bk=position_bk,
            valid_bk=layout.valid_bs,
            text_bk=layout.text_bs,
            last_b=layout.last_b,
            visual_bn=layout.visual_bn,
            other_bt=partition(~visual_bs, length - tokens)[0],
            size_bn=torch.ones(batch, tokens, device=device),
            origin_bn=torch.arange(tokens, device=device).expand(batch, -1),
            bias_bk=None,
            original_bk=position_bk,
            length=length,
            shift=0,
        )

    @property
    def count(self) -> int:
        """Tokens present."""
        return self.slot_bk.shape[1]

    def sequence(
        self,
        x_bkd: Tensor,
        rope: Rope,
        wide_rope: Callable[[], Rope] | None = None,
        own_rope: Callable[[], Rope] | None = None,
    ) -> Sequence:
        """These tokens as attention sees them."""
        return Sequence(
            x_bkd,
            rope,
            self.valid_bk,
            self.bias_bk,
            self.visual_bn,
            self.other_bt,
            self.text_bk,
            self.last_b,
            self.rater_bt,
            wide_rope,
            question_bd=self.question_bd,
            own_rope=own_rope,
        )

    def keeping(self, index_br: Tensor) -> tuple[Present, Tensor]:
        """What is left with only these visual tokens, and which of the tokens of before that is (b, k).

        Everything stays as it was but for who is there: sizes, positions, no bias.

        Args:
            index_br: ascending, which of the visual tokens present stay.
        """
        stays_br = self.visual_bn.gather(1, index_br)
        # nothing here asks the device how many stay: that is known from the operator
        drop_bk = torch.zeros_like(self.slot_bk).scatter(1, self.visual_bn, 1).scatter(1, stays_br, 0)
        keep_bk, _ = partition(drop_bk == 0, self.count - self.visual_bn.shape[1] + index_br.shape[1])
        before_bk = drop_bk.cumsum(1)

        def moved(place: Tensor) -> Tensor:
            return place - before_bk.gather(1, place)

        after = replace(
            self,
            slot_bk=self.slot_bk.gather(1, keep_bk),
            position_bk=self.position_bk.gather(1, keep_bk),
            valid_bk=self.valid_bk.gather(1, keep_bk),
            text_bk=self.text_bk.gather(1, keep_bk),
            last_b=moved(self.last_b[:, None])[:, 0],
            visual_bn=moved(stays_br),
            other_bt=moved(self.other_bt),
            size_bn=self.size_bn.gather(1, index_br),
            origin_bn=self.origin_bn.gather(1, index_br),
            bias_bk=None,
            original_bk=self.original_bk.gather(1, keep_bk),
            given={name: pick(values, index_br) for name, values in self.given.items()},
        )
        return after, keep_bk


class Step(NamedTuple):
    """What a site did: the tokens now present, their hidden states, and which of the previous ones they are."""

    present: Any  # Present, or crowd.Crowd
    x_bkd: Tensor
    keep_bk: Tensor


def enter(layout: Layout, position_bs: Tensor, x_bsd: Tensor, names: Collection[str]) -> Step:
    """The tokens that enter the language model: places of visual tokens that never came are dropped.

    Args:
        layout: of the prompts.
        position_bs: their positions.
        x_bsd: what the language model is given.
        names: what the operator's sites read; what rests on what enters is found here, once.
    """
    present, x_bkd = Present.all(layout, position_bs), x_bsd
    keep_bk = present.slot_bk
    if layout.seen is not None:
        present, keep_bk = present.keeping(layout.seen.index_br)
        present, x_bkd = replace(present, size_bn=layout.seen.size_br), take_tokens(x_bsd, keep_bk)
    given, rater_bt, question_bd = layout.told(), None, None
    # not by set operations: Dynamo of torch 2.11, which fuses this, cannot follow them
    if any(name in OPENING for name in names):
        visual_bnd, text_btd = take_tokens(x_bkd, present.visual_bn), take_tokens(x_bkd, present.other_bt)
        asks_bt = present.text_bk.gather(1, present.other_bt)
        with torch.autocast(x_bkd.device.type, enabled=False):
            if "relevance" in names:
                given["relevance"] = relevance(visual_bnd, text_btd, asks_bt)
            if any(name in RATED for name in names):
                rater_bt = choose_raters(visual_bnd, text_btd, asks_bt)
            if "question" in names:
                question_bd = question(text_btd, asks_bt)
    return Step(replace(present, given=given, rater_bt=rater_bt, question_bd=question_bd), x_bkd, keep_bk)


def apply_site(site: SiteSpec, present: Present, x_bkd: Tensor, rope: Rope, layer: Any, parts: Parts) -> Step:
    """Reduce the visual tokens at one site.

    Args:
        site: the site.
        present: the tokens before it.
        x_bkd: their hidden states.
        rope: their rotary embeddings.
        layer: the decoder layer it stands before.
        parts: of the model.
    """

    def wide_rope() -> Rope:
        return parts.rope(wide(x_bkd), present.position_bk, parts.kind(site.layer))

    def own_rope() -> Rope:
        return parts.rope(x_bkd, own_positions(present.position_bk, present.valid_bk), parts.kind(site.layer))

    sequence = present.sequence(x_bkd, rope, wide_rope, own_rope)
    found = layer_features(needed(site, present.visual_bn.shape[1]), layer, sequence, present.given)
    tokens = Tokens(take_tokens(x_bkd, present.visual_bn), present.size_bn, present.origin_bn)
    reduced, index_br = reduce(site, tokens, found, parts.grid)
    after, keep_bk = present.keeping(index_br)
    if site.positions == "renumber":
        count_k = torch.arange(after.count, device=x_bkd.device)
        position_bk = after.original_bk - after.slot_bk + count_k
        after = replace(after, position_bk=position_bk, shift=present.length - after.count)
    bias_bk = None
    if site.beta > 0:
        zeros_bk = torch.zeros(after.slot_bk.shape, device=x_bkd.device)
        bias_bk = zeros_bk.scatter(1, after.visual_bn, site.beta * reduced.size_bn.float().log())
    after = replace(after, size_bn=reduced.size_bn, origin_bn=reduced.origin_bn, bias_bk=bias_bk)
    x_bkd = take_tokens(x_bkd, keep_bk)
    place_brd = after.visual_bn[:, :, None].expand(-1, -1, x_bkd.shape[2])
    return Step(after, x_bkd.scatter(1, place_brd, reduced.x_bnd.to(x_bkd.dtype)), keep_bk)
