"""What vision tower and projector cost for one image, with or without an operator's part in them."""

from __future__ import annotations

from collections.abc import Collection

from eos_platform.costs.shapes import VisionShape
from eos_platform.costs.site_flops import reduce_flops
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec


def vision_flops(vision: VisionShape, operator: OperatorSpec | None = None) -> float:
    """Vision tower and projector for one image; what the operator does and reads there included."""
    plan = None if operator is None else OperatorPlan.of(operator)
    arriving = vision.tokens if plan is None else plan.arriving
    tokens, width = arriving, vision.hidden
    total = float(2 * arriving * vision.patch * width)  # patches embedded
    for layer in range(vision.layers):
        for planned in plan.tower if plan else ():
            site, incoming, names = planned.site, planned.incoming, planned.features
            if site.layer == layer:
                total += _read(vision, names, incoming) + 4 * incoming * width * ("uniqueness" in names)
                total += reduce_flops(site, incoming, width, vision.head_dim)
                tokens = site.keep
        present = tokens + 1  # the class token
        total += 2 * present * width * (4 * width + 2 * vision.intermediate) + 4 * present * present * width
    total += 2 * tokens * vision.text_hidden * (vision.used * width + vision.text_hidden)
    features = set(plan.tower_features) if plan else set()
    if vision.depth < vision.layers and "next_vision" in features:  # of another layer than the rest
        features.discard("next_vision")
        total += _read(vision, ("next_vision",), tokens)
    return total + _read(vision, features, tokens)


def _read(vision: VisionShape, names: Collection[str], tokens: int) -> float:
    """What a layer's own projections are asked for."""
    present, width = tokens + 1, vision.hidden
    rows = ("vision" in names) + ("next_vision" in names)
    if not rows and "keys" not in names:
        return 0.0
    return 2 * present * width * width + (2 * width * width if rows else 0) + 2 * rows * present * width
