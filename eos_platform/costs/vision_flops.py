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
    sites = plan.tower if plan else ()
    for layer in range(vision.layers):
        for planned in sites:
            site, incoming, names = planned.site, planned.incoming, planned.features
            if site.layer == layer < vision.depth:
                total += _read(vision, names, incoming) + 4 * incoming * width * ("uniqueness" in names)
                total += reduce_flops(site, incoming, width, vision.head_dim)
                tokens = site.keep
        present = tokens + 1  # the class token
        total += 2 * present * width * (4 * width + 2 * vision.intermediate) + 4 * present * present * width
    in_last = tokens  # that the last used block has
    behind = [planned for planned in sites if planned.site.layer == vision.depth]
    for planned in behind:
        seen = vision.used * width
        total += 4 * planned.incoming * seen * ("uniqueness" in planned.features)
        total += reduce_flops(planned.site, planned.incoming, seen, vision.head_dim)
        tokens = planned.site.keep
    total += 2 * tokens * vision.text_hidden * (vision.used * width + vision.text_hidden)
    features = set(plan.tower_features) if plan else set()
    features |= {name for planned in behind for name in planned.features}
    if vision.depth < vision.layers and "next_vision" in features:  # of another layer than the rest
        features.discard("next_vision")
        total += _read(vision, ("next_vision",), in_last)
    return total + _read(vision, features, in_last)


def _read(vision: VisionShape, names: Collection[str], tokens: int) -> float:
    """What a layer's own projections are asked for."""
    present, width = tokens + 1, vision.hidden
    rows = ("vision" in names) + ("next_vision" in names) + ("flow" in names)
    all_rows = "received" in names
    if not rows and not all_rows and "keys" not in names:
        return 0.0
    cost = 2 * present * width * width + (2 * width * width if rows else 0) + 2 * rows * present * width
    if all_rows:  # queries and keys of all, projected anew, and their products
        cost += 4 * present * width * width + 2 * present * present * width
    if "flow" in names:  # values, and their products with the class token's
        cost += 2 * present * width * width + 2 * tokens * vision.head_dim
    return cost
