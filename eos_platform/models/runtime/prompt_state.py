"""The state that prompts begin with: every token there, and what is known of the visual ones before any layer.

Legend: b batch, s prompt, m images, u spans of one grid, n visual tokens, t other tokens, d width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from eos_platform.models.attention.text_queries import choose_raters, question, relevance
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.ragged import Ragged
from eos_platform.models.runtime.token_state import SpanGroup, TokenState, at
from eos_platform.models.runtime.visual_spans import Grid, Unit, Units, numbers
from eos_platform.operators.grid import cells_of
from eos_platform.operators.plan import OPENING, RATED
from eos_platform.operators.tokens import gather_tokens, without_autocast


def of_layout(layout: Layout, position: Tensor, grid: Grid) -> TokenState:
    """Every token of prompts that are alike in their spans, whether or not all visual ones left the vision tower.

    Args:
        layout: of the prompts.
        position: of every token (b or 1, s), or with axes in front.
        grid: of the one span a prompt has, where the layout tells no others.
    """
    if not layout.units:
        return uniform(layout, position, grid)
    batch, length = layout.valid_bs.shape
    device = layout.valid_bs.device
    groups: list[SpanGroup] = []
    start = 0
    for of_units, many in layout.units:
        n = of_units[0] * of_units[1]
        first, start = start, start + many * n
        place_un = layout.visual_bn[:, first:start].reshape(batch * many, n)
        members = tuple(Unit(row, 0, row * many + number) for row in range(batch) for number in range(many))
        row_u = torch.arange(batch, device=device).repeat_interleave(many)
        given = {
            name: values[:, first:start].reshape(batch * many, n, *values.shape[2:])
            for name, values in layout.features.items()
        }
        groups.append(SpanGroup.whole(of_units, place_un, row_u, members, given))
    visual_bs = torch.zeros_like(layout.valid_bs).scatter(1, layout.visual_bn, True)
    position = at(position, torch.arange(length, device=device).expand(batch, -1))
    ragged = Ragged.of(layout.valid_bs, visual_bs, (), (start,) * batch)
    return TokenState.whole(layout.valid_bs, layout.text_bs, layout.last_b, position, groups, ragged)


def uniform(layout: Layout, position: Tensor, grid: Grid) -> TokenState:
    """The same where every visual token of a prompt is of one span, whatever the layout tells of smaller ones."""
    position = position.expand(*position.shape[:-2], len(layout.valid_bs), -1)
    given = layout.features if layout.seen is None else {}  # else of those alone that came out of the tower
    groups = [SpanGroup.whole(grid, layout.visual_bn, given=given)]
    return TokenState.whole(layout.valid_bs, layout.text_bs, layout.last_b, position, groups)


def assemble(
    kinds: Sequence[tuple[Tensor, Units]],
    valid_bs: Tensor,
    position: Tensor,
    answer_bs: Tensor | None = None,
    features: Mapping[str, Tensor | tuple[Tensor, ...]] | None = None,
    padding: tuple[int, ...] = (),
) -> TokenState:
    """Every token of prompts that hold any images.

    Args:
        kinds: for images, and for films: their placeholders (b, s), bool, and the units these make up.
        valid_bs: not padding.
        position: of every token (b or 1, s), or with axes in front.
        answer_bs: supervised tokens; what follows the first of them after the images is no prompt.
        features: what a vision tower said of each visual token of each image (m, n), or of each image (n,), by feature
            name.
        padding: how many tokens of each prompt are, where the host knows; such may leave.
    """
    batch, length = valid_bs.shape
    device = valid_bs.device
    place_s = torch.arange(length, device=device)
    groups: list[SpanGroup] = []
    visual = [0] * batch
    holder_bs = torch.zeros_like(valid_bs)
    visual_bs = torch.zeros_like(valid_bs)
    for placeholder_bs, units in kinds:
        order_bs = torch.argsort((~placeholder_bs).to(torch.uint8), dim=1, stable=True)
        holder_bs = holder_bs | placeholder_bs
        for grid, members in units.groups:
            n = grid[0] * grid[1]
            row_u = numbers(tuple(unit.row for unit in members), device)
            start_u = numbers(tuple(unit.start for unit in members), device)
            place_un = order_bs[row_u[:, None], start_u[:, None] + torch.arange(n, device=device)]
            visual_bs = visual_bs.index_put((row_u[:, None], place_un), torch.ones_like(place_un, dtype=torch.bool))
            given = {}
            if features:
                image_u = numbers(tuple(unit.image for unit in members), device)
                given = {
                    name: values[image_u]
                    if isinstance(values, Tensor)
                    else torch.stack([values[unit.image] for unit in members])
                    for name, values in features.items()
                }
            for unit in members:
                visual[unit.row] += n
            groups.append(SpanGroup.whole(grid, place_un, row_u, members, given))
    after_bs = place_s > torch.where(holder_bs, place_s, -1).amax(1, keepdim=True)
    prompt_bs = valid_bs
    if answer_bs is not None:
        prompt_bs = valid_bs & ((answer_bs & after_bs).cumsum(1) == 0)
    text_bs, last_b = after_bs & prompt_bs & ~holder_bs, torch.where(prompt_bs, place_s, 0).amax(1)
    ragged = Ragged.of(valid_bs, visual_bs, padding, tuple(visual))
    position = at(position, place_s.expand(batch, -1))
    return TokenState.whole(valid_bs, text_bs, last_b, position, groups, ragged)


def films(state: TokenState) -> TokenState:
    """The same with all spans of one grid in a prompt as one: frames of a film, in order.

    Where each prompt holds one span, that is a film of one frame already.
    """
    if state.ragged is None or all(len(group.grid) == 3 for group in state.groups):
        return state
    return replace(state, groups=tuple(film for group in state.groups for film in _films(group)))


def _films(group: SpanGroup) -> list[SpanGroup]:
    """The spans of a group, those of a prompt joined; films of one length together."""
    if len(group.grid) == 3:
        return [group]
    device = group.place_un.device
    by_row: dict[int, list[int]] = {}
    for number, unit in enumerate(group.units):
        by_row.setdefault(unit.row, []).append(number)
    by_length: dict[int, list[int]] = {}
    for row, members in by_row.items():
        by_length.setdefault(len(members), []).append(row)
    films: list[SpanGroup] = []
    one = cells_of(group.grid)
    for frames, rows in by_length.items():
        index_u = numbers(tuple(number for row in rows for number in by_row[row]), device)

        def joined(values: Tensor, index_u: Tensor = index_u, frames: int = frames) -> Tensor:
            """(spans, n, ...) as (films, frames * n, ...)."""
            return values[index_u].unflatten(0, (-1, frames)).flatten(1, 2)

        first_t = one * torch.arange(frames, device=device)
        origin_un = joined(group.origin_un).unflatten(1, (frames, -1)) + first_t[:, None]
        films.append(
            SpanGroup(
                (frames, *group.grid),
                joined(group.place_un),
                joined(group.size_un),
                origin_un.flatten(1),
                {name: joined(values) for name, values in group.given.items()},
                numbers(tuple(rows), device),
                tuple(group.units[by_row[row][0]] for row in rows),
            )
        )
    return films


def opened(state: TokenState, x_bkd: Tensor, names: Collection[str]) -> TokenState:
    """The same with what rests on what enters the language model, as far as the operator's sites read it.

    Args:
        state: what enters.
        x_bkd: the hidden states of it.
        names: what the sites read.
    """
    # not by set operations: Dynamo of torch 2.11, which fuses this, cannot follow them
    if not any(name in OPENING for name in names):
        return state
    counted_bn = state.counted_bn
    # of a ragged batch, every place is looked at
    visual_bnd = gather_tokens(x_bkd, state.visual_bn) if counted_bn is None else x_bkd
    text_btd, asks_bt = gather_tokens(x_bkd, state.other_bt), state.text_bk.gather(1, state.other_bt)
    with without_autocast(x_bkd):
        if "relevance" in names:
            found_bn = relevance(visual_bnd, text_btd, asks_bt)
            groups = tuple(
                replace(group, given={**group.given, "relevance": group.of(found_bn)}) for group in state.groups
            )
            state = replace(state, groups=groups)
        if any(name in RATED for name in names):
            state = replace(state, rater_bt=choose_raters(visual_bnd, text_btd, asks_bt, counted_bn))
        if "question" in names:
            state = replace(state, question_bd=question(text_btd, asks_bt))
    return state
