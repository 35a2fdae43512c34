"""What was chosen for a prompt, kept with the cache that decodes from it; how later steps are handed it is in
``later_steps.py``.

Legend: b batch, k tokens of the prompt present, q new tokens, s prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.attention.rope import Rope
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
