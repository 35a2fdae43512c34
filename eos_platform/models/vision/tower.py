"""An operator at work in the vision tower: pictures shrunk, visual tokens reduced between blocks, attention read.

Hooks on the tower, its blocks and the projector (a site before the block after the last used one acts there). The class
token is never counted and never dropped. Where fewer tokens leave the tower than the prompt has places for, the
projector's output is spread over those places, with zeros between: the language model then drops the empty ones before
anything else.

Legend: m images, n visual tokens present, k = 1 + n with the class token in front, r those that come out, d width.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.hooks import before, behind
from eos_platform.models.attention.vision_queries import READ, read_block
from eos_platform.models.loading.devices import device_of, moved
from eos_platform.models.runtime.layout import TowerTokens, VisionFeatures
from eos_platform.models.vision.patches import Patches
from eos_platform.operators.grid import overlap_layout
from eos_platform.operators.plan import OperatorPlan, PlannedSite
from eos_platform.operators.reduce import reduce
from eos_platform.operators.tokens import Tokens, at_least_float32, gather_tokens

RUNNING = 0.5  # weight of what a block says in the mean of all blocks so far, of "flow"


@dataclass
class _Stage:
    """Between two blocks."""

    size_mn: Tensor
    origin_mn: Tensor
    bias_mk: Tensor | None = None  # added to the logits of each key
    flow_mn: Tensor | None = None  # mean of "flow" over the sites so far that read it, later ones weighing more


class _Local(threading.local):
    """What one thread is in the middle of."""

    stage: _Stage | None = None
    vision_features: VisionFeatures | None = None


def tower_hooks(parts: Parts, plan: OperatorPlan) -> Tower | Patches:
    """Hooks in the vision tower of an operator that reads it or acts there."""
    reached = parts.family is None or parts.family.reads_tower
    return Tower(parts, plan) if reached else Patches(parts)


class Tower:
    """Hooks of one operator (None: reading only) on one vision tower. It may turn out that none is needed."""

    def __init__(self, parts: Parts, plan: OperatorPlan | None, names: Collection[str] | None = None) -> None:
        """``names``: which of ``READ`` to read; default: those the operator's sites in the decoder ask for."""
        self.parts = parts
        if names is None:
            names = plan.tower_features if plan else ()
        self.names = frozenset(names)
        self.sites = plan.tower_by_layer if plan else {}
        self.image = plan.operator.image if plan and plan.arriving < plan.tokens else None
        self.spreads = plan is not None and plan.sees_less
        self._local = _Local()
        self._hooks: list[Any] = []
        if self.names or self.sites or self.image:
            self._install()

    def _install(self) -> None:
        parts = self.parts
        # all untraced: compiled, they would go on telling the operator that was attached when it was compiled
        self._hooks.append(before(parts.tower, self._begin, traced=False))
        first = min((layer for layer in self.sites if layer < parts.used), default=len(parts.blocks))
        for index, block in enumerate(parts.blocks):
            if index >= first:
                self._hooks.append(before(block, partial(self._block, index), traced=False))
        last = {name for planned in self.sites.get(parts.used, ()) for name in planned.features}
        own, after = (set(self.names) | last) & set(READ), parts.used < len(parts.blocks)
        if "next_vision" in own and after:
            own.discard("next_vision")
            attention = parts.blocks[parts.used].self_attn
            self._hooks.append(before(attention, partial(self._read, ("next_vision",)), traced=False))
        if own:
            self._hooks.append(before(parts.vision_layer.self_attn, partial(self._read, tuple(own)), traced=False))
        if parts.used in self.sites:
            self._hooks.append(before(parts.body.multi_modal_projector, self._behind, traced=False))
        if self.spreads:
            self._hooks.append(behind(parts.body.multi_modal_projector, self._spread, traced=False))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _local=_Local())

    def remove(self) -> None:
        """Take every hook off again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    @property
    def vision_features(self) -> VisionFeatures | None:
        """What this thread's latest images gave."""
        return self._local.vision_features

    def _begin(self, module: Any, call: dict[str, Any]) -> None:
        pixels, grid, local = call["pixel_values"], self.parts.grid, self._local
        images, tokens = len(pixels), grid[0] * grid[1]
        local.vision_features = VisionFeatures()
        if self.image is None:
            origin_n = torch.arange(tokens, device=pixels.device)
        else:
            patch = module.config.patch_size
            size = (self.image[0] * patch, self.image[1] * patch)
            call["pixel_values"] = nn.functional.interpolate(at_least_float32(pixels), size=size, mode="area").to(
                pixels.dtype
            )
            call["interpolate_pos_encoding"] = True
            origin_n = _middles(grid, self.image, pixels.device)
        size_mn = torch.full((images, len(origin_n)), tokens / len(origin_n), device=pixels.device)
        local.stage = _Stage(size_mn, origin_n.expand(images, -1))
        if "padding" in self.names:
            local.vision_features.features["padding"] = margins(pixels, grid)

    def _block(self, index: int, module: Any, call: dict[str, Any]) -> None:
        local = self._local
        assert local.stage is not None
        device = device_of(module.layer_norm1, call["hidden_states"].device)
        call["hidden_states"] = moved(call["hidden_states"], device)
        local.stage = moved(local.stage, device)
        for planned in self.sites.get(index, ()) if index < self.parts.used else ():
            local.stage, call["hidden_states"] = self._apply(planned, local.stage, module, call["hidden_states"])
        if local.stage.bias_mk is not None:
            call["attention_mask"] = local.stage.bias_mk[:, None, None].to(call["hidden_states"].dtype)

    def _apply(self, planned: PlannedSite, stage: _Stage, block: Any, x_mkd: Tensor) -> tuple[_Stage, Tensor]:
        site, names, x_mnd = planned.site, planned.features, x_mkd[:, 1:]
        given: dict[str, Tensor] = {}
        if set(names) & set(READ):
            given = read_block(block.self_attn, block.layer_norm1(x_mkd), names, stage.bias_mk)
        if "text_pivots" in names:  # no text has come yet
            given["text_pivots"] = x_mnd[:, :0]
        flow_mn = stage.flow_mn
        if "flow" in given:
            flow_mn = given["flow"] if flow_mn is None else flow_mn + RUNNING * (given["flow"] - flow_mn)
            given["flow"] = flow_mn
        tokens, index_mr = reduce(site, Tokens(x_mnd, stage.size_mn, stage.origin_mn), given, self.parts.grid)
        bias_mk = None
        if site.beta > 0:
            bias_mk = nn.functional.pad(site.beta * tokens.size_bn.float().log(), (1, 0))
        x_mkd = torch.cat((x_mkd[:, :1], tokens.x_bnd.to(x_mkd.dtype)), 1)
        flow_mn = None if flow_mn is None else gather_tokens(flow_mn, index_mr)
        return _Stage(tokens.size_bn, tokens.origin_bn, bias_mk, flow_mn), x_mkd

    def _behind(self, module: Any, call: dict[str, Any]) -> None:
        """Sites between the last used block and the projector: what is known of tokens goes with those that stay."""
        local = self._local
        assert local.vision_features is not None
        assert local.stage is not None
        name = next(iter(call))
        for planned in self.sites[self.parts.used]:
            x_mnd, stage, known = call[name], moved(local.stage, call[name].device), local.vision_features
            given = {one: moved(values, x_mnd.device) for one, values in known.features.items()}
            if "text_pivots" in planned.features:  # no text has come yet
                given["text_pivots"] = x_mnd[:, :0]
            tokens, index_mr = reduce(
                planned.site, Tokens(x_mnd, stage.size_mn, stage.origin_mn), given, self.parts.grid
            )
            call[name], local.stage = tokens.x_bnd, _Stage(tokens.size_bn, tokens.origin_bn)
            known.features = {one: gather_tokens(given[one], index_mr) for one in known.features}

    def _read(self, names: tuple[str, ...], module: Any, call: dict[str, Any]) -> None:
        local = self._local
        assert local.vision_features is not None
        assert local.stage is not None
        x_mkd = call["hidden_states"]
        local.vision_features.features |= read_block(module, x_mkd, names, moved(local.stage.bias_mk, x_mkd.device))

    def _spread(self, module: Any, args: Any, output_mrd: Tensor) -> Tensor:
        local = self._local
        assert local.vision_features is not None
        assert local.stage is not None
        local.stage = moved(local.stage, output_mrd.device)
        origin_mr = local.stage.origin_mn
        if output_mrd.shape[:2] != origin_mr.shape:
            raise EosError(f"{tuple(output_mrd.shape[:2])} visual tokens came where {tuple(origin_mr.shape)} should")
        local.vision_features.seen = TowerTokens(origin_mr, local.stage.size_mn)
        images, _, width = output_mrd.shape
        whole_mnd = output_mrd.new_zeros(images, self.parts.grid[0] * self.parts.grid[1], width)
        return whole_mnd.scatter(1, origin_mr[:, :, None].expand(-1, -1, width), output_mrd)


def margins(pixels_mchw: Tensor, grid: tuple[int, int]) -> Tensor:
    """1 for each visual token that lies wholly in a margin a picture was padded with (m, n), float32; else 0.

    A margin is every row of patches, and every column, from an edge on in which all pixels are as the picture's corner
    there, on both sides of it or on one. A picture of one colour has none.
    """
    rows, columns = grid
    patch_mchw = pixels_mchw.unflatten(-2, (rows, -1)).unflatten(-1, (columns, -1))  # m c h p w q
    plain = [
        _from_edges((patch_mchw == corner).all(5).all(3).all(1), axis)
        for axis in (1, 2)
        for corner in (pixels_mchw[:, :, :1, :1, None, None], pixels_mchw[:, :, -1:, -1:, None, None])
    ]
    margin_mhw = plain[0] | plain[1] | plain[2] | plain[3]
    margin_mn = margin_mhw.flatten(1)
    return (margin_mn & ~margin_mn.all(1, keepdim=True)).float()


def _from_edges(same_mhw: Tensor, axis: int) -> Tensor:
    """The whole rows (or columns) from an edge on that hold, and no other comes before them."""
    whole = same_mhw.all(3 - axis).long()  # of each row, or column
    run = whole.cumprod(1) | whole.flip(1).cumprod(1).flip(1)
    return run.bool().unsqueeze(3 - axis).expand_as(same_mhw)


@lru_cache(maxsize=64)
def _middles(grid: tuple[int, int], image: tuple[int, int], device: torch.device) -> Tensor:
    """Where the tokens of a shrunk picture stand: in the middle of what they cover (h * w,), long."""
    with torch.inference_mode(False):  # cached: a copy from the host at every call would stall the device
        return torch.tensor(overlap_layout(grid, image).anchor, device=device)
