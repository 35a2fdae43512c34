"""An operator at work on a model: forward pre-hooks that take the visual tokens away.

Every decoder layer is handed the same full-length mask, positions and rotary embeddings by its model's loop, so from
the first site on each layer's hook hands over those of the tokens present instead. Sites at layer 0 act before the
language model: the cache length of layer 0 is what the model takes for "tokens seen". The choice made for a prompt is
kept beside its cache, for the steps that decode from it; a call without cache is a prompt of its own.

Nothing here waits for the device, loops over tokens, or changes a class.
Legend: b batch, s prompt, k tokens present, q new tokens, d width.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.errors import EosError
from eos_platform.models.images import layout_of_call
from eos_platform.models.layout import Layout
from eos_platform.models.llava import Parts, cls_row, renamed, vision_attention
from eos_platform.models.masks import take
from eos_platform.models.present import Present, apply_site
from eos_platform.models.prompt import Call, Pass, Prompt, Stage, biased, later_call, shorten
from eos_platform.models.scores import Rope
from eos_platform.operators.spec import OperatorSpec, SiteSpec


def working_sites(operator: OperatorSpec) -> list[SiteSpec]:
    """The sites from the first one that changes anything."""
    for number, (site, incoming) in enumerate(zip(operator.sites, operator.incoming, strict=True)):
        if not site.is_noop(incoming):
            return list(operator.sites[number:])
    return []


class _Local(threading.local):
    """What one thread is in the middle of."""

    layout: Layout | None = None
    answer_bs: Tensor | None = None
    vision_mn: Tensor | None = None
    now: Pass | None = None


class Session:
    """Hooks of one operator on one model. ``layout`` given: the language model is called directly."""

    def __init__(self, model: nn.Module, parts: Parts, operator: OperatorSpec, layout: Layout | None = None) -> None:
        self.parts = parts
        self.grid = operator.target.grid
        self.tokens = operator.target.tokens
        self.layout = layout
        self.sites: dict[int, list[SiteSpec]] = {}
        for site in working_sites(operator):
            self.sites.setdefault(site.layer, []).append(site)
        self._prompts: weakref.WeakKeyDictionary[Any, Prompt] = weakref.WeakKeyDictionary()
        self._local = _Local()
        self._hooks: list[Any] = []
        if self.sites:
            self._install(model)

    def _install(self, model: nn.Module) -> None:
        parts = self.parts
        if self.layout is None:
            self._before(model, self._read_labels)
            self._before(parts.body, self._read_layout)
            if any("vision" in site.score for sites in self.sites.values() for site in sites):
                self._before(vision_attention(parts), self._read_vision)
        self._before(parts.language_model, self._enter)
        first = min(self.sites)
        for index, layer in enumerate(parts.layers):
            if index >= first or index == 0:  # layer 0 always: it is where the cache is first seen
                self._before(layer, partial(self._layer, index))
        self._hooks.append(parts.language_model.norm.register_forward_hook(self._leave))

    def _before(self, module: Any, act: Callable[[Any, Call], None]) -> None:
        self._hooks.append(module.register_forward_pre_hook(renamed(act), with_kwargs=True))

    def remove(self) -> None:
        """Take every hook off again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    # What a call of the whole model tells

    def _read_labels(self, module: Any, call: Call) -> None:
        labels = call.get("labels")
        self._local.answer_bs = None if labels is None else labels != -100

    def _read_vision(self, module: Any, call: Call) -> None:
        self._local.vision_mn = cls_row(module, call["hidden_states"])

    def _read_layout(self, module: Any, call: Call) -> None:
        local = self._local
        answer_bs, local.answer_bs, local.layout = local.answer_bs, None, None
        local.layout = layout_of_call(self.parts, self.tokens, call, answer_bs)

    # What happens in the language model

    def _enter(self, module: Any, call: Call) -> None:
        """Before the language model: begin a prompt (with its sites at layer 0), or go on with one."""
        local, cache = self._local, call.get("past_key_values")
        layout, local.layout, local.now = self.layout or local.layout, None, None
        past = 0 if cache is None else cache.get_seq_length()
        if past > 0:
            prompt = self._prompts.get(cache)
            if prompt is not None:
                local.now = Pass(prompt, prefill=False, keeps=True)
                if 0 in prompt.stages:
                    shorten(self.parts, prompt, call, past)
            return
        if cache is not None:
            self._prompts.pop(cache, None)
        if layout is None:
            return
        if getattr(cache, "is_compileable", False):
            raise EosError("static caches are not supported with an operator; use the default dynamic cache")
        x_bsd, vision_mn = call["inputs_embeds"], local.vision_mn
        if layout is not self.layout and vision_mn is not None:
            # beams share an image that went through the tower once
            if len(x_bsd) % len(vision_mn):
                raise EosError(f"{len(vision_mn)} encoded images for {len(x_bsd)} prompts")
            layout.vision_bn = vision_mn.repeat_interleave(len(x_bsd) // len(vision_mn), 0)
        if x_bsd.shape[:2] != layout.valid_bs.shape:
            raise EosError(f"layout of {tuple(layout.valid_bs.shape)} tokens for {tuple(x_bsd.shape[:2])} embeddings")
        local.now = Pass(Prompt(x_bsd.shape[1]), prefill=True, layout=layout)
        if 0 in self.sites:
            self._reduce_first(local.now, layout, call)

    def _reduce_first(self, now: Pass, layout: Layout, call: Call) -> None:
        x_bkd, mask = call["inputs_embeds"], call.get("attention_mask")
        position_bs = call.get("position_ids")
        if position_bs is None:
            position_bs = torch.arange(x_bkd.shape[1], device=x_bkd.device)[None]
        present = Present.all(layout, position_bs)
        layer, rotary = self.parts.layers[0], self.parts.language_model.rotary_emb
        for site in self.sites[0]:
            rope = Rope(*rotary(x_bkd, present.position_bk))
            present, x_bkd, _ = apply_site(site, present, x_bkd, rope, layer, self.grid)
        use_cache = call.get("use_cache")
        caches = self.parts.language_model.config.use_cache if use_cache is None else use_cache
        if mask is None and not caches and call.get("past_key_values") is None:
            # without mask and cache, gaps in the positions would be taken for packed sequences
            mask = torch.ones(x_bkd.shape[:2], dtype=torch.long, device=x_bkd.device)
        elif mask is not None:
            mask = mask.gather(1, present.slot_bk) if mask.dim() == 2 else take(mask, present.slot_bk)
        call.update(inputs_embeds=x_bkd, attention_mask=mask, position_ids=present.position_bk)
        now.stage = now.prompt.stages[0] = Stage(present, None)

    def _layer(self, index: int, module: Any, call: Call) -> None:
        now = self._local.now
        if now is None:
            return
        cache = call.get("past_key_values")
        if cache is not None and not now.keeps:
            self._prompts[cache] = now.prompt
            now.keeps = True
        if now.prefill:
            self._prefill(now, module, call, index)
        else:
            self._decode(now, call, index)

    def _prefill(self, now: Pass, module: Any, call: Call, index: int) -> None:
        if index > 0 and index in self.sites:
            self._reduce(now, module, call, index)
        stage = now.stage
        if stage is None:
            return
        if stage.rope is None:  # straight after the language model's own hook: only the bias is missing
            stage.rope = Rope(*call["position_embeddings"])
            stage.mask = biased(call.get("attention_mask"), stage.present, call["hidden_states"])
        call.update(
            attention_mask=stage.mask, position_ids=stage.present.position_bk, position_embeddings=tuple(stage.rope)
        )

    def _reduce(self, now: Pass, module: Any, call: Call, index: int) -> None:
        before, layout = now.stage, now.layout
        x_bkd = call["hidden_states"]
        if before is None:
            assert layout is not None
            present, column_bk = Present.all(layout, call["position_ids"]), None
            cos, sin = call["position_embeddings"]
            rope = Rope(cos.expand(len(x_bkd), -1, -1), sin.expand(len(x_bkd), -1, -1))
        else:
            assert before.rope is not None
            present, column_bk, rope = before.present, before.column_bk, before.rope
        for site in self.sites[index]:
            present, x_bkd, keep_bk = apply_site(site, present, x_bkd, rope, module, self.grid)
            column_bk = keep_bk if column_bk is None else column_bk.gather(1, keep_bk)
            if site.positions == "renumber":
                rope = Rope(*self.parts.language_model.rotary_emb(x_bkd, present.position_bk))
            else:
                rope = rope.at(keep_bk)
        mask = call.get("attention_mask")
        assert column_bk is not None
        mask = None if mask is None else take(mask, column_bk)
        call["hidden_states"] = x_bkd
        stage = Stage(present, column_bk, rope, biased(mask, present, x_bkd))
        now.stage = now.prompt.stages[index] = stage

    def _decode(self, now: Pass, call: Call, index: int) -> None:
        begun = [layer for layer in now.prompt.stages if layer <= index]
        if not begun:
            return
        first = max(begun)
        if first not in now.decode:
            keys = call["past_key_values"].get_seq_length(index) + call["hidden_states"].shape[1]
            now.decode[first] = later_call(self.parts, now.prompt, now.prompt.stages[first], call, keys)
        call.update(now.decode[first])

    def _leave(self, module: Any, args: Any, output_bkd: Tensor) -> Tensor | None:
        """After the final norm: as many rows as came in, zeros where a token was removed."""
        now = self._local.now
        self._local.now = None
        if now is None or not now.prefill or now.stage is None:
            return None
        slot_bk = now.stage.present.slot_bk
        batch, _, width = output_bkd.shape
        whole_bsd = output_bkd.new_zeros(batch, now.prompt.length, width)
        return whole_bsd.scatter(1, slot_bk[:, :, None].expand(-1, -1, width), output_bkd)
