"""A family: ViP-LLaVA, whose projector reads several layers of a CLIP tower at once."""

from __future__ import annotations

from typing import Any

import torch

from eos_platform.models.adapters.base import Call, Family, Parts, encoded
from eos_platform.models.conformance.zoo import IMAGE, Sample, finished, text_config
from eos_platform.models.runtime.visual_spans import Grid

SIDE, PATCH = 12, 2  # pixels of the small model's pictures


def small(attention: str) -> Any:
    """A model of the real class, with random weights."""
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = transformers.VipLlavaConfig(
        vision_config=transformers.CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, **sizes),
        text_config=transformers.LlamaConfig(**text_config()),
        vision_feature_layer=[-2, 1],
        image_token_id=IMAGE,
        image_seq_length=(SIDE // PATCH) ** 2,
        attn_implementation=attention,
    )
    return finished(transformers.VipLlavaForConditionalGeneration(config))


class VipLlava(Family):
    """One image of one size after another, plainly causal attention."""

    name = "ViP-LLaVA"
    model_types = ("vipllava",)
    sample = Sample(
        name=name,
        build=small,
        tokens=lambda picture: (SIDE // PATCH) ** 2,
        fill=lambda pictures, rng: {"pixel_values": torch.randn(sum(map(len, pictures)), 3, SIDE, SIDE, generator=rng)},
        sizes=((1, 1),),
    )

    def grid(self, config: Any) -> Grid:
        """As many as the tower makes of its one size of image."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        return side, side

    def single_image(self, parts: Parts, call: Call) -> bool:
        """As many images as prompts."""
        prompts = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
        images = call["pixel_values"] if call.get("pixel_values") is not None else encoded(call)
        return images is not None and len(images) == len(prompts)
