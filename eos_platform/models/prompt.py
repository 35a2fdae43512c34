"""What was chosen for a prompt, and how later decode steps from its cache are handed that choice.

Legend: b batch, k tokens of the prompt present, q new tokens, d width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.errors import EosError
from eos_platform.models.llava import Parts
from eos_platform.models.masks import add_bias, take_keys
from eos_platform.models.present import Present
from eos_platform.models.rope import Rope

Call = dict[str, Any]


@dataclass
class Stage:
    """The tokens present from one decoder layer on, and what is handed to layers from there."""

    present: Present
    column_bk: Tensor | None  # which columns of the model's own mask they are; None: all of them
    rope: Rope | None = None  # prefill only
    mask: Tensor | None = None


@dataclass
class Prompt:
    """What was chosen for one prompt, by the first decoder layer it holds for."""

    length: int
    stages: dict[int, Stage] = field(default_factory=dict)


@dataclass
class Pass:
    """One call of the language model."""

    prompt: Prompt
    prefill: bool
    start: Present | None = None  # what entered the language model
    stage: Stage | None = None
    keeps: bool = False  # the prompt is already beside the cache
    decode: dict[int, Call] = field(default_factory=dict)


def shorten(parts: Parts, prompt: Prompt, call: Call, past: int) -> None:
    """Take from a later step's mask and positions the tokens that layer 0 never saw.

    Raises:
        EosError: tokens that the cache already holds are fed again.
    """
    present, x_bqd = prompt.stages[0].present, call.get("inputs_embeds")
    if x_bqd is None:
        x_bqd = call["inputs_embeds"] = parts.language_model.get_input_embeddings()(call.pop("input_ids"))
    new = x_bqd.shape[1]
    seen = past + prompt.length - present.count
    mask, position_bq = call.get("attention_mask"), call.get("position_ids")
    fits = mask is None or mask.shape[-1] == seen + new
    if mask is None and position_bq is not None and new > 1 and not torch.compiler.is_compiling():
        fits = int(position_bq[0, -1]) == seen + new - 1  # reading it stalls the device, but once a turn at most
    if not fits:
        raise EosError(
            f"{new} tokens after {seen} are not what mask and positions say; to go on from a cache whose prompt was"
            " reduced before the language model, pass the new tokens only, and the attention mask of the whole"
        )
    if mask is not None:
        column_bk = _with_new(present.slot_bk, prompt.length, mask.shape[-1])
        call["attention_mask"] = mask.gather(1, column_bk) if mask.dim() == 2 else take_keys(mask, column_bk)
    if position_bq is None:
        position_bq = torch.arange(seen, seen + new, device=x_bqd.device)[None]
    call["position_ids"] = position_bq - present.shift


def later_call(parts: Parts, prompt: Prompt, stage: Stage, call: Call, keys: int) -> Call:
    """What the layers of a stage are handed at a later step.

    Args:
        parts: of the model.
        prompt: the step goes on from.
        stage: the one these layers belong to.
        call: what the model hands them.
        keys: tokens in their cache, and the new ones.
    """
    present, mask, x_bqd = stage.present, call.get("attention_mask"), call["hidden_states"]
    entered = prompt.stages[0].present if 0 in prompt.stages else None
    if mask is not None and stage.column_bk is not None:
        columns = entered.count if entered else prompt.length
        mask = take_keys(mask, _with_new(stage.column_bk, columns, mask.shape[-1]))
    if present.bias_bk is not None:
        bias_bk = nn.functional.pad(present.bias_bk, (0, keys - present.count))
        mask = add_bias(mask, bias_bk, x_bqd.shape[1], x_bqd.dtype)
    position_bq, rope = call["position_ids"], call["position_embeddings"]
    moved = present.shift - (entered.shift if entered else 0)
    if moved:
        position_bq = position_bq - moved
        rope = parts.language_model.rotary_emb(x_bqd, position_bq)
    return {"attention_mask": mask, "position_ids": position_bq, "position_embeddings": rope}


def biased(mask: Tensor | None, present: Present, x_bkd: Tensor) -> Tensor | None:
    """A prefill's mask with the bias of the tokens present."""
    if present.bias_bk is None:
        return mask
    return add_bias(mask, present.bias_bk, x_bkd.shape[1], x_bkd.dtype)


def _with_new(column_bk: Tensor, old: int, total: int) -> Tensor:
    """Columns of the prompt, then all columns that came after its ``old`` ones."""
    new_q = torch.arange(old, total, device=column_bk.device)
    return torch.cat((column_bk, new_q.expand(len(column_bk), -1)), 1)
