"""Sites inside the language model, on vLLM's CPU engine: rows leave before a later layer, and do not come back.

An engine has one list of token counts, lengths and cache slots for all layers. Here layers from a site on get their own
for every step: ``ForwardContext.attn_metadata`` says how many tokens and which lengths attention reads, and
``ForwardContext.slot_mapping`` where keys and values are written. Both must be changed, while a prompt is read and in
every later step: the slots that the metadata has as well are not read by this backend. After the last layer the rows
are put back in their places, zeros between them, as the engine looks up logits by row.

A later layer's keys lie one behind the other, in the first of a request's blocks; the others stay empty there. So
compute is saved, and memory is not: blocks are counted once for all layers.

Legend: k rows of a step, n visual tokens of a picture, r that stay, d width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.attention.text_queries import question
from eos_platform.operators.plan import FROM_TEXT, OperatorPlan, PlannedSite
from eos_platform.operators.reduce import reduce
from eos_platform.operators.tokens import Tokens, gather_tokens
from eos_platform.serve.vllm.looking import features

OF_PROMPT = "question"


@dataclass
class Request:
    """What is remembered of one from step to step.

    Attributes:
        gone: rows that left at each stage so far.
        question_d: mean direction of its text; None: not found yet.
    """

    gone: list[int]
    question_d: Tensor | None = None


@dataclass
class Piece:
    """A request's part of a step, as it stands before the next stage.

    Attributes:
        request: whose.
        computed: tokens before it, at full length.
        prompt: tokens of its prompt, at full length.
        rows: how many it has here.
        length: tokens in the cache of the layers that follow, these rows included.
    """

    request: Request
    computed: int
    prompt: int
    rows: int
    length: int


@dataclass
class Step:
    """Where a step stands.

    Attributes:
        pieces: of each request.
        kept_k: of the step's rows, those still there.
        visual_k: which of these are visual.
        size_k, origin_k, vision_k: of visual ones: how many tokens they stand for, their numbers in the grid, and how
            much the vision tower looked at them.
        whole: rows at first.
    """

    pieces: list[Piece]
    kept_k: Tensor
    visual_k: Tensor
    size_k: Tensor
    origin_k: Tensor
    vision_k: Tensor
    whole: int


class Inside:
    """Hooks on a decoder's layers."""

    def __init__(self, plan: OperatorPlan, decoder: Any, config: Any, bias_s: Tensor | None) -> None:
        """Install them.

        Args:
            plan: of the operator; its sites at layer 0 are done elsewhere.
            decoder: of vLLM's model: its layers are called one after the other.
            config: of its language model.
            bias_s: of the step's tokens on their keys' logits, where they are carried.
        """
        from vllm.platforms import current_platform

        if not current_platform.is_cpu():
            raise EosError("sites inside the language model are served by vLLM's CPU engine alone")
        self.layers, self.bias_s = list(decoder.layers), bias_s
        rope = dict(getattr(config, "rope_parameters", None) or {})
        self.theta = float(rope.get("rope_theta", getattr(config, "rope_theta", 10000.0)))
        self.stages = [layer for layer in sorted(plan.by_layer) if layer > 0]
        self.sites = [plan.by_layer[layer] for layer in self.stages]
        self.grid = plan.operator.target.grid
        self.reads_question = any(OF_PROMPT in planned.features for sites in self.sites for planned in sites)
        self.batch: Callable[[], Any] | None = None  # of the runner (``patches.py``)
        self.requests: dict[str, Request] = {}
        self.step: Step | None = None
        self.told: tuple[Tensor, ...] | None = None
        for number, layer in enumerate(self.layers):
            layer.register_forward_pre_hook(self._before(number))
        self.layers[-1].register_forward_hook(self._after)

    def tell(self, visual_k: Tensor, size_k: Tensor, origin_k: Tensor, vision_k: Tensor) -> None:
        """Of the rows of the step that follows: see ``Step``."""
        self.told = visual_k.clone(), size_k.clone(), origin_k.round().long(), vision_k.clone()

    def _before(self, number: int) -> Callable[[Any, Any], Any]:
        def hook(module: Any, args: Any) -> Any:
            from vllm.forward_context import get_forward_context

            position_k, hidden_kd, residual_kd = args
            context = get_forward_context()
            if number == 0:
                self.step = self._opened(context, hidden_kd) if context.attn_metadata is not None else None
            if self.step is None:
                return None
            if number in self.stages:
                hidden_kd, residual_kd = self._stage(number, context, position_k, hidden_kd, residual_kd)
            if len(position_k) != len(hidden_kd):
                position_k = position_k[self.step.kept_k]
            return position_k, hidden_kd, residual_kd

        return hook

    def _after(self, module: Any, args: Any, out: Any) -> Any:
        step = self.step
        if step is None or len(step.kept_k) == step.whole:
            return None

        def back(x_kd: Tensor) -> Tensor:
            whole = x_kd.new_zeros(step.whole, x_kd.shape[-1])
            whole[step.kept_k] = x_kd
            return whole

        return tuple(map(back, out))

    def _opened(self, context: Any, x_kd: Tensor) -> Step:
        """The step before anything leaves."""
        assert self.batch is not None, "patch 'requests-told' is not there"
        runner = self.batch()
        meta = context.attn_metadata[self._attention(0).layer_name]
        start, lengths = meta.query_start_loc.tolist(), meta.seq_lens.tolist()
        self.requests = {name: one for name, one in self.requests.items() if name in runner.requests}
        visual_k, size_k, origin_k, vision_k = self._told(len(x_kd))
        pieces = []
        for number, length in enumerate(lengths):
            name, rows = runner.input_batch.req_ids[number], start[number + 1] - start[number]
            prompt, computed = int(runner.input_batch.num_prompt_tokens[number]), length - rows
            if computed == 0:  # a new one, or one that was put off and begins again
                self.requests[name] = Request([0] * len(self.stages))
            request = self.requests[name]
            mine = slice(start[number], start[number + 1])
            if self.reads_question and bool(visual_k[mine].any()):
                last = int(visual_k[mine].nonzero()[-1])
                text_1td = x_kd[mine][last + 1 : prompt - computed][None]
                request.question_d = question(text_1td, torch.ones(text_1td.shape[:2], dtype=torch.bool))[0]
            pieces.append(Piece(request, computed, prompt, rows, length))
        return Step(pieces, torch.arange(start[-1]), visual_k, size_k, origin_k, vision_k, len(x_kd))

    def _told(self, rows: int) -> tuple[Tensor, ...]:
        told, self.told = self.told, None
        if told is not None and len(told[0]) >= rows:
            return tuple(one[:rows] for one in told)
        none = torch.zeros(rows)
        return none > 0, none, none.long(), none

    def _attention(self, number: int) -> Any:
        attention = self.layers[number].self_attn.attn
        return getattr(attention, "inner", attention)  # widened to carry sizes

    def _stage(
        self, layer: int, context: Any, position_k: Tensor, hidden_kd: Tensor, residual_kd: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Reduce before a layer, and tell it and all later ones of it."""
        step, stage = self.step, self.stages.index(layer)
        assert step is not None
        x_kd, hidden_kd, residual_kd = hidden_kd + residual_kd, hidden_kd.clone(), residual_kd.clone()
        position_k = position_k[step.kept_k]
        bias_k = None if self.bias_s is None else self.bias_s[: len(x_kd)].clone()
        stays_k, begin = torch.ones(len(x_kd), dtype=torch.bool), 0
        for piece in step.pieces:
            mine = slice(begin, begin + piece.rows)
            if bool(step.visual_k[mine].any()):
                self._reduced(stage, piece, mine, x_kd, position_k, bias_k, hidden_kd, residual_kd, stays_k)
            left = int(stays_k[mine].sum())
            piece.request.gone[stage] += piece.rows - left
            begin += piece.rows
            piece.rows = left
            piece.length -= piece.request.gone[stage]
        self.step = replace(
            step, **{
                name: getattr(step, name)[stays_k] for name in ("kept_k", "visual_k", "size_k", "origin_k", "vision_k")
            },
        )  # fmt: skip
        if bias_k is not None and self.bias_s is not None:
            self.bias_s[: int(stays_k.sum())] = bias_k[stays_k]
        self._tell_layers(layer, context)
        return hidden_kd[stays_k], residual_kd[stays_k]

    def _reduced(
        self, stage: int, piece: Piece, mine: slice, x_kd: Tensor, position_k: Tensor, bias_k: Tensor | None,
        hidden_kd: Tensor, residual_kd: Tensor, stays_k: Tensor,
    ) -> None:  # fmt: skip
        """A request's pictures, in place.

        Raises:
            EosError: a picture, or a text that decides, is not there as a whole.
        """
        step, sites = self.step, self.sites[stage]
        assert step is not None
        where_n, n = step.visual_k[mine].nonzero()[:, 0] + mine.start, sites[0].incoming
        named = {name for planned in sites for name in planned.features}
        before = sum(piece.request.gone[:stage])
        whole = piece.computed == 0 and piece.rows + before >= piece.prompt
        if len(where_n) % n or (named & set(FROM_TEXT) and not whole):
            raise EosError("a prompt came in pieces: sites inside the language model need chunked prefill to be off")
        last = piece.prompt - 1 - before if whole else piece.rows - 1
        read = features(
            named, self.layers[self.stages[stage]], x_kd[mine], position_k[mine], self.theta,
            None if bias_k is None else bias_k[mine], step.visual_k[mine], last, piece.request.question_d,
            step.vision_k[where_n],
        )  # fmt: skip
        for number, picture_n in enumerate(where_n.split(n)):
            given = {
                name: value if name == OF_PROMPT else value[:, number * n : (number + 1) * n]
                for name, value in read.items()
            }
            tokens = Tokens(x_kd[picture_n][None], step.size_k[picture_n][None], step.origin_k[picture_n][None])
            tokens, stay_r = self._applied(sites, tokens, given)
            to_r = picture_n[stay_r]
            stays_k[picture_n] = False
            stays_k[to_r] = True
            hidden_kd[to_r] = 0
            residual_kd[to_r] = tokens.x_bnd[0].to(residual_kd.dtype)
            step.size_k[to_r] = tokens.size_bn[0]
            if bias_k is not None and sites[-1].site.beta > 0:
                bias_k[to_r] = sites[-1].site.beta * tokens.size_bn[0].float().log()

    def _applied(
        self, sites: tuple[PlannedSite, ...], tokens: Tokens, given: dict[str, Tensor]
    ) -> tuple[Tokens, Tensor]:
        """Sites one after the other, and which of the tokens are left (r,)."""
        stay_r = torch.arange(tokens.x_bnd.shape[1])
        for planned in sites:
            tokens, index_1r = reduce(planned.site, tokens, given, self.grid)
            given = {k: v if k == OF_PROMPT else gather_tokens(v, index_1r) for k, v in given.items()}
            stay_r = stay_r[index_1r[0]]
        return tokens, stay_r

    def _tell_layers(self, layer: int, context: Any) -> None:
        """Attention's metadata and cache slots of this and all later layers."""
        from vllm import _custom_ops as ops
        from vllm import envs

        step, first = self.step, self._attention(layer)
        assert step is not None
        meta, size = context.attn_metadata[first.layer_name], first.kv_cache.shape[2]
        ends = torch.tensor([0, *(piece.rows for piece in step.pieces)]).cumsum(0)
        slots = []
        for number, piece in enumerate(step.pieces):
            place = torch.arange(piece.length - piece.rows, piece.length)
            slots.append(meta.block_table[number].long()[place // size] * size + place % size)
        starts = ends.to(meta.query_start_loc.dtype)
        lengths = torch.tensor([piece.length for piece in step.pieces], dtype=meta.seq_lens.dtype)
        impl = first.impl
        planned = ops.cpu_attn_get_scheduler_metadata(
            num_reqs=len(lengths), num_heads=impl.num_heads, num_kv_heads=impl.num_kv_heads, head_dim=first.head_size,
            seq_lens=lengths, dtype=first.kv_cache.dtype, query_start_loc=starts, causal=meta.causal,
            sliding_window_size=impl.sliding_window, isa=first.isa, enable_kv_split=envs.VLLM_CPU_ATTN_SPLIT_KV,
            kv_cache_dtype=impl.kv_cache_dtype,
        )  # fmt: skip
        mapping = torch.cat(slots).to(meta.slot_mapping.dtype)
        told = replace(
            meta, num_actual_tokens=len(mapping), query_start_loc=starts, seq_lens=lengths, slot_mapping=mapping,
            max_seq_len=int(lengths.max()), max_query_len=max(piece.rows for piece in step.pieces),
            scheduler_metadata=planned,
        )  # fmt: skip
        for number in range(layer, len(self.layers)):
            name = self._attention(number).layer_name
            context.attn_metadata[name] = told
            context.slot_mapping[name] = mapping  # what is written where is read from here, not from the metadata
