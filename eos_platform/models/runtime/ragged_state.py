"""What is present of prompts that hold several images, or images of different size.

Every unit (an image, a tile, a frame) is reduced by itself; units of one grid together. Prompts may then differ in how
many tokens leave. Padding leaves with them, as far as the batch stays a rectangle: a prompt of a small picture must not
hold up what a larger one beside it saves. A prompt that has too little of it keeps some of what goes as fillers, which
nobody attends to. All counts are known on the host: shapes are static, and nothing waits for the device.

Legend: b batch, k tokens present, u units of one grid, n visual tokens of each, r those that stay, t other tokens,
d width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.base import Parts
from eos_platform.models.attention.queries import GIVEN, layer_features, take_tokens
from eos_platform.models.attention.queries import Sequence as Tokens_
from eos_platform.models.attention.rope import Rope, own_positions
from eos_platform.models.attention.text_queries import choose_raters, question, relevance
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.required_features import OPENING, RATED, needed
from eos_platform.models.runtime.visual_spans import Grid, Unit, Units, numbers
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.tokens import Tokens, pick, wide


@dataclass(frozen=True)
class Group:
    """Units of one grid."""

    grid: Grid
    units: tuple[Unit, ...]
    row_u: Tensor  # which prompt each is of
    place_un: Tensor  # where its visual tokens stand among those present
    size_un: Tensor
    origin_un: Tensor
    given: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, feature_bk: Tensor) -> Tensor:
        """A feature of every token present, of these visual tokens (u, n)."""
        return feature_bk[self.row_u].gather(1, self.place_un)


@dataclass(frozen=True)
class Crowd:
    """The tokens present, in the order of the prompt."""

    slot_bk: Tensor  # places in the whole prompt
    position_bk: Tensor  # or with axes in front (a, b, k)
    original_bk: Tensor
    valid_bk: Tensor  # neither padding nor filler
    text_bk: Tensor  # may ask
    other_bk: Tensor  # bool: neither visual nor filler
    last_b: Tensor
    groups: tuple[Group, ...]
    alive: tuple[int, ...]  # tokens of each prompt that are no fillers
    padding: tuple[int, ...]  # of which so many are padding
    whole: tuple[int, ...]  # tokens of each whole prompt that are no padding
    nth_bk: Tensor  # how many of these there are up to each token
    length: int
    alive_bk: Tensor | None = None  # bool; None: there are no fillers
    bias_bk: Tensor | None = None
    shift: Any = 0  # how far renumbering moved what follows the prompt: 0, or (b, 1)
    rater_bt: Tensor | None = None
    question_bd: Tensor | None = None  # mean direction of each prompt's text
    mask: Tensor | None = None  # of the layer a site stands before, where attention is not simply causal

    @property
    def count(self) -> int:
        """Tokens present, fillers too."""
        return self.slot_bk.shape[1]

    @property
    def others(self) -> int:
        """The most non-visual tokens a prompt has."""
        found = list(self.alive)
        for group in self.groups:
            for unit in group.units:
                found[unit.row] -= group.place_un.shape[1]
        return max(found)

    @property
    def other_bt(self) -> Tensor:
        """Places of the other tokens; behind them, where a prompt has fewer, of tokens that never ask."""
        return torch.argsort((~self.other_bk).to(torch.uint8), dim=1, stable=True)[:, : self.others]

    def sequence(self, x_bkd: Tensor, rope: Rope, wide_rope: Any = None, own_rope: Any = None) -> Tokens_:
        """These tokens as attention sees them, every one of them asked about."""
        place_bk = torch.arange(self.count, device=x_bkd.device).expand(len(x_bkd), -1)
        visual_bk = ~self.other_bk if self.alive_bk is None else ~self.other_bk & self.alive_bk
        return Tokens_(
            x_bkd, rope, self.valid_bk, self.bias_bk, place_bk, self.other_bt, self.text_bk, self.last_b, self.rater_bt,
            wide_rope, visual_bk, self.mask, self.question_bd, own_rope,
        )  # fmt: skip

    def by_prompt(self) -> tuple[Tensor, Tensor]:
        """Origins and sizes of the visual tokens present (b, n), of prompts alike in their units: origins count on from
        unit to unit, group by group."""
        origins, sizes, start = [], [], 0
        batch = len(self.slot_bk)
        for group in self.groups:
            whole = group.grid[0] * group.grid[1]
            many = len(group.units) // batch
            first_u = start + whole * torch.arange(many, device=self.slot_bk.device)
            origins.append((group.origin_un.unflatten(0, (batch, many)) + first_u[:, None]).flatten(1))
            sizes.append(group.size_un.unflatten(0, (batch, many)).flatten(1))
            start += many * whole
        return torch.cat(origins, 1), torch.cat(sizes, 1)

    def keeping(self, kept: Sequence[Tensor]) -> tuple[Crowd, Tensor]:
        """What is left with only these visual tokens, and which of the tokens of before that is (b, k).

        Args:
            kept: for each group (u, r), ascending, which of its visual tokens stay.
        """
        stays_bk = torch.ones_like(self.valid_bk) if self.alive_bk is None else self.alive_bk.clone()
        alive = list(self.alive)
        for group, index_ur in zip(self.groups, kept, strict=True):
            row_u1 = group.row_u[:, None]
            stays_bk = stays_bk.index_put((row_u1, group.place_un), torch.zeros_like(group.place_un, dtype=torch.bool))
            place_ur = group.place_un.gather(1, index_ur)
            stays_bk = stays_bk.index_put((row_u1, place_ur), torch.ones_like(place_ur, dtype=torch.bool))
            for unit in group.units:
                alive[unit.row] += index_ur.shape[1] - group.place_un.shape[1]
        full = [count - padding for count, padding in zip(alive, self.padding, strict=True)]
        width = max(full)
        padding = tuple(min(had, width - count) for had, count in zip(self.padding, full, strict=True))
        if padding != self.padding:
            pad_bk = ~self.valid_bk & self.other_bk
            leaving = tuple(had - left for had, left in zip(self.padding, padding, strict=True))
            leaves_bk = pad_bk & (pad_bk.cumsum(1) <= numbers(leaving, pad_bk.device)[:, None])
            stays_bk = stays_bk & ~leaves_bk
        alive = [count + left for count, left in zip(full, padding, strict=True)]
        keep_bk = torch.argsort((~stays_bk).to(torch.uint8), dim=1, stable=True)[:, :width]
        alive_bk = None
        if min(alive) < width:  # fillers go where they stood
            keep_bk = keep_bk.sort(dim=1).values
            alive_bk = stays_bk.gather(1, keep_bk)
        taken_bk = torch.zeros_like(self.slot_bk).scatter(1, keep_bk, 1)
        place_bk = taken_bk.cumsum(1) - 1

        def kept_of(group: Group, index_ur: Tensor) -> Group:
            old_ur = group.place_un.gather(1, index_ur)
            return replace(
                group,
                place_un=place_bk[group.row_u].gather(1, old_ur),
                size_un=group.size_un.gather(1, index_ur),
                origin_un=group.origin_un.gather(1, index_ur),
                given={name: pick(values, index_ur) for name, values in group.given.items()},
            )

        def take(tensor_bk: Tensor) -> Tensor:
            taken = tensor_bk.gather(1, keep_bk)
            return taken if alive_bk is None or taken.dtype != torch.bool else taken & alive_bk

        after = replace(
            self,
            slot_bk=self.slot_bk.gather(1, keep_bk),
            position_bk=at(self.position_bk, keep_bk),
            original_bk=at(self.original_bk, keep_bk),
            valid_bk=take(self.valid_bk),
            text_bk=take(self.text_bk),
            other_bk=take(self.other_bk),
            nth_bk=self.nth_bk.gather(1, keep_bk),
            last_b=place_bk.gather(1, self.last_b[:, None])[:, 0],
            groups=tuple(kept_of(group, index) for group, index in zip(self.groups, kept, strict=True)),
            alive=tuple(alive),
            padding=padding,
            alive_bk=alive_bk,
            bias_bk=None,
            mask=None,
        )
        if self.rater_bt is not None and padding != self.padding:  # fewer tokens are asked who rates
            rater_bk = torch.zeros_like(self.slot_bk, dtype=self.rater_bt.dtype)
            rater_bk = rater_bk.scatter(1, self.other_bt, self.rater_bt)
            after = replace(after, rater_bt=rater_bk.gather(1, keep_bk).gather(1, after.other_bt))
        return after, keep_bk

    def renumbered(self) -> Crowd:
        """With positions as if the visual tokens that left had never been there; padding that did had none to give."""
        gone_bk = self.nth_bk - self.valid_bk.long().cumsum(1)
        left = zip(self.whole, self.alive, self.padding, strict=True)
        gone_b = numbers(tuple(whole - alive + padding for whole, alive, padding in left), self.slot_bk.device)
        return replace(self, position_bk=self.original_bk - gone_bk, shift=gone_b[:, None])


def at(position: Tensor, place_bk: Tensor) -> Tensor:
    """The positions at some places; they may have axes in front, or be the same for all prompts."""
    wanted = place_bk.expand(*position.shape[:-2], *place_bk.shape)
    return position.expand(*position.shape[:-2], *(len(place_bk), position.shape[-1])).gather(-1, wanted)


def assemble(
    kinds: Sequence[tuple[Tensor, Units]],
    valid_bs: Tensor,
    position: Tensor,
    answer_bs: Tensor | None = None,
    told: Mapping[str, Tensor] | None = None,
    padding: tuple[int, ...] = (),
) -> Crowd:
    """Everything that prompts hold.

    Args:
        kinds: for images, and for films: their placeholders (b, s), bool, and the units these make up.
        valid_bs: not padding.
        position: of every token (b or 1, s), or with axes in front.
        answer_bs: supervised tokens; what follows the first of them after the images is no prompt.
        told: what a vision tower said of each visual token of each image (m, n), by feature name.
        padding: how many tokens of each prompt are, where the host knows; such may leave.
    """
    batch, length = valid_bs.shape
    device = valid_bs.device
    place_s = torch.arange(length, device=device)
    groups: list[Group] = []
    holder_bs = torch.zeros_like(valid_bs)
    visual_bs = torch.zeros_like(valid_bs)
    for placeholder_bs, units in kinds:
        order_bs = torch.argsort((~placeholder_bs).to(torch.uint8), dim=1, stable=True)
        holder_bs = holder_bs | placeholder_bs
        for grid, members in units.groups:
            n = grid[0] * grid[1]
            row_u = numbers(tuple(unit.row for unit in members), device)
            start_u = numbers(tuple(unit.start for unit in members), device)
            raster_n = torch.arange(n, device=device)
            place_un = order_bs[row_u[:, None], start_u[:, None] + raster_n]
            visual_bs = visual_bs.index_put((row_u[:, None], place_un), torch.ones_like(place_un, dtype=torch.bool))
            given = {}
            if told:
                image_u = numbers(tuple(unit.image for unit in members), device)
                given = {name: tensor[image_u] for name, tensor in told.items()}
            ones_un = torch.ones(len(members), n, device=device)
            groups.append(Group(grid, members, row_u, place_un, ones_un, raster_n.expand(len(members), -1), given))
    after_bs = place_s > torch.where(holder_bs, place_s, -1).amax(1, keepdim=True)
    prompt_bs = valid_bs
    if answer_bs is not None:
        prompt_bs = valid_bs & ((answer_bs & after_bs).cumsum(1) == 0)
    position = at(position, place_s.expand(batch, -1))
    return Crowd(
        slot_bk=place_s.expand(batch, -1),
        position_bk=position,
        original_bk=position,
        valid_bk=valid_bs,
        text_bk=after_bs & prompt_bs & ~holder_bs,
        other_bk=~visual_bs,
        last_b=torch.where(prompt_bs, place_s, 0).amax(1),
        groups=tuple(groups),
        alive=(length,) * batch,
        padding=padding or (0,) * batch,
        whole=tuple(length - pads for pads in padding or (0,) * batch),
        nth_bk=valid_bs.long().cumsum(1),
        length=length,
    )


def of_layout(layout: Layout, position: Tensor) -> Crowd:
    """Everything that prompts hold which are all alike in their units.

    Args:
        layout: of the prompts, with ``units``.
        position: of every token (b or 1, s), or with axes in front.
    """
    batch, length = layout.valid_bs.shape
    device = layout.valid_bs.device
    place_s = torch.arange(length, device=device)
    visual_bs = torch.zeros_like(layout.valid_bs).scatter(1, layout.visual_bn, True)
    groups: list[Group] = []
    start = 0
    for grid, many in layout.units:
        n = grid[0] * grid[1]
        place_un = layout.visual_bn[:, start : start + many * n].reshape(batch * many, n)
        start += many * n
        members = tuple(Unit(row, 0, row * many + number) for row in range(batch) for number in range(many))
        row_u = torch.arange(batch, device=device).repeat_interleave(many)
        raster_un = torch.arange(n, device=device).expand(batch * many, -1)
        ones_un = torch.ones(batch * many, n, device=device)
        groups.append(Group(grid, members, row_u, place_un, ones_un, raster_un))
    position = at(position, place_s.expand(batch, -1))
    return Crowd(
        slot_bk=place_s.expand(batch, -1),
        position_bk=position,
        original_bk=position,
        valid_bk=layout.valid_bs,
        text_bk=layout.text_bs,
        other_bk=~visual_bs,
        last_b=layout.last_b,
        groups=tuple(groups),
        alive=(length,) * batch,
        padding=(0,) * batch,
        whole=(length,) * batch,
        nth_bk=layout.valid_bs.long().cumsum(1),
        length=length,
    )


def opened(crowd: Crowd, x_bkd: Tensor, names: Collection[str]) -> Crowd:
    """The same with what rests on what enters the language model, as far as the operator's sites read it."""
    if not OPENING & set(names):
        return crowd
    other_bt, visual_bk = crowd.other_bt, ~crowd.other_bk
    text_btd, asks_bt = take_tokens(x_bkd, other_bt), crowd.text_bk.gather(1, other_bt)
    with torch.autocast(x_bkd.device.type, enabled=False):
        if "relevance" in names:
            told_bk = relevance(x_bkd, text_btd, asks_bt)
            groups = (replace(group, given={**group.given, "relevance": group.of(told_bk)}) for group in crowd.groups)
            crowd = replace(crowd, groups=tuple(groups))
        if RATED & set(names):
            crowd = replace(crowd, rater_bt=choose_raters(x_bkd, text_btd, asks_bt, visual_bk))
        if "question" in names:
            crowd = replace(crowd, question_bd=question(text_btd, asks_bt))
    return crowd


def apply_sites(
    sites: Mapping[Grid, SiteSpec], crowd: Crowd, x_bkd: Tensor, rope: Rope, layer: Any, parts: Parts, kind: str
) -> tuple[Crowd, Tensor, Tensor]:
    """Reduce every unit at one site: the tokens now present, their hidden states, which of the previous ones they are.

    Args:
        sites: the site, as it is for each grid.
        crowd: the tokens before it.
        x_bkd: their hidden states.
        rope: their rotary embeddings.
        layer: the decoder layer it stands before.
        parts: of the model.
        kind: of the layer's attention.
    """

    def wide_rope() -> Rope:
        return parts.rope(wide(x_bkd), crowd.position_bk, kind)

    def own_rope() -> Rope:
        return parts.rope(x_bkd, own_positions(crowd.position_bk, crowd.valid_bk), kind)

    wanted = {name for group in crowd.groups for name in needed(sites[group.grid], group.place_un.shape[1])}
    told = layer_features(wanted - set(GIVEN), layer, crowd.sequence(x_bkd, rope, wide_rope, own_rope), {})
    whole = {name: told.pop(name) for name in ("text_pivots", "question") if name in told}  # of a prompt, not a token
    reduced, kept = [], []
    for group in crowd.groups:
        found = {name: group.of(feature_bk) for name, feature_bk in told.items()}
        found |= {name: values.float() for name, values in group.given.items() if name in wanted}
        found |= {name: values[group.row_u] for name, values in whole.items()}
        x_und = x_bkd[group.row_u[:, None], group.place_un]
        done = reduce(sites[group.grid], Tokens(x_und, group.size_un, group.origin_un), found, group.grid)
        reduced.append(done.tokens)
        kept.append(done.index_br)
    after, keep_bk = crowd.keeping(kept)
    any_site = next(iter(sites.values()))
    if any_site.positions == "renumber":
        after = after.renumbered()
    x_bkd = take_tokens(x_bkd, keep_bk)
    bias_bk = torch.zeros(after.slot_bk.shape, device=x_bkd.device) if any_site.beta > 0 else None
    groups = []
    for group, tokens in zip(after.groups, reduced, strict=True):
        where = (group.row_u[:, None], group.place_un)
        x_bkd = x_bkd.index_put(where, tokens.x_bnd.to(x_bkd.dtype))
        if bias_bk is not None:
            bias_bk = bias_bk.index_put(where, any_site.beta * tokens.size_bn.float().log())
        groups.append(replace(group, size_un=tokens.size_bn, origin_un=tokens.origin_bn))
    return replace(after, groups=tuple(groups), bias_bk=bias_bk), x_bkd, keep_bk
