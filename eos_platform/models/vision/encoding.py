"""Images through vision tower and projector, once, for many calls of the language model.

Legend: m images, n visual tokens, d width.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.target import check_plan, parts_of
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.attach import check_free
from eos_platform.models.runtime.layout import VisionFeatures
from eos_platform.models.vision.tower import Tower
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec


def encode_images(
    model: Any, pixel_values: Tensor, operator: OperatorSpec | None = None, names: Collection[str] = ("vision",)
) -> tuple[Tensor, VisionFeatures]:
    """Visual tokens (m, n, d) as the language model gets them, and what the vision tower says about them.

    Args:
        model: a LLaVA with no operator attached.
        pixel_values: of the images.
        operator: its sites in the vision tower are at work; where fewer tokens come out, the other places are zeros.
        names: what to read in the tower, besides: ``vision``, ``next_vision``, ``keys``.

    Raises:
        EosError: an operator is attached, or the given one was made for another model.
    """
    model = unwrapped(model)
    parts = parts_of(model)
    check_free(model)
    plan = None if operator is None else OperatorPlan.of(operator)
    if plan is not None:
        check_plan(parts, plan)
    tower = Tower(parts, plan, names)
    try:
        features = model.get_image_features(pixel_values=pixel_values, return_dict=True).pooler_output
    finally:
        tower.remove()
    return torch.stack(tuple(features)), tower.vision_features or VisionFeatures()
