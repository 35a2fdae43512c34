"""Quotas by how many tokens of a group nobody bars, and groups by principal components (PruneSID, arXiv 2603.09480).

Legend: b batch, n tokens, g groups, e width, t trial rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.rules import Quota


@torch.no_grad()
def component_groups(x_bne: Tensor, groups: int, present_bn: Tensor | None = None) -> Tensor:
    """Which of the ``groups`` leading principal components each token weighs most in (b, n), long.

    Tokens are brought between 0 and 1 (a sigmoid of each channel), and each loses its own mean over channels; the
    components are those of the channels as samples and tokens as variables. Exact, in float64: the same picture always
    gives the same groups.

    Args:
        x_bne: the tokens.
        groups: at least 1; no more than tokens are of use.
        present_bn: bool, which are there; the others are zeros, and belong somewhere.
    """
    squashed_bne = x_bne.double().sigmoid()
    squashed_bne = squashed_bne - squashed_bne.mean(-1, keepdim=True)
    if present_bn is not None:
        squashed_bne = squashed_bne * present_bn[..., None]
    leading = min(groups, x_bne.shape[1])
    vector_bng = torch.linalg.eigh(squashed_bne @ squashed_bne.mT).eigenvectors[..., -leading:].flip(-1)
    return vector_bng.abs().argmax(-1)


def survivor_quotas(
    rule: Quota, group_bn: Tensor, survives_bn: Tensor, there_bn: Tensor, groups: int, count: int | Tensor
) -> Tensor:
    """How many of each group are to stay (b, g), long.

    One of each that has any, the rest in proportion to survivors (cumulative shares, rounded), but no more than the
    smallest of ``cap``, size and survivors, each raised by one as often as it takes for all together to be enough;
    what those bounds hold back goes to the groups with most survivors, as much as each takes.

    Args:
        survives_bn: bool, the tokens that nobody bars.
        there_bn: long, 1 for tokens that are there.
        count: how many are to stay; may live on the device.
    """
    b, n = group_bn.shape
    zero_bg = group_bn.new_zeros(b, groups)
    size_bg = zero_bg.scatter_add(1, group_bn, there_bn)
    alive_bg = zero_bg.scatter_add(1, group_bn, survives_bn.long() * there_bn)
    least_bg = size_bg.clamp_max(1)
    # most_b1 above the size would never bind
    bound_bg = torch.minimum(size_bg, alive_bg).clamp_max(n if rule.cap is None else rule.cap)
    more_t = torch.arange(n + 1, device=group_bn.device)
    # each bound grows up to the size of its group: the fewest rounds after which all together are enough
    total_bt = torch.minimum(bound_bg[:, None] + more_t[:, None], size_bg[:, None]).sum(-1)
    wanted_b1 = torch.minimum(there_bn.sum(-1, keepdim=True), torch.zeros_like(there_bn[:, :1]) + count)
    rounds_b1 = (total_bt < wanted_b1).sum(-1, keepdim=True)
    bound_bg = torch.minimum(bound_bg + rounds_b1, size_bg)
    left_b1 = (wanted_b1 - least_bg.sum(-1, keepdim=True)).clamp_min(0)
    # whole numbers until the one division, so that halves are halves (and go to the even number)
    upto_bg = ((alive_bg.cumsum(-1) * left_b1).double() / alive_bg.sum(-1, keepdim=True).clamp_min(1)).round().long()
    quota_bg = least_bg + upto_bg - torch.cat([zero_bg[:, :1], upto_bg[:, :-1]], -1)
    quota_bg = torch.minimum(quota_bg, bound_bg)
    # fewer are to stay than there are groups: the first ones have a token each
    quota_bg = torch.minimum(quota_bg, (wanted_b1 - quota_bg.cumsum(-1) + quota_bg).clamp_min(0))
    order_bg = alive_bg.sort(dim=-1, descending=True, stable=True).indices
    room_bg = (bound_bg - quota_bg).gather(1, order_bg)
    missing_b1 = wanted_b1 - quota_bg.sum(-1, keepdim=True)
    pours_bg = torch.minimum(room_bg, (missing_b1 - room_bg.cumsum(-1) + room_bg).clamp_min(0))
    return quota_bg + torch.zeros_like(quota_bg).scatter(1, order_bg, pours_bg)
