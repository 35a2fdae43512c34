"""Caches that were filled while another operator was at work, or none: whether a step may go on from them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.decoding.prompt import Call, Origin, Prompt
from eos_platform.operators.plan import Need, OperatorPlan

REMEDY = "fill the cache while the operator is attached, and pass on that cache or a copy of it"


def check_origin(prompt: Prompt, origin: Origin) -> None:
    """Refuse to go on from a cache that another operator left.

    Raises:
        EosError: it did.
    """
    chose = prompt.origin
    if chose is not None and chose is not origin and chose.operator != origin.operator:
        raise EosError(
            f"this cache was filled with operator '{chose.operator.name}', and '{origin.operator.name}' is attached;"
            f" {REMEDY}"
        )


def check_whole(cache: Any, plan: OperatorPlan, call: Call, valid_bs: Tensor | None) -> None:
    """Refuse a cache of which nothing is known, unless nothing can have been removed from it.

    Such is one that was filled before the operator was attached; but also one rebuilt from the keys and values of
    another, and what was removed from that cannot be told any more.

    Args:
        cache: it holds something.
        plan: of the operator that is attached.
        call: of the language model.
        valid_bs: the attention mask that the whole model was given; None: none.

    Raises:
        EosError: it may be what an operator left.
    """
    layers = getattr(cache, "layers", ())
    held = {int(layer.get_seq_length()) for layer in layers if hasattr(layer, "get_seq_length")}
    whole = len(held) == 1
    if whole and (len(set(plan.counts)) == 1 or plan.sees_less):  # what it leaves would look the same
        given = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
        sized = Need.SIZE_BIAS in plan.needs
        whole = not sized and valid_bs is not None and valid_bs.shape[1] == held.pop() + given.shape[1]
    if layers and not whole:
        raise EosError(f"nothing is known of how this cache was filled, and tokens may be missing in it; {REMEDY}")
