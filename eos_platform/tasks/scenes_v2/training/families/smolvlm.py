"""SmolVLM (as Idefics 3 has it): a picture is cut into tiles, the whole of it comes last, words stand between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from eos_platform.tasks.scenes_v2.training.families.base import MEAN, SHARED, STD, TEXT, Family, Size, ended, through

TILE, PATCH, SHUFFLE, LONGEST = 168, 14, 2, 336
SIDE = TILE // PATCH // SHUFFLE  # tokens a side of a tile
ROWS = LONGEST // TILE


class SmolVlm(Family):
    """36 tokens a tile of 168 pixels, up to two by two tiles and the whole."""

    sizes = ((336, 336), (336, 168), (336, 336), (168, 336))
    specials = (
        "<fake_token_around_image>",
        "<end_of_utterance>",
        "<global-img>",
        *(f"<row_{r + 1}_col_{c + 1}>" for r in range(ROWS) for c in range(ROWS)),
    )

    def new_model(self, vocabulary: int, ids: Mapping[str, int]) -> Any:
        text = LlamaConfig(vocab_size=vocabulary, **TEXT, **SHARED, pad_token_id=0, bos_token_id=1, eos_token_id=2)
        vision = {
            "hidden_size": 160,
            "intermediate_size": 480,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": TILE,
            "patch_size": PATCH,
        }
        config: Any = Idefics3Config(
            text_config=text,
            vision_config=vision,
            scale_factor=SHUFFLE,
            image_token_id=ids["<image>"],
            tie_word_embeddings=True,
        )
        config.pad_token_id = 0
        return ended(Idefics3ForConditionalGeneration(config))

    def new_image_processor(self) -> Any:
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

        return Idefics3ImageProcessorPil(
            size={"longest_edge": LONGEST},
            max_image_size={"longest_edge": TILE},
            resample=Image.Resampling.BICUBIC,
            image_mean=list(MEAN),
            image_std=list(STD),
        )

    def new_processor(self, tokenizer: PreTrainedTokenizerFast) -> Any:
        return Idefics3Processor(self.new_image_processor(), tokenizer, image_seq_len=SIDE**2)

    def prompt(self, size: Size) -> str:
        columns, rows = size[0] // TILE, size[1] // TILE
        tokens, fake = "<image>" * SIDE**2, "<fake_token_around_image>"
        text = ""
        for row in range(rows):
            text += "".join(f"{fake}<row_{row + 1}_col_{column + 1}>{tokens}" for column in range(columns)) + "\n"
        return f"{text}\n{fake}<global-img>{tokens}{fake}"

    def features(self, model: Any, pixels_bchw: Tensor) -> Tensor:
        b = len(pixels_bchw)
        tiles = pixels_bchw.unfold(2, TILE, TILE).unfold(3, TILE, TILE)  # b c rows columns TILE TILE
        tiles = tiles.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
        whole = F.interpolate(pixels_bchw, (TILE, TILE), mode="bicubic", antialias=True)[:, None]
        flat = torch.cat([tiles, whole], 1).flatten(0, 1)
        tower = model.model.vision_model
        side = TILE // PATCH
        seen = torch.ones(len(flat), side, side, dtype=torch.bool, device=flat.device)
        x_mnd = through(tower.encoder.layers, tower.embeddings(pixel_values=flat, patch_attention_mask=seen))
        features: Tensor = model.model.connector(tower.post_layernorm(x_mnd))
        return features.view(b, -1, features.shape[-1])

    def decoder(self, model: Any) -> Any:
        return model.model.text_model

    def tower_layers(self, model: Any) -> list[Any]:
        return list(model.model.vision_model.encoder.layers)

    def grid(self, size: Size) -> tuple[Tensor, int]:
        columns, rows = size[0] // TILE, size[1] // TILE
        number = torch.arange(rows * columns * SIDE**2).view(rows, columns, SIDE, SIDE)
        return number.permute(0, 2, 1, 3).reshape(rows * SIDE, columns * SIDE), SHUFFLE
