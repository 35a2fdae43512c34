"""The soft choice of a given number of tokens: sigmoid((s - theta) / T) with theta solved for the count.

Legend: b batch, n tokens, k trial thresholds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TRIALS, ROUNDS = 32, 6  # each round narrows theta 33-fold, 33^6 > 2^30: thirty bisections in a fifth of the launches


def soft_keep(score_bn: Tensor, presence_bn: Tensor, count: Tensor, temperature: float | Tensor) -> Tensor:
    """How far each token stays (b, n): sum_i presence_i keep_i = count, where so many are present.

    The threshold is found without gradient; one differentiable Newton step then gives it the gradient of the
    equation it solves (with respect to scores, presence and count).
    """
    with torch.no_grad():
        start_b1 = _solve(score_bn, presence_bn, count, temperature)
        degree_bn = torch.sigmoid((score_bn - start_b1) / temperature)
        slope_b1 = (presence_bn * degree_bn * (1 - degree_bn)).sum(-1, keepdim=True) / temperature
    soft_count_b1 = (presence_bn * torch.sigmoid((score_bn - start_b1) / temperature)).sum(-1, keepdim=True)
    step_b1 = (soft_count_b1 - count) / slope_b1.clamp_min(1e-6)
    # where all is saturated the step has a gradient but no meaningful value
    value_b1 = torch.where(slope_b1 * temperature > 1e-2, step_b1, 0.0).detach()
    theta_b1 = start_b1 + value_b1 + (step_b1 - step_b1.detach())
    return torch.sigmoid((score_bn - theta_b1) / temperature)


def _solve(score_bn: Tensor, presence_bn: Tensor, count: Tensor, temperature: float | Tensor) -> Tensor:
    """theta (b, 1) by repeated sectioning, always a fixed number of rounds, all rows at once."""
    margin = 30 * temperature  # at which a sigmoid is 0 or 1
    bound = math.sqrt(score_bn.shape[-1]) + 1  # a z-score of n tokens is below sqrt(n); absent tokens may lie anywhere
    low_b1 = score_bn.amin(-1, keepdim=True).clamp(-bound, bound) - margin
    high_b1 = score_bn.amax(-1, keepdim=True).clamp(-bound, bound) + margin
    parts_k = torch.arange(1, TRIALS + 1, device=score_bn.device, dtype=score_bn.dtype) / (TRIALS + 1)
    for _ in range(ROUNDS):
        width_b1 = high_b1 - low_b1
        theta_bk = low_b1 + width_b1 * parts_k
        degree_bkn = torch.sigmoid((score_bn[:, None] - theta_bk[..., None]) / temperature)
        soft_count_bk = (degree_bkn @ presence_bn.to(degree_bkn.dtype)[..., None])[..., 0]
        passed_b1 = (soft_count_bk > count).sum(-1, keepdim=True)  # the soft count falls as theta grows
        low_b1 = low_b1 + width_b1 * passed_b1 / (TRIALS + 1)
        high_b1 = low_b1 + width_b1 / (TRIALS + 1)
    return (low_b1 + high_b1) / 2
