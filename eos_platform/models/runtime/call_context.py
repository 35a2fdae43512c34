"""What a call of the whole model tells of its prompts, kept until the language model is reached.

Labels come to the model, images and masks to its body, their sizes to the vision tower; what enters the language model
follows from all of it. Each thread has what its own call told.
Legend: b batch, s prompt, q new tokens.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts, brings
from eos_platform.models.decoding.answers import answer_of
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.decoding.prompt import Call, Prompt, recall
from eos_platform.models.decoding.repeated_tokens import images_ahead, positions_ahead, take_refed
from eos_platform.models.loading.devices import moved
from eos_platform.models.runtime.image_call import Asked, asked_of, one_each, units_of, whole_images
from eos_platform.models.runtime.images import layout_of_call
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.prompt_state import assemble
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.models.vision.tower import Tower
from eos_platform.operators.plan import OperatorPlan

LATELY = 2  # calls of the vision tower remembered: images, then films


@dataclass
class Told:
    """What a call of the whole model told before the language model was reached."""

    asked: Layout | Asked | None = None  # None: it brings no image
    valid_bs: Tensor | None = None  # the mask it came with
    refed: int = 0  # tokens in front that its cache held already, and which were taken off
    ids_bs: Tensor | None = None


class _Local(threading.local):
    """What one thread's call has told so far."""

    answer_bs: Tensor | None = None
    told: Told | None = None
    heard: tuple[Any, ...] = ()  # what the vision tower was told of its images


class Listener:
    """Follows the calls of one model, through a session's hooks; those in the vision tower are its own."""

    def __init__(self, parts: Parts, plan: OperatorPlan) -> None:
        self.parts = parts
        self.plan = plan
        self._local = _Local()
        self.tower = Tower(parts, plan) if parts.family is not None and parts.family.reads_tower else None

    def remove(self) -> None:
        """Take the hooks in the vision tower off again."""
        if self.tower is not None:
            self.tower.remove()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _local=_Local())

    # Before the modules that a call passes through, from the outside in

    def read_answers(self, model: Any, call: Call) -> None:
        """Before the model: which tokens are not the prompt's."""
        self._local.answer_bs = answer_of(model, call)

    def read_call(self, module: Any, call: Call) -> None:
        """Before the body: what the prompts hold. A later step is told its positions, if need be."""
        local, parts = self._local, self.parts
        answer_bs, local.answer_bs = local.answer_bs, None
        mask = call.get("attention_mask")
        told = local.told = Told(valid_bs=mask if isinstance(mask, Tensor) and mask.dim() == 2 else None)
        cache = cache_of(call)
        if cache is not None and cache.get_seq_length() > 0:  # images that come now are not reduced
            if brings(call) and (self.plan.sees_less or self.plan.tower):
                raise EosError(
                    "an image in a later turn or piece of a prompt is kept whole, and this operator reduces it inside"
                    " the vision tower: detach it, or begin with an empty cache"
                )
            prompt = recall(cache)
            if prompt is not None and 0 in prompt.stages:
                told.refed = take_refed(prompt, call)
                self._count_on(call, prompt, told.valid_bs)
            return
        assert parts.family is not None
        told.ids_bs = call.get("input_ids")
        told.asked = asked_of(call, answer_bs)
        with whole_images(call):
            if told.asked is not None and parts.family.reads_tower and one_each(parts, call):
                told.asked = layout_of_call(parts, self.plan.tokens, call, answer_bs)

    def _count_on(self, call: Call, prompt: Prompt, valid_bs: Tensor | None) -> None:
        """Before a later step of a prompt that layer 0 holds only in part: positions the body would count wrongly."""
        cache, family = cache_of(call), self.parts.family
        assert family is not None
        given = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
        seen, new = cache.get_seq_length() + prompt.gone, given.shape[1]
        if call.get("position_ids") is not None:
            if family.axes > 1 and brings(call):
                images_ahead(prompt, call["position_ids"], seen + new if valid_bs is None else valid_bs.sum(1, True))
            elif family.axes > 1:
                positions_ahead(prompt, call)
            return
        if family.axes > 1 and prompt.ahead_b1 is not None:
            count_bq = torch.arange(seen, seen + new, device=given.device)[None]
            if valid_bs is not None:
                count_bq = (valid_bs.cumsum(1) - 1).clamp(min=0)[:, -new:]
            call["position_ids"] = (count_bq + prompt.ahead_b1)[None].expand(family.axes, -1, -1)
        elif family.axes == 1 and family.own_masks:
            position_bq = torch.arange(seen, seen + new, device=given.device)[None]
            call["position_ids"] = family.positions_of(call, position_bq)

    def hear(self, module: Any, call: Call) -> None:
        """Before the vision tower: sizes of images, which the language model is not told."""
        assert self.parts.family is not None
        self._local.heard = (*self._local.heard, self.parts.family.heard(call))[-LATELY:]

    # Once the language model is reached

    def take(self) -> Told:
        """What this thread's call told; no later call is taken for it."""
        told, self._local.told = self._local.told, None
        return told or Told()

    def put_into(self, layout: Layout, prompts: int) -> None:
        """Add to a layout what the vision tower said about the images; beams share one that went through it once.

        Raises:
            EosError: the images are not those of the prompts.
        """
        sight = self.tower.sight if self.tower else None
        if sight is None:
            return

        def each(tensor: Tensor) -> Tensor:
            if prompts % len(tensor):
                raise EosError(f"{len(tensor)} encoded images for {prompts} prompts")
            return tensor.repeat_interleave(prompts // len(tensor), 0)

        sight.rows(each).put_into(layout)

    def state_of(self, asked: Asked, position: Tensor) -> TokenState | None:
        """What enters of prompts with any number of images; None where they hold no unit to reduce.

        Raises:
            EosError: the operator also reduces inside the vision tower, or the images are not those of the prompts.
        """
        with whole_images(asked.call):
            kinds = units_of(self.parts, asked, self._local.heard)
        if not any(units.groups for _, units in kinds):
            return None
        device = kinds[0][0].device  # of the prompts; the vision tower may be on another
        sight = moved(self.tower.sight if self.tower else None, device)
        if self.plan.sees_less or (sight is not None and sight.seen is not None):
            raise EosError("an operator that reduces inside the vision tower needs one image a prompt")
        valid_bs, padding = torch.ones_like(kinds[0][0]), ()
        if asked.mask_bs is not None:
            valid_bs = moved(asked.mask_bs, device).bool()
            if len(valid_bs) > 1:  # of several prompts something is counted anyway
                padding = tuple((~valid_bs).sum(1).tolist())
        told = sight.told if sight else None
        return assemble(kinds, valid_bs, moved(position, device), moved(asked.answer_bs, device), told, padding)
