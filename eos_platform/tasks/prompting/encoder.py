"""Prompts as a model is to be handed them: pictures through its vision tower, once each, and thrown away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.adapter import Adapter, adapter_of
from eos_platform.models.adapters.hooks import parameters
from eos_platform.models.adapters.prefill import bytes_of, joined_outputs, placed
from eos_platform.models.vision.patches import Patches
from eos_platform.operators.plan import RECEIVED
from eos_platform.tasks.prompting.once import PIXELS
from eos_platform.tasks.prompts import Prompt
from eos_platform.tasks.together import stays_on

SIZES = 16  # of pictures, of which one each is kept
Units = tuple[tuple[tuple[int, int], int], ...]


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt without its pictures.

    Attributes:
        prompt: with the inputs that the model is still to be given.
        units: grids of its visual tokens, and how many there are of each.
        pixels: what ``adapter.images`` takes of its pictures, of the first prompts of each size; None: of others.
    """

    prompt: Prompt
    units: Units
    pixels: Mapping[str, Tensor] | None = None


class Encoder:
    """A model's vision tower at work.

    Attributes:
        adapter: of the model.
        device: where prompts begin.
        seen: what the tower made of pictures, by their numbers.
        received: the attention that each of their visual tokens (n,) receives in it, where that is read.
        keeps: features of the tower that are kept so.
    """

    def __init__(self, model: Any) -> None:
        self.adapter: Adapter = adapter_of(model)
        self.device = self.adapter.home
        self.seen: dict[int, Any] = {}
        self.received: dict[int, Tensor] = {}
        self.keeps = kept_of(self.adapter)
        self._of_pictures = parameters(type(self.adapter.parts.body).get_image_features)
        self._sizes: set[Units] = set()
        self._kept = 0  # bytes

    def __call__(self, prompt: Prompt) -> EncodedPrompt:
        """A prompt without its pictures, which are seen now if they were not before."""
        if prompt.picture not in self.seen:
            inputs = {name: value.to(self.device) for name, value in prompt.inputs.items()}
            with self._reading() as patches:
                seen = joined_outputs([self.adapter.images(inputs)])
            found = patches and patches.vision_features
            self.keep(prompt.picture, seen, torch.cat(found.pictures[RECEIVED]).float() if found else None)
        rest = {name: value for name, value in prompt.inputs.items() if self._wanted(name)}
        inputs = {name: value.to(self.device) for name, value in rest.items()}
        layout = self.adapter.layout(self.with_pictures(inputs, [prompt]))
        pixels = None
        if PIXELS[0] in prompt.inputs and layout.units not in self._sizes and len(self._sizes) < SIZES:
            self._sizes.add(layout.units)
            pixels = {name: value.cpu() for name, value in self.of_pictures(prompt.inputs).items()}
        return EncodedPrompt(replace(prompt, inputs=rest), layout.units, pixels)

    def of_pictures(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of a prompt's inputs that the tower takes."""
        return {name: value for name, value in inputs.items() if name in self._of_pictures}

    def keep(self, picture: int, seen: Any, received_n: Tensor | None = None) -> None:
        """Keep what the tower made of a picture: on the device while that is little, then in the host's memory."""
        if picture not in self.seen:
            self._kept += bytes_of(seen)
        if received_n is not None:
            self.received[picture] = received_n.to(self.device)
        self.seen[picture] = placed(seen, self.device if stays_on(self.device, self._kept) else torch.device("cpu"))

    def with_pictures(self, inputs: dict[str, Any], prompts: Sequence[Prompt]) -> dict[str, Any]:
        """Inputs with what was made of the pictures instead of these."""
        seen = joined_outputs([placed(self.seen[prompt.picture], self.device) for prompt in prompts])
        return {**inputs, "mm_encoder_outputs": {"image": seen}}

    def told(self, visual_bn: Tensor, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """What the tower said of the visual tokens of prompts, by feature name.

        Args:
            visual_bn: places of the tokens in the prompts, in any order.
        """
        received_bn = torch.stack([self.received[prompt.picture] for prompt in prompts])  # in the order of places
        return {RECEIVED: received_bn.gather(1, visual_bn.argsort(dim=1).argsort(dim=1))}

    @contextmanager
    def _reading(self) -> Iterator[Patches | None]:
        """While it holds, the tower's attention is read, where that can be."""
        patches = Patches(self.adapter.parts) if self.keeps else None
        try:
            yield patches
        finally:
            if patches is not None:
                patches.remove()

    def _wanted(self, name: str) -> bool:
        """Whether the model is still to be given an input: no pictures, and nothing that only its loss is made of."""
        return name in self.adapter.inputs and name not in PIXELS


def kept_of(adapter: Adapter) -> frozenset[str]:
    """Features of a model's vision tower that are kept with its pictures."""
    family = adapter.family
    reads = not family.reads_tower and family.tower_attention(adapter.parts) is not None
    return frozenset({RECEIVED} if reads else ())
