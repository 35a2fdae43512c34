"""An operator at work on a model: forward pre-hooks that take the visual tokens away.

Every decoder layer is handed the same full-length mask, positions and rotary embeddings by its model's loop, so from
the first site on each layer's hook hands over those of the tokens present instead. Sites at layer 0, and the dropping
of places whose visual tokens never left the vision tower, act before the language model: the cache length of layer 0
is what the model takes for "tokens seen". The choice made for a prompt is kept with its cache (``cache_rows.py``), for
the steps that decode from it or from a copy; a call without cache is a prompt of its own. What a call of the whole
model tells before the language model is reached, the listener keeps. Which sites there are, and what they read, is in
the operator's plan (``operators/plan.py``).

Nothing here waits for the device (but to count the images and the padding of several prompts, to follow rows of a cache
that were moved, and on flash attention to see that a lone row is one sequence, as transformers does itself), loops over
tokens, or changes a class.
Legend: b batch, s prompt, k tokens present, d width.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.deep import dense, levels_of
from eos_platform.models.adapters.hooks import before, behind
from eos_platform.models.attention.flash_bias import Carrier
from eos_platform.models.attention.implementations import check_kept, check_unpacked, is_flash
from eos_platform.models.attention.masks import take
from eos_platform.models.attention.recurrent import restored
from eos_platform.models.attention.rope import Rope
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.decoding.foreign_cache import check_origin, check_whole
from eos_platform.models.decoding.later_steps import ahead, later_call, sees_later, shorten
from eos_platform.models.decoding.prompt import Call, Origin, Pass, Prompt, Stage, forget, recall, remember
from eos_platform.models.loading.devices import device_of, moved, on
from eos_platform.models.runtime.call_context import CallContext, CallInfo
from eos_platform.models.runtime.compile import compile_step
from eos_platform.models.runtime.image_call import ImageCall
from eos_platform.models.runtime.layout import Layout, check_layout
from eos_platform.models.runtime.prefill_call import (
    add_level,
    hand_over,
    keep_earlier,
    mask_of_places,
    mask_of_present,
    masked_and_turned,
    own_masks,
    whole_length,
)
from eos_platform.models.runtime.prompt_state import films, opened
from eos_platform.models.runtime.site_step import Step, apply_site, enter
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.plan import OperatorPlan, PlannedSite
from eos_platform.operators.spec import OperatorSpec, SiteSpec


class _Local(threading.local):
    """What one thread is in the middle of."""

    now: Pass | None = None
    cache: Any = None
    fresh: bool = False  # the cache was empty


class DecoderHooks:
    """Hooks of one operator on one model."""

    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        plan: OperatorPlan,
        prompts: Layout | CallContext,
        watch: Callable[[SiteSpec, TokenState], None] | None = None,
        compiled: bool = False,
    ) -> None:
        """Install them.

        Args:
            model: with no operator on it.
            parts: of the model.
            plan: of the operator.
            prompts: the layout that the language model is called with directly, or who follows calls of the whole.
            watch: is told what is present after each site of a prompt.
            compiled: what is done there, and where tokens enter, is fused.
        """
        self.parts = parts
        self.plan = plan
        self.origin = Origin(plan.operator)
        self.layout = prompts if isinstance(prompts, Layout) else None
        self.context = prompts if isinstance(prompts, CallContext) else None
        self.watch = watch
        self.compiled = compiled
        self.kind: str = parts.language_model.config._attn_implementation
        self._local = _Local()
        self._hooks: list[Any] = []
        if plan.first_layer is not None:
            self._install(model, plan.first_layer)

    @property
    def operator(self) -> OperatorSpec:
        """What is at work."""
        return self.plan.operator

    def _install(self, model: nn.Module, first: int) -> None:
        # called as a whole, hooks run as they are even where the model is compiled: what one call tells the next in
        # this thread must not be taken for a constant
        parts, traced = self.parts, self.context is None
        if self.context is not None:
            self._hooks.append(before(model, self._begin_call, traced))
            self._hooks.append(before(parts.body, self.context.read_call, traced))
            # a call that fails must not be taken for the next one of the language model
            self._hooks.append(behind(parts.body, self._end_call, traced, always=True))
            source = None if parts.family is None else parts.family.grid_module(parts)
            if source is not None:
                self._hooks.append(before(source, self.context.capture_grids, traced))
        self._hooks.append(before(parts.language_model, self._enter, traced))
        levels = levels_of(parts, first)
        self.deepens = levels > 0
        for index, layer in enumerate(parts.layers):
            # layer 0 always: it is where the cache is first seen
            if index >= first or index <= levels or index + 1 in self.plan.reads_earlier:
                self._hooks.append(before(layer, partial(self._layer, index), traced))
                if index in parts.recurrent:
                    self._hooks.append(behind(layer, self._in_place, traced))
        self._hooks.append(behind(parts.language_model.norm, self._leave, traced))
        if self.plan.biased and is_flash(parts):
            for index in range(min(self.plan.biased), len(parts.layers)):
                if index not in parts.recurrent:
                    self._hooks.append(Carrier(parts.layers[index].self_attn))

    def remove(self) -> None:
        """Take every hook off again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self.context is not None:
            self.context.remove()

    # A copied or pickled model takes its operator along, not what it is in the middle of

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _local=_Local())

    # Around a call of the whole model; what it tells is the listener's

    def _begin_call(self, module: Any, call: Call) -> None:
        # not the listener's own hook: by the session behind it, ``attach`` knows that a copied model has an operator on
        assert self.context is not None
        self.context.read_answers(module, call)

    def _end_call(self, module: Any, args: Any, output: Any) -> None:
        assert self.context is not None
        self.context.take()
        self._local.now = self._local.cache = None

    # What happens in the language model

    def _enter(self, module: Any, call: Call) -> None:
        """Before the language model: begin a prompt (with its sites at layer 0), or go on with one."""
        check_kept(self.parts, self.kind)
        local, cache = self._local, cache_of(call)
        info = CallInfo(self.layout) if self.context is None else self.context.take()
        images = info.images
        local.now = local.cache = None
        past = 0 if cache is None else cache.get_seq_length()
        if past > 0:
            prompt = recall(cache)
            if prompt is None:
                check_whole(cache, self.plan, call, info.valid_bs)
                remember(cache, Prompt(0))
            elif prompt.stages:
                check_origin(prompt, self.origin)
                local.now = Pass(prompt, prefill=False, valid_bs=info.valid_bs, repeated=info.repeated)
                if prompt.entered is not None:
                    shorten(self.parts, local.now, call, past)
            return
        if cache is not None:
            forget(cache)
        if images is None:
            return
        if is_flash(self.parts):
            check_unpacked(call)
        if getattr(cache, "is_compileable", False):
            raise EosError("static caches are not supported with an operator; use the default dynamic cache")
        x_bsd, position = call["inputs_embeds"], call.get("position_ids")
        if position is None:
            position = torch.arange(x_bsd.shape[1], device=x_bsd.device)[None]
        position = moved(position, x_bsd.device)
        step = self._begin(images, x_bsd, position)
        if step is None:
            return
        fed = [] if info.ids_bs is None else [info.ids_bs]
        prompt = Prompt(x_bsd.shape[1], self.origin, fed=fed, counting=self.parts.counting)
        if position.dim() > 2:
            prompt.ahead_b1 = ahead(position, info.valid_bs)
        local.now = Pass(prompt, prefill=True, start=step.present)
        if self.deepens:
            local.now.deep = dense(call)
        if 0 in self.plan.by_layer or (isinstance(images, Layout) and images.seen is not None):
            self._reduce_first(local.now, step, call)

    def _begin(self, images: Layout | ImageCall, x_bsd: Tensor, position: Tensor) -> Step | None:
        """What enters the language model; None where the prompts hold no unit to reduce."""
        if isinstance(images, Layout):
            if self.context is not None:
                self.context.add_to(images, len(x_bsd))
            images = moved(images, x_bsd.device)
            check_layout(images, x_bsd, self.plan.tokens, self.plan.entering)
            opens = compile_step(enter) if self.compiled and not images.units else enter
            return opens(images, position, x_bsd, self.plan.features, self.parts.grid)
        assert self.context is not None
        whole = moved(self.context.token_state_of(images, position), x_bsd.device)
        return None if whole is None else Step(opened(whole, x_bsd, self.plan.features), x_bsd, whole.slot_bk)

    def _reduce_first(self, now: Pass, step: Step, call: Call) -> None:
        parts, layer, kind = self.parts, self.parts.layers[0], self.parts.kind(0)
        device = device_of(layer.input_layernorm, step.x_bkd.device)
        present, x_bkd, mask = moved((step.present, step.x_bkd, mask_of_places(parts, call)), device)
        seen = mask.get(kind) if isinstance(mask, dict) else mask
        for planned in self.plan.by_layer.get(0, ()):
            rope = parts.rope(x_bkd, present.position_bk, kind)
            if own_masks(parts) and seen is not None and seen.dim() == 4:
                present = replace(present, mask=take(seen, present.slot_bk))
            present, x_bkd, _ = self._apply(planned, in_scope(planned, present), x_bkd, rope, layer)
        mask = mask_of_present(parts, mask, present, x_bkd, call)
        call.update(inputs_embeds=x_bkd, attention_mask=mask, position_ids=present.position_bk)
        now.stage = now.prompt.stages[0] = Stage(present, None)

    def _apply(self, planned: PlannedSite, present: TokenState, x_bkd: Tensor, rope: Rope, layer: Any) -> Step:
        apply = compile_step(apply_site) if self.compiled and present.ragged is None else apply_site
        step = apply(self._fitted(planned, present), present, x_bkd, rope, layer, self.parts)
        if self.watch is not None:
            self.watch(planned.site, step.present)
        return step

    def _fitted(self, planned: PlannedSite, present: TokenState) -> tuple[PlannedSite, ...]:
        """A site as it is for each group's grid."""
        return tuple(self.plan.of_grid(group.grid).decoder[planned.order] for group in present.groups)

    def _layer(self, index: int, module: Any, call: Call) -> None:
        now, cache = self._local.now, cache_of(call)
        if index == 0 and cache is not None:
            self._local.cache, self._local.fresh = cache, cache.get_seq_length() == 0
        if now is None:
            at = 0 if index in self.parts.recurrent else index  # such a layer's cache counts nothing
            if self.layout is not None and (cache is None or cache.get_seq_length(at) == 0):
                # compiled in pieces, as flash attention may be, one piece does not see what another said
                raise EosError("the operator is at work in pieces of this call: it cannot be compiled like that")
            return
        if cache is None and index == 0 and call.get("use_cache"):  # later steps would not know what was chosen
            raise EosError("this version of transformers hands its decoder layers no cache that operators know of")
        if now.prefill:
            device = device_of(module.input_layernorm, call["hidden_states"].device)
            call["hidden_states"] = moved(call["hidden_states"], device)
            self._prefill(now, module, call, index)
        else:
            self._decode(now, module, call, index)
        if is_flash(self.parts):  # of no use but to tell packed sequences apart, for which it would take the gaps
            call["position_ids"] = None

    def _prefill(self, now: Pass, module: Any, call: Call, index: int) -> None:
        add_level(now, call, index)
        if index > 0 and index in self.plan.by_layer:
            self._reduce(now, module, call, index)
        if index + 1 in self.plan.reads_earlier:
            keep_earlier(now, call["hidden_states"])
        hand_over(self.parts, now, call, index)

    def _in_place(self, module: Any, args: Any, output_bkd: Tensor) -> Tensor | None:
        """After a layer that read tokens one after another: fillers are where they were."""
        now = self._local.now
        if now is None or now.order_bk is None:
            return None
        order_bk, now.order_bk = now.order_bk, None
        return restored(output_bkd, order_bk)

    def _reduce(self, now: Pass, module: Any, call: Call, index: int) -> None:
        x_bkd, kind = call["hidden_states"], self.parts.kind(index)
        column_bk, renumbered = None, False
        if now.stage is None:
            assert now.start is not None
            arguments = now.start, call.get("attention_mask"), tuple(call["position_embeddings"])
            present, mask, rope = moved(arguments, x_bkd.device)
            rope = Rope(*(part.expand(len(x_bkd), -1, -1) for part in rope))
        else:
            stage = now.stage.on(x_bkd.device)
            mask, rope = masked_and_turned(self.parts, stage, call, index)
            present, column_bk, renumbered = stage.present, stage.column_bk, stage.renumbered
        for planned in self.plan.by_layer[index]:
            if own_masks(self.parts):
                present = replace(present, mask=mask)
            present, x_bkd, keep_bk = self._apply(planned, in_scope(planned, present), x_bkd, rope, module)
            column_bk = keep_bk if column_bk is None else column_bk.gather(1, keep_bk)
            if planned.site.positions == "renumber":
                rope, renumbered = self.parts.rope(x_bkd, present.position_bk, kind), True
            else:
                rope = rope.at(keep_bk)
            if own_masks(self.parts) and mask is not None:
                mask = take(mask, keep_bk)
        call["hidden_states"] = x_bkd
        present = replace(present, earlier_bkd=None)  # not to be kept with the cache
        now.stage = now.prompt.stages[index] = Stage(present, column_bk, renumbered)

    def _decode(self, now: Pass, module: Any, call: Call, index: int) -> None:
        if index == 0 and own_masks(self.parts):
            now.later_bqq = sees_later(call.get("attention_mask"), call["hidden_states"].shape[1])
        begun = [layer for layer in now.prompt.stages if layer <= index]
        if not begun or index in self.parts.recurrent:  # its state is of what was there
            return
        device = device_of(module.input_layernorm, call["hidden_states"].device)
        key = max(begun), self.parts.kind(index), device
        if key not in now.decode:
            now.decode[key] = later_call(self.parts, now, now.prompt.stages[key[0]].on(device), on(call, device), index)
        call.update(now.decode[key])

    def _leave(self, module: Any, args: Any, output_bkd: Tensor) -> Tensor | None:
        """After the final norm: as many rows as came in, zeros where a token was removed."""
        local = self._local
        now, cache = local.now, local.cache
        local.now = local.cache = None
        if cache is not None and (now is not None or local.fresh):
            remember(cache, Prompt(0) if now is None else now.prompt)
        if now is not None and now.repeated:
            return nn.functional.pad(output_bkd, (0, 0, now.repeated, 0))
        if now is None:
            return None
        whole_bsd = whole_length(now, output_bkd)
        if whole_bsd is not None:
            for stage in now.prompt.stages.values():
                stage.done()
            now.prompt.settle()
        return whole_bsd


def in_scope(planned: PlannedSite, present: TokenState) -> TokenState:
    """The tokens as a site looks at them: span by span, or those of whole films together."""
    return films(present) if planned.site.scope == "film" else present
