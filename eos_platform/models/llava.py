"""The parts of a LLaVA that operators meet: decoder layers, vision tower, image tokens.

Legend: m images, n visual tokens, d width.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.errors import EosError
from eos_platform.operators.spec import OperatorSpec, Target

ATTENTION = ("sdpa", "eager")


@dataclass(frozen=True)
class Parts:
    """The modules of one LLaVA (never the top-level model itself, so that holding them does not keep it alive)."""

    body: Any  # images and text in, hidden states out
    language_model: Any
    layers: tuple[Any, ...]
    tower: Any
    image_token: int
    grid: tuple[int, int]
    vision_layer: Any | None  # the last layer of the vision tower whose output is used


def parts_of(model: Any) -> Parts:
    """The parts of a model.

    Raises:
        EosError: not a LLaVA with a Llama-like language model, or one whose visual tokens are no grid.
    """
    body = getattr(model, "model", None)
    language_model = getattr(body, "language_model", None)
    tower = getattr(body, "vision_tower", None)
    layers = getattr(language_model, "layers", None)
    if layers is None or tower is None:
        raise EosError(f"operators attach to LlavaForConditionalGeneration, not to {type(model).__name__}")
    if not all(hasattr(layers[0], name) for name in ("self_attn", "input_layernorm")):
        raise EosError(f"decoder layers of {type(language_model).__name__} are not Llama's")
    config = model.config
    if config.vision_feature_select_strategy != "default":
        raise EosError("only vision_feature_select_strategy 'default' is supported (visual tokens form a grid)")
    vision = config.vision_config
    side = vision.image_size // vision.patch_size
    return Parts(
        body=body,
        language_model=language_model,
        layers=tuple(layers),
        tower=tower,
        image_token=config.image_token_id,
        grid=(side, side),
        vision_layer=_last_used(tower, config.vision_feature_layer),
    )


def _last_used(tower: Any, feature_layer: int | list[int]) -> Any | None:
    layers = getattr(getattr(tower, "vision_model", tower), "encoder", tower).layers
    # hidden state 0 is the embeddings, hidden state i the output of layer i - 1
    states = [feature_layer] if isinstance(feature_layer, int) else feature_layer
    last = max(state if state >= 0 else len(layers) + 1 + state for state in states)
    return layers[last - 1] if last > 0 else None


def target_of(model: Any, name: str = "") -> Target:
    """What an operator made for this model refers to."""
    parts = parts_of(model)
    return Target(layers=len(parts.layers), grid=parts.grid, model=name)


def check_fits(parts: Parts, operator: OperatorSpec) -> None:
    """Refuse an operator made for another model.

    Raises:
        EosError: other number of decoder layers, other grid, or an attention that cannot be masked per key.
    """
    last = len(parts.layers) - 1
    for number, site in enumerate(operator.sites):
        if site.layer > last:
            raise EosError(
                f"operator '{operator.name}': sites.{number}: layer {site.layer} is beyond the model's last"
                f" decoder layer ({last})"
            )
    if operator.target.grid != parts.grid:
        made, has = ("x".join(map(str, grid)) for grid in (operator.target.grid, parts.grid))
        raise EosError(f"operator '{operator.name}' is for a {made} grid of visual tokens; the model has {has}")
    if operator.target.layers != last + 1:
        raise EosError(
            f"operator '{operator.name}' is for {operator.target.layers} decoder layers; the model has {last + 1}"
        )
    kind = parts.language_model.config._attn_implementation
    if kind not in ATTENTION:
        raise EosError(f"attention '{kind}' is not supported; load the model with attn_implementation='sdpa'")


def cls_row(attention: Any, x_mnd: Tensor) -> Tensor:
    """How much the class token looks at each visual token, mean over heads: (m, n) float32.

    Args:
        attention: a CLIP attention module.
        x_mnd: its input, class token first.
    """
    width = attention.head_dim
    query_mqhe = attention.q_proj(x_mnd[:, :1]).unflatten(-1, (-1, width))
    key_mnhe = attention.k_proj(x_mnd).unflatten(-1, (-1, width))
    logits_mhqn = torch.einsum("mqhe,mnhe->mhqn", query_mqhe, key_mnhe).float() * attention.scale
    return logits_mhqn.softmax(-1).mean(1)[:, 0, 1:]


def encode_images(model: Any, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """Visual tokens as the language model gets them, and the vision tower's attention to each.

    Returns:
        features_mnd, after the projector, and vision_mn, the class token's attention in the last used layer.
    """
    parts = parts_of(model)
    rows: list[Tensor] = []
    attention = vision_attention(parts)
    hook = attention.register_forward_pre_hook(
        renamed(lambda module, call: rows.append(cls_row(module, call["hidden_states"]))), with_kwargs=True
    )
    try:
        features = model.get_image_features(pixel_values=pixel_values, return_dict=True).pooler_output
    finally:
        hook.remove()
    return torch.stack(tuple(features)), rows[-1]


def vision_attention(parts: Parts) -> Any:
    """The attention module the feature ``vision`` reads.

    Raises:
        EosError: the model uses no layer of its vision tower.
    """
    if parts.vision_layer is None:
        raise EosError("the feature 'vision' needs a vision tower layer, and this model uses none")
    return parts.vision_layer.self_attn


Hook = Callable[[Any, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]


def renamed(act: Callable[[Any, dict[str, Any]], None]) -> Hook:
    """A forward pre-hook that lets ``act`` change a call's arguments by name; they go on as they came."""

    def hook(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        names = _parameters(type(module).forward)[: len(args)]
        call = {**dict(zip(names, args, strict=False)), **kwargs}
        act(module, call)
        return tuple(call.pop(name, None) for name in names), call

    return hook


@lru_cache(maxsize=64)
def _parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)[1:]
