"""Ways to go on with a conversation."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters import family_of
from eos_platform.models.conformance.runs import NEW
from eos_platform.models.conformance.ways.caches import begun
from eos_platform.models.conformance.ways.compare import CallOutput, Case, Ways
from eos_platform.models.conformance.ways.generate import generated
from eos_platform.models.conformance.zoo import BOS, IMAGE, PAD, VIDEO, Sample, prompts
from eos_platform.models.decoding.cache import cache_of, with_cache

WAYS = Ways()
ASKED = (5, 17, 60, 33)


def _first(case: Case, inputs: dict[str, Any]) -> tuple[Any, Tensor, Tensor]:
    """A turn's cache, the whole conversation with the next question, and its mask."""
    outputs = case.model.generate(
        **inputs,
        max_new_tokens=NEW,
        do_sample=False,
        suppress_tokens=[PAD, VIDEO, IMAGE],  # padding in an answer would be taken for such, where no mask is given
        return_dict_in_generate=True,
    )
    question = torch.tensor([ASKED]).expand(len(outputs.sequences), -1)
    whole = torch.cat((outputs.sequences, question), 1)
    extra = whole.shape[1] - inputs["input_ids"].shape[1]
    return cache_of(outputs), whole, torch.nn.functional.pad(inputs["attention_mask"], (0, extra), value=1)


def _typed(sample: Sample, inputs: dict[str, Any], whole: Tensor) -> dict[str, Tensor]:
    if not sample.types:
        return {}
    name = sample.types[0]
    extra = whole.shape[1] - inputs["input_ids"].shape[1]
    return {name: torch.nn.functional.pad(inputs[name], (0, extra), value=sample.suffix)}


def _gone_on(case: Case, inputs: dict[str, Any], feed: str) -> CallOutput:
    cache, whole, mask = _first(case, inputs)
    given: dict[str, Any] = {"input_ids": whole, "cache": cache}
    if feed == "old name":
        given = {"input_ids": whole, "attention_mask": mask, "past_key_values": cache}
    elif feed == "whole, typed":
        given |= {"attention_mask": mask, **_typed(case.sample, inputs, whole)}
    elif feed == "new":
        given |= {"input_ids": whole[:, -len(ASKED) - 1 :], "attention_mask": mask}
    elif feed == "chunks":
        given |= {"prefill_chunk_size": 64}
    elif feed == "whole":
        given |= {"attention_mask": mask}
    output = generated(case, inputs, given)
    late = whole[:, inputs["input_ids"].shape[1] :]
    return CallOutput({**inputs, "late": late}, output.new_bt, output.logits_btv)


def _late(case: Case, output: CallOutput) -> Tensor:
    """Runs of the whole, the first turn's answer and the question behind it being no part of the prompt."""
    from eos_platform.models.conformance.ways.compare import whole

    inputs = {name: tensor for name, tensor in output.inputs.items() if name != "late"}
    late = output.inputs["late"]
    new_bt = torch.cat((late, output.new_bt), 1)
    return whole(case, CallOutput(inputs, new_bt, output.logits_btv))[:, late.shape[1] :]


def _add(name: str, feed: str, batch: bool) -> None:
    @WAYS.way(f"second turn, {name}", reference=_late)
    def way(case: Case) -> CallOutput:
        return _gone_on(case, case.two() if batch else case.one(), feed)


_add("all ids and a mask", "whole", False)
_add("all ids, past_key_values", "old name", False)
_add("all ids, no mask", "whole, no mask", False)
_add("all ids and kinds of tokens", "whole, typed", False)
_add("all ids, padded", "whole", True)
_add("new ids and a mask", "new", False)
_add("new ids, padded", "new", True)
_add("all ids in chunks", "chunks", False)


def _pictured(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """A prompt, and a question with a picture of its own."""
    inputs = case.one()
    later = prompts(case.sample, [[case.sample.sizes[-1]]], (4,), seed=2)
    assert later["input_ids"][0, 0] == BOS
    for name in ("input_ids", "attention_mask", *(case.sample.types or ())[:1]):
        later[name] = later[name][:, 1:]
    return inputs, later


def _turn(case: Case, inputs: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """A later question with a picture as ``forward`` is given it."""
    mask = torch.cat((inputs["attention_mask"], later["attention_mask"]), 1)
    return {**later, "attention_mask": mask, **_placed(case, inputs, later, mask)}


def _placed(case: Case, inputs: dict[str, Any], later: dict[str, Any], mask: Tensor) -> dict[str, Any]:
    if case.sample.plain_positions:
        return {}
    kinds = {"mm_token_type_ids": torch.cat((inputs["mm_token_type_ids"], later["mm_token_type_ids"]), 1)}
    grids = [one["image_grid_thw"] for one in (inputs, later) if "image_grid_thw" in one]
    ids = torch.cat((inputs["input_ids"], later["input_ids"]), 1)
    position, _ = case.model.model.get_rope_index(ids, image_grid_thw=torch.cat(grids), attention_mask=mask, **kinds)
    return {"position_ids": position[..., -later["input_ids"].shape[1] :]}


def _one_by_one(case: Case, output: CallOutput) -> Tensor:
    """The same turn from a copy of the cache, one embedding after another, as far as a family allows that."""
    parts = family_of(case.model).parts(case.model)
    # both ways within a picture; deepstack
    if family_of(case.model).own_masks or "qwen3" in case.model.config.model_type:
        return output.logits_btv
    entered: list[dict[str, Any]] = []
    watch = parts.language_model.register_forward_pre_hook(lambda _, __, call: entered.append(call), with_kwargs=True)
    turn = output.inputs["turn"]
    case.model(**turn, **with_cache(case.model, copy.deepcopy(output.inputs["cache"])))
    watch.remove()
    x_bqd, cache = entered[0]["inputs_embeds"], output.inputs["cache"]
    before = turn["attention_mask"].shape[1] - x_bqd.shape[1]
    for at in range(x_bqd.shape[1]):
        given: dict[str, Any] = {"attention_mask": turn["attention_mask"][:, : before + at + 1]}
        if "position_ids" in turn:
            given["position_ids"] = turn["position_ids"][..., at : at + 1]
        logits = case.model(inputs_embeds=x_bqd[:, at : at + 1], **given, **with_cache(case.model, cache)).logits
    return torch.as_tensor(logits)


def _in_turn(case: Case, before: dict[str, Any], later: dict[str, Any]) -> CallOutput:
    cache, _ = begun(case, before)
    turn, kept = _turn(case, before, later), copy.deepcopy(cache)
    first = case.model(**turn, **with_cache(case.model, cache)).logits[:, -1:]
    return CallOutput({"cache": kept, "turn": turn}, first.argmax(-1), first)


@WAYS.way("second turn, with a picture", reference=_one_by_one)
def pictured(case: Case) -> CallOutput:
    return _in_turn(case, *_pictured(case))


@WAYS.way("a prefix cached, then a picture", reference=_one_by_one)
def prefixed(case: Case) -> CallOutput:
    return _in_turn(case, prompts(case.sample, [[]], (4,), seed=3), _pictured(case)[1])


def _by_hand(case: Case, output: CallOutput) -> Tensor:
    """The same turn from a copy of the cache, and what was said fed by hand."""
    turn, cache, outputs = output.inputs["turn"], output.inputs["cache"], []
    mask, ids = turn["attention_mask"], dict[str, Any]()
    for at in range(output.new_bt.shape[1]):
        logits = case.model(**(ids or turn), **with_cache(case.model, cache)).logits
        outputs.append(logits[:, -1:])
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        ids = {"input_ids": output.new_bt[:, at : at + 1], "attention_mask": mask}
    return torch.cat(outputs, 1)


@WAYS.way("second turn, all ids, with a picture", reference=_by_hand)
def chatted(case: Case) -> CallOutput:
    inputs, later = _pictured(case)
    cache, _ = begun(case, inputs)
    kept, turn = copy.deepcopy(cache), _turn(case, inputs, later)
    given = {name: tensor for name, tensor in turn.items() if name != "position_ids"}
    given["input_ids"] = torch.cat((inputs["input_ids"], later["input_ids"]), 1)
    if case.sample.types:
        name = case.sample.types[0]
        given[name] = torch.cat((inputs[name], later[name]), 1)
    output = generated(case, inputs, {**given, "cache": cache})
    return CallOutput({"cache": kept, "turn": turn}, output.new_bt, output.logits_btv)
