"""The kinds of attention that operators run on.

Flash attention's kernels take no mask but one of padding, (b, k) over the keys (True: attend; None: all of them). So
a token sees all those before it and no other, windows are counted in tokens that are there, and what is added to the
logits of a key goes another way (``flash_bias.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import FULL, RECURRENT, Parts
from eos_platform.models.attention.flash_bias import SPARE, widest
from eos_platform.operators.plan import Need

MASKED = ("sdpa", "eager")  # take a mask of queries and keys, bool or float
REMEDY = "load the model with attn_implementation='sdpa'"


def is_flash(parts: Parts) -> bool:
    """Whether the decoder runs on some flash attention: a package's, or a kernel from the hub."""
    return _flash(parts.language_model.config._attn_implementation)


def _flash(kind: str) -> bool:
    return "flash" in kind  # as transformers.utils.generic.is_flash_attention_requested has it


def check_attention(parts: Parts) -> None:
    """Refuse a model whose kind of attention no operator runs on.

    Raises:
        EosError: it is not known here, or is flash attention that does more than look back.
    """
    kind = parts.language_model.config._attn_implementation
    _check_known(kind)
    if _flash(kind):
        _check_causal(parts, kind)


def biases_lacking(parts: Parts) -> Iterator[tuple[Need, str]]:
    """Where attention takes no sizes on the logits of its keys, and why not, in words behind what asks for it."""
    kinds = (
        (Need.SIZE_BIAS, parts.language_model.config._attn_implementation, _takes_no_sizes(parts)),
        (Need.TOWER_SIZE_BIAS, _attention_of(parts.tower), "takes none inside the vision tower"),
    )
    for need, kind, why in kinds:
        if not _known(kind):
            yield need, f"adds sizes to the logits of attention, and attention '{kind}' is not supported; {REMEDY}"
        elif _flash(kind) and why:
            yield need, f"adds sizes to the logits of attention, and attention '{kind}' {why}; {REMEDY}"


def _attention_of(tower: Any) -> str:
    return str(getattr(getattr(tower, "config", None), "_attn_implementation", ""))


def _takes_no_sizes(parts: Parts) -> str:
    """Why the decoder's flash attention cannot carry sizes; empty: it can."""
    config = parts.language_model.config
    if not _flash(config._attn_implementation):
        return ""
    if getattr(config, "attn_logit_softcapping", None):
        return "takes none where logits are capped"
    width, most = getattr(parts.reader(0).self_attn, "head_dim", None), widest(config._attn_implementation)
    if width is None:
        return "does not say how wide its heads are"
    return f"takes none where heads have {width} dimensions: {SPARE} more must fit" if width > most else ""


def check_kept(parts: Parts, kind: str) -> None:
    """Refuse to run an operator where attention was changed since, other than between sdpa and eager.

    Raises:
        EosError: it was of another kind when the operator was attached.
    """
    now = parts.language_model.config._attn_implementation
    if now != kind and not {now, kind} <= set(MASKED):
        raise EosError(
            f"attention is '{now}' and was '{kind}' when the operator was attached; detach it before the change"
        )


def check_unpacked(call: dict[str, Any]) -> None:
    """Refuse several sequences in one row: flash attention tells them apart by lengths and positions of every token.

    Raises:
        EosError: the language model is called with such a row.
    """
    packed = any(call.get(name) is not None for name in ("cu_seq_lens_q", "cu_seq_lens_k"))
    position, mask = call.get("position_ids"), call.get("attention_mask")
    plain = mask is None or mask.dim() == 2  # one of all ones is as good as none to flash attention
    if plain and position is not None and position.shape[-2] == 1 and not torch.compiler.is_compiling():
        first_s = position.flatten(0, -2)[0]  # of four axes, that of text
        if mask is not None:
            first_s = first_s[mask[0].bool()]  # padding has positions of its own
        packed = packed or bool((first_s.diff() < 0).any())
    if packed:
        raise EosError(f"several sequences packed into one row cannot be reduced on flash attention; {REMEDY}")


def _check_known(kind: str) -> None:
    if not _known(kind):
        raise EosError(f"attention '{kind}' is not supported; {REMEDY}")


def _known(kind: str) -> bool:
    if kind in MASKED:
        return True
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask

    # some kernels that are called flash attention take the masks of sdpa, who knows of which kinds
    return _flash(kind) and ALL_MASK_ATTENTION_FUNCTIONS.get(kind) is flash_attention_mask


def _check_causal(parts: Parts, kind: str) -> None:
    family, config = parts.family, parts.language_model.config
    if family is not None and family.both_ways:
        raise EosError(f"{family.name} attends both ways among some tokens, attention '{kind}' does not; {REMEDY}")
    # Mistral has one window for all its layers, and names no kinds of them
    windowed = any(one not in (FULL, *RECURRENT) for one in parts.kinds)
    if windowed or (getattr(config, "layer_types", None) is None and getattr(config, "sliding_window", None)):
        raise EosError(
            f"layers look back {config.sliding_window} tokens of the prompt, where attention '{kind}' would count those"
            f" that are left; {REMEDY}"
        )
