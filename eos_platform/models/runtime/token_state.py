"""What is left of the prompts of a batch after a site, and what later layers need to know about it.

One state serves any number and sizes of images. Visual tokens stand in groups of spans of one grid, each of which (an
image, a tile, a frame) is reduced by itself. Where every prompt holds one span of one grid, the batch is uniform: it
has a single group, whose spans go with the prompts in order, and every prompt loses equally many tokens. Otherwise the
batch is ragged, and ``ragged`` has what is counted on the host so that it stays a rectangle (``ragged.py``). Either way
shapes are static, and nothing here waits for the device.

Legend: b batch, k tokens present, u spans of one grid, n visual tokens of each, r those that stay, t other tokens,
d width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.attention.queries import AttentionInputs as AttentionInputs
from eos_platform.models.attention.rope import Rope, Turn, rotate
from eos_platform.models.runtime.ragged import Ragged
from eos_platform.models.runtime.visual_spans import Unit, numbers
from eos_platform.operators.grid import Grid, cells_of
from eos_platform.operators.tokens import Tokens, gather_tokens, partition


@dataclass(frozen=True)
class SpanGroup:
    """Visual tokens of spans of one grid."""

    grid: Grid  # of a film, with frames in front
    place_un: Tensor  # where they stand among the tokens present
    size_un: Tensor
    origin_un: Tensor
    # what was known of each visual token before the decoder (u, n) or (u, n, e), by name
    given: Mapping[str, Tensor] = field(default_factory=dict)
    row_u: Tensor | None = None  # which prompt each span is of; None: one of each prompt, in order
    units: tuple[Unit, ...] = ()  # the spans, where prompts are ragged

    @classmethod
    def whole(
        cls,
        grid: Grid,
        place_un: Tensor,
        row_u: Tensor | None = None,
        units: tuple[Unit, ...] = (),
        given: Mapping[str, Tensor] | None = None,
    ) -> SpanGroup:
        """Spans of which nothing has left."""
        origin_un = torch.arange(place_un.shape[1], device=place_un.device).expand(len(place_un), -1)
        size_un = torch.ones(place_un.shape, device=place_un.device)
        return cls(grid, place_un, size_un, origin_un, given or {}, row_u, units)

    def of(self, feature_bn: Tensor) -> Tensor:
        """A feature of the places that ``TokenState.visual_bn`` lists, of these visual tokens (u, n)."""
        return feature_bn if self.row_u is None else feature_bn[self.row_u].gather(1, self.place_un)

    def of_prompts(self, values: Tensor) -> Tensor:
        """What is known of each prompt (b, ...), of each span (u, ...)."""
        return values if self.row_u is None else values[self.row_u]

    def taken(self, x_bkd: Tensor) -> Tensor:
        """Their hidden states (u, n, d)."""
        if self.row_u is None:
            return gather_tokens(x_bkd, self.place_un)
        return x_bkd[self.row_u[:, None], self.place_un]

    def put(self, whole: Tensor, values: Tensor) -> Tensor:
        """``whole`` (b, k) or (b, k, d) with ``values`` of these visual tokens in their places."""
        if self.row_u is not None:
            return whole.index_put((self.row_u[:, None], self.place_un), values)
        place = self.place_un if whole.dim() == 2 else self.place_un[:, :, None].expand(-1, -1, whole.shape[2])
        return whole.scatter(1, place, values)

    def marked(self, stays_bk: Tensor, index_ur: Tensor) -> Tensor:
        """``stays_bk`` (bool), with those of the visual tokens that stay, and without the others."""
        place_ur = self.place_un.gather(1, index_ur)
        if self.row_u is None:
            return stays_bk.scatter(1, self.place_un, False).scatter(1, place_ur, True)
        row_u1 = self.row_u[:, None]
        stays_bk = stays_bk.index_put((row_u1, self.place_un), torch.zeros_like(self.place_un, dtype=torch.bool))
        return stays_bk.index_put((row_u1, place_ur), torch.ones_like(place_ur, dtype=torch.bool))

    def keeping(self, index_ur: Tensor, place_bk: Tensor, made: Tokens | None = None) -> SpanGroup:
        """Those that stay, ``place_bk`` being where each token present stands from now on, and ``made`` what a site
        made of them."""
        return replace(
            self,
            place_un=self.of_prompts(place_bk).gather(1, self.place_un.gather(1, index_ur)),
            size_un=self.size_un.gather(1, index_ur) if made is None else made.size_bn,
            origin_un=self.origin_un.gather(1, index_ur) if made is None else made.origin_bn,
            given={name: gather_tokens(values, index_ur) for name, values in self.given.items()},
        )


@dataclass(frozen=True)
class TokenState:
    """The tokens present, in the order of the prompt; slots are places in the whole prompt."""

    slot_bk: Tensor
    position_bk: Tensor  # or with axes in front (a, b, k)
    original_bk: Tensor  # positions in the unreduced prompt
    valid_bk: Tensor  # neither padding nor filler
    text_bk: Tensor  # may ask
    last_b: Tensor
    other_bt: Tensor  # tokens that are not visual; behind them, where a prompt has fewer, some that never ask
    groups: tuple[SpanGroup, ...]
    length: int  # of the whole prompt
    ragged: Ragged | None = None  # None: the batch is uniform
    alive_bk: Tensor | None = None  # bool; None: there are no fillers
    bias_bk: Tensor | None = None  # added to the logits of each key
    shift: Any = 0  # how far renumbering moved what follows the prompt: a number, or (b, 1)
    rater_bt: Tensor | None = None  # which of the other tokens rate visual ones
    question_bd: Tensor | None = None  # mean direction of each prompt's text
    earlier_bkd: Tensor | None = None  # hidden states of these tokens as they entered the layer before, where read
    mask: Tensor | None = None  # of the layer a site stands before, where attention is not simply causal

    @classmethod
    def whole(
        cls,
        valid_bs: Tensor,
        text_bs: Tensor,
        last_b: Tensor,
        position: Tensor,
        groups: Sequence[SpanGroup],
        ragged: Ragged | None = None,
    ) -> TokenState:
        """Prompts of which nothing has left."""
        batch, length = valid_bs.shape
        if ragged is None:
            visual_bn = groups[0].place_un
            visual_bs = torch.zeros_like(valid_bs).scatter(1, visual_bn, True)
            other_bt = partition(~visual_bs, length - visual_bn.shape[1])[0]
        else:
            other_bt = ragged.other_bt()
        return cls(
            slot_bk=torch.arange(length, device=valid_bs.device).expand(batch, -1),
            position_bk=position,
            original_bk=position,
            valid_bk=valid_bs,
            text_bk=text_bs,
            last_b=last_b,
            other_bt=other_bt,
            groups=tuple(groups),
            length=length,
            ragged=ragged,
        )

    @property
    def count(self) -> int:
        """Tokens present of each prompt, fillers too."""
        return self.slot_bk.shape[1]

    @property
    def visual_bn(self) -> Tensor:
        """Places that features are found for: of the visual tokens; in a ragged batch all, ``SpanGroup.of`` picks."""
        if self.ragged is None:
            return self.groups[0].place_un
        return torch.arange(self.count, device=self.slot_bk.device).expand(len(self.slot_bk), -1)

    @property
    def counted_bn(self) -> Tensor | None:
        """Which of these places hold visual tokens, bool; None: all of them."""
        if self.ragged is None:
            return None
        return ~self.ragged.other_bk if self.alive_bk is None else ~self.ragged.other_bk & self.alive_bk

    def attention_inputs(
        self,
        x_bkd: Tensor,
        rope: Rope,
        wide_rope: Callable[[], Rope] | None = None,
        own_rope: Callable[[], Rope] | None = None,
        turn: Turn = rotate,
    ) -> AttentionInputs:
        """These tokens as attention sees them."""
        return AttentionInputs(
            x_bkd, rope, self.valid_bk, self.bias_bk, self.visual_bn, self.other_bt, self.text_bk, self.last_b,
            self.rater_bt, wide_rope, self.counted_bn, self.mask, self.question_bd, own_rope, turn,
        )  # fmt: skip

    def origins_and_sizes(self) -> tuple[Tensor, Tensor]:
        """Of the visual tokens present (b, n), of prompts alike in their spans: origins count on from span to span,
        group by group."""
        origins, sizes, start = [], [], 0
        batch = len(self.slot_bk)
        for group in self.groups:
            whole, many = cells_of(group.grid), len(group.origin_un) // batch
            first_u = start + whole * torch.arange(many, device=self.slot_bk.device)
            origins.append((group.origin_un.unflatten(0, (batch, many)) + first_u[:, None]).flatten(1))
            sizes.append(group.size_un.unflatten(0, (batch, many)).flatten(1))
            start += many * whole
        return torch.cat(origins, 1), torch.cat(sizes, 1)

    def put(self, whole: Tensor, values: Sequence[Tensor]) -> Tensor:
        """``whole`` (b, k) or (b, k, d) with what is given of each group's visual tokens in their places."""
        for group, one in zip(self.groups, values, strict=True):
            whole = group.put(whole, one)
        return whole

    def replaced(self, sizes: Sequence[Tensor], origins: Sequence[Tensor], bias_bk: Tensor | None) -> TokenState:
        """The same tokens, with other sizes and origins of each group's visual ones, and what follows from these."""
        groups = tuple(
            replace(group, size_un=size_un, origin_un=origin_un)
            for group, size_un, origin_un in zip(self.groups, sizes, origins, strict=True)
        )
        return replace(self, groups=groups, bias_bk=bias_bk)

    def keeping(self, kept: Sequence[Tensor], made: Sequence[Tokens] = ()) -> tuple[TokenState, Tensor]:
        """What is left with only these visual tokens, and which of the tokens of before that is (b, k).

        Everything else stays as it was; there is no bias yet.

        Args:
            kept: for each group (u, r), ascending, which of its visual tokens stay.
            made: what a site made of them; default: they are as before.
        """
        stays_bk = torch.ones_like(self.slot_bk, dtype=torch.bool) if self.alive_bk is None else self.alive_bk
        for group, index_ur in zip(self.groups, kept, strict=True):
            stays_bk = group.marked(stays_bk, index_ur)
        ragged, alive_bk, rater_bt = None, None, self.rater_bt
        if self.ragged is None:
            gone = self.groups[0].place_un.shape[1] - kept[0].shape[1]
            keep_bk, place_bk = partition(stays_bk, self.count - gone)[0], stays_bk.cumsum(1) - 1
            other_bt = place_bk.gather(1, self.other_bt)
        else:
            ragged, keep_bk, alive_bk = self.ragged.keeping(stays_bk, self.valid_bk, self._gone(kept))
            place_bk = torch.zeros_like(self.slot_bk).scatter(1, keep_bk, 1).cumsum(1) - 1
            other_bt = ragged.other_bt()
            if rater_bt is not None and ragged.padding != self.ragged.padding:  # what left is not asked who rates
                rater_bk = torch.zeros_like(self.slot_bk, dtype=rater_bt.dtype).scatter(1, self.other_bt, rater_bt)
                rater_bt = rater_bk.gather(1, keep_bk).gather(1, other_bt)

        def take(mask_bk: Tensor) -> Tensor:
            taken_bk = mask_bk.gather(1, keep_bk)
            return taken_bk if alive_bk is None else taken_bk & alive_bk

        groups = tuple(
            group.keeping(index_ur, place_bk, made[number] if made else None)
            for number, (group, index_ur) in enumerate(zip(self.groups, kept, strict=True))
        )
        after = replace(
            self,
            slot_bk=self.slot_bk.gather(1, keep_bk),
            position_bk=at(self.position_bk, keep_bk),
            original_bk=at(self.original_bk, keep_bk),
            valid_bk=take(self.valid_bk),
            text_bk=take(self.text_bk),
            last_b=place_bk.gather(1, self.last_b[:, None])[:, 0],
            other_bt=other_bt,
            groups=groups,
            ragged=ragged,
            alive_bk=alive_bk,
            bias_bk=None,
            earlier_bkd=None if self.earlier_bkd is None else gather_tokens(self.earlier_bkd, keep_bk),
            rater_bt=rater_bt,
            mask=None,
        )
        return after, keep_bk

    def _gone(self, kept: Sequence[Tensor]) -> tuple[int, ...]:
        """How many visual tokens leave each prompt of a ragged batch."""
        gone = [0] * len(self.slot_bk)
        for group, index_ur in zip(self.groups, kept, strict=True):
            for unit in group.units:
                gone[unit.row] += group.place_un.shape[1] - index_ur.shape[1]
        return tuple(gone)

    def renumbered(self) -> TokenState:
        """With positions as if the visual tokens that left had never been there; padding that did had none to give."""
        if self.ragged is None:
            count_k = torch.arange(self.count, device=self.slot_bk.device)
            position_bk = self.original_bk - self.slot_bk + count_k
            return replace(self, position_bk=position_bk, shift=self.length - self.count)
        gone_bk = self.ragged.nth_bk - self.valid_bk.long().cumsum(1)
        gone_b = numbers(self.ragged.gone(), self.slot_bk.device)
        return replace(self, position_bk=self.original_bk - gone_bk, shift=gone_b[:, None])


def at(position: Tensor, place_bk: Tensor) -> Tensor:
    """The positions at some places; they may have axes in front, or be the same for all prompts."""
    wanted = place_bk.expand(*position.shape[:-2], *place_bk.shape)
    return position.expand(*position.shape[:-2], *(len(place_bk), position.shape[-1])).gather(-1, wanted)
