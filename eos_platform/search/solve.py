"""The scale of all counts at which a cost meets its budget, differentiable in whatever the cost depends on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Solve = Callable[[Callable[[Tensor], Tensor], Tensor, "float | Tensor", int], Tensor]
AT = (0.02, 0.3, 0.9)  # shares of all tokens through which the parabola goes
STEPS = 40  # of a bisection: far finer than float32 tells apart
FLAT = 1e-12  # a slope below this gives no gradient


def parabola(cost: Callable[[Tensor], Tensor], shares: Tensor, budget: float | Tensor, tokens: int) -> Tensor:
    """For a cost that is close to a parabola in the scale, as FLOPs are: three values of it, and the root.

    Args:
        cost: of counts (sites,).
        shares: counts over the scale (sites,).
        budget: to be met.
        tokens: that arrive; the scale lies between 1 and one less.
    """
    at = [tokens * part for part in AT]
    low, middle, high = (cost(scale * shares) for scale in at)
    steep = (middle - low) / (at[1] - at[0])
    curve = ((high - low) / (at[2] - at[0]) - steep) / (at[2] - at[1])
    slope = steep - curve * (at[0] + at[1])
    rest = low - slope * at[0] - curve * at[0] ** 2 - budget
    # the form of the root that stays exact when there is no curve
    root = (slope.square() - 4 * curve * rest).clamp_min(1e-12).sqrt()
    return (-2 * rest / (slope + root)).clamp(1.0, tokens - 1.0)


def bisection(cost: Callable[[Tensor], Tensor], shares: Tensor, budget: float | Tensor, tokens: int) -> Tensor:
    """For any cost that falls nowhere as counts rise: halving, then the gradient of the implicit function.

    At the solution cost(scale, shares) = budget, so that d scale = (d budget - d cost at this scale) / (d cost / d
    scale). A budget that no scale meets gives the nearest bound, and no gradient.

    Args:
        cost: of counts (sites,), at least one token each.
        shares: counts over the scale (sites,).
        budget: to be met.
        tokens: that arrive; the scale lies between 1 and one less.
    """
    wanted = torch.as_tensor(budget, dtype=shares.dtype, device=shares.device)
    with torch.no_grad():
        low, high = torch.full_like(wanted, 1.0), torch.full_like(wanted, tokens - 1.0)
        inside = (cost((low * shares).clamp_min(1.0)) < wanted) & (wanted < cost((high * shares).clamp_min(1.0)))
        for _ in range(STEPS):  # a fixed number, and no question to the device: the step can be captured
            middle = (low + high) / 2
            below = cost((middle * shares).clamp_min(1.0)) <= wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        scale = low
    if not torch.is_grad_enabled():
        return scale
    moved = scale.clone().requires_grad_()
    (slope,) = torch.autograd.grad(cost((moved * shares.detach()).clamp_min(1.0)), moved)
    reached = cost((scale * shares).clamp_min(1.0))
    change = (wanted - wanted.detach() - (reached - reached.detach())) / slope.clamp_min(FLAT)
    return scale + torch.where(inside & (slope > FLAT), change, 0.0)
