"""The hooks that a relaxed operator puts on a model (``relaxed.py`` says what they do).

Nothing here waits for the device, so that a whole step can be captured once and replayed.
Legend: b batch, s sequence, k tokens present, n visual tokens present, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.deep import dense, levels_of
from eos_platform.models.adapters.hooks import before
from eos_platform.models.adapters.target import Parts
from eos_platform.models.attention.flash_bias import BIAS, Carrier
from eos_platform.models.attention.masks import add_bias, take
from eos_platform.models.attention.queries import layer_features
from eos_platform.models.attention.recurrent import HALF, Gates, ordered, restored
from eos_platform.models.attention.rope import Rope, own_positions, soft_rope
from eos_platform.models.attention.text_queries import question
from eos_platform.models.loading.devices import device_of, moved, on
from eos_platform.models.relaxation.state import State, Trace
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.prompt_state import opened, uniform
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.grid import Grid, as_films, cells_of
from eos_platform.operators.plan import OPENING
from eos_platform.operators.reduce import needed
from eos_platform.operators.relaxed.relax_units import relax_units
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.tokens import RelaxedTokens, at_least_float32, gather_tokens, without_autocast

FLOOR = 1e-9  # of presence in a logarithm
CLOSED = -1e4  # is added to the logits of padding, where there is no mask


class Relaxation:
    """The hooks of relaxed sites on one model."""

    def __init__(
        self,
        parts: Parts,
        sites: Sequence[RelaxedSite],
        layout: Layout,
        temperature: float | Tensor,
        hard: bool,
        candidates: int | None,
        tokens: int,
        carried: bool,
    ) -> None:
        self.parts, self.layout, self.temperature, self.hard = parts, layout, temperature, hard
        self.candidates, self.tokens = candidates, tokens
        self.units: Sequence[tuple[Grid, int]] = layout.units or ((parts.grid, 1),)
        if any(site.scope == "film" for site in sites):  # an operator's sites all have one scope
            self.units = as_films(self.units)
        self.whole = tuple(cells_of(grid) for grid, _ in self.units)  # visual tokens of each unit, by group
        self.own_masks = parts.family is not None and parts.family.own_masks
        self.sites: dict[int, list[RelaxedSite]] = {}
        for site in sites:
            self.sites.setdefault(site.layer, []).append(site)
        self.trace = Trace()
        self.steers = any(site.steering is not None for site in sites)
        read = {name for site in sites if site.template is not None for name in needed(site.template, tokens)}
        self.opening = tuple(name for name in OPENING if name in read and name != "question")
        # the first of those at which no token leaves by itself
        self.narrowing = next((site for site in sites if site.template is None), None)
        self.question_bd: Tensor | None = None
        self.deep: list[Tensor] = []
        self.opened: TokenState | None = None
        self.state: State | None = None
        self.first = first = min(self.sites, default=len(parts.layers))
        levels = levels_of(parts, first) if self.sites and parts.deepstack else 0
        self.hooks = [
            before(layer, partial(self._layer, index, index == first))
            for index, layer in enumerate(parts.layers)
            if index >= first or (index == 0 and (self.steers or self.opening)) or 0 < index <= levels
        ]
        if levels:
            self.hooks.append(before(parts.language_model, self._enter))
        if candidates is not None or any(site.template is not None for site in sites):
            self.hooks.append(parts.language_model.norm.register_forward_hook(self._leave))
        self.gates = {index: Gates(parts.layers[index].linear_attn) for index in parts.recurrent if index >= first}
        self.order_bk: Tensor | None = None
        for index, gates in self.gates.items():
            self.hooks += [gates, parts.layers[index].register_forward_hook(self._in_place)]
        self.carried = carried
        if carried:
            self.hooks += [Carrier(layer.self_attn) for layer in parts.layers[first:]]

    def remove(self) -> None:
        """Take every hook off again."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    def _enter(self, module: Any, call: dict[str, Any]) -> None:
        """Before the language model: what it would add where visual tokens stand is added here, as they may leave."""
        self.state, self.deep = None, dense(call)

    def _layer(self, index: int, starts: bool, module: Any, call: dict[str, Any]) -> None:
        device = device_of(module.input_layernorm, call["hidden_states"].device)
        call.update(on(call, device))
        if index == 0 and self.steers:  # what enters the language model
            with without_autocast(call["hidden_states"]):
                self.question_bd = question(call["hidden_states"], moved(self.layout.text_bs, device))
        if index == 0 and self.opening:
            self.opened = opened(self._uniform(call), call["hidden_states"], self.opening)
        if 0 < index <= len(self.deep):
            level_bkd, state = moved(self.deep[index - 1], device), self.state if index > self.first else None
            if state is not None and state.column_bk is not None:
                level_bkd = gather_tokens(level_bkd, moved(state.column_bk, device))
            call["hidden_states"] = call["hidden_states"] + level_bkd
        if index < self.first:
            return
        if starts:
            self._begin(call)
        self._move_state(device)
        for site in self.sites.get(index, ()):
            few = self.candidates if site is self.narrowing else None
            self._apply(site, call, index, self._rope(call, index), few)
        self._move_state(device)
        assert self.state is not None
        if index in self.gates:
            self._read_in_order(call, self.gates[index])
            return
        call.update(position_embeddings=tuple(self._rope(call, index)))
        call.update(
            {"attention_mask": None, BIAS: self._bias()} if self.carried else {"attention_mask": self._mask(call)}
        )
        if call.get("position_ids") is not None:
            call["position_ids"] = self.state.position_bk

    def _read_in_order(self, call: dict[str, Any], gates: Gates) -> None:
        """A layer that reads tokens one after another: first those that are not there, each as far as it is."""
        state, x_bkd, mask = self.state, call["hidden_states"], call.get("attention_mask")
        assert state is not None
        whole_bk = torch.ones(state.present.slot_bk.shape, device=x_bkd.device)
        gate_bk = state.present.put(whole_bk, [state.presence_bn.to(whole_bk.dtype)])
        self.order_bk = ordered(gate_bk.detach() >= HALF)
        gates.gate_bk = gate_bk.gather(1, self.order_bk)
        if mask is not None:
            mask = (mask if state.column_bk is None else take(mask, state.column_bk)).expand(len(x_bkd), -1)
            mask = mask.gather(1, self.order_bk)
        call.update(hidden_states=gather_tokens(x_bkd, self.order_bk), attention_mask=mask)

    def _in_place(self, module: Any, args: Any, output_bkd: Tensor) -> Tensor:
        """After such a layer: every token is where it was."""
        assert self.order_bk is not None
        return restored(output_bkd, self.order_bk)

    def _move_state(self, device: torch.device) -> None:
        """Bring what is present to a layer's device."""
        assert self.state is not None
        state = moved(self.state, device)
        if state is not self.state:
            # known by the identity of what the model hands its layers, which on another device is not the same
            self.state = replace(state, ropes={}, masks={}, carried_bk=None)

    def _begin(self, call: dict[str, Any]) -> None:
        """A new call of the language model: every visual token is there."""
        x_bsd = call["hidden_states"]
        layout = moved(self.layout, x_bsd.device)
        if x_bsd.shape[:2] != layout.valid_bs.shape:
            raise EosError(f"layout of {tuple(layout.valid_bs.shape)} tokens for {tuple(x_bsd.shape[:2])} embeddings")
        self.trace.counts.clear()
        self.trace.presence.clear()
        present = self._uniform(call)
        if self.opened is not None:
            known = moved(self.opened, x_bsd.device)
            given = {**present.groups[0].given, **known.groups[0].given}
            group = replace(present.groups[0], given=given)
            present = replace(present, groups=(group,), rater_bt=known.rater_bt)
        if layout.units:
            raster = [torch.arange(cells_of(grid), device=x_bsd.device).repeat(many) for grid, many in self.units]
            origin_bn = torch.cat(raster).expand(len(x_bsd), -1)
            present = present.replaced([present.groups[0].size_un], [origin_bn], None)
        if self.steers:
            present = replace(present, question_bd=moved(self.question_bd, x_bsd.device))
        self.state = State(present, None, torch.ones_like(present.groups[0].size_un), present.position_bk, self.whole)

    def _uniform(self, call: dict[str, Any]) -> TokenState:
        """What enters a layer with every visual token; the spans of a prompt as one: how they are told apart is
        ``relax_units``' business."""
        x_bsd = call["hidden_states"]
        position = call.get("position_ids")
        if position is None:  # layers need none: of several axes, or told by rotary embeddings alone
            position = torch.arange(x_bsd.shape[1], device=x_bsd.device)[None]
        return uniform(moved(self.layout, x_bsd.device), position, self.parts.grid)

    def _rope(self, call: dict[str, Any], index: int) -> Rope:
        """Rotary embeddings of the tokens present, made of those that a layer was to be handed."""
        state, x_bkd = self.state, call["hidden_states"]
        assert state is not None
        own_cos, own_sin = call["position_embeddings"]
        if id(own_cos) not in state.ropes:
            if state.renumbered:
                family = self.parts.family
                extra = (self.parts.kind(index),) if family and family.rope_by_kind else ()
                paired = family is not None and family.paired_rope
                rope = soft_rope(self.parts.language_model.rotary_emb, x_bkd, state.position_bk, *extra, paired=paired)
            else:
                batch = len(x_bkd)
                rope = Rope(own_cos.expand(batch, -1, -1), own_sin.expand(batch, -1, -1))
                rope = rope if state.column_bk is None else rope.at(state.column_bk)
            state.ropes[id(own_cos)] = own_cos, rope
        return state.ropes[id(own_cos)][1]

    def _mask(self, call: dict[str, Any]) -> Tensor:
        """The mask that a layer was to be handed, of the tokens present and as far as they are."""
        state, own, x_bkd = self.state, call.get("attention_mask"), call["hidden_states"]
        assert state is not None
        if id(own) not in state.masks:
            mask = own if own is None or state.column_bk is None else take(own, state.column_bk)
            assert state.present.bias_bk is not None
            state.masks[id(own)] = own, add_bias(mask, state.present.bias_bk, x_bkd.shape[1], x_bkd.dtype)
        return state.masks[id(own)][1]

    def _bias(self) -> Tensor:
        """What heads carry for each key (b, k): how far it is there; of padding, that it is not."""
        state = self.state
        assert state is not None
        if state.carried_bk is None:
            bias_bk = state.present.bias_bk
            assert bias_bk is not None
            valid_bk = moved(self.layout.valid_bs, bias_bk.device)
            valid_bk = valid_bk if state.column_bk is None else valid_bk.gather(1, state.column_bk)
            state.carried_bk = torch.where(valid_bk, bias_bk, CLOSED)
        return state.carried_bk

    def _apply(self, site: RelaxedSite, call: dict[str, Any], index: int, rope: Rope, candidates: int | None) -> None:
        x_bkd, state = call["hidden_states"], self.state
        assert state is not None
        site = moved(site, x_bkd.device)
        present, position_bk, column_bk = state.present, state.position_bk, state.column_bk
        span = present.groups[0]
        # every feature, as a weight of zero may be on its way somewhere; asking would also stall the device
        names = [name for name in site.features if name != "vision" or name in span.given]
        names += ["question"] * (site.steering is not None)
        kind, reader = self.parts.kind(index), self.parts.reader(index)
        turned: dict[str, Any] = {"turn": self.parts.turn(kind)}
        if site.template is not None:
            read = needed(site.template, self.tokens)
            names = list(dict.fromkeys([*names, *site.mixes, *read]))
            turned["wide_rope"] = lambda: self.parts.rope(at_least_float32(x_bkd), position_bk, kind)
            turned["own_rope"] = lambda: self.parts.rope(x_bkd, own_positions(position_bk, present.valid_bk), kind)
        sequence = present.attention_inputs(x_bkd, rope, **turned)
        mask = call.get("attention_mask")
        if self.own_masks and mask is not None:
            sequence = sequence._replace(mask=mask if column_bk is None else take(mask, column_bk))
        features = layer_features(names, reader, sequence, span.given)
        tokens = RelaxedTokens(span.taken(x_bkd), span.size_un, span.origin_un, state.presence_bn)
        after, index_bm, lengths = relax_units(
            site,
            tokens,
            features,
            self.units,
            state.lengths,
            total=self.tokens,
            temperature=moved(self.temperature, x_bkd.device),
            hard=self.hard,
            candidates=candidates,
        )
        home = self.layout.valid_bs.device
        self.trace.counts.append(moved(after.presence_bn.sum(1).mean(), home))
        self.trace.presence.append(moved(after.presence_bn, home))
        if index_bm is not None:
            present, keep_bk = present.keeping([index_bm])
            x_bkd, position_bk = gather_tokens(x_bkd, keep_bk), position_bk.gather(1, keep_bk)
            column_bk = keep_bk if column_bk is None else column_bk.gather(1, keep_bk)
        renumbered = state.renumbered
        if site.positions == "renumber":
            gone_bk = present.put(torch.zeros(position_bk.shape, device=x_bkd.device), [1 - after.presence_bn])
            count_k = torch.arange(present.count, device=x_bkd.device)
            position_bk = present.original_bk - present.slot_bk + count_k - (gone_bk.cumsum(1) - gone_bk)
            renumbered = True
        x_bkd = present.put(x_bkd, [after.x_bnd.to(x_bkd.dtype)])
        # a gradient passes below the floor as well: there, it is that of multiplying by presence
        floored_bn = after.presence_bn + (after.presence_bn.clamp_min(FLOOR) - after.presence_bn).detach()
        bias_bn = floored_bn.log() + site.beta * after.size_bn.log()
        bias_bk = present.put(torch.zeros(present.slot_bk.shape, device=x_bkd.device), [bias_bn])
        present = present.replaced([after.size_bn], [after.origin_bn], bias_bk)
        call["hidden_states"] = x_bkd
        self.state = State(present, column_bk, after.presence_bn, position_bk, lengths, renumbered)

    def _leave(self, module: Any, args: Any, output_bkd: Tensor) -> Tensor | None:
        """After the final norm: as many rows as came in, zeros where a token left."""
        assert self.state is not None
        present = moved(self.state.present, output_bkd.device)
        batch, _, width = output_bkd.shape
        whole_bsd = output_bkd.new_zeros(batch, present.length, width)
        return whole_bsd.scatter(1, present.slot_bk[:, :, None].expand(-1, -1, width), output_bkd)
