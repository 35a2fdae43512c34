"""Small random models of families that none is bundled of, as folders that both sides load: weights, configuration, and
the processor of a bundled model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from eos_platform.models.bundled import folder
from eos_platform.models.conformance.zoo import finished, text_config
from eos_platform.models.loading.processors import load_processor

# heads of 32, the least width that the engine's kernels for CPUs take
TEXT: dict[str, Any] = text_config(
    hidden_size=128, head_dim=32, tie_word_embeddings=False, max_position_embeddings=2048
)
VISION: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2}


def saved(model: Any, processor: Any, into: Path) -> Path:
    """Both in one folder."""
    model.generation_config.suppress_tokens = None
    model.generation_config.eos_token_id = 2
    model.save_pretrained(into)
    processor.save_pretrained(into)
    return into


def qwen3(into: Path) -> Path:
    """Qwen3-VL, with deepstack features of two blocks of its tower."""
    import transformers as hf

    plain = load_processor(folder("bundled-qwen"))
    known = {name: plain.tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in
             ("image_pad", "video_pad", "vision_start", "vision_end")}  # fmt: skip
    vision = {"depth": 3, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "hidden_size": 64,
              "intermediate_size": 96, "out_hidden_size": 128, "num_position_embeddings": 64,
              "deepstack_visual_indexes": [0, 1]}  # fmt: skip
    section = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    config = hf.Qwen3VLConfig(
        vision_config=vision,
        text_config={**TEXT, "vocab_size": len(plain.tokenizer), "rope_parameters": section},
        image_token_id=known["image_pad"],
        video_token_id=known["video_pad"],
        vision_start_token_id=known["vision_start"],
        vision_end_token_id=known["vision_end"],
        tie_word_embeddings=False,
    )
    processor = hf.Qwen3VLProcessor(
        plain.image_processor, plain.tokenizer, hf.Qwen3VLVideoProcessor(), chat_template=plain.chat_template
    )
    return saved(finished(hf.Qwen3VLForConditionalGeneration(config)), processor, into)


def internvl(into: Path) -> Path:
    """InternVL, its pictures cut into tiles of 3 x 3 tokens."""
    import transformers as hf

    words = {"start_image_token": "<img>", "end_image_token": "</img>", "video_token": "<video>",
             "context_image_token": "<IMG_CONTEXT>"}  # fmt: skip
    tokenizer = hf.AutoTokenizer.from_pretrained(folder("bundled-small"), extra_special_tokens=words)
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(size={"height": 84, "width": 84}, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer,
        hf.InternVLVideoProcessor(size={"height": 84, "width": 84}),
        image_seq_length=9,
        chat_template="{% for m in messages %}{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in "
        "m['content'] %}{% if c['type'] == 'image' %}<IMG_CONTEXT>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
        "{% endif %}{% endfor %}",
    )
    config = hf.InternVLConfig(
        vision_config={"image_size": [84, 84], "patch_size": [14, 14], "num_hidden_layers": 2, **VISION},
        text_config=hf.Qwen2Config(**{**TEXT, "vocab_size": len(tokenizer)}),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=9,
        tie_word_embeddings=False,
    )
    return saved(finished(hf.InternVLForConditionalGeneration(config)), processor, into)


def llava_next(into: Path) -> Path:
    """LLaVA-NeXT: the whole picture and tiles of 6 x 6 tokens."""
    import transformers as hf

    plain = load_processor(folder("bundled-small"))
    points = [[84, 168], [168, 84], [168, 168], [84, 252]]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(image_size=84, patch_size=14, num_hidden_layers=3, **VISION),
        text_config=hf.LlamaConfig(**{**TEXT, "vocab_size": len(plain.tokenizer)}),
        image_token_index=plain.tokenizer.convert_tokens_to_ids(plain.image_token),
        image_grid_pinpoints=points,
        image_seq_length=36,
        tie_word_embeddings=False,
    )
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": 84}, crop_size={"height": 84, "width": 84}, image_grid_pinpoints=points
    )
    processor = hf.LlavaNextProcessor(
        images,
        plain.tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=plain.chat_template,
        image_token=plain.image_token,
        num_additional_image_tokens=1,
    )
    return saved(finished(hf.LlavaNextForConditionalGeneration(config)), processor, into)


def smolvlm(into: Path) -> Path:
    """SmolVLM, whose bundled namesake is an Idefics 3 to transformers: tiles of 3 x 3 tokens."""
    import transformers as hf

    plain = load_processor(folder("bundled-smolvlm"))
    config = hf.SmolVLMConfig(
        vision_config={"image_size": 84, "patch_size": 14, "num_hidden_layers": 2, **VISION},
        text_config=hf.LlamaConfig(**{**TEXT, "vocab_size": len(plain.tokenizer)}),
        image_token_id=plain.tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    images = hf.SmolVLMImageProcessor(size={"longest_edge": 168}, max_image_size={"longest_edge": 84})
    films = hf.SmolVLMVideoProcessor(size={"longest_edge": 84}, max_image_size={"longest_edge": 84})
    processor = hf.SmolVLMProcessor(images, plain.tokenizer, films, image_seq_len=9, chat_template=plain.chat_template)
    return saved(finished(hf.SmolVLMForConditionalGeneration(config)), processor, into)


MODELS: dict[str, Callable[[Path], Path]] = {
    "qwen3_vl": qwen3,
    "internvl": internvl,
    "llava_next": llava_next,
    "smolvlm": smolvlm,
}


def made(kind: str, into: Path) -> Path:
    """A random model of a type, the same every time."""
    torch.manual_seed(0)
    return MODELS[kind](into)


if __name__ == "__main__":
    import sys

    from eos_platform.serve.torchvision_ops import install

    install()  # an environment of vLLM's for CPUs
    print(made(sys.argv[1], Path(sys.argv[2])))
