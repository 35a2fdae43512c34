"""Runs of a model to compare: with its cache, without, and layer by layer with tokens dropped by hand.

Legend: b batch, t new tokens, v vocabulary, k tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters import family_of
from eos_platform.models.adapters.base import Parts
from eos_platform.models.conformance.zoo import IMAGE, Sample
from eos_platform.operators.grid_tables import anchor_mask
from eos_platform.operators.rescale import sites_for
from eos_platform.operators.spec import OperatorSpec

NEW = 3
CLOSE: dict[str, Any] = {"atol": 2e-4, "rtol": 1e-4}


@torch.no_grad()
def cached(model: Any, inputs: dict[str, Any], **more: Any) -> tuple[Tensor, Tensor]:
    """Tokens (b, t) that greedy ``generate`` adds, and their logits (b, t, v)."""
    outputs = model.generate(
        **inputs, max_new_tokens=NEW, do_sample=False, return_dict_in_generate=True, output_logits=True, **more
    )
    return outputs.sequences[:, -NEW:], torch.stack(outputs.logits, 1)


@torch.no_grad()
def uncached(model: Any, sample: Sample, inputs: dict[str, Any], new_bt: Tensor) -> Tensor:
    """Logits of the same tokens (b, t, v), each from a run of the whole, the prompt's choice kept by ``labels``."""
    logits = []
    for count in range(new_bt.shape[1]):
        logits.append(model(**lengthened(sample, inputs, new_bt[:, :count]), use_cache=False).logits[:, -1])
    return torch.stack(logits, 1)


def same_as_uncached(sample: Sample, model: Any, inputs: dict[str, Any], times: int = 1) -> None:
    """``generate`` with its cache gives what runs of the whole give, and again, as calls in a row share nothing."""
    for _ in range(times):
        new_bt, logits_btv = cached(model, inputs)
        assert torch.allclose(logits_btv, uncached(model, sample, inputs, new_bt), **CLOSE), "cache differs"


def lengthened(sample: Sample, inputs: dict[str, Any], new_bt: Tensor) -> dict[str, Any]:
    """The inputs with tokens of an answer behind the prompts."""
    full = dict(inputs)
    ids = inputs["input_ids"]
    full["input_ids"] = torch.cat((ids, new_bt), 1)
    full["attention_mask"] = torch.cat((inputs["attention_mask"], torch.ones_like(new_bt)), 1)
    full["labels"] = torch.cat((torch.full_like(ids, -100), new_bt), 1)
    if sample.types:
        name = sample.types[0]
        full[name] = torch.cat((inputs[name], torch.full_like(new_bt, sample.suffix)), 1)
    if sample.plain_positions:
        full["position_ids"] = (full["attention_mask"].cumsum(1) - 1).clamp(min=0) + sample.first
    return full


def held(cache: Any, parts: Parts) -> dict[int, int]:
    """How many tokens the cache of each layer holds, as far as it keeps keys."""
    return {index: cache.get_seq_length(index) for index in range(len(parts.layers)) if index not in parts.recurrent}


@torch.no_grad()
def by_hand(model: Any, inputs: dict[str, Any], operator: OperatorSpec, layer: int) -> Tensor:
    """Logits of one prompt's last token, what ``plain`` drops dropped by hand before ``layer``.

    Each layer is called with the mask and rotary embeddings that the unreduced model handed it, cut to what is left.
    """
    parts = family_of(model).parts(model)
    calls: list[dict[str, Any]] = []
    entered: list[dict[str, Any]] = []
    hooks = [
        one.register_forward_pre_hook(lambda _, args, kwargs: calls.append({"x": args[0], **kwargs}), with_kwargs=True)
        for one in parts.layers
    ]
    hooks.append(
        parts.language_model.register_forward_pre_hook(lambda _, __, kwargs: entered.append(kwargs), with_kwargs=True)
    )
    model(**inputs, use_cache=False)
    for hook in hooks:
        hook.remove()
    keep_k = kept_places(model, inputs, operator)
    deep = entered[0].get("deepstack_visual_embeds") or []
    x_bkd = calls[layer]["x"][:, keep_k]
    for index in range(layer, len(parts.layers)):
        handed = calls[index]
        mask = handed["attention_mask"]
        if index in parts.recurrent:  # reads what is left, none of which is padding
            mask = None
        elif mask is None:  # plainly causal
            mask = torch.ones(len(keep_k), len(keep_k), dtype=torch.bool).tril()[None, None]
        else:
            mask = mask[:, :, keep_k][:, :, :, keep_k]
        rope = tuple(part[:, keep_k] for part in handed["position_embeddings"])
        more = {name: handed[name] for name in ("shared_kv_states",) if name in handed}
        x_bkd = parts.layers[index](x_bkd, attention_mask=mask, position_embeddings=rope, **more)
        if index < len(deep):
            whole = torch.zeros_like(calls[0]["x"])
            whole[entered[0]["visual_pos_masks"]] = deep[index]
            x_bkd = x_bkd + whole[:, keep_k]
    logits: Tensor = model.lm_head(parts.language_model.norm(x_bkd)[:, -1])
    return logits


def kept_places(model: Any, inputs: dict[str, Any], operator: OperatorSpec) -> Tensor:
    """What ``plain`` leaves of one prompt with one picture."""
    family = family_of(model)
    parts = family.parts(model)
    call = {"input_ids": inputs["input_ids"], **inputs}
    items = family.media_items(parts, call, family.sizes(call))["image"]
    grids = [parts.grid] if items is None else [grid for piece in items for grid in piece.grids]
    place_n = torch.where(inputs["input_ids"][0] == IMAGE)[0]
    gone: list[int] = []
    start = 0
    for grid in grids:
        count = grid[0] * grid[1]
        keep = sites_for(operator, grid)[0].keep
        stays_n = anchor_mask(grid, keep, place_n.device)
        gone += place_n[start : start + count][~stays_n].tolist()
        start += count
    every = torch.arange(inputs["input_ids"].shape[1])
    return every[~torch.isin(every, torch.tensor(gone))]
