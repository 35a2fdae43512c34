"""An operator at work on a model: forward pre-hooks that take the visual tokens away.

Every decoder layer is handed the same full-length mask, positions and rotary embeddings by its model's loop, so from
the first site on each layer's hook hands over those of the tokens present instead. Sites at layer 0, and the dropping
of places whose visual tokens never left the vision tower, act before the language model: the cache length of layer 0
is what the model takes for "tokens seen". The choice made for a prompt is kept beside its cache, for the steps that
decode from it; a call without cache is a prompt of its own.

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
from eos_platform.models.layout import Layout, check_layout
from eos_platform.models.llava import Parts, renamed
from eos_platform.models.masks import take
from eos_platform.models.needs import decoder_needs, working_sites
from eos_platform.models.present import Present, Step, apply_site, enter
from eos_platform.models.prompt import Call, Pass, Prompt, Stage, biased, later_call, shorten
from eos_platform.models.rope import Rope
from eos_platform.models.tower import Tower
from eos_platform.operators.spec import OperatorSpec, SiteSpec


class _Local(threading.local):
    """What one thread is in the middle of."""

    layout: Layout | None = None
    answer_bs: Tensor | None = None
    now: Pass | None = None


class Session:
    """Hooks of one operator on one model. ``layout`` given: the language model is called directly."""

    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        operator: OperatorSpec,
        layout: Layout | None = None,
        watch: Callable[[SiteSpec, Present], None] | None = None,
    ) -> None:
        """``watch`` is told what is present after each site of a prompt."""
        self.parts = parts
        self.tokens = operator.target.tokens
        self.entering = operator.entering
        self.names = decoder_needs(operator)
        self.layout = layout
        self.watch = watch
        self.sites: dict[int, list[SiteSpec]] = {}
        for site in working_sites(operator, "decoder"):
            self.sites.setdefault(site.layer, []).append(site)
        self._prompts: weakref.WeakKeyDictionary[Any, Prompt] = weakref.WeakKeyDictionary()
        self._local = _Local()
        self._hooks: list[Any] = []
        self.tower = Tower(parts, operator) if layout is None else None
        if self.sites or operator.sees_less:
            self._install(model)

    def _install(self, model: nn.Module) -> None:
        parts = self.parts
        if self.layout is None:
            self._before(model, self._read_labels)
            self._before(parts.body, self._read_layout)
        self._before(parts.language_model, self._enter)
        first = 0 if self.entering < self.tokens else min(self.sites)
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
        if self.tower is not None:
            self.tower.remove()

    # What a call of the whole model tells

    def _read_labels(self, module: Any, call: Call) -> None:
        labels = call.get("labels")
        self._local.answer_bs = None if labels is None else labels != -100

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
        x_bsd = call["inputs_embeds"]
        if layout is not self.layout:
            self._tell(layout, len(x_bsd))
        check_layout(layout, x_bsd, self.tokens, self.entering)
        position_bs = call.get("position_ids")
        if position_bs is None:
            position_bs = torch.arange(x_bsd.shape[1], device=x_bsd.device)[None]
        step = enter(layout, position_bs, x_bsd, self.names)
        local.now = Pass(Prompt(x_bsd.shape[1]), prefill=True, start=step.present)
        if 0 in self.sites or layout.seen is not None:
            self._reduce_first(local.now, step, call)

    def _tell(self, layout: Layout, prompts: int) -> None:
        """Add to a layout what the vision tower said about the images; beams share one that went through it once."""
        sight = self.tower.sight if self.tower else None
        if sight is None:
            return

        def each(tensor: Tensor) -> Tensor:
            if prompts % len(tensor):
                raise EosError(f"{len(tensor)} encoded images for {prompts} prompts")
            return tensor.repeat_interleave(prompts // len(tensor), 0)

        sight.rows(each).put_into(layout)

    def _reduce_first(self, now: Pass, step: Step, call: Call) -> None:
        present, x_bkd, _ = step
        layer, rotary = self.parts.layers[0], self.parts.language_model.rotary_emb
        for site in self.sites.get(0, ()):
            rope = Rope(*rotary(x_bkd, present.position_bk))
            present, x_bkd, _ = self._apply(site, present, x_bkd, rope, layer)
        mask = call.get("attention_mask")
        use_cache = call.get("use_cache")
        caches = self.parts.language_model.config.use_cache if use_cache is None else use_cache
        if mask is None and not caches and call.get("past_key_values") is None:
            # without mask and cache, gaps in the positions would be taken for packed sequences
            mask = torch.ones(x_bkd.shape[:2], dtype=torch.long, device=x_bkd.device)
        elif mask is not None:
            mask = mask.gather(1, present.slot_bk) if mask.dim() == 2 else take(mask, present.slot_bk)
        call.update(inputs_embeds=x_bkd, attention_mask=mask, position_ids=present.position_bk)
        now.stage = now.prompt.stages[0] = Stage(present, None)

    def _apply(self, site: SiteSpec, present: Present, x_bkd: Tensor, rope: Rope, layer: Any) -> Step:
        step = apply_site(site, present, x_bkd, rope, layer, self.parts)
        if self.watch is not None:
            self.watch(site, step.present)
        return step

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
        before, x_bkd = now.stage, call["hidden_states"]
        if before is None:
            assert now.start is not None
            present, column_bk = now.start, None
            cos, sin = call["position_embeddings"]
            rope = Rope(cos.expand(len(x_bkd), -1, -1), sin.expand(len(x_bkd), -1, -1))
        else:
            assert before.rope is not None
            present, column_bk, rope = before.present, before.column_bk, before.rope
        for site in self.sites[index]:
            present, x_bkd, keep_bk = self._apply(site, present, x_bkd, rope, module)
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
