"""Gemma 3: one square picture, patches pooled to a fixed count; visual tokens see each other, local layers a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Gemma3TextConfig,
    PreTrainedTokenizerFast,
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

SIDE, PATCH, TOKENS, WINDOW = 336, 14, 12, 96


class Gemma(Family):
    """144 tokens of a picture of 336 pixels, two local layers before each global one."""

    sizes = ((SIDE, SIDE),)
    image_words = "<start_of_image>"
    specials = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
    two_way = True

    def new_model(self, vocabulary: int, ids: Mapping[str, int]) -> Any:
        kinds = ["sliding_attention", "sliding_attention", "full_attention"] * 2
        text = Gemma3TextConfig(
            vocab_size=vocabulary,
            **TEXT,
            **SHARED,
            head_dim=40,
            query_pre_attn_scalar=40,
            layer_types=kinds,
            sliding_window=WINDOW,
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
            image_size=SIDE,
            patch_size=PATCH,
            vision_use_head=False,
        )
        config = Gemma3Config(
            text_config=text,
            vision_config=vision,
            mm_tokens_per_image=TOKENS**2,
            boi_token_index=ids["<start_of_image>"],
            eoi_token_index=ids["<end_of_image>"],
            image_token_index=ids["<image_soft_token>"],
            tie_word_embeddings=True,
        )
        model = Gemma3ForConditionalGeneration(config)
        torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=160**-0.5)
        return ended(model)

    def new_image_processor(self) -> Any:
        from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

        return Gemma3ImageProcessorPil(
            size={"height": SIDE, "width": SIDE}, image_mean=list(MEAN), image_std=list(STD), do_pan_and_scan=False
        )

    def new_processor(self, tokenizer: PreTrainedTokenizerFast) -> Any:
        names = dict(zip(("boi_token", "eoi_token", "image_token"), self.specials, strict=True))
        tokenizer = type(tokenizer)(
            tokenizer_object=tokenizer.backend_tokenizer,
            padding_side="left",
            extra_special_tokens=names,
            **{f"{name}_token": getattr(tokenizer, f"{name}_token") for name in ("pad", "bos", "eos")},
        )
        return Gemma3Processor(self.new_image_processor(), tokenizer, image_seq_length=TOKENS**2)

    def placeholder(self, ids: Mapping[str, int]) -> int:
        return ids["<image_soft_token>"]

    def prompt(self, size: Size) -> str:
        return f"\n\n<start_of_image>{'<image_soft_token>' * TOKENS**2}<end_of_image>\n\n"

    def features(self, model: Any, pixels_bchw: Tensor) -> Tensor:
        tower = inner(model.model.vision_tower)
        x_bnd = tower.post_layernorm(through(tower.encoder.layers, tower.embeddings(pixels_bchw)))
        features: Tensor = model.model.multi_modal_projector(x_bnd)
        return features

    def tower_layers(self, model: Any) -> list[Any]:
        return list(inner(model.model.vision_tower).encoder.layers)

    def grid(self, size: Size) -> tuple[Tensor, int]:
        return torch.arange(TOKENS**2).view(TOKENS, TOKENS), 2

    def window(self, model: Any) -> int | None:
        return WINDOW
