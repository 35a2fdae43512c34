"""Ways to decode by hand from a cache, and to move the rows of one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.conformance.ways.compare import CallOutput, Case, Ways
from eos_platform.models.conformance.ways.forward import positions
from eos_platform.models.decoding.cache import cache_of, with_cache

WAYS = Ways()
Move = Callable[[Any], Any]


def begun(case: Case, inputs: dict[str, Any], **more: Any) -> tuple[Any, Tensor]:
    """The cache of prompts, and the logits of what follows them (b, 1, v)."""
    output = case.model(**inputs, use_cache=True, **more)
    return cache_of(output), output.logits[:, -1:]


def step(
    case: Case, cache: Any, ids: Tensor, mask: Tensor | None, position: bool = False, name: str | None = None
) -> Tensor:
    """Logits behind some new tokens (b, q, v)."""
    given: dict[str, Any] = {"input_ids": ids}
    if mask is not None:
        given["attention_mask"] = mask
    if mask is not None and not case.sample.plain_positions:  # else the model takes the whole mask's
        counted = positions(case, mask) + case.model.model.rope_deltas
        given["position_ids"] = counted[None, :, -ids.shape[1] :].expand(3, -1, -1)
    elif position and mask is not None:
        given["position_ids"] = positions(case, mask)[:, -ids.shape[1] :]
    given |= {name: cache} if name else with_cache(case.model, cache)
    return torch.as_tensor(case.model(**given).logits)


def decoded(
    case: Case,
    inputs: dict[str, Any],
    masked: bool = True,
    position: bool = False,
    pieces: int = 1,
    name: str | None = None,
    move: Move | None = None,
) -> CallOutput:
    """An answer fed by hand, so many tokens at a time; before each step ``move`` gives another cache for it."""
    new_bt = case.answer(len(inputs["input_ids"]))
    cache, first = begun(case, inputs)
    mask, outputs = inputs["attention_mask"], [first]
    for ids in new_bt[:, :-1].split(pieces, 1):
        mask = torch.cat((mask, torch.ones_like(ids)), 1)
        if move is not None:
            cache = move(cache)
        outputs.append(step(case, cache, ids, mask if masked else None, position, name))
    return CallOutput(inputs, new_bt, torch.cat(outputs, 1))


@WAYS.way("steps with mask and positions")
def both(case: Case) -> CallOutput:
    return decoded(case, case.two(), position=True)


@WAYS.way("steps with mask")
def masked(case: Case) -> CallOutput:
    return decoded(case, case.two())


@WAYS.way("steps with neither")
def neither(case: Case) -> CallOutput:
    return decoded(case, case.one(), masked=False)


@WAYS.way("steps of several tokens")
def pieces(case: Case) -> CallOutput:
    return decoded(case, case.two(), pieces=2)


@WAYS.way("past_key_values by that name")
def old_name(case: Case) -> CallOutput:
    return decoded(case, case.two(), name="past_key_values")


@WAYS.way("a copied cache")
def copied(case: Case) -> CallOutput:
    return decoded(case, case.two(), move=copy.deepcopy)


@WAYS.way("a shared cache")
def shared(case: Case) -> CallOutput:
    return decoded(case, case.two(), move=copy.copy)


@WAYS.way("two caches in turns")
def interleaved(case: Case) -> CallOutput:
    inputs, other = case.two(), case.one()
    new_bt = case.answer(2)
    cache, first = begun(case, inputs)
    late, _ = begun(case, other)
    mask, outputs = inputs["attention_mask"], [first]
    for ids in new_bt[:, :-1].split(1, 1):
        if case.sample.plain_positions:  # the others keep on the model how far positions are ahead
            step(case, late, ids[:1], None)
        mask = torch.cat((mask, torch.ones_like(ids)), 1)
        if not case.sample.plain_positions:
            case.model(**inputs)
        outputs.append(step(case, cache, ids, mask))
    return CallOutput(inputs, new_bt, torch.cat(outputs, 1))


def _moved(case: Case, move: Move, index: list[int]) -> CallOutput:
    """A step, rows moved, and a step; what follows is said of each row as it was before the move."""
    inputs, index_b = case.two(), torch.tensor(index)
    cache, first = begun(case, inputs)
    one, two, three = case.answer(2).split(1, 1)
    mask = torch.cat((inputs["attention_mask"], torch.ones_like(one)), 1)
    second = step(case, cache, one, mask)
    cache = move(cache)
    if hasattr(case.model.model, "rope_deltas"):  # kept on the model, row by row
        case.model.model.rope_deltas = case.model.model.rope_deltas[index_b]
    mask = torch.cat((mask[index_b], torch.ones_like(one[index_b])), 1)
    third = step(case, cache, two[index_b], mask)
    new_bt = torch.cat((one, two, three), 1)
    back = [max(at for at, row in enumerate(index) if row == wanted) for wanted in sorted(set(index))]
    rows = torch.tensor(sorted(set(index)))
    logits = torch.cat((first[rows], second[rows], third[back]), 1)
    return CallOutput({**inputs, "rows": rows}, new_bt, logits)


def _of_rows(case: Case, output: CallOutput) -> Tensor:
    from eos_platform.models.conformance.ways.compare import whole

    inputs = {name: tensor for name, tensor in output.inputs.items() if name != "rows"}
    return whole(case, CallOutput(inputs, output.new_bt, output.logits_btv))[output.inputs["rows"]]


def _called(name: str, *values: Any) -> Move:
    def move(cache: Any) -> Any:
        getattr(cache, name)(*values)
        return cache

    return move


def _each(name: str, *values: Any) -> Move:
    def move(cache: Any) -> Any:
        for layer in cache.layers:
            getattr(layer, name)(*values)
        return cache

    return move


def _assigned(cache: Any) -> Any:
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[[1, 0]], layer.values[[1, 0]]
    return cache


def _in_place(cache: Any) -> Any:
    for layer in cache.layers:
        layer.keys.copy_(layer.keys[[1, 0]])
        layer.values.copy_(layer.values[[1, 0]])
    return cache


def _regrouped(cache: Any) -> Any:
    from transformers.cache_utils import Cache

    again = Cache(layers=cache.layers)
    again.reorder_cache(torch.tensor([1, 0]))  # type: ignore[arg-type]
    return again


def _joined(cache: Any) -> Any:
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache

    both_ = EncoderDecoderCache(cache, DynamicCache())
    both_.self_attention_cache.reorder_cache(torch.tensor([1, 0]))  # type: ignore[arg-type]
    return both_.self_attention_cache


def _rebuilt(cache: Any) -> Any:
    from transformers.cache_utils import DynamicCache

    return DynamicCache([(layer.keys[[1, 0]], layer.values[[1, 0]]) for layer in cache.layers])


MOVES: dict[str, tuple[Move, list[int]]] = {
    "reordered": (_called("reorder_cache", torch.tensor([1, 0])), [1, 0]),
    "reordered to twins": (_called("reorder_cache", torch.tensor([1, 1])), [1, 1]),
    "selected": (_called("batch_select_indices", torch.tensor([1])), [1]),
    "repeated": (_called("batch_repeat_interleave", 2), [0, 0, 1, 1]),
    "reordered layer by layer": (_each("reorder_cache", torch.tensor([1, 0])), [1, 0]),
    "selected layer by layer": (_each("batch_select_indices", torch.tensor([1, 0, 0])), [1, 0, 0]),
    "assigned": (_assigned, [1, 0]),
    "layers of a new cache": (_regrouped, [1, 0]),
    "part of a joint cache": (_joined, [1, 0]),
}


def _add(name: str, move: Move, index: list[int], **more: Any) -> None:
    @WAYS.way(f"rows {name}", reference=_of_rows, **more)
    def way(case: Case) -> CallOutput:
        return _moved(case, move, index)


for _name, (_move, _index) in MOVES.items():
    _add(_name, _move, _index)
_add("copied in place (refused)", _in_place, [1, 0], may_refuse="changed in place")
_add("rebuilt from keys (refused)", _rebuilt, [1, 0], may_refuse="nothing is known of how this cache was filled")


@WAYS.way("cropped and gone on")
def cropped(case: Case) -> CallOutput:
    inputs = case.two()
    new_bt = case.answer(2)
    cache, first = begun(case, inputs)
    cache.activate_past_recording()
    mask = torch.cat((inputs["attention_mask"], torch.ones_like(new_bt)), 1)
    step(case, cache, new_bt + 9, mask)
    cache.crop(-2)
    cache.crop(-1)
    cache.reorder_cache(torch.tensor([0, 1]))
    outputs = [first, *(step(case, cache, new_bt[:, at : at + 1], mask[:, : at - 2]) for at in range(2))]
    return CallOutput(inputs, new_bt, torch.cat(outputs, 1))


@WAYS.way("fed from the cache's length on")
def by_length(case: Case) -> CallOutput:
    inputs = case.one()
    new_bt = case.answer(1)
    cache, first = begun(case, inputs)
    ids = torch.cat((inputs["input_ids"], new_bt[:, :2]), 1)
    logits = step(case, cache, ids[:, cache.get_seq_length() :], None)
    return CallOutput(inputs, new_bt, torch.cat((first, logits[:, -2:]), 1))
