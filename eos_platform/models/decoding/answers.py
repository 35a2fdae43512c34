"""Which tokens of a call are no part of its prompt, because they answer it.

Legend: b batch, s sequence.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Call
from eos_platform.models.decoding.cache import cache_of


def answer_of(model: Any, call: Call) -> Tensor | None:
    """The tokens that answer (b, s), bool; None where all that is given is the prompt.

    They are told by labels; by several last rows that are asked for, which is how an answer is scored and drafts are
    verified; and by a ``generate`` without cache, whose every step feeds the answer so far again.

    Args:
        model: that is called.
        call: its arguments by name.
    """
    labels, rows = call.get("labels"), call.get("logits_to_keep")
    if labels is not None:
        return torch.as_tensor(labels != -100)
    given = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
    length = given.shape[1]
    place_s = torch.arange(length, device=given.device)
    if isinstance(rows, Tensor) and rows.dim() == 1 and len(rows) > 1:
        # the last of them as numbers of places: whether they are is not asked of the device
        rows = rows.to(place_s.device)
        last = (rows % length).sort().values == place_s[-len(rows) :]
        return ((place_s > length - len(rows)) & last.all()).expand(given.shape[:2])
    if isinstance(rows, int) and rows > 1:
        return (place_s > length - rows).expand(given.shape[:2])
    if cache_of(call) is None and not call.get("use_cache"):
        prompt = generating(model)
        if prompt is not None and prompt < length:
            return (place_s >= prompt).expand(given.shape[:2])
    return None


def generating(model: Any) -> int | None:
    """How many tokens the prompts have of the ``generate`` that a call of a model comes from; None: from none.

    Nothing in the call says so, and what one call leaves for the next would be taken for it by calls by hand, too.

    Raises:
        EosError: this version of transformers does not say.
    """
    generate = getattr(type(model), "generate", None)
    if generate is None:
        return None
    code = getattr(inspect.unwrap(generate), "__code__", None)
    frame = sys._getframe(1)
    while frame is not None and not (frame.f_code is code and frame.f_locals.get("self") is model):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return None
    ids = frame.f_locals.get("input_ids")
    if not isinstance(ids, Tensor):
        raise EosError("this version of transformers does not tell prompt and answer apart without a cache: use one")
    return ids.shape[1]
