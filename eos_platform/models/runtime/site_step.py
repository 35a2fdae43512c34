"""One site at work on the tokens present, and what happens where tokens enter the language model.

Legend: b batch, s prompt, k tokens present, u spans of one grid, n visual tokens of each, d width.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts
from eos_platform.models.attention.queries import GIVEN, AttentionInputs, layer_features, previous_row
from eos_platform.models.attention.rope import Rope, own_positions
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.prompt_state import of_layout, opened
from eos_platform.models.runtime.token_state import SpanGroup, TokenState
from eos_platform.models.runtime.visual_spans import Grid
from eos_platform.operators.plan import PlannedSite
from eos_platform.operators.reduce import OF_A_PROMPT, Reduced, reduce
from eos_platform.operators.tokens import Tokens, at_least_float32, gather_tokens


class Step(NamedTuple):
    """What a site did: the tokens now present, their hidden states, and which of the previous ones they are."""

    present: TokenState
    x_bkd: Tensor
    keep_bk: Tensor


def enter(layout: Layout, position: Tensor, x_bsd: Tensor, names: Collection[str], grid: Grid) -> Step:
    """The tokens that enter the language model: places of visual tokens that never came are dropped.

    Args:
        layout: of the prompts.
        position: of their tokens (b or 1, s), or with axes in front.
        x_bsd: what the language model is given.
        names: what the operator's sites read; what rests on what enters is found here, once.
        grid: of an image as usual.
    """
    state, x_bkd = of_layout(layout, position, grid), x_bsd
    keep_bk = state.slot_bk
    if layout.seen is not None:
        state, keep_bk = state.keeping([layout.seen.index_br])
        span = replace(state.groups[0], size_un=layout.seen.size_br, given=layout.features)
        state, x_bkd = replace(state, groups=(span,)), gather_tokens(x_bsd, keep_bk)
    return Step(opened(state, x_bkd, names), x_bkd, keep_bk)


def apply_site(
    sites: Sequence[PlannedSite], state: TokenState, x_bkd: Tensor, rope: Rope, layer: Any, parts: Parts
) -> Step:
    """Reduce every span by itself at one site.

    Args:
        sites: the site, as it is for the spans of each group.
        state: the tokens before it.
        x_bkd: their hidden states.
        rope: their rotary embeddings.
        layer: the decoder layer it stands before; one that looks at no tokens is answered for by the next that does.
        parts: of the model.

    Raises:
        EosError: what comes from before the decoder is read, and was not given.
    """
    site = sites[0].site  # they differ in their counts alone
    values = features_at(sites, state, x_bkd, rope, layer, parts)
    reduced: list[Reduced] = []
    for planned, group, features in zip(sites, state.groups, values, strict=True):
        tokens = Tokens(group.taken(x_bkd), group.size_un, group.origin_un)
        reduced.append(reduce(planned.site, tokens, features, group.grid))
    after, keep_bk = state.keeping([one.index_br for one in reduced], [one.tokens for one in reduced])
    if site.positions == "renumber":
        after = after.renumbered()
    if site.beta > 0:
        bias_bk = torch.zeros(after.slot_bk.shape, device=x_bkd.device)
        bias_bk = after.put(bias_bk, [site.beta * one.tokens.size_bn.float().log() for one in reduced])
        after = replace(after, bias_bk=bias_bk)
    x_bkd = gather_tokens(x_bkd, keep_bk)
    return Step(after, after.put(x_bkd, [one.tokens.x_bnd.to(x_bkd.dtype) for one in reduced]), keep_bk)


def features_at(
    sites: Sequence[PlannedSite],
    state: TokenState,
    x_bkd: Tensor,
    rope: Rope,
    layer: Any,
    parts: Parts,
    more: Collection[str] = (),
) -> list[dict[str, Tensor]]:
    """What is read at a site of the visual tokens of each group, by name (see ``layer_features``).

    Args:
        sites, state, x_bkd, rope, layer, parts: as of ``apply_site``.
        more: to read besides, where the site reads anything.

    Raises:
        EosError: what comes from before the decoder is read, and was not given.
    """
    kind = parts.kind(sites[0].site.layer)
    layer = parts.reader(sites[0].site.layer)

    def wide_rope() -> Rope:
        return parts.rope(at_least_float32(x_bkd), state.position_bk, kind)

    def own_rope() -> Rope:
        return parts.rope(x_bkd, own_positions(state.position_bk, state.valid_bk), kind)

    names = [*more]
    for planned in sites:
        names += [name for name in planned.features if name not in names]
    inputs = state.attention_inputs(x_bkd, rope, wide_rope, own_rope, parts.turn(kind))
    read = layer_features([name for name in names if name not in GIVEN], layer, inputs, {})
    if "variation" in names:
        read["variation"] = _variation(state, x_bkd, sites[0].site.layer)
    if "previous_text" in names:
        read["previous_text"] = _previous(state, inputs, sites[0].site.layer, parts)
    return [_of_group(group, names, read) for group in state.groups]


def _variation(state: TokenState, x_bkd: Tensor, layer: int) -> Tensor:
    """How far each place that features are found for moved in the layer before; what enters the first came from 0."""
    if state.earlier_bkd is None and layer > 0:
        raise EosError("'variation' compares tokens with themselves a layer before, which were not kept here")
    moved_bkd = at_least_float32(x_bkd)
    if state.earlier_bkd is not None:
        moved_bkd = moved_bkd - state.earlier_bkd
    return moved_bkd.norm(dim=-1).gather(1, state.visual_bn)


def _previous(state: TokenState, inputs: AttentionInputs, layer: int, parts: Parts) -> Tensor:
    """What the last text token looked at in the layer before, which is of the same kind of attention; before the first
    layer, what it looks at there.

    Raises:
        EosError: tokens were not kept as they entered it.
    """
    if layer == 0:
        return previous_row(parts.reader(0), inputs)
    if state.earlier_bkd is None:
        raise EosError("'previous_text' reads the layer before, whose tokens were not kept here")
    return previous_row(parts.layers[layer - 1], inputs._replace(x_bkd=state.earlier_bkd))


def _of_group(group: SpanGroup, names: Collection[str], layer_values: dict[str, Tensor]) -> dict[str, Tensor]:
    features: dict[str, Tensor] = {}
    for name in GIVEN:
        if name in names:
            if name not in group.given:
                raise EosError(f"'{name}' comes from before the decoder (the vision tower), and was not given")
            features[name] = group.given[name].float()
    for name, values in layer_values.items():
        features[name] = group.of_prompts(values) if name in OF_A_PROMPT else group.of(values)
    return features
