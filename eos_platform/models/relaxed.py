"""A relaxed operator at work on a model: nothing is removed, tokens fade out of attention, gradients reach every site.

The presence of a visual token multiplies its attention weight inside the softmax, as log presence added to the logits
of its key; so a token that is not there gets no attention, and still learns what it would have been worth.

Legend: b batch, s sequence, n visual tokens, d width, e head width.
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
from eos_platform.models import scores
from eos_platform.models.attach import check_free, holding
from eos_platform.models.layout import Layout
from eos_platform.models.llava import ATTENTION, Parts, parts_of, renamed
from eos_platform.models.masks import add_bias
from eos_platform.models.scores import Rope, attention_features, take_tokens
from eos_platform.operators.relax import RelaxedSite, relax
from eos_platform.operators.spec import FEATURES
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

    size_bn: Tensor
    origin_bn: Tensor
    presence_bn: Tensor
    position_bs: Tensor
    rope: Rope
    bias_bs: Tensor | None
    mask: Tensor | None


class _Relaxation:
    """The hooks of relaxed sites on one model."""

    def __init__(
        self, parts: Parts, sites: Sequence[RelaxedSite], layout: Layout, temperature: float, hard: bool
    ) -> None:
        self.parts, self.layout, self.temperature, self.hard = parts, layout, temperature, hard
        self.sites: dict[int, list[RelaxedSite]] = {}
        for site in sites:
            self.sites.setdefault(site.layer, []).append(site)
        self.trace = Trace()
        self.state: _State | None = None
        length = layout.valid_bs.shape[1]
        visual_bs = torch.zeros_like(layout.valid_bs, dtype=torch.uint8).scatter(1, layout.visual_bn, 1)
        self.other_bt = torch.argsort(visual_bs, dim=1, stable=True)[:, : length - layout.visual_bn.shape[1]]
        first = min(self.sites, default=len(parts.layers))
        self.hooks = [
            layer.register_forward_pre_hook(renamed(partial(self._layer, index, index == first)), with_kwargs=True)
            for index, layer in enumerate(parts.layers)
            if index >= first
        ]

    def remove(self) -> None:
        """Take every hook off again."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    def _layer(self, index: int, starts: bool, module: Any, call: dict[str, Any]) -> None:
        if starts:
            self._begin(call)
        if index in self.sites:
            self._at_sites(module, call, index)
        assert self.state is not None
        state = self.state
        call.update(attention_mask=state.mask, position_ids=state.position_bs, position_embeddings=tuple(state.rope))

    def _begin(self, call: dict[str, Any]) -> None:
        """A new call of the language model: every visual token is there."""
        x_bsd, visual_bn = call["hidden_states"], self.layout.visual_bn
        if x_bsd.shape[:2] != self.layout.valid_bs.shape:
            raise EosError(
                f"layout of {tuple(self.layout.valid_bs.shape)} tokens for {tuple(x_bsd.shape[:2])} embeddings"
            )
        batch, tokens = visual_bn.shape
        self.trace.counts.clear()
        self.trace.presence.clear()
        self.original_bs = call["position_ids"].expand(batch, -1)
        ones_bn = torch.ones(batch, tokens, device=visual_bn.device)
        cos, sin = call["position_embeddings"]
        self.state = _State(
            size_bn=ones_bn,
            origin_bn=torch.arange(tokens, device=visual_bn.device).expand(batch, -1),
            presence_bn=ones_bn,
            position_bs=self.original_bs,
            rope=Rope(cos.expand(batch, -1, -1), sin.expand(batch, -1, -1)),
            bias_bs=None,
            mask=None,
        )

    def _at_sites(self, module: Any, call: dict[str, Any], index: int) -> None:
        x_bsd, state = call["hidden_states"], self.state
        assert state is not None
        for site in self.sites[index]:
            x_bsd, state = self._apply(site, module, x_bsd, state)
        assert state.bias_bs is not None
        mask = add_bias(call.get("attention_mask"), state.bias_bs, x_bsd.shape[1], x_bsd.dtype)
        call["hidden_states"], self.state = x_bsd, replace(state, mask=mask)

    def _apply(self, site: RelaxedSite, module: Any, x_bsd: Tensor, state: _State) -> tuple[Tensor, _State]:
        layout = self.layout
        visual_bn = layout.visual_bn
        sequence = scores.Sequence(
            x_bsd,
            state.rope,
            layout.valid_bs,
            state.bias_bs,
            visual_bn,
            self.other_bt,
            layout.text_bs,
            layout.last_b,
        )
        # every feature, as a weight of zero may be on its way somewhere; asking would also stall the device
        names = [name for name in FEATURES if name != "vision" or layout.vision_bn is not None]
        found = attention_features(names, module, sequence, layout.vision_bn)
        tokens = RelaxedTokens(take_tokens(x_bsd, visual_bn), state.size_bn, state.origin_bn, state.presence_bn)
        after = relax(site, tokens, found, self.parts.grid, temperature=self.temperature, hard=self.hard)
        self.trace.counts.append(after.presence_bn.sum(1).mean())
        self.trace.presence.append(after.presence_bn)
        place_bnd = visual_bn[:, :, None].expand(-1, -1, x_bsd.shape[2])
        x_bsd = x_bsd.scatter(1, place_bnd, after.x_bnd.to(x_bsd.dtype))
        bias_bn = _log(after.presence_bn) + site.beta * after.size_bn.log()
        zeros_bs = torch.zeros(layout.valid_bs.shape, device=x_bsd.device)
        position_bs, rope = state.position_bs, state.rope
        if site.positions == "renumber":
            gone_bs = zeros_bs.scatter(1, visual_bn, 1 - after.presence_bn)
            position_bs = self.original_bs - (gone_bs.cumsum(1) - gone_bs)
            rope = soft_rope(self.parts.language_model.rotary_emb, x_bsd, position_bs)
        return x_bsd, _State(
            after.size_bn,
            after.origin_bn,
            after.presence_bn,
            position_bs,
            rope,
            zeros_bs.scatter(1, visual_bn, bias_bn),
            None,
        )


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
        cos_bse, sin_bse = rotary(x_bsd, position_bs)
    if not position_bs.requires_grad:
        return Rope(cos_bse, sin_bse)
    # zero in value; its slope times that of cos and sin is the gradient the module withheld
    slope_bse = ((position_bs - position_bs.detach())[:, :, None] * rotary.inv_freq.float()).repeat(1, 1, 2)
    slope_bse = slope_bse.to(cos_bse.dtype)
    return Rope(cos_bse - sin_bse * slope_bse, sin_bse + cos_bse * slope_bse)


@contextmanager
def relaxed(
    model: Any, sites: Sequence[RelaxedSite], layout: Layout, *, temperature: float, hard: bool
) -> Iterator[Trace]:
    """Calls ``model.model.language_model(inputs_embeds=...)`` run with relaxed sites, while the block runs.

    Args:
        model: a LLaVA with no operator attached.
        sites: in layer order.
        layout: of the sequences it is called with.
        temperature: of the selections.
        hard: deployed selections forward, soft gradients backward.

    Raises:
        EosError: an operator is attached, a site is beyond the last layer or out of order, or the layout does not fit.
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
    kind = parts.language_model.config._attn_implementation
    if kind not in ATTENTION:
        raise EosError(f"attention '{kind}' is not supported; load the model with attn_implementation='sdpa'")
    relaxation = _Relaxation(parts, sites, layout, temperature, hard)
    with holding(model, relaxation):
        yield relaxation.trace
