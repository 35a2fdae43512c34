"""What is timed: the language model's prefill and one decoding step, with an operator, without, or as a lower bound.

The lower bound is the same model on an input that has only that many tokens at each layer: whatever a reduced model
takes longer than it is the operator's own cost. Prompts are some text, the visual tokens, and the rest of the text.

Legend: b batch, s prompt, n visual tokens, k tokens present, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.decoder_hooks import DecoderHooks
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.vision.tower import Tower
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, Target

BEFORE = 35  # tokens of the text that come before the image, if there are so many


@dataclass(frozen=True)
class Bench:
    """One model and one prompt, a batch of it."""

    model: Any
    parts: Parts
    x_bsd: Tensor
    layout: Layout
    frames: int = 1  # of a film, whose frames' rows the grid counts one below another

    @classmethod
    def of(cls, model: Any, grid: tuple[int, int], batch: int, text: int, seed: int = 0) -> Bench:
        """Random embeddings: what they hold makes no difference to the time.

        Args:
            grid: rows and columns of the visual tokens.
            text: tokens that are not visual.
        """
        model = unwrapped(model)
        parts = replace(parts_of(model), grid=grid)
        embedding = adapter_of(model).embed(torch.zeros(1, dtype=torch.long, device=model.device))
        tokens, before = grid[0] * grid[1], min(BEFORE, text // 2)
        length = tokens + text
        device, dtype, width = embedding.device, embedding.dtype, embedding.shape[-1]
        generator = torch.Generator(device).manual_seed(seed)
        x_bsd = torch.randn(batch, length, width, generator=generator, device=device, dtype=dtype)
        place_s = torch.arange(length, device=device)
        layout = Layout(
            visual_bn=(before + torch.arange(tokens, device=device)).repeat(batch, 1),
            text_bs=(place_s >= before + tokens).repeat(batch, 1),
            last_b=torch.full((batch,), length - 1, device=device),
            valid_bs=torch.ones(batch, length, dtype=torch.bool, device=device),
        )
        return cls(model, parts, x_bsd, layout)

    @property
    def target(self) -> Target:
        """What operators for this prompt refer to."""
        grid, layers = self.parts.grid, len(self.parts.layers)
        return Target(layers=layers, grid=grid, vision_layers=self.parts.used, frames=self.frames)

    def as_film(self, frames: int) -> Bench:
        """The same prompts, whose visual tokens are those of a film of so many frames."""
        rows, columns = self.parts.grid
        units = (((rows // frames, columns), frames),)
        return replace(self, layout=replace(self.layout, units=units), frames=frames)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.x_bsd.device

    @property
    def text(self) -> int:
        """Tokens that are not visual."""
        return self.x_bsd.shape[1] - self.layout.visual_bn.shape[1]

    def prefill(self) -> tuple[Tensor, Any]:
        """Logits of the last position, and the cache."""
        return adapter_of(self.model).start(Prefill(self.x_bsd, self.layout))

    @property
    def encodes(self) -> bool:
        """Whether the prompts' pictures can be encoded: the family takes one size of them."""
        return self.parts.family is not None and self.parts.family.reads_tower

    def encode(self) -> Any:
        """The prompts' pictures through vision tower and projector; None where the family takes no one size of them."""
        if not self.encodes:
            return None
        vision = self.model.config.vision_config
        each = max(1, self.target.tokens // (vision.image_size // vision.patch_size) ** 2)  # pictures, or tiles of one
        shape = (each * len(self.x_bsd), 3, vision.image_size, vision.image_size)
        generator = torch.Generator(self.device).manual_seed(0)
        pixels = torch.rand(shape, generator=generator, device=self.device, dtype=self.x_bsd.dtype)
        return self.model.get_image_features(pixel_values=pixels)

    @contextmanager
    def reading(self, operator: OperatorSpec) -> Iterator[Tower]:
        """While it holds, ``encode`` also reads what the operator's sites ask of the vision tower.

        Raises:
            EosError: the family's vision tower is not reached into.
        """
        names, family = OperatorPlan.of(operator).tower_features, self.parts.family
        if names and (family is None or not family.reads_tower):
            of = "this model" if family is None else family.name
            raise EosError(
                f"operator '{operator.name}': {', '.join(sorted(names))}: not for {of}, whose vision tower is not"
                " reached into"
            )
        tower = Tower(self.parts, None, names)
        try:
            yield tower
        finally:
            tower.remove()

    def encoded_with(self, operator: OperatorSpec) -> Bench:
        """The same prompts with what the operator's sites read in the vision tower, read there.

        Raises:
            EosError: the family's vision tower is not reached into.
        """
        with self.reading(operator) as tower, torch.inference_mode():
            if not tower.names:
                return self
            self.encode()
            assert tower.vision_features is not None
            # a prompt may hold several pictures, or tiles of one, as a single grid
            features = {name: tensor.reshape(len(self.x_bsd), -1, *tensor.shape[2:]) for name, tensor in
                    tower.vision_features.features.items()}  # fmt: skip
        return replace(self, layout=replace(self.layout, features=features))

    def decode(self, cache: Any) -> Tensor:
        """Logits of one token more."""
        return adapter_of(self.model).step(self.x_bsd[:, -1:], cache)

    @contextmanager
    def reduced(self, operator: OperatorSpec, compiled: bool = False) -> Iterator[None]:
        """With an operator at work; ``compiled``: with its sites fused."""
        hooks = DecoderHooks(self.model, self.parts, OperatorPlan.of(operator), self.layout, compiled=compiled)
        try:
            yield
        finally:
            hooks.remove()

    def shortened(self, counts: Sequence[int]) -> Bench:
        """A prompt with only as many visual tokens as the first layer gets."""
        return replace(self, x_bsd=self.x_bsd[:, : counts[0] + self.text].contiguous())

    def cut(self, length: int) -> Bench:
        """The same prompts without what comes after ``length`` tokens, for prefills without an operator."""
        return replace(self, x_bsd=self.x_bsd[:, :length].contiguous())

    @contextmanager
    def lower_bound(self, counts: Sequence[int]) -> Iterator[None]:
        """While it holds, a ``shortened`` prompt is cut before each layer that has fewer tokens, at no cost."""
        lengths = [count + self.text for count in counts]
        hooks = [
            layer.register_forward_pre_hook(partial(_cut, lengths[index]), with_kwargs=True)
            for index, layer in enumerate(self.parts.layers)
            if index and lengths[index] < lengths[0]
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _cut(
    length: int, module: Any, args: tuple[Any, ...], call: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A decoder layer's arguments without the tokens beyond ``length``; one token alone is being decoded."""
    x_bkd = args[0] if args else call["hidden_states"]
    if x_bkd.shape[1] == 1:
        return args, call
    call = dict(call)
    if args:
        args = (x_bkd[:, :length], *args[1:])
    else:
        call["hidden_states"] = x_bkd[:, :length]
    cos, sin = call["position_embeddings"]
    call["position_embeddings"] = (cos[..., :length, :], sin[..., :length, :])
    for name in ("position_ids", "cache_position"):
        if isinstance(call.get(name), Tensor):
            call[name] = call[name][..., :length]
    if isinstance(call.get("attention_mask"), Tensor):
        call["attention_mask"] = call["attention_mask"][..., :length, :length]
    return args, call
