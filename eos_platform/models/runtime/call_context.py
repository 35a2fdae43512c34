"""What a call of the whole model reveals about its prompts, kept until the language model is reached.

Labels come to the model, images and masks to its body, their sizes to the vision tower; what enters the language model
follows from all of it. Each thread keeps its own call's.
Legend: b batch, s prompt, q new tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts, has_media
from eos_platform.models.decoding.answers import answer_of
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.decoding.prompt import Call, Prompt, recall
from eos_platform.models.decoding.repeated_tokens import drop_repeated, images_ahead, positions_ahead
from eos_platform.models.loading.devices import moved
from eos_platform.models.runtime.image_call import ImageCall, image_call_of, one_image_each, units_of, whole_images
from eos_platform.models.runtime.images import layout_of_call
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.prompt_state import assemble
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.models.runtime.visual_spans import Units
from eos_platform.models.vision.patches import Patches
from eos_platform.models.vision.tower import Tower
from eos_platform.operators.plan import Need

REMEMBERED_CALLS = 2  # calls of the vision tower remembered: images, then films


@dataclass
class CallInfo:
    """What is known of a call of the whole model before the language model is reached."""

    images: Layout | ImageCall | None = None  # None: it brings no image
    valid_bs: Tensor | None = None  # the mask it came with
    repeated: int = 0  # tokens in front that its cache held already, and which were taken off
    ids_bs: Tensor | None = None


class _Local(threading.local):
    """What is known so far of one thread's call."""

    answer_bs: Tensor | None = None
    info: CallInfo | None = None
    captured_grids: tuple[Any, ...] = ()  # grids of the images that the vision tower was called with


class CallContext:
    """Follows the calls of one model, through a session's hooks; those in the vision tower are its own."""

    def __init__(self, parts: Parts, tokens: int, needs: frozenset[Need], tower: Tower | Patches | None) -> None:
        """Follow the calls.

        Args:
            parts: of the model.
            tokens: visual tokens of an image, as the operator has them.
            needs: of the operator.
            tower: hooks in the vision tower; None where nothing is read or done there.
        """
        self.parts, self.tokens, self.needs, self.tower = parts, tokens, needs, tower
        self._local = _Local()

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
        info = local.info = CallInfo(valid_bs=mask if isinstance(mask, Tensor) and mask.dim() == 2 else None)
        cache = cache_of(call)
        if cache is not None and cache.get_seq_length() > 0:  # images that come now are not reduced
            if has_media(call) and Need.NO_LATER_IMAGE in self.needs:
                raise EosError(
                    "an image in a later turn or piece of a prompt is kept whole, and this operator reduces it inside"
                    " the vision tower: detach it, or begin with an empty cache"
                )
            prompt = recall(cache)
            if prompt is not None and prompt.entered is not None:
                info.repeated = drop_repeated(prompt, call)
                self._count_on(call, prompt, info.valid_bs)
            return
        assert parts.family is not None
        info.ids_bs = call.get("input_ids")
        info.images = image_call_of(call, answer_bs)
        with whole_images(call):
            if info.images is not None and parts.family.reads_tower and one_image_each(parts, call):
                info.images = layout_of_call(parts, self.tokens, call, answer_bs)

    def _count_on(self, call: Call, prompt: Prompt, valid_bs: Tensor | None) -> None:
        """Before a later step of a prompt that layer 0 holds only in part: positions the body would count wrongly."""
        cache, family = cache_of(call), self.parts.family
        assert family is not None
        given = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
        seen, new = cache.get_seq_length() + prompt.gone, given.shape[1]
        if call.get("position_ids") is not None:
            if family.axes > 1 and has_media(call):
                images_ahead(prompt, call["position_ids"], seen + new if valid_bs is None else valid_bs.sum(1, True))
            elif family.axes > 1:
                positions_ahead(prompt, call)
            return
        if family.axes > 1 and prompt.ahead_b1 is not None:
            count_bq = torch.arange(seen, seen + new, device=given.device)[None]
            if valid_bs is not None:
                count_bq = moved((valid_bs.cumsum(1) - 1).clamp(min=0)[:, -new:], given.device)
            ahead_b1 = moved(prompt.ahead_b1, given.device)
            call["position_ids"] = (count_bq + ahead_b1)[None].expand(family.axes, -1, -1)
        elif family.axes == 1 and family.own_masks:
            position_bq = torch.arange(seen, seen + new, device=given.device)[None]
            call["position_ids"] = family.positions_of(call, position_bq)

    def capture_grids(self, module: Any, call: Call) -> None:
        """Before the vision tower: sizes of images, which the language model does not get."""
        assert self.parts.family is not None
        self._local.captured_grids = (*self._local.captured_grids, self.parts.family.captured_grids(call))[
            -REMEMBERED_CALLS:
        ]

    # Once the language model is reached

    def take(self) -> CallInfo:
        """What is known of this thread's call; cleared, so that no later call is taken for it."""
        info, self._local.info = self._local.info, None
        return info or CallInfo()

    def add_to(self, layout: Layout, prompts: int) -> None:
        """Add to a layout what the vision tower said about the images; beams share one that went through it once.

        Raises:
            EosError: the images are not those of the prompts.
        """
        vision = self.tower.vision_features if self.tower else None
        if vision is None:
            return

        def each(tensor: Tensor) -> Tensor:
            if prompts % len(tensor):
                raise EosError(f"{len(tensor)} encoded images for {prompts} prompts")
            return tensor.repeat_interleave(prompts // len(tensor), 0)

        vision.rows(each).add_to(layout)

    def token_state_of(self, image_call: ImageCall, position: Tensor) -> TokenState | None:
        """What enters of prompts with any number of images; None where they hold no unit to reduce.

        Raises:
            EosError: the operator also reduces inside the vision tower, or the images are not those of the prompts.
        """
        with whole_images(image_call.call):
            kinds = units_of(self.parts, image_call, self._local.captured_grids)
        if not any(units.groups for _, units in kinds):
            return None
        device = kinds[0][0].device  # of the prompts; the vision tower may be on another
        vision = moved(self.tower.vision_features if self.tower else None, device)
        if Need.ONE_IMAGE in self.needs or (vision is not None and vision.seen is not None):
            raise EosError("an operator that reduces inside the vision tower needs one image a prompt")
        valid_bs, padding = torch.ones_like(kinds[0][0]), ()
        if image_call.mask_bs is not None:
            valid_bs = moved(image_call.mask_bs, device).bool()
            if len(valid_bs) > 1:  # of several prompts something is counted anyway
                padding = tuple((~valid_bs).sum(1).tolist())
        features: dict[str, Tensor | tuple[Tensor, ...]] = {}
        if vision is not None:
            features = {**vision.features, **_of_pictures(vision.pictures, kinds)}
        return assemble(
            kinds, valid_bs, moved(position, device), moved(image_call.answer_bs, device), features, padding
        )


def _of_pictures(
    found: Mapping[str, tuple[Tensor, ...]], kinds: Sequence[tuple[Tensor, Units]]
) -> Mapping[str, tuple[Tensor, ...]]:
    """What was read of pictures, or of the frames of films, one by one, which must be those of the prompts.

    Raises:
        EosError: they are not, or there are both: they are encoded one after the other, and the latest is known.
    """
    images = {unit.image for _, units in kinds for _, members in units.groups for unit in members}
    for name, values in found.items():
        if len(kinds) > 1:
            raise EosError(f"'{name}' is read of pictures or of films, not of both in one prompt")
        if len(values) != len(images):
            raise EosError(f"'{name}' was read of {len(values)} pictures, and {len(images)} are in the prompts")
    return found
