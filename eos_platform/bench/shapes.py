"""Models of true size with random weights: time does not depend on the weights' values.

model = random_model("llava-1.5-7b", torch.device("cuda"))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eos_platform.common.errors import EosError, unknown
from eos_platform.models.loading.pretrained import build, load_model


@dataclass(frozen=True)
class Shape:
    """A model that can be built from nothing."""

    about: str
    grid: tuple[int, int]  # of the visual tokens in a prompt
    config: Callable[[], Any]


def _llama(hidden: int, layers: int, heads: int, intermediate: int, vocab: int = 32064) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
        "max_position_embeddings": 8192,
    }


def _clip(image: int = 336, hidden: int = 1024, layers: int = 24) -> dict[str, Any]:
    return {
        "model_type": "clip_vision_model",
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, hidden // 64),
        "image_size": image,
        "patch_size": 14,
        "projection_dim": 768,
    }


def _llava(text: dict[str, Any], vision: dict[str, Any]) -> Any:
    from transformers import LlavaConfig

    return LlavaConfig(text_config=text, vision_config=vision, image_token_index=32000)


def _qwen() -> Any:
    from transformers import Qwen2_5_VLConfig

    text = {
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "vocab_size": 152064,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    }
    # the tower at its own size too: 32 blocks of width 1280
    vision = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420, "out_hidden_size": 3584}
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision)


def _qwen3(hidden: int = 4096, layers: int = 36, intermediate: int = 12288, vocab: int = 151936) -> Any:
    """Heads are 128 wide, one key head for four; the prompts that are timed have no deepstack features."""
    from transformers import Qwen3VLConfig

    text = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 128,
        "num_key_value_heads": max(1, hidden // 512),
        "head_dim": 128,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
        "rope_parameters": {"rope_type": "default", "mrope_section": [24, 20, 20], "rope_theta": 5e6},
    }
    vision = {"depth": 27, "hidden_size": 1152, "num_heads": 16, "intermediate_size": 4304, "out_hidden_size": hidden}
    return Qwen3VLConfig(text_config=text, vision_config=vision)


def _internvl(hidden: int = 3584, layers: int = 28, intermediate: int = 18944, vocab: int = 151674) -> Any:
    from transformers import InternVLConfig

    text = {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 128,
        "num_key_value_heads": max(1, hidden // 896),
        "intermediate_size": intermediate,
        "vocab_size": vocab,
    }
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    return InternVLConfig(text_config=text, vision_config=vision)


SHAPES: dict[str, Shape] = {
    "llava-1.5-7b": Shape(
        "576 tokens, 32 layers of 4096", (24, 24), lambda: _llava(_llama(4096, 32, 32, 11008), _clip())
    ),
    "llava-1.5-13b": Shape(
        "576 tokens, 40 layers of 5120", (24, 24), lambda: _llava(_llama(5120, 40, 40, 13824), _clip())
    ),
    "llava-next-7b": Shape(
        "2,880 tokens (five pictures' worth, one grid here), 32 layers of 4096",
        (48, 60),
        lambda: _llava(_llama(4096, 32, 32, 11008), _clip()),
    ),
    "qwen2.5-vl-7b": Shape("1,024 tokens, 28 layers of 3584, 4 key heads", (32, 32), _qwen),
    "qwen3-vl-8b": Shape("1,024 tokens, 36 layers of 4096, 8 key heads", (32, 32), _qwen3),
    "internvl3-8b": Shape("1,280 tokens (five tiles, one grid here), 28 layers of 3584", (32, 40), _internvl),
    "tiny": Shape(
        "64 tokens, 4 layers of 64: for tests",
        (8, 8),
        lambda: _llava(_llama(64, 4, 4, 128, vocab=32064), _clip(112, 64, 2)),
    ),
}


def get_shape(name: str) -> Shape:
    """A shape by its name.

    Raises:
        EosError: there is none of that name.
    """
    if name not in SHAPES:
        raise unknown("shape", name, SHAPES)
    return SHAPES[name]


def random_model(name: str, device: torch.device, dtype: torch.dtype | None = None, seed: int = 0) -> Any:
    """The real Hugging Face class at a shape's size, with the weights it has at initialisation, drawn on ``device``.

    Args:
        dtype: default: bfloat16 on a GPU, float32 on a CPU.

    Raises:
        EosError: an unknown shape.
    """
    from transformers import AutoModelForImageTextToText

    config = get_shape(name).config()
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        with torch.device(device):  # drawn where they stay: billions of numbers take a moment there, minutes elsewhere
            model = build(AutoModelForImageTextToText, config, dtype=dtype, attn_implementation="sdpa")
    return model.eval().requires_grad_(False)


def load(
    shape: str | None,
    model: str | None,
    device: torch.device,
    *,
    trust_remote_code: bool = False,
    allow_missing: bool = False,
) -> tuple[str, Any, tuple[int, int]]:
    """A model to time, its name, and the grid of visual tokens of one prompt.

    Args:
        shape: one of ``SHAPES``; default, where no model is named either: llava-1.5-7b.
        model: a bundled model, or a folder as ``save_pretrained`` leaves it.
        trust_remote_code: run Python that lies in that folder, where its ``auto_map`` says so.
        allow_missing: weights that it lacks are drawn at random, and those it has too many left out.

    Raises:
        EosError: both are given, or one that is not there.
    """
    if shape and model:
        raise EosError("give --shape or --model, not both")
    if model is None:
        name = shape or "llava-1.5-7b"
        return name, random_model(name, device), get_shape(name).grid
    from eos_platform.models.adapters.target import parts_of
    from eos_platform.models.loading.opening import opening

    with opening(model) as path:
        loaded = _from_folder(path, device, trust_remote_code, allow_missing)
        return model, loaded, parts_of(loaded).grid


def _from_folder(path: Path, device: torch.device, trust_remote_code: bool, allow_missing: bool) -> Any:
    from transformers import AutoModelForImageTextToText

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    loaded: Any = load_model(
        AutoModelForImageTextToText,
        path,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        allow_missing=allow_missing,
    )
    return loaded.to(device).eval().requires_grad_(False)
