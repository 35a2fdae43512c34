"""How many FLOPs a prefill takes: plain arithmetic, the same for whole numbers and for tensors with gradients.

Counted as ``torch.utils.flop_counter`` counts: matrix products only, a multiply-add is 2, attention over all pairs,
logits of one position. What an operator itself costs (attention rows, similarities, transfers) is included. One
prompt; a batch multiplies every term alike.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from eos_platform.errors import EosError
from eos_platform.models.llava import parts_of
from eos_platform.models.present import needed
from eos_platform.operators.relax import RelaxedSite
from eos_platform.operators.spec import FEATURES, OperatorSpec, SiteSpec

Number = TypeVar("Number", float, Tensor)
_SIMILAR = {"alternate": 0.25, "farthest": 1.0}  # which share of all pairs of tokens a selector compares


@dataclass(frozen=True)
class DecoderShape:
    """The sizes of a Llama-style decoder."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int


@dataclass(frozen=True)
class VisionShape:
    """The sizes of a CLIP-style vision tower and of the projector after it."""

    layers: int
    hidden: int
    intermediate: int
    tokens: int  # visual tokens; the tower has a class token more
    patch: int  # numbers in one patch of pixels
    used: int  # layers whose output the projector takes
    text_hidden: int


def shape_of(model: Any) -> DecoderShape:
    """The sizes of a model's decoder."""
    config = parts_of(model).language_model.config
    return DecoderShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocab=config.vocab_size,
    )


def vision_shape_of(model: Any) -> VisionShape:
    """The sizes of a model's vision tower and projector."""
    parts, config = parts_of(model), model.config
    vision, used = config.vision_config, config.vision_feature_layer
    return VisionShape(
        layers=vision.num_hidden_layers,
        hidden=vision.hidden_size,
        intermediate=vision.intermediate_size,
        tokens=parts.grid[0] * parts.grid[1],
        patch=vision.num_channels * vision.patch_size**2,
        used=1 if isinstance(used, int) else len(used),
        text_hidden=config.text_config.hidden_size,
    )


def layer_flops(shape: DecoderShape, tokens: Number) -> Number:
    """One decoder layer over ``tokens`` tokens."""
    heads, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    linear = shape.hidden * (2 * heads + 2 * keys + 3 * shape.intermediate)
    return 2 * linear * tokens + 4 * heads * tokens * tokens


def feature_flops(shape: DecoderShape, names: Collection[str], tokens: Number, text_tokens: int) -> Number:
    """The named features of ``tokens`` visual tokens. ``vision`` is counted with the vision tower."""
    rows = ("last_text" in names) + text_tokens * ("mean_text" in names)
    present = tokens + text_tokens
    cost = tokens * 4 * shape.hidden * ("uniqueness" in names)
    if rows:
        heads, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        cost = cost + 2 * shape.hidden * keys * present + 2 * rows * heads * (shape.hidden + present)
        cost = cost + 2 * text_tokens * tokens * ("mean_text" in names)
    return cost


def site_flops(shape: DecoderShape, site: SiteSpec, tokens: int, text_tokens: int) -> float:
    """What a deployed site costs when ``tokens`` visual tokens arrive."""
    if site.is_noop(tokens):
        return 0.0
    cost = float(feature_flops(shape, needed(site, tokens), tokens, text_tokens))
    gone = tokens - site.keep
    if gone:
        cost += _selector_flops(shape, site.selector, tokens)
    if gone and site.keep and site.transfer.gamma > 0:
        even = math.isinf(site.transfer.tau)
        if even and site.transfer.support.kind == "all":
            cost += 2 * gone * shape.hidden  # one weighted sum serves all
        else:
            # an even split inside windows needs no similarities
            compares = 1 if even and site.transfer.support.kind == "window" else 2
            cost += compares * 2 * gone * site.keep * shape.hidden
    return cost


def _selector_flops(shape: DecoderShape, selector: str, tokens: Number) -> Number:
    return tokens * tokens * (2 * shape.hidden * _SIMILAR.get(selector, 0.0))


def prefill_flops(shape: DecoderShape, text_tokens: int, operator: OperatorSpec | None, tokens: int) -> float:
    """The language model's prefill of one prompt.

    Args:
        shape: of the decoder.
        text_tokens: tokens that are not visual.
        operator: what reduces the visual tokens on the way, if anything.
        tokens: visual tokens that arrive.

    Raises:
        EosError: the operator is for another number of layers or tokens.
    """
    logits = 2 * shape.hidden * shape.vocab
    if operator is None:
        return float(shape.layers * layer_flops(shape, tokens + text_tokens) + logits)
    target = operator.target
    if (target.layers, target.tokens) != (shape.layers, tokens):
        raise EosError(
            f"operator '{operator.name}' is for {target.layers} decoder layers and {target.tokens} visual tokens;"
            f" here are {shape.layers} and {tokens}"
        )
    total = float(logits)
    for site, incoming in zip(operator.sites, operator.incoming, strict=True):
        total += site_flops(shape, site, incoming, text_tokens)
    return total + sum(layer_flops(shape, count + text_tokens) for count in operator.counts)


def compute_ratio(operator: OperatorSpec, shape: DecoderShape, text_tokens: int) -> float:
    """Prefill FLOPs of the language model with the operator, over those without."""
    tokens = operator.target.tokens
    return prefill_flops(shape, text_tokens, operator, tokens) / prefill_flops(shape, text_tokens, None, tokens)


def soft_compute_ratio(
    sites: Sequence[RelaxedSite],
    counts: Sequence[Tensor],
    shape: DecoderShape,
    tokens: int,
    text_tokens: int,
    features: Collection[str] = FEATURES,
) -> Tensor:
    """The compute ratio of relaxed sites, differentiable in ``counts``.

    A site's own cost fades as it removes fewer tokens: one that removes none is left out when deployed.

    Args:
        sites: in layer order.
        counts: visual tokens left after each.
        shape: of the decoder.
        tokens: visual tokens that arrive.
        text_tokens: tokens that are not visual.
        features: those the deployed sites will weigh.
    """
    total = torch.tensor(float(2 * shape.hidden * shape.vocab))
    if counts:
        total = total.to(counts[0].device)
    here = torch.full_like(total, float(tokens))
    after: dict[int, Tensor] = {}
    for site, count in zip(sites, counts, strict=True):
        gone = (here - count).clamp_min(0.0)
        names = features if site.selector == "score" else ()
        cost = feature_flops(shape, names, here, text_tokens)
        cost = cost + _selector_flops(shape, site.selector, here)
        cost = cost + 4 * shape.hidden * gone * count
        total = total + cost * gone / (gone + 1)
        here = after[site.layer] = count
    here = torch.full_like(total, float(tokens))
    for layer in range(shape.layers):
        here = after.get(layer, here)
        total = total + layer_flops(shape, here + text_tokens)
    return total / prefill_flops(shape, text_tokens, None, tokens)


def vision_flops(vision: VisionShape, rows: bool = False) -> float:
    """Vision tower and projector for one image; ``rows``: with the attention row the feature ``vision`` reads."""
    present, width = vision.tokens + 1, vision.hidden
    layer = 2 * present * width * (4 * width + 2 * vision.intermediate) + 4 * present * present * width
    embed = 2 * vision.tokens * vision.patch * width
    project = 2 * vision.tokens * vision.text_hidden * (vision.used * width + vision.text_hidden)
    row = 2 * (present + 1) * width * width + 2 * present * width
    return float(embed + vision.layers * layer + project + rows * row)


def whole_model_ratio(operator: OperatorSpec, shape: DecoderShape, vision: VisionShape, text_tokens: int) -> float:
    """The same ratio with vision tower and projector on both sides."""
    tokens = operator.target.tokens
    reads = any(
        "vision" in needed(site, n) for site, n in zip(operator.sites, operator.incoming, strict=True) if site.score
    )
    reduced = prefill_flops(shape, text_tokens, operator, tokens) + vision_flops(vision, reads)
    return reduced / (prefill_flops(shape, text_tokens, None, tokens) + vision_flops(vision))
