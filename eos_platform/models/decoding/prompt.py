"""What was chosen for a prompt, and how later decode steps from its cache are handed that choice.

Legend: b batch, k tokens of the prompt present, q new tokens, c cached tokens, d width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import FULL, Parts
from eos_platform.models.attention.flash_bias import BIAS
from eos_platform.models.attention.implementations import is_flash
from eos_platform.models.attention.masks import add_bias, as_float, take_keys
from eos_platform.models.attention.rope import Rope
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.decoding.cache_rows import KEPT, Seen, layer_of, look, row_order
from eos_platform.models.loading.devices import moved
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.spec import OperatorSpec

Call = dict[str, Any]


@dataclass
class Stage:
    """The tokens present from one decoder layer on."""

    present: TokenState
    column_bk: Tensor | None  # which columns of the model's own mask they are; None: all of them
    renumbered: bool = False  # by a site before a layer, so that the model's own rotary embeddings are not theirs
    # what layers are handed during the prefill, by kind of attention
    handed: dict[str, tuple[Tensor | None, Rope]] = field(default_factory=dict)
    # the same for layers on another device, beside what of this it was made from
    elsewhere: dict[torch.device, tuple[tuple[Any, Any], Stage]] = field(default_factory=dict)

    def on(self, device: torch.device) -> Stage:
        """The same for layers on a device: moved there once."""
        if self.present.slot_bk.device == device:
            return self
        source, stage = self.elsewhere.get(device, ((None, None), self))
        if source[0] is not self.present or source[1] is not self.column_bk:
            present, column_bk = moved((self.present, self.column_bk), device)
            stage = Stage(present, column_bk, self.renumbered)
            self.elsewhere[device] = (self.present, self.column_bk), stage
        return stage

    def done(self) -> None:
        """After the prefill."""
        self.handed.clear()
        for _, stage in self.elsewhere.values():
            stage.handed.clear()


@dataclass(frozen=True, eq=False)
class Origin:
    """The operator that chose; copies of a cache share it."""

    operator: OperatorSpec

    def __deepcopy__(self, memo: dict[int, Any]) -> Origin:
        return self


@dataclass
class Prompt:
    """What was chosen for one prompt, by the first decoder layer it holds for."""

    length: int
    origin: Origin | None = None  # None: nothing was removed
    stages: dict[int, Stage] = field(default_factory=dict)
    ahead_b1: Tensor | None = None  # how far positions of several axes are ahead of the count of tokens, at its end
    seen: Seen | None = None  # its cache after the latest step
    fed: list[Tensor] = field(default_factory=list)  # ids (b, any) so far, where visual tokens left before layer 0
    counting: int = 0  # the layer by whose cache the model counts tokens gone by

    @property
    def entered(self) -> Stage | None:
        """What the counting layer saw of the prompt; None: all of it."""
        begun = [layer for layer in self.stages if layer <= self.counting]
        return self.stages[max(begun)] if begun else None

    @property
    def gone(self) -> int:
        """Tokens that the counting layer never saw."""
        entered = self.entered
        return 0 if entered is None else self.length - entered.present.count

    def settle(self) -> None:
        """After the prefill: columns of masks as later steps are handed them, of what the counting layer saw."""
        entered = self.entered
        if entered is None or entered.column_bk is None:
            return
        seen_bk = entered.column_bk.contiguous()
        for layer, stage in self.stages.items():
            if stage.column_bk is not None:
                later = layer > self.counting
                stage.column_bk = torch.searchsorted(seen_bk, stage.column_bk.contiguous()) if later else None

    def ids(self) -> Tensor | None:
        """All ids fed so far (b, s); None: not known."""
        return torch.cat(self.fed, 1) if self.fed else None

    def choice(self) -> list[Tensor]:
        """All that was chosen row by row (b, ...)."""
        tensors = [] if self.ahead_b1 is None else [self.ahead_b1]
        for stage in self.stages.values():
            present = stage.present
            rows = present.slot_bk, present.bias_bk, present.alive_bk, stage.column_bk, present.shift
            tensors += [one for one in rows if isinstance(one, Tensor)]
        return tensors

    def at(self, index_b: Tensor) -> Prompt:
        """The same for some of its rows, as far as later steps ask about it."""
        stages = {layer: _rows(stage, index_b) for layer, stage in self.stages.items()}
        fed = [_row(ids, index_b) for ids in self.fed]
        return replace(self, stages=stages, ahead_b1=_row(self.ahead_b1, index_b), fed=fed)


_CHOSEN = ("slot_bk", "bias_bk", "alive_bk", "shift")  # of the tokens present, what later steps ask about


def _rows(stage: Stage, index_b: Tensor) -> Stage:
    present = stage.present
    original = present.original_bk
    original = original.expand(*original.shape[:-2], *present.slot_bk.shape)
    fields: dict[str, Any] = {name: _row(getattr(present, name), index_b) for name in _CHOSEN}
    fields["original_bk"] = original.index_select(-2, index_b.to(original.device))
    return Stage(replace(present, **fields), _row(stage.column_bk, index_b), stage.renumbered)


def _row(rows: Any, index_b: Tensor) -> Any:
    return rows[index_b.to(rows.device)] if isinstance(rows, Tensor) else rows


@dataclass
class Pass:
    """One call of the language model."""

    prompt: Prompt
    prefill: bool
    start: TokenState | None = None  # what entered the language model
    stage: Stage | None = None
    repeated: int = 0  # tokens in front that the cache already held, and which are not fed again
    deep: list[Tensor] = field(default_factory=list)  # added to the hidden states behind each of the first layers
    valid_bs: Tensor | None = None  # the attention mask of prompt and answer that the whole model was given
    later_bqq: Tensor | None = None  # which later ones of its tokens each sees, where attention is not simply causal
    order_bk: Tensor | None = None  # in which a recurrent layer is handed tokens; None: as they stand
    decode: dict[tuple[int, str, torch.device], Call] = field(default_factory=dict)


_LAYER_ARGUMENTS = ("hidden_states", "attention_mask", "position_ids", "position_embeddings")


def remember(cache: Any, prompt: Prompt) -> None:
    """Keep what was chosen for a prompt with the cache that decodes from it, after each of its steps."""
    layer = layer_of(cache)
    if layer is None:
        return
    prompt.seen = None
    if prompt.stages and not torch.compiler.is_compiling():
        prompt.seen = look(layer, len(next(iter(prompt.stages.values())).present.slot_bk))
    setattr(layer, KEPT, prompt)


def forget(cache: Any) -> None:
    """Before a cache is filled anew."""
    vars(layer_of(cache) or cache).pop(KEPT, None)


def recall(cache: Any) -> Prompt | None:
    """What was chosen for the prompts in a cache, in the order of its rows; None: the operator did not see it filled.

    Raises:
        EosError: the cache was cropped to somewhere before the end of the visual tokens, or its rows are not known.
    """
    layer = layer_of(cache)
    prompt: Prompt | None = getattr(layer, KEPT, None)
    if prompt is None or not prompt.stages:
        return prompt
    was = prompt
    if prompt.seen is not None and not torch.compiler.is_compiling():
        index_b = row_order(prompt.seen, layer, prompt.choice())
        if index_b is not None:
            prompt = prompt.at(index_b)
    gone = prompt.length - prompt.gone - int(cache.get_seq_length())
    if gone > 0:  # drafts of assisted generation that were not accepted, say
        prompt = _cropped(prompt, gone)
    if prompt is not was:
        remember(cache, prompt)
    return prompt


def _cropped(prompt: Prompt, gone: int) -> Prompt:
    """A prompt without its last tokens, as far as later steps ask about it."""
    length = prompt.length - gone
    stages = {}
    for layer, stage in prompt.stages.items():
        present = stage.present
        last_g = torch.arange(length, prompt.length, device=present.slot_bk.device)
        if not torch.equal(present.slot_bk[:, -gone:], last_g.expand(len(present.slot_bk), -1)):
            raise EosError(f"{gone} tokens of a prompt were taken out of its cache, visual ones that were reduced too")

        def cut(column_bk: Tensor | None) -> Any:
            return None if column_bk is None else column_bk[:, :-gone]

        fields: dict[str, Any] = {"slot_bk": cut(present.slot_bk), "bias_bk": cut(present.bias_bk), "length": length}
        fields["original_bk"] = present.original_bk[..., :-gone]
        fields["alive_bk"] = cut(present.alive_bk)
        stages[layer] = Stage(replace(present, **fields), cut(stage.column_bk), stage.renumbered)
    return replace(prompt, length=length, stages=stages)


def on(call: Call, device: torch.device) -> Call:
    """What a layer is handed, but for its cache, on its own device."""
    arguments = {name: moved(value, device) for name, value in call.items() if name in _LAYER_ARGUMENTS}
    return {**call, **arguments}


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


def biased(mask: Tensor | None, present: TokenState, x_bkd: Tensor) -> Tensor | None:
    """A prefill's mask with the bias of the tokens present."""
    if present.bias_bk is None:
        return mask
    return add_bias(mask, present.bias_bk, x_bkd.shape[1], x_bkd.dtype)


def flash_bias(parts: Parts, present: TokenState) -> Call:
    """The bias of the tokens present as flash attention is handed it; empty: there is none, or it is in the mask."""
    return {} if present.bias_bk is None or not is_flash(parts) else {BIAS: present.bias_bk}


def with_new(column_bk: Tensor, old: int, total: int) -> Tensor:
    """Columns of the prompt, then all columns that came after its ``old`` ones."""
    new_q = torch.arange(old, total, device=column_bk.device)
    return torch.cat((column_bk, new_q.expand(len(column_bk), -1)), 1)
