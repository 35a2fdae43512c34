"""A relaxed operator at work on a model: tokens fade out of attention, and gradients reach every site.

The presence of a visual token multiplies its attention weight inside the softmax, as log presence added to the logits
of its key; so a token that is not there gets no attention, and still learns what it would have been worth. Where a
site is given a number of candidates, those that could not have stayed anyway leave for good: what follows costs little
more than the deployed operator.

Nothing here waits for the device, so that a whole step can be captured once and replayed.
Legend: b batch, s sequence, k tokens present, n visual tokens present, d width, e head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eos_platform.errors import EosError
from eos_platform.models.attach import check_free, holding
from eos_platform.models.attention import check_relaxed
from eos_platform.models.devices import device_of, moved
from eos_platform.models.layout import Layout
from eos_platform.models.llava import Parts, parts_of, renamed
from eos_platform.models.masks import add_bias, take
from eos_platform.models.present import Present
from eos_platform.models.prompt import on
from eos_platform.models.raters import question
from eos_platform.models.rope import Rope
from eos_platform.models.scores import layer_features, take_tokens
from eos_platform.operators.relax import relax
from eos_platform.operators.relaxed_site import RelaxedSite
from eos_platform.operators.tokens import RelaxedTokens

FLOOR = 1e-9  # of presence in a logarithm


@dataclass
class Trace:
    """What the sites did in the latest call of the language model, one entry a site."""

    counts: list[Tensor] = field(default_factory=list)  # soft count, mean over the batch
    presence: list[Tensor] = field(default_factory=list)  # (b, n) each


@dataclass(frozen=True)
class _State:
    """Between two layers, from the first site on."""

    present: Present
    column_bk: Tensor | None  # which columns of the model's own mask are there; None: all of them
    presence_bn: Tensor
    position_bk: Tensor  # not necessarily whole numbers
    rope: Rope
    mask: Tensor | None


class _Relaxation:
    """The hooks of relaxed sites on one model."""

    def __init__(
        self,
        parts: Parts,
        sites: Sequence[RelaxedSite],
        layout: Layout,
        temperature: float | Tensor,
        hard: bool,
        candidates: int | None,
    ) -> None:
        self.parts, self.layout, self.temperature, self.hard = parts, layout, temperature, hard
        self.candidates = candidates
        self.sites: dict[int, list[RelaxedSite]] = {}
        for site in sites:
            self.sites.setdefault(site.layer, []).append(site)
        self.trace = Trace()
        self.steers = any(site.steering is not None for site in sites)
        self.question_bd: Tensor | None = None
        self.state: _State | None = None
        self.first = first = min(self.sites, default=len(parts.layers))
        self.hooks = [
            layer.register_forward_pre_hook(renamed(partial(self._layer, index, index == first)), with_kwargs=True)
            for index, layer in enumerate(parts.layers)
            if index >= first or (index == 0 and self.steers)
        ]
        if candidates is not None:
            self.hooks.append(parts.language_model.norm.register_forward_hook(self._leave))

    def remove(self) -> None:
        """Take every hook off again."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    def _layer(self, index: int, starts: bool, module: Any, call: dict[str, Any]) -> None:
        device = device_of(module.input_layernorm, call["hidden_states"].device)
        call.update(on(call, device))
        if index == 0 and self.steers:  # what enters the language model
            with torch.autocast(call["hidden_states"].device.type, enabled=False):
                self.question_bd = question(call["hidden_states"], moved(self.layout.text_bs, device))
        if index < self.first:
            return
        if starts:
            self._begin(call)
        self.state = moved(self.state, device)
        if index in self.sites:
            self._at_sites(module, call, index, self.candidates if starts else None)
        assert self.state is not None
        state = self.state = moved(self.state, device)
        call.update(attention_mask=state.mask, position_ids=state.position_bk, position_embeddings=tuple(state.rope))

    def _begin(self, call: dict[str, Any]) -> None:
        """A new call of the language model: every visual token is there."""
        x_bsd = call["hidden_states"]
        layout = moved(self.layout, x_bsd.device)
        if x_bsd.shape[:2] != layout.valid_bs.shape:
            raise EosError(f"layout of {tuple(layout.valid_bs.shape)} tokens for {tuple(x_bsd.shape[:2])} embeddings")
        batch = len(x_bsd)
        self.trace.counts.clear()
        self.trace.presence.clear()
        present = replace(Present.all(layout, call["position_ids"]), given=layout.told())
        if self.steers:
            present = replace(present, question_bd=moved(self.question_bd, x_bsd.device))
        cos, sin = call["position_embeddings"]
        rope = Rope(cos.expand(batch, -1, -1), sin.expand(batch, -1, -1))
        self.state = _State(present, None, torch.ones_like(present.size_bn), present.position_bk, rope, None)

    def _at_sites(self, module: Any, call: dict[str, Any], index: int, candidates: int | None) -> None:
        x_bkd, state = call["hidden_states"], self.state
        assert state is not None
        for site in self.sites[index]:
            x_bkd, state = self._apply(moved(site, x_bkd.device), module, x_bkd, state, candidates)
            candidates = None  # the first site alone lets tokens go
        mask = call.get("attention_mask")
        if mask is not None and state.column_bk is not None:
            mask = take(mask, state.column_bk)
        assert state.present.bias_bk is not None
        mask = add_bias(mask, state.present.bias_bk, x_bkd.shape[1], x_bkd.dtype)
        call["hidden_states"], self.state = x_bkd, replace(state, mask=mask)

    def _apply(
        self, site: RelaxedSite, module: Any, x_bkd: Tensor, state: _State, candidates: int | None
    ) -> tuple[Tensor, _State]:
        present = state.present
        # every feature, as a weight of zero may be on its way somewhere; asking would also stall the device
        names = [name for name in site.features if name != "vision" or name in present.given]
        names += ["question"] * (site.steering is not None)
        found = layer_features(names, module, present.sequence(x_bkd, state.rope), present.given)
        x_bnd = take_tokens(x_bkd, present.visual_bn)
        tokens = RelaxedTokens(x_bnd, present.size_bn, present.origin_bn, state.presence_bn)
        after, index_bm = relax(
            site,
            tokens,
            found,
            self.parts.grid,
            temperature=moved(self.temperature, x_bkd.device),
            hard=self.hard,
            candidates=candidates,
        )
        home = self.layout.valid_bs.device
        self.trace.counts.append(moved(after.presence_bn.sum(1).mean(), home))
        self.trace.presence.append(moved(after.presence_bn, home))
        position_bk, rope, column_bk = state.position_bk, state.rope, state.column_bk
        if index_bm is not None:
            present, keep_bk = present.keeping(index_bm)
            x_bkd, rope, position_bk = take_tokens(x_bkd, keep_bk), rope.at(keep_bk), position_bk.gather(1, keep_bk)
            column_bk = keep_bk if column_bk is None else column_bk.gather(1, keep_bk)
        if site.positions == "renumber":
            gone_bk = torch.zeros(position_bk.shape, device=x_bkd.device)
            gone_bk = gone_bk.scatter(1, present.visual_bn, 1 - after.presence_bn)
            count_k = torch.arange(present.count, device=x_bkd.device)
            position_bk = present.original_bk - present.slot_bk + count_k - (gone_bk.cumsum(1) - gone_bk)
            rope = soft_rope(self.parts.language_model.rotary_emb, x_bkd, position_bk)
        place_bnd = present.visual_bn[:, :, None].expand(-1, -1, x_bkd.shape[2])
        x_bkd = x_bkd.scatter(1, place_bnd, after.x_bnd.to(x_bkd.dtype))
        bias_bn = _log(after.presence_bn) + site.beta * after.size_bn.log()
        bias_bk = torch.zeros(present.slot_bk.shape, device=x_bkd.device).scatter(1, present.visual_bn, bias_bn)
        present = replace(present, size_bn=after.size_bn, origin_bn=after.origin_bn, bias_bk=bias_bk)
        return x_bkd, _State(present, column_bk, after.presence_bn, position_bk, rope, None)

    def _leave(self, module: Any, args: Any, output_bkd: Tensor) -> Tensor | None:
        """After the final norm: as many rows as came in, zeros where a token left."""
        assert self.state is not None
        present = moved(self.state.present, output_bkd.device)
        batch, _, width = output_bkd.shape
        whole_bsd = output_bkd.new_zeros(batch, present.length, width)
        return whole_bsd.scatter(1, present.slot_bk[:, :, None].expand(-1, -1, width), output_bkd)


def _log(presence_bn: Tensor) -> Tensor:
    """Logarithm that passes a gradient below its floor as well: there, it is that of multiplying by presence."""
    return (presence_bn + (presence_bn.clamp_min(FLOOR) - presence_bn).detach()).log()


def soft_rope(rotary: Any, x_bsd: Tensor, position_bs: Tensor) -> Rope:
    """Rotary embeddings at positions that need not be whole numbers, differentiable in them.

    Args:
        rotary: the model's own module, which runs without gradient.
        x_bsd: hidden states, for their dtype.
        position_bs: positions.
    """
    with torch.no_grad():
        cos_bse, sin_bse = moved(tuple(rotary(x_bsd, position_bs)), x_bsd.device)
    if not position_bs.requires_grad:
        return Rope(cos_bse, sin_bse)
    # zero in value; its slope times that of cos and sin is the gradient the module withheld
    slope_bse = ((position_bs - position_bs.detach())[:, :, None] * rotary.inv_freq.to(x_bsd.device).float()).repeat(
        1, 1, 2
    )
    slope_bse = slope_bse.to(cos_bse.dtype)
    return Rope(cos_bse - sin_bse * slope_bse, sin_bse + cos_bse * slope_bse)


@contextmanager
def relaxed(
    model: Any,
    sites: Sequence[RelaxedSite],
    layout: Layout,
    *,
    temperature: float | Tensor,
    hard: bool,
    candidates: int | None = None,
) -> Iterator[Trace]:
    """Calls ``model.model.language_model(inputs_embeds=...)`` run with relaxed sites, while the block runs.

    Args:
        model: a LLaVA with no operator attached.
        sites: in layer order.
        layout: of the sequences it is called with.
        temperature: of the selections.
        hard: deployed selections forward, soft gradients backward.
        candidates: how many visual tokens the first site hands on; default: all. The others leave there for good.

    Raises:
        EosError: an operator is attached, a site is beyond the last layer or out of order, the layout does not
            fit, or attention takes no bias.
    """
    parts = parts_of(model)
    check_free(model)
    last, rows = len(parts.layers) - 1, parts.grid
    for number, site in enumerate(sites):
        if not 0 <= site.layer <= last:
            raise EosError(f"sites.{number}: layer {site.layer} is beyond the model's last decoder layer ({last})")
        if number and site.layer < sites[number - 1].layer:
            raise EosError(f"sites.{number}: layer {site.layer} comes after layer {sites[number - 1].layer}")
    if layout.visual_bn.shape[1] != rows[0] * rows[1]:
        raise EosError(f"layout has {layout.visual_bn.shape[1]} visual tokens; the model has {rows[0] * rows[1]}")
    if layout.seen is not None:
        raise EosError("relaxed sites need every visual token; these pictures were reduced inside the vision tower")
    check_relaxed(parts)
    if candidates is not None and candidates >= rows[0] * rows[1]:
        candidates = None
    relaxation = _Relaxation(parts, sites, layout, temperature, hard, candidates)
    with holding(model, relaxation):
        yield relaxation.trace
