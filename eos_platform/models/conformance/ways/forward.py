"""Ways to call ``forward`` without a cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eos_platform.models.conformance.runs import lengthened
from eos_platform.models.conformance.ways.compare import CallOutput, Case, Ways

WAYS = Ways()


def next_of(case: Case, inputs: dict[str, Any], logits_bsv: Tensor) -> CallOutput:
    """What a run of prompts foretells."""
    last_b1v = logits_bsv[:, -1:].detach().float()
    return CallOutput(inputs, last_b1v.argmax(-1), last_b1v)


def positions(case: Case, mask: Tensor) -> Tensor:
    """Positions of tokens under a mask."""
    return (mask.cumsum(1) - 1).clamp(min=0) + case.sample.first


@WAYS.way("without mask")
def without_mask(case: Case) -> CallOutput:
    inputs = case.one()
    given = {name: tensor for name, tensor in inputs.items() if name != "attention_mask"}
    return next_of(case, inputs, case.model(**given).logits)


@WAYS.way("positions by hand")
def with_positions(case: Case) -> CallOutput:
    inputs = case.two()
    if not case.sample.plain_positions:
        kinds = {name: inputs[name] for name in ("mm_token_type_ids", "image_grid_thw", "attention_mask")}
        position, _ = case.model.model.get_rope_index(inputs["input_ids"], **kinds)
        return next_of(case, inputs, case.model(**inputs, position_ids=position).logits)
    return next_of(case, inputs, case.model(**inputs, position_ids=positions(case, inputs["attention_mask"])).logits)


@WAYS.way("padded on the right")
def right_padded(case: Case) -> CallOutput:
    inputs = case.two()
    given = dict(inputs)
    kinds = case.sample.types[:1] if case.sample.types else ()
    for row, pad in enumerate((inputs["attention_mask"] == 0).sum(1).tolist()):
        for name in ("input_ids", "attention_mask", *kinds):
            given[name] = given[name].clone()
            given[name][row] = inputs[name][row].roll(-pad)
    ends = given["attention_mask"].sum(1) - 1
    logits = case.model(**given).logits
    return next_of(case, inputs, logits[torch.arange(len(ends)), ends][:, None])


@WAYS.way("embeddings for ids")
def embedded(case: Case) -> CallOutput:
    inputs = case.two()
    given = dict(inputs)
    ids = given.pop("input_ids")
    given["inputs_embeds"] = case.model.get_input_embeddings()(ids)
    return next_of(case, inputs, case.model(**given).logits)


@WAYS.way("labels keep to the prompt")
def labels(case: Case) -> CallOutput:
    inputs = case.two()
    new_bt = case.answer(2)
    full = lengthened(case.sample, inputs, new_bt)
    logits = case.model(**full).logits
    return CallOutput(inputs, new_bt, logits[:, -new_bt.shape[1] - 1 : -1])


@WAYS.way("last rows only")
def last_rows(case: Case) -> CallOutput:
    inputs = case.two()
    return next_of(case, inputs, case.model(**inputs, logits_to_keep=1).logits)


def _rows_kept(case: Case, rows: Any) -> CallOutput:
    inputs = case.two()
    new_bt = case.answer(2)
    full = lengthened(case.sample, inputs, new_bt)
    del full["labels"]
    logits = case.model(**full, logits_to_keep=rows(full["input_ids"].shape[1], new_bt.shape[1] + 1)).logits
    return CallOutput(inputs, new_bt, logits[:, :-1])


@WAYS.way("an answer's rows by number")
def several_rows(case: Case) -> CallOutput:
    return _rows_kept(case, lambda length, rows: rows)


@WAYS.way("an answer's rows by place")
def placed_rows(case: Case) -> CallOutput:
    return _rows_kept(case, lambda length, rows: torch.arange(length - rows, length))


@WAYS.way("hidden states")
def hidden(case: Case) -> CallOutput:
    inputs = case.two()
    output = case.model(**inputs, output_hidden_states=True)
    assert len(output.hidden_states) == 5
    return next_of(case, inputs, output.logits)


@WAYS.way("attentions", attention="eager")
def attentions(case: Case) -> CallOutput:
    inputs = case.two()
    output = case.model(**inputs, output_attentions=True)
    assert len(output.attentions) == 4
    return next_of(case, inputs, output.logits)


@WAYS.way("a tuple returned")
def tuples(case: Case) -> CallOutput:
    inputs = case.two()
    return next_of(case, inputs, case.model(**inputs, use_cache=False, return_dict=False)[0])


@WAYS.way("inference mode")
def inference(case: Case) -> CallOutput:
    inputs = case.two()
    with torch.inference_mode():
        logits = case.model(**inputs).logits.clone()
    return next_of(case, inputs, logits)


def _half(case: Case, output: CallOutput) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return case.model(**output.inputs, use_cache=False).logits[:, -1:].float()


@WAYS.way("autocast", close={"atol": 0.15, "rtol": 0.05}, real=("pool",), reference=_half)
def autocast(case: Case) -> CallOutput:
    inputs = case.two()
    with torch.autocast("cpu", torch.bfloat16):
        return next_of(case, inputs, case.model(**inputs).logits)


def _trained(case: Case, checkpoints: bool) -> CallOutput:
    inputs, model = case.two(), case.model
    new_bt = case.answer(2)
    full = lengthened(case.sample, inputs, new_bt)
    model.train()
    if checkpoints:
        model.gradient_checkpointing_enable()
    try:
        model.zero_grad()
        output = model(**full)
        output.loss.backward()
        weight = model.get_input_embeddings().weight
        grad_1vd = weight.grad[None, :, :20].clone()
    finally:
        model.zero_grad()
        model.eval()
        if checkpoints:
            model.gradient_checkpointing_disable()
    logits = output.logits[:, -new_bt.shape[1] - 1 : -1].detach()
    return CallOutput({**inputs, "grad": grad_1vd}, new_bt, torch.cat((logits, logits * 0 + grad_1vd.abs().sum()), 1))


def _evaluated(case: Case, expected: CallOutput) -> Tensor:
    """In evaluation, gradients by the plain way."""
    inputs = {name: tensor for name, tensor in expected.inputs.items() if name != "grad"}
    full = lengthened(case.sample, inputs, expected.new_bt)
    with torch.enable_grad():
        case.model.zero_grad()
        output = case.model(**full, use_cache=False)
        output.loss.backward()
    grad = case.model.get_input_embeddings().weight.grad[:, :20].abs().sum()
    case.model.zero_grad()
    logits = output.logits[:, -expected.new_bt.shape[1] - 1 : -1].detach()
    return torch.cat((logits, logits * 0 + grad), 1)


@WAYS.way("training", grad=True, reference=_evaluated)
def training(case: Case) -> CallOutput:
    return _trained(case, checkpoints=False)


@WAYS.way("gradient checkpointing", grad=True, reference=_evaluated)
def checkpointing(case: Case) -> CallOutput:
    return _trained(case, checkpoints=True)
