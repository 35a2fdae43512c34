"""One state for prompts of any images: against lists of tokens, a row at a time; uniform and ragged batches alike."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.attention.rope import Rope
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.relaxation.trace import kept_of
from eos_platform.models.runtime.attach import reducing
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.prompt_state import assemble, of_layout
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.models.runtime.visual_spans import Grid, MediaItem, share_out
from eos_platform.operators.spec import OperatorSpec

GRIDS: tuple[Grid, ...] = ((2, 3), (3, 3), (1, 4))
SEEDS = range(12)


class Batch(NamedTuple):
    """Prompts of images of any number and size, left-padded."""

    images: list[list[Grid]]  # of each prompt
    pads: list[int]
    holder_bs: Tensor
    valid_bs: Tensor

    def state(self) -> TokenState:
        pieces = [MediaItem((grid,)) for grids in self.images for grid in grids]
        units = share_out(pieces, self.holder_bs.sum(1).tolist())
        return assemble([(self.holder_bs, units)], self.valid_bs, self.positions(), padding=tuple(self.pads))

    def positions(self) -> Tensor:
        return torch.arange(self.holder_bs.shape[1])[None]

    def row(self, row: int) -> Batch:
        pads = self.pads[row]
        return Batch([self.images[row]], [0], self.holder_bs[row : row + 1, pads:], self.valid_bs[row : row + 1, pads:])

    def permuted(self, order: list[int]) -> Batch:
        return Batch(
            [self.images[row] for row in order],
            [self.pads[row] for row in order],
            self.holder_bs[order],
            self.valid_bs[order],
        )


def batch(seed: int, rows: int = 3, alike: bool = False) -> Batch:
    draw = random.Random(seed)
    held = [[draw.choice(GRIDS) for _ in range(draw.randint(0 if row else 1, 2))] for row in range(rows)]
    if alike:
        held = [[GRIDS[0]]] * rows
    lines = []
    for grids in held:
        line = [False] * draw.randint(1, 3)
        for rows_, columns in grids:
            line += [True] * (rows_ * columns) + [False] * draw.randint(1, 3)
        lines.append(line)
    longest = max(map(len, lines))
    pads = [longest - len(line) for line in lines]
    holder_bs = torch.tensor([[False] * pad + line for pad, line in zip(pads, lines, strict=True)])
    valid_bs = torch.arange(longest)[None] >= torch.tensor(pads)[:, None]
    return Batch(held, pads, holder_bs, valid_bs)


def choices(state: TokenState, seed: int) -> list[Tensor]:
    """Which tokens of each span stay: equally many of each of a grid, and the same of a span wherever it stands."""
    found = []
    for group in state.groups:
        n = group.place_un.shape[1]
        keep = random.Random(f"{seed}{group.grid}{n}").randint(1, n)
        rows = []
        for first in group.origin_un[:, 0].tolist():
            rows.append(sorted(random.Random(f"{seed}{first}").sample(range(n), keep)))
        found.append(torch.tensor(rows))
    return found


def present(state: TokenState, row: int) -> list[int]:
    """Slots of a prompt's tokens, without padding and fillers."""
    slots: list[int] = state.slot_bk[row][state.valid_bk[row]].tolist()
    return slots


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_is_what_lists_of_tokens_leave(seed: int) -> None:
    given = batch(seed)
    state = given.state()
    lines = [given.valid_bs[row].nonzero()[:, 0].tolist() for row in range(3)]
    for step in range(3):
        kept = choices(state, seed + step)
        gone: list[set[int]] = [set() for _ in lines]
        expected = []
        for group, index_ur in zip(state.groups, kept, strict=True):
            assert group.row_u is not None
            slot_un = state.slot_bk[group.row_u].gather(1, group.place_un)
            for row, slots, stays in zip(group.row_u.tolist(), slot_un.tolist(), index_ur.tolist(), strict=True):
                gone[row] |= set(slots) - {slots[place] for place in stays}
            expected.append(slot_un.gather(1, index_ur))
        lines = [[slot for slot in line if slot not in left] for line, left in zip(lines, gone, strict=True)]
        state, keep_bk = state.keeping(kept)
        assert [present(state, row) for row in range(3)] == lines
        assert keep_bk.shape == state.slot_bk.shape
        # no wider than the longest prompt: padding leaves, or fillers stay, as far as the batch is a rectangle
        assert state.count == max(map(len, lines))
        for group, slot_ur in zip(state.groups, expected, strict=True):
            assert group.row_u is not None
            assert torch.equal(state.slot_bk[group.row_u].gather(1, group.place_un), slot_ur)
        assert torch.equal(state.position_bk, state.slot_bk)
        moved = state.renumbered()
        for row, line in enumerate(lines):
            assert int(state.slot_bk[row, state.last_b[row]]) == line[-1]
            others = [slot for slot in line if not given.holder_bs[row, slot]]
            found = state.slot_bk[row, state.other_bt[row]]
            asks = state.text_bk[row, state.other_bt[row]]
            assert [slot for slot in found.tolist() if slot in others] == others
            assert set(found[asks].tolist()) <= set(others)
            first = line[0]  # padding in front keeps its positions
            assert moved.position_bk[row][state.valid_bk[row]].tolist() == list(range(first, first + len(line)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_prompt_alone_keeps_what_it_keeps_among_others_in_any_order(seed: int) -> None:
    given = batch(seed)
    order = random.Random(seed).sample(range(3), 3)
    together, permuted = given.state(), given.permuted(order).state()
    alone = [given.row(row).state() if given.images[row] else None for row in range(3)]
    for step in range(2):
        together = together.keeping(choices(together, seed + step))[0]
        permuted = permuted.keeping(choices(permuted, seed + step))[0]
        for row, one in enumerate(alone):
            assert present(permuted, order.index(row)) == present(together, row)
            if one is not None:
                alone[row] = one = one.keeping(choices(one, seed + step))[0]
                assert [slot + given.pads[row] for slot in present(one, 0)] == present(together, row)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_uniform_batch_is_the_ragged_one_of_the_same_tokens(seed: int) -> None:
    """Of one image of one size a prompt, whose padding must stay: to the last index, and every feature's place."""
    given = batch(seed, alike=True)
    n = GRIDS[0][0] * GRIDS[0][1]
    visual_bn = torch.stack([row.nonzero()[:, 0] for row in given.holder_bs])
    ragged = given._replace(pads=[]).state()  # not counted: padding stays, as in a uniform batch
    layout = Layout(visual_bn, ragged.text_bk, ragged.last_b, given.valid_bs)
    uniform = of_layout(layout, given.positions(), GRIDS[0])
    same_units = of_layout(replace(layout, units=((GRIDS[0], 1),)), given.positions(), GRIDS[0])
    assert uniform.ragged is None
    assert ragged.ragged is not None
    generator = torch.Generator().manual_seed(seed)
    x_bsd = torch.randn(3, given.holder_bs.shape[1], 4, generator=generator)
    states, hidden = [uniform, ragged, same_units], [x_bsd] * 3
    for keep in (n - 1, n - 3):
        kept = (
            torch.rand(3, states[0].groups[0].place_un.shape[1], generator=generator).topk(keep).indices.sort().values
        )
        done = [state.keeping([kept]) for state in states]
        hidden = [
            x_bkd.gather(1, keep_bk[:, :, None].expand(-1, -1, 4))
            for x_bkd, (_, keep_bk) in zip(hidden, done, strict=True)
        ]
        states = [state for state, _ in done]
        for state, x_bkd, (_, keep_bk) in zip(states[1:], hidden[1:], done[1:], strict=True):
            same(states[0], state)
            same(states[0].renumbered(), state.renumbered())
            assert torch.equal(done[0][1], keep_bk)
            values_un = torch.randn(3, keep, generator=generator)
            zeros_bk = torch.zeros(state.slot_bk.shape)
            assert torch.equal(states[0].put(zeros_bk, [values_un]), state.put(zeros_bk, [values_un]))
            assert torch.equal(states[0].groups[0].taken(hidden[0]), state.groups[0].taken(x_bkd))
            for reported in zip(states[0].origins_and_sizes(), state.origins_and_sizes(), strict=True):
                assert torch.equal(*reported)
            of_places = [x_bkd[..., 0].gather(1, one.visual_bn) for one in (states[0], state)]
            assert torch.equal(*(one.groups[0].of(f) for one, f in zip((states[0], state), of_places, strict=True)))


def same(one: TokenState, other: TokenState) -> None:
    for name in ("slot_bk", "position_bk", "original_bk", "valid_bk", "text_bk", "last_b", "other_bt"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in ("place_un", "size_un", "origin_un"):
        assert torch.equal(getattr(one.groups[0], name), getattr(other.groups[0], name)), name
    shifts = [torch.as_tensor(state.shift).expand(3, 1) for state in (one, other)]
    assert torch.equal(*shifts)
    assert other.alive_bk is None


FEATURES = {"last_text": 1.0, "mean_text": -0.7, "norm": 0.3, "uniqueness": 0.2}
SITES: list[dict[str, Any]] = [
    {"layer": 0, "score": {"relevance": 1.0}, "beta": 1.0, "transfer": {"gamma": 0.9}},
    {"layer": 1, "score": FEATURES, "selector": "diverse_topk", "spread": 0.5},
    {"layer": 2, "score": {"raters": 1.0, "corrected": 0.5}, "beta": 0.5, "rho": 0.4},
]


@pytest.mark.parametrize("family", ["LLaVA-1.5", "InternVL", "Qwen2-VL", "Gemma 3", "PaliGemma"])
def test_an_operator_does_the_same_to_both(family: str) -> None:
    """Features, masks of both ways and windows, positions of several axes, biases: on real models."""
    sample = SAMPLES[family]
    model = built(sample)
    adapter = adapter_of(model)
    usual = adapter.parts.grid if adapter.family.varies else sample.sizes[0]
    prefill = adapter.encode(prompts(sample, [[usual], [usual]], (3, 6)))
    ((grid, many),) = prefill.layout.units
    assert (grid, many) == (adapter.parts.grid, 1)
    target = {"layers": len(adapter.parts.layers), "grid": grid}
    sites = [
        {**site, "keep": int(grid[0] * grid[1] * share)} for site, share in zip(SITES, (0.8, 0.6, 0.4), strict=True)
    ]
    operator = OperatorSpec.of({"target": target, "sites": sites})
    plain = replace(prefill, layout=replace(prefill.layout, units=()))
    outputs = []
    for one in (plain, prefill):
        with reducing(model, operator, one.layout), torch.no_grad():
            outputs.append(adapter.forward(one))
    assert torch.allclose(*outputs, atol=2e-5)
    assert float((outputs[0] == 0).all(-1).sum()) > 0
    for first, second in zip(*(kept_of(model, operator, one) for one in (plain, prefill)), strict=True):
        assert torch.equal(first.origin_br, second.origin_br)
        assert torch.allclose(first.size_br, second.size_br)


def test_a_place_is_asked_about_once_where_all_are_visual() -> None:
    """Features of a uniform batch are of its visual tokens alone; of a ragged one, of every place, some counted."""
    given = batch(0, alike=True)
    ragged = given.state()
    layout = Layout(ragged.groups[0].place_un, ragged.text_bk, ragged.last_b, given.valid_bs)
    uniform = of_layout(layout, given.positions(), GRIDS[0])
    x_bsd = torch.zeros(3, given.holder_bs.shape[1], 4)
    rope = Rope(x_bsd, x_bsd)
    inputs = uniform.attention_inputs(x_bsd, rope)
    assert inputs.visual_bn.shape[1] == 6
    assert inputs.counted_bn is None
    inputs = ragged.attention_inputs(x_bsd, rope)
    assert inputs.visual_bn.shape[1] == x_bsd.shape[1]
    assert inputs.counted_bn is not None
    assert inputs.counted_bn.sum(1).tolist() == [6, 6, 6]


def test_what_comes_from_the_tower_goes_with_its_units() -> None:
    """A layout of several units tells features of all of them; each group has its own."""
    valid_bs = torch.ones(2, 14, dtype=torch.bool)
    visual_bn = torch.arange(1, 11).expand(2, -1)
    vision_bn = torch.arange(20.0).view(2, 10)
    layout = Layout(visual_bn, ~valid_bs, torch.tensor([13, 13]), valid_bs, {"vision": vision_bn},
                    units=(((1, 3), 2), ((2, 2), 1)))  # fmt: skip
    state = of_layout(layout, torch.arange(14)[None], (5, 2))
    found = [group.given["vision"].tolist() for group in state.groups]
    assert found[0] == [[0, 1, 2], [3, 4, 5], [10, 11, 12], [13, 14, 15]]
    assert found[1] == [[6, 7, 8, 9], [16, 17, 18, 19]]


def test_every_group_is_given_its_values() -> None:
    state = batch(1).state()
    whole_bk = torch.zeros(state.slot_bk.shape)
    ones = [torch.ones(group.place_un.shape) for group in state.groups]
    assert len(ones) > 1
    assert float(state.put(whole_bk, ones).sum()) == sum(one.numel() for one in ones)
    with pytest.raises(ValueError, match="shorter"):
        state.put(whole_bk, ones[:-1])
