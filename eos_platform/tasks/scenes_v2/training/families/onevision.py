"""LLaVA-OneVision: the whole picture small, then its tiles at full size as one grid with a token at each line's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from eos_platform.tasks.scenes_v2.training.families.base import (
    MEAN,
    SHARED,
    STD,
    TEXT,
    Family,
    Size,
    ended,
    inner,
    through,
)

TILE, PATCH = 112, 14
SIDE = TILE // PATCH
POINTS = [[TILE * rows, TILE * columns] for rows in (1, 2, 3) for columns in (1, 2, 3) if 1 < rows * columns <= 4]


class OneVision(Family):
    """64 tokens of the whole and of every tile of 112 pixels, up to four tiles."""

    sizes = ((224, 224), (336, 112), (224, 224), (112, 336))
    specials = ("<video>",)
    cost = 1.3

    def new_model(self, vocabulary: int, ids: Mapping[str, int]) -> Any:
        text = Qwen2Config(
            vocab_size=vocabulary,
            **TEXT,
            **SHARED,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=True,
        )
        vision = SiglipVisionConfig(
            hidden_size=160,
            intermediate_size=480,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=TILE,
            patch_size=PATCH,
            vision_use_head=False,
        )
        config = LlavaOnevisionConfig(
            text_config=text,
            vision_config=vision,
            image_token_index=ids["<image>"],
            video_token_index=ids["<video>"],
            image_grid_pinpoints=POINTS,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            tie_word_embeddings=True,
        )
        model = LlavaOnevisionForConditionalGeneration(config)
        inner(model.model.vision_tower).post_layernorm.requires_grad_(False)  # never used
        return ended(model)

    def new_image_processor(self) -> Any:
        from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
            LlavaOnevisionImageProcessorPil,
        )

        return LlavaOnevisionImageProcessorPil(
            size={"height": TILE, "width": TILE},
            image_grid_pinpoints=POINTS,
            image_mean=list(MEAN),
            image_std=list(STD),
        )

    def new_processor(self, tokenizer: PreTrainedTokenizerFast) -> Any:
        from transformers.models.llava_onevision.video_processing_llava_onevision import LlavaOnevisionVideoProcessor

        films = LlavaOnevisionVideoProcessor(
            size={"height": TILE, "width": TILE}, image_mean=list(MEAN), image_std=list(STD)
        )
        return LlavaOnevisionProcessor(
            self.new_image_processor(),
            tokenizer,
            films,
            num_image_tokens=SIDE**2,
            vision_feature_select_strategy="full",
        )

    def prompt(self, size: Size) -> str:
        rows, columns = size[1] // PATCH, size[0] // PATCH
        return "<image>" * (SIDE**2 + rows * (columns + 1))

    def features(self, model: Any, pixels_bchw: Tensor) -> Tensor:
        b = len(pixels_bchw)
        tiles = pixels_bchw.unfold(2, TILE, TILE).unfold(3, TILE, TILE)  # b c rows columns TILE TILE
        rows, columns = tiles.shape[2], tiles.shape[3]
        whole = F.interpolate(pixels_bchw, (TILE, TILE), mode="bicubic", antialias=True)[:, None]
        flat = torch.cat([whole, tiles.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)], 1).flatten(0, 1)
        tower = inner(model.model.vision_tower)
        x_mnd = model.model.multi_modal_projector(through(tower.encoder.layers, tower.embeddings(flat)))
        x_btnd = x_mnd.view(b, 1 + rows * columns, SIDE**2, -1)
        fine = x_btnd[:, 1:].view(b, rows, columns, SIDE, SIDE, -1).permute(0, 1, 3, 2, 4, 5)
        fine = fine.reshape(b, rows * SIDE, columns * SIDE, -1)
        ends = model.model.image_newline.to(fine.dtype).expand(b, rows * SIDE, 1, -1)
        return torch.cat([x_btnd[:, 0], torch.cat([fine, ends], 2).flatten(1, 2)], 1)

    def tower_layers(self, model: Any) -> list[Any]:
        return list(inner(model.model.vision_tower).encoder.layers)

    def grid(self, size: Size) -> tuple[Tensor, int]:
        rows, columns = size[1] // PATCH, size[0] // PATCH
        number = SIDE**2 + torch.arange(rows * (columns + 1)).view(rows, columns + 1)
        return number[:, :-1], 1
