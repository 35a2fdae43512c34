"""FLOPs as counted while the deployed model really runs: what the analytic numbers are held against.

Legend: b batch, s sequence, n visual tokens.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eos_platform.common.errors import EosError
from eos_platform.costs.shapes import shape_of
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.attach import reducing
from eos_platform.models.runtime.layout import Layout, TowerTokens
from eos_platform.models.vision.tower import Tower
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec


def _countable(device: torch.device) -> AbstractContextManager[None]:
    """The counter knows nothing of the fused attention of CPUs, so there it must be spelled out as products."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@torch.no_grad()
def counted_flops(model: Any, operator: OperatorSpec | None, text_tokens: int) -> int:
    """FLOPs of the language model's prefill of one prompt, with the logits of its last position.

    Args:
        model: with no operator attached.
        operator: what to run it with.
        text_tokens: tokens that are not visual, one of them before the image.
    """
    if text_tokens < 2:
        raise EosError(f"a prompt needs text before and after the image; got {text_tokens} text tokens")
    model = unwrapped(model)
    parts = parts_of(model)
    tokens = parts.grid[0] * parts.grid[1]
    entering = operator.entering if operator else tokens
    device, length = model.device, tokens + text_tokens
    place_bs = torch.arange(length, device=device)[None]
    layout = Layout(
        visual_bn=place_bs[:, 1 : tokens + 1],
        text_bs=place_bs > tokens,
        last_b=place_bs[:, -1],
        valid_bs=place_bs >= 0,
        features={
            "vision": torch.rand(1, entering, device=device),
            "next_vision": torch.rand(1, entering, device=device),
            "keys": torch.randn(1, entering, shape_of(model).key_width, device=device),
        },
    )
    if entering < tokens:
        size_br = torch.full((1, entering), tokens / entering, device=device)
        layout.seen = TowerTokens(torch.arange(entering, device=device)[None], size_br)
    width = parts.language_model.config.hidden_size
    x_bsd = torch.randn(1, length, width, device=device, dtype=model.dtype)
    return flops_of(model, operator, Prefill(x_bsd, layout))


@torch.no_grad()
def flops_of(model: Any, operator: OperatorSpec | None, prefill: Prefill) -> int:
    """The same of given prompts, of a model of any family."""
    device = prefill.x_bsd.device
    working = nullcontext() if operator is None else reducing(model, operator, prefill.layout)
    with working, _countable(device), FlopCounterMode(display=False) as counter:
        adapter_of(model).start(prefill)
    return int(counter.get_total_flops())


@torch.no_grad()
def counted_vision_flops(model: Any, operator: OperatorSpec | None = None) -> int:
    """FLOPs of vision tower and projector for one image, with what the operator does and reads there."""
    model = unwrapped(model)
    vision = model.config.vision_config
    pixels = torch.zeros(1, vision.num_channels, vision.image_size, vision.image_size, device=model.device)
    tower = Tower(parts_of(model), None if operator is None else OperatorPlan.of(operator))
    try:
        with _countable(model.device), FlopCounterMode(display=False) as counter:
            model.get_image_features(pixel_values=pixels.to(model.dtype))
    finally:
        tower.remove()
    return int(counter.get_total_flops())
