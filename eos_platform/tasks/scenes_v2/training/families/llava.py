"""LLaVA-1.5: one square picture, every patch a token. The shapes of the first task's models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from eos_platform.models.bundled.build import PATCH, Shape, new_model, new_processor
from eos_platform.tasks.scenes_v2.training.families.base import MEAN, STD, Family, Size, inner, through

MEDIUM: Shape = {"vision": (256, 1024, 5, 4), "text": (256, 704, 8, 4)}  # 10 M parameters
LARGE: Shape = {"vision": (384, 1536, 6, 6), "text": (448, 1216, 8, 7)}  # 31 M


class Llava(Family):
    """576 tokens of a picture of 336 pixels (10 M parameters), or 144 of 168 (2 M, or as ``shape`` has it)."""

    def __init__(self, side: int, cost: float, shape: Shape | None = None) -> None:
        self.side, self.cost, self.shape = side, cost, shape
        self.sizes = ((side * PATCH, side * PATCH),)

    def new_model(self, vocabulary: int, ids: Mapping[str, int]) -> Any:
        model = new_model(self.side, vocabulary, self.shape)
        inner(model.model.vision_tower).post_layernorm.requires_grad_(False)  # LLaVA never uses it
        return model

    def new_image_processor(self) -> Any:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        side = self.side * PATCH
        return CLIPImageProcessorPil(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=list(MEAN),
            image_std=list(STD),
        )

    def new_processor(self, tokenizer: PreTrainedTokenizerFast) -> Any:
        return new_processor(tokenizer, self.side)

    def prompt(self, size: Size) -> str:
        return "<image>" * self.side**2

    def features(self, model: Any, pixels_bchw: Tensor) -> Tensor:
        tower = inner(model.model.vision_tower)
        x_bnd = through(tower.encoder.layers, tower.pre_layrnorm(tower.embeddings(pixels_bchw)))
        features: Tensor = model.model.multi_modal_projector(x_bnd[:, 1:])
        return features

    def tower_layers(self, model: Any) -> list[Any]:
        return list(inner(model.model.vision_tower).encoder.layers)

    def grid(self, size: Size) -> tuple[Tensor, int]:
        return torch.arange(self.side**2).view(self.side, self.side), 1
