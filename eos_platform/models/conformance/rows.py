"""A check that attention rows, which sites recompute from a layer's own projections, are those of the layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.attention.queries import attention_rows, layer_keys
from eos_platform.models.attention.rope import Rope
from eos_platform.models.conformance.registry import Checks
from eos_platform.models.conformance.runs import CLOSE
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import Sample, prompts
from eos_platform.models.runtime.prompt_state import of_layout

CHECKS = Checks()


@CHECKS.check("rows read = own attention")
@torch.no_grad()
def rows(sample: Sample) -> int:
    """The last token's row of every layer that has attention, padded or not: masks, turns, norms and gates alike."""
    model, tried = built(sample, "eager"), 0
    adapter = adapter_of(model)
    parts, size = adapter.parts, sample.sizes[-1]
    prefill = adapter.encode(prompts(sample, [[size], [size]], (3, 7)))
    handed: dict[int, dict[str, Any]] = {}
    weights: dict[int, torch.Tensor] = {}

    def enters(index: int, module: Any, args: tuple[Any, ...], call: dict[str, Any]) -> None:
        handed[index] = {"hidden_states": args[0], **call} if args else call

    def leaves(index: int, module: Any, args: tuple[Any, ...], output: Any) -> None:
        weights[index] = output[1]

    hooks = []
    for index, layer in enumerate(parts.layers):
        hooks.append(layer.register_forward_pre_hook(partial(enters, index), with_kwargs=True))
        if hasattr(layer, "self_attn"):
            hooks.append(layer.self_attn.register_forward_hook(partial(leaves, index)))
    try:
        adapter.forward(prefill)
    finally:
        for hook in hooks:
            hook.remove()
    layout = prefill.layout
    state = of_layout(layout, torch.arange(layout.valid_bs.shape[1])[None], parts.grid)
    for index, whole_bhss in weights.items():
        call, turn = handed[index], parts.turn(parts.kind(index))
        batch = len(layout.valid_bs)
        rope = Rope(*(part.expand(batch, -1, -1) for part in call["position_embeddings"]))
        sequence = state.attention_inputs(call["hidden_states"], rope, turn=turn)
        if parts.family is not None and parts.family.own_masks and call.get("attention_mask") is not None:
            sequence = sequence._replace(mask=call["attention_mask"])
        normed_bsd, key_bsge = layer_keys(parts.layers[index], sequence)
        query_b1 = layout.last_b[:, None]
        found_bhqs = attention_rows(parts.layers[index], sequence, query_b1, normed_bsd, turn(key_bsge, rope))
        expected_bhqs = whole_bhss[torch.arange(batch), :, layout.last_b].unsqueeze(2)
        assert torch.allclose(found_bhqs, expected_bhqs.float(), **CLOSE), f"layer {index}"
        tried += 1
    return tried
