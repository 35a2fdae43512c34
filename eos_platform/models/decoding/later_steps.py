"""What the layers are handed at later decode steps: masks, positions and biases of the tokens that were kept.

Legend: b batch, k tokens of the prompt present, q new tokens, c cached tokens, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import FULL, Parts
from eos_platform.models.attention.flash_bias import BIAS
from eos_platform.models.attention.implementations import is_flash
from eos_platform.models.attention.masks import add_bias, as_float, take_keys
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.decoding.prompt import Call, Pass, Prompt, Stage
from eos_platform.models.loading.devices import moved, on
from eos_platform.models.runtime.token_state import TokenState


def shorten(parts: Parts, now: Pass, call: Call, past: int) -> None:
    """Take from a later step's mask and positions the tokens that the counting layer never saw.

    Raises:
        EosError: tokens that the cache already holds are fed again.
    """
    prompt, x_bqd = now.prompt, call.get("inputs_embeds")
    if x_bqd is None:
        x_bqd = call["inputs_embeds"] = parts.language_model.get_input_embeddings()(call.pop("input_ids"))
    assert prompt.entered is not None
    present = prompt.entered.on(x_bqd.device).present
    call.update(on(call, x_bqd.device))
    now.valid_bs = moved(now.valid_bs, x_bqd.device)
    new = x_bqd.shape[1]
    seen = past + prompt.length - present.count
    mask, position_bq = call.get("attention_mask"), call.get("position_ids")
    ready = isinstance(mask, dict) or (mask is not None and mask.dim() != 2)  # layers are handed their own anyway
    whole = mask if now.valid_bs is None and not ready else now.valid_bs
    fits = True
    if whole is not None:
        fits = whole.shape[-1] == seen + new
    elif position_bq is not None and new > 1 and not torch.compiler.is_compiling():
        fits = lead(position_bq, prompt, seen) in (0, None)
    if not fits:
        raise EosError(
            f"{new} tokens after {seen} are not what mask and positions say; to go on from a cache whose prompt was"
            " reduced before the language model, pass the new tokens only, and the attention mask of the whole"
        )
    if mask is not None and not ready:
        column_bk = with_new(present.slot_bk, prompt.length, mask.shape[-1])
        mask = mask.gather(1, column_bk)
        call["attention_mask"] = _without_fillers(mask, present)
    elif mask is None and present.alive_bk is not None:
        call["attention_mask"] = _without_fillers(
            torch.ones(len(x_bqd), past + new, dtype=torch.long, device=x_bqd.device), present
        )
    elif ready and not isinstance(mask, dict) and not (parts.family and parts.family.own_masks):
        assert mask is not None
        call["attention_mask"] = take_keys(mask, with_new(present.slot_bk, prompt.length, mask.shape[-1]))
    if position_bq is None:
        position_bq = torch.arange(seen, seen + new, device=x_bqd.device)[None]
    call["position_ids"] = position_bq - present.shift


def lead(position: Tensor, prompt: Prompt, seen: int) -> int | None:
    """How far positions, without padding, are ahead of those that follow ``seen`` tokens; None: that is not known.

    It stalls the device, once a turn.
    """
    assert prompt.entered is not None
    original, slot_bk = prompt.entered.present.original_bk, prompt.entered.present.slot_bk
    if position.dim() > 2:  # the axis in front of four counts tokens
        axis = 0 if len(position) == 4 and len(original) == 4 else -1
        position, original = position[axis], original[axis]
        if axis == -1 and int(slot_bk[0, -1]) != prompt.length - 1:  # it ended in a visual token that left
            return None
    return int(position[0, 0] - original[0, -1] + slot_bk[0, -1]) - seen


def ahead(position: Tensor, valid_bs: Tensor | None) -> Tensor:
    """How far what follows a prompt is, on each of several axes (a, b, s), ahead of the count of tokens (b, 1)."""
    valid_bs = moved(valid_bs, position.device)
    count = position.shape[-1] if valid_bs is None else valid_bs.long().sum(1, keepdim=True)
    return position[-3:].amax((0, 2))[:, None] + 1 - count


def _without_fillers(mask_bc: Tensor, present: TokenState) -> Tensor:
    if present.alive_bk is None:
        return mask_bc
    alive_bc = nn.functional.pad(present.alive_bk, (0, mask_bc.shape[1] - present.count), value=True)
    return mask_bc * alive_bc


def later_call(parts: Parts, now: Pass, stage: Stage, call: Call, index: int) -> Call:
    """What the layers of a stage are handed at a later step.

    Args:
        parts: of the model.
        now: the step, and the prompt it goes on from.
        stage: the one these layers belong to.
        call: what the model hands them.
        index: of the first such layer of its kind.
    """
    prompt, kind, present = now.prompt, parts.kind(index), stage.present
    mask, x_bqd, cache = call.get("attention_mask"), call["hidden_states"], cache_of(call)
    new = x_bqd.shape[1]
    keys = cache.get_seq_length(index) + new
    entered = None if prompt.entered is None else prompt.entered.on(x_bqd.device).present
    bias_bk = present.bias_bk
    if parts.family is not None and parts.family.own_masks:
        mask, bias_bk = _own_mask(parts, now, stage, call, index, keys), None
    elif present.alive_bk is not None and stage.column_bk is not None:
        seen_bqc = _rebuilt(present, now.valid_bs, keys, new, None)
        if is_flash(parts):
            mask = seen_bqc[:, -1]  # the latest token sees every key that is there
        else:
            mask = as_float(seen_bqc, x_bqd.dtype) if _eager(parts) else seen_bqc[:, None]
    elif mask is not None and stage.column_bk is not None:
        columns = entered.count if entered else prompt.length
        mask = take_keys(mask, with_new(stage.column_bk, columns, mask.shape[-1]))
    spare = flash_bias(parts, present)
    if bias_bk is not None and not spare:
        mask = add_bias(mask, nn.functional.pad(bias_bk, (0, keys - present.count)), new, x_bqd.dtype)
    handed: Call = {"attention_mask": mask, "position_embeddings": call["position_embeddings"], **spare}
    if "position_ids" in call:
        handed["position_ids"] = call["position_ids"]
    if stage.renumbered:
        moved = present.shift - (entered.shift if entered else 0)
        handed["position_ids"] = call["position_ids"] - moved
        handed["position_embeddings"] = tuple(parts.rope(x_bqd, handed["position_ids"], kind))
    return handed


def _own_mask(parts: Parts, now: Pass, stage: Stage, call: Call, index: int, keys: int) -> Tensor | None:
    """The mask of a layer whose family's attention is not simply causal: windows are of places in the whole prompt."""
    present, x_bqd, kind = stage.present, call["hidden_states"], parts.kind(index)
    layers = getattr(cache_of(call), "layers", ())
    cached = layers[index] if index < len(layers) else None
    window = None if kind == FULL else parts.language_model.config.sliding_window
    new = x_bqd.shape[1]
    mask_bqc = _rebuilt(present, now.valid_bs, keys, new, window)
    if now.later_bqq is not None:
        later_bqq = moved(now.later_bqq, mask_bqc.device)
        mask_bqc = mask_bqc | nn.functional.pad(later_bqq, (keys - new, 0))
    bias_bk = present.bias_bk
    if bias_bk is not None:
        bias_bk = nn.functional.pad(bias_bk, (0, keys - present.count))
    if cached is not None and getattr(cached, "is_sliding", False):  # it holds no more than a window, of the latest
        held = min(keys - new, cached.sliding_window - 1) + new
        mask_bqc = mask_bqc[..., -held:]
        bias_bk = None if bias_bk is None else bias_bk[:, -held:]
    if bias_bk is not None:
        return add_bias(mask_bqc[:, None], bias_bk, new, x_bqd.dtype)
    return as_float(mask_bqc, x_bqd.dtype) if _eager(parts) else mask_bqc[:, None]


def _rebuilt(present: TokenState, valid_bs: Tensor | None, keys: int, new: int, window: int | None) -> Tensor:
    """Which cached and new tokens each new token sees (b, q, c), bool."""
    after = keys - present.count
    slot_bc = with_new(present.slot_bk, present.length, present.length + after)
    seen_bqc = slot_bc[:, None] <= slot_bc[:, -new:, None]
    if window is not None:
        seen_bqc = seen_bqc & (slot_bc[:, -new:, None] - slot_bc[:, None] < window)
    if valid_bs is not None:
        seen_bqc = seen_bqc & moved(valid_bs, slot_bc.device).bool().gather(1, slot_bc)[:, None]
    if present.alive_bk is not None:
        seen_bqc = seen_bqc & nn.functional.pad(present.alive_bk, (0, after), value=True)[:, None]
    return seen_bqc


def sees_later(mask: Tensor | None, new: int) -> Tensor | None:
    """Which later ones of several new tokens each sees (b, q, q), as the tokens of a picture may; None: none can.

    Args:
        mask: that the model hands layer 0, whose cache its kinds of tokens are told for.
        new: q.
    """
    if mask is None or new == 1 or mask.dim() != 4:
        return None
    own_bqq = mask[:, 0, :, -new:]
    return (own_bqq if own_bqq.dtype == torch.bool else own_bqq > torch.finfo(own_bqq.dtype).min / 2).triu(1)


def _eager(parts: Parts) -> bool:
    return bool(parts.language_model.config._attn_implementation == "eager")


def flash_bias(parts: Parts, present: TokenState) -> Call:
    """The bias of the tokens present as flash attention is handed it; empty: there is none, or it is in the mask."""
    return {} if present.bias_bk is None or not is_flash(parts) else {BIAS: present.bias_bk}


def with_new(column_bk: Tensor, old: int, total: int) -> Tensor:
    """Columns of the prompt, then all columns that came after its ``old`` ones."""
    new_q = torch.arange(old, total, device=column_bk.device)
    return torch.cat((column_bk, new_q.expand(len(column_bk), -1)), 1)
