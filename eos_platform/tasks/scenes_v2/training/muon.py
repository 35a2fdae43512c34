"""Muon for many small matrices: those of a shape are orthogonalised together.

The same update as ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, which goes through the matrices one by
one: for models of this size that took as long as the whole training step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315  # of the Newton-Schulz iteration, as in torch
STEPS = 5


def orthogonal(x_nrc: Tensor) -> Tensor:
    """The nearest matrices with all singular values near one, in bfloat16."""
    x = x_nrc.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Momentum, orthogonalised, for parameters of two dimensions.

    Args:
        parameters: the matrices.
        decay: weight decay, times the rate.
        momentum: of Nesterov's kind.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float = 0.05, momentum: float = 0.95) -> None:
        self.decay, self.momentum = decay, momentum
        shapes: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            shapes[tuple(parameter.shape)].append(parameter)
        self.groups = list(shapes.values())
        self.buffers: dict[int, Tensor] = {}  # by parameter: a matrix without a gradient stands still

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the matrices that have a gradient, then forget the gradients."""
        for group in self.groups:
            moving = [p for p in group if p.grad is not None]
            if not moving:
                continue
            gradients = [p.grad for p in moving if p.grad is not None]
            for p in moving:
                if id(p) not in self.buffers:
                    self.buffers[id(p)] = torch.zeros_like(p)
            buffers = [self.buffers[id(p)] for p in moving]
            torch._foreach_lerp_(buffers, gradients, 1 - self.momentum)
            ahead = torch._foreach_lerp(gradients, buffers, self.momentum)
            update = orthogonal(torch.stack(list(ahead))).to(moving[0].dtype)
            scale = 0.2 * max(moving[0].shape) ** 0.5
            torch._foreach_mul_(moving, 1 - rate * self.decay)
            torch._foreach_add_(moving, list(update.unbind()), alpha=-rate * scale)
            for p in moving:
                p.grad = None
