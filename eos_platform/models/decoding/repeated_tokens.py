"""Tokens fed to a step that its cache holds already.

Where visual tokens left before layer 0, the cache is shorter than what it stands for. ``generate`` and loops by hand
take its length for the number of tokens gone by: of a whole conversation they feed too many, all of which are new but
the first ones, and these are taken off again.

Legend: b batch, q tokens fed, s all tokens so far.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.decoding.later_steps import lead, with_new
from eos_platform.models.decoding.prompt import Call, Prompt
from eos_platform.models.loading.devices import moved

MANY = 64  # pieces of ids, before they are joined
SLICED = "input_ids", "inputs_embeds", "position_ids", "token_type_ids", "mm_token_type_ids"


def drop_repeated(prompt: Prompt, call: Call) -> int:
    """Take from a later step what the cache holds already, and say how many tokens that is.

    What tells them is the attention mask, or else positions, or else (that stalls the device) the ids.

    Args:
        prompt: the step goes on from.
        call: of the model's body.

    Raises:
        EosError: nothing new is left.
    """
    given = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
    past, fed, gone = int(cache_of(call).get_seq_length()), given.shape[1], prompt.gone
    again = gone > 0 and fed > 1 and _again(prompt, call, past, fed)
    if not again:
        _note(prompt, call, past + gone)
        _present_kinds(prompt, call, past + gone + fed)
        return 0
    if fed <= gone:
        raise EosError(f"the {fed} tokens fed are in the cache already; pass those that follow")
    for name in SLICED:
        tensor = call.get(name)
        if isinstance(tensor, Tensor):
            axis = 1 if name == "inputs_embeds" else -1
            if tensor.shape[axis] == fed:
                call[name] = tensor.narrow(axis, gone, fed - gone)
    _note(prompt, call, past + gone)
    _present_kinds(prompt, call, past + fed)
    return gone


def _present_kinds(prompt: Prompt, call: Call, total: int) -> None:
    """Kinds of all ``total`` tokens, where they are given, as kinds of those in layer 0's cache and the new ones.

    The model counts kinds from the first token on. Given for new tokens alone they are of old ones to it, which is of
    no consequence in a whole cache, but would be in a shortened one.
    """
    kinds = call.get("token_type_ids")
    if not prompt.gone or not isinstance(kinds, Tensor):
        return
    whole = kinds.shape[-1] == total
    assert prompt.entered is not None
    column_bk = with_new(prompt.entered.present.slot_bk, prompt.length, total)
    call["token_type_ids"] = kinds.expand(len(column_bk), -1).gather(1, column_bk) if whole else None


def _again(prompt: Prompt, call: Call, past: int, fed: int) -> bool:
    mask, position = call.get("attention_mask"), call.get("position_ids")
    if isinstance(mask, Tensor) and mask.dim() == 2:
        return mask.shape[1] == past + fed
    if mask is not None or torch.compiler.is_compiling():
        return False
    if position is not None:
        return lead(position, prompt, past + prompt.gone) == -prompt.gone
    ids, known_bs = call.get("input_ids"), prompt.ids()
    if ids is None or known_bs is None or fed <= prompt.gone:
        return False
    held_bq = known_bs[:, past : past + prompt.gone]
    return held_bq.shape == (len(ids), prompt.gone) and torch.equal(held_bq, ids[:, : prompt.gone].to(held_bq.device))


def _note(prompt: Prompt, call: Call, seen: int) -> None:
    """Keep the ids fed behind the ``seen`` tokens before them."""
    ids = call.get("input_ids")
    if sum(one.shape[1] for one in prompt.fed) > seen:  # some were taken back
        known_bs = prompt.ids()
        prompt.fed = [] if known_bs is None else [known_bs[:, :seen]]
    prompt.fed = [] if ids is None else [*prompt.fed, ids]
    if len(prompt.fed) > MANY:
        prompt.fed = [torch.cat(prompt.fed, 1)]


def positions_ahead(prompt: Prompt, call: Call) -> None:
    """Positions of several axes, of text that follows a prompt.

    ``generate`` takes placeholders behind the length of a shortened cache for new images, and counts on as if there
    had been none. The axis in front, which counts tokens, is right.
    """
    position: Any = call["position_ids"]
    if prompt.ahead_b1 is None or position.dim() != 3 or position.shape[0] != 4:
        return
    text_bq, ahead_b1 = position[:1], moved(prompt.ahead_b1, position.device)
    call["position_ids"] = torch.cat((text_bq, (text_bq + ahead_b1).expand(3, -1, -1)))


def images_ahead(prompt: Prompt, position: Tensor, count: Any) -> None:
    """Note how far positions (a, b, q) are ahead of the ``count`` of tokens, behind images of a later turn."""
    prompt.ahead_b1 = position[-3:, :, -1].amax(0)[:, None] + 1 - moved(count, position.device)
