"""Small random models of the further families (``models/adapters/families/``), one ``Sample`` each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from eos_platform.models.conformance.zoo import (
    GRIDS,
    IMAGE,
    MM,
    ONE,
    PAD,
    POINTS,
    VIDEO,
    VISION,
    Picture,
    Sample,
    any_fill,
    any_tokens,
    area,
    finished,
    fixed,
    flat,
    noise,
    qwen3_video,
    qwen_fill,
    qwen_video,
    text_config,
    transformers,
)

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
SECTIONED = {**ROPE, "mrope_section": [2, 3, 3]}
PLACES = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": 96, "vision_end_token_id": 97}
PATCHES: dict[str, Any] = {"depth": 2, "num_heads": 4, "patch_size": 2, "spatial_merge_size": 2, "hidden_size": 32}
PATCHES |= {"intermediate_size": 64, "out_hidden_size": 64}
EXPERTS = {"moe_intermediate_size": 48, "shared_expert_intermediate_size": 32}
SIGLIP = {"vision_use_head": False, **VISION}


def built(name: str, attention: str, **more: Any) -> Any:
    """A model of a class of transformers, by the name it shares with its configuration."""
    hf = transformers()
    config = getattr(hf, f"{name}Config")(attn_implementation=attention, **more)
    return finished(getattr(hf, f"{name}ForConditionalGeneration")(config))


def _qwen_moe(attention: str) -> Any:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "mlp_only_layers": [1]}
    vision = {**PATCHES, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    text = text_config(rope_parameters=SECTIONED, head_dim=16, **experts)
    return built("Qwen3VLMoe", attention, vision_config=vision, text_config=text, **PLACES)


def _qwen35(name: str, order: str, **experts: Any) -> Callable[[str], Any]:
    def build(attention: str) -> Any:
        kinds = [{"l": "linear_attention", "f": "full_attention"}[one] for one in order]
        linear = {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2}
        rope = {**ROPE, "partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1]}
        text = text_config(rope_parameters=rope, head_dim=16, layer_types=kinds, linear_num_value_heads=4)
        vision = {**PATCHES, "num_position_embeddings": 64}
        return built(name, attention, vision_config=vision, text_config={**text, **linear, **experts}, **PLACES)

    return build


def _omni(attention: str) -> Any:
    vision = {**PATCHES, "window_size": 8, "fullatt_block_indexes": [1]}
    audio = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "output_dim": 64}
    return built(
        "Qwen2_5OmniThinker",
        attention,
        vision_config=vision,
        audio_config={**audio, "num_mel_bins": 16, "n_window": 4, "max_source_positions": 16},
        text_config=text_config(rope_parameters=SECTIONED),
        audio_token_id=95,
        **PLACES,
    )


def _glm(name: str) -> Callable[[str], Any]:
    def build(attention: str) -> Any:
        rope = {**SECTIONED, "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 2]}
        places = {"image_token_id": IMAGE, "video_token_id": VIDEO, "image_start_token_id": 96}
        places |= {"image_end_token_id": 97, "video_start_token_id": 94, "video_end_token_id": 95}
        vision = {**PATCHES, "image_size": 16}
        return built(name, attention, vision_config=vision, text_config=text_config(rope_parameters=rope), **places)

    return build


def _paddle(attention: str) -> Any:
    vision = {**VISION, "image_size": 16, "patch_size": 2, "spatial_merge_size": 2}
    text = text_config(rope_parameters=SECTIONED, head_dim=16)
    return built("PaddleOCRVL", attention, vision_config=vision, text_config=text, **PLACES)


def _paddle_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    given = qwen_fill(pictures, generator)
    return {**given, "pixel_values": given["pixel_values"][:, :12].reshape(-1, 3, 2, 2)}


def _pixtral() -> Any:
    return transformers().PixtralVisionConfig(image_size=16, patch_size=2, head_dim=8, **VISION)


def _mistral(attention: str) -> Any:
    text = transformers().MistralConfig(**text_config(head_dim=16, sliding_window=None))
    return built("Mistral3", attention, vision_config=_pixtral(), text_config=text, image_token_index=IMAGE)


def _lighton(attention: str) -> Any:
    text = transformers().Qwen3Config(**text_config(head_dim=16))
    return built("LightOnOcr", attention, vision_config=_pixtral(), text_config=text, image_token_id=IMAGE)


def _sized_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    sizes = [(4 * rows, 4 * columns) for rows, columns in flat(pictures)]
    high, wide = (max(side) for side in zip(*sizes, strict=True))
    return {"pixel_values": noise(generator, len(sizes), 3, high, wide), "image_sizes": torch.tensor(sizes)}


def _video_llama(attention: str) -> Any:
    vision = {**VISION, "patch_size": 2}
    text = transformers().Qwen2Config(**text_config())
    places = {"image_token_id": IMAGE, "video_token_id": VIDEO}
    return built("VideoLlama3", attention, vision_config=vision, text_config=text, **places)


def _video_llama_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    given = qwen_fill(pictures, generator)
    merges = torch.full((len(flat(pictures)),), 2)
    return {**given, "pixel_values": given["pixel_values"][:, :12], "image_merge_sizes": merges}


def _video_llama_film(frames: int, generator: torch.Generator) -> tuple[list[int], dict[str, Any]]:
    shown, given = qwen_video(frames, generator)
    pixels = given["pixel_values_videos"][:, :12]
    return shown, {**given, "pixel_values_videos": pixels, "video_merge_sizes": torch.tensor([2])}


def _cohere_text() -> Any:
    kinds = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    return transformers().Cohere2Config(**text_config(head_dim=16, layer_types=kinds, sliding_window=14))


def _aya(attention: str) -> Any:
    vision = transformers().SiglipVisionConfig(image_size=16, patch_size=2, **SIGLIP)
    return built("AyaVision", attention, vision_config=vision, text_config=_cohere_text(), image_token_index=IMAGE)


def _cohere(attention: str) -> Any:
    vision = transformers().SiglipVisionConfig(image_size=16, patch_size=2, **SIGLIP)
    text, more = _cohere_text(), {"image_token_id": IMAGE, "alignment_intermediate_size": 64}
    return built("Cohere2Vision", attention, vision_config=vision, text_config=text, **more)


def _ovis(attention: str) -> Any:
    vision = {**VISION, "image_size": 16, "patch_size": 2, "hidden_stride": 2, "vocab_size": 40}
    marks = [91, 92, 93, 94, 95]
    more = {"image_token_id": IMAGE, "hidden_size": 64, "visual_indicator_token_ids": marks, "vocab_size": 100}
    text = transformers().Qwen2Config(**text_config())
    model = built("Ovis2", attention, vision_config=vision, text_config=text, **more)
    # where it writes such a mark, it reads another than it wrote once a picture is there again
    model.generation_config.suppress_tokens += marks
    return model


def _deepseek(attention: str) -> Any:
    vision = transformers().SiglipVisionConfig(image_size=8, patch_size=2, **SIGLIP)
    text = transformers().LlamaConfig(**text_config())
    return built("DeepseekVL", attention, vision_config=vision, text_config=text, image_token_id=IMAGE)


def _idefics(attention: str) -> Any:
    resampler = {"hidden_size": 64, "resampler_n_latents": 12, "resampler_depth": 1, "resampler_n_heads": 4}
    return built(
        "Idefics2",
        attention,
        vision_config={"image_size": 16, "patch_size": 2, **VISION},
        perceiver_config={**resampler, "resampler_head_dim": 16, "num_key_value_heads": 2},
        text_config=transformers().MistralConfig(**text_config(sliding_window=None)),
        image_token_id=IMAGE,
        pad_token_id=PAD,
    )


def _idefics_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    most = max(map(len, pictures))
    pixels = torch.zeros(len(pictures), most, 3, 16, 16)  # a picture of zeros only fills up
    for row, held in enumerate(pictures):
        pixels[row, : len(held)] = noise(generator, len(held), 3, 16, 16)
    return {"pixel_values": pixels}


def _gemma4(attention: str) -> Any:
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    wide = {"head_dim": 8, "global_head_dim": 16, "num_global_key_value_heads": 1, "attention_k_eq_v": True}
    experts = {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 48}
    alone = {"hidden_size_per_layer_input": 0, "use_bidirectional_attention": "vision", "sliding_window": 14}
    text = transformers().Gemma4TextConfig(**text_config(layer_types=kinds, **wide, **experts, **alone))
    vision = {**VISION, "num_key_value_heads": 4, "head_dim": 8, "pooling_kernel_size": 2, "patch_size": 2}
    vision = {**vision, "position_embedding_size": 32}
    places = {"image_token_id": IMAGE, "video_token_id": VIDEO, "audio_token_id": 95}
    return built("Gemma4", attention, vision_config=vision, text_config=text, audio_config=None, **places)


def _gemma4_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    shown = flat(pictures)
    most = max(4 * area(picture) for picture in shown)
    places = torch.full((len(shown), most, 2), -1)
    for number, (rows, columns) in enumerate(shown):
        grid = torch.meshgrid(torch.arange(2 * rows), torch.arange(2 * columns), indexing="ij")
        places[number, : 4 * rows * columns] = torch.stack((grid[1], grid[0]), -1).flatten(0, 1)
    pixels = noise(generator, len(shown), most, 12) * (places >= 0).all(-1, keepdim=True)
    return {"pixel_values": pixels, "image_position_ids": places}


def _next_video(attention: str) -> Any:
    hf = transformers()
    return built(
        "LlavaNextVideo",
        attention,
        vision_config=hf.CLIPVisionConfig(image_size=8, patch_size=2, **{**VISION, "num_hidden_layers": 3}),
        text_config=hf.LlamaConfig(**text_config()),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=POINTS,
    )


def _next_film(frames: int, generator: torch.Generator) -> tuple[list[int], dict[str, Any]]:
    return [VIDEO] * (frames * 4), {"pixel_values_videos": noise(generator, 1, frames, 3, 8, 8)}


_ANY = ((16, 16), (7, 16), (16, 5))
FURTHER: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample("Qwen3.5", _qwen35("Qwen3_5", "lflf"), area, qwen_fill, GRIDS, qwen3_video, MM, plain_positions=False),
        Sample(
            "Qwen3.5-MoE",
            _qwen35("Qwen3_5Moe", "lllf", num_experts=4, num_experts_per_tok=2, **EXPERTS),
            area,
            qwen_fill,
            GRIDS,
            None,
            MM,
            plain_positions=False,
        ),
        Sample("Qwen3-VL-MoE", _qwen_moe, area, qwen_fill, GRIDS, None, MM, plain_positions=False),
        Sample("Qwen2.5-Omni", _omni, area, qwen_fill, GRIDS, None, plain_positions=False),
        Sample("GLM-4V", _glm("Glm4v"), area, qwen_fill, GRIDS, None, MM, plain_positions=False),
        Sample("GLM-4.6V", _glm("Glm46V"), area, qwen_fill, GRIDS, None, MM, plain_positions=False),
        Sample("PaddleOCR-VL", _paddle, area, _paddle_fill, GRIDS, None, MM, plain_positions=False),
        Sample("Mistral 3", _mistral, area, _sized_fill, GRIDS),
        Sample("LightOnOCR", _lighton, area, _sized_fill, GRIDS),
        Sample("VideoLLaMA 3", _video_llama, area, _video_llama_fill, GRIDS, _video_llama_film),
        Sample("Aya Vision", _aya, lambda _: 16, fixed(16), ONE),
        Sample("Cohere 2 Vision", _cohere, lambda _: 16, fixed(16), ONE),
        Sample("Ovis 2", _ovis, lambda _: 16, fixed(16), ONE),
        Sample("DeepSeek-VL", _deepseek, lambda _: 16, fixed(8), ONE),
        Sample("Idefics 2", _idefics, lambda _: 12, _idefics_fill, ONE),
        Sample("Gemma 4", _gemma4, area, _gemma4_fill, GRIDS, types=MM),
        Sample("LLaVA-NeXT-Video", _next_video, any_tokens, any_fill, _ANY, _next_film),
    )
}
