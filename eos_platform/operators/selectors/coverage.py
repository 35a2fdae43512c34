"""Selector ``coverage``: tokens that stand for as much as can be of those that are not kept, and of the text.

Greedy facility location (SCOPE, arXiv 2510.24214; MMTok, arXiv 2508.18264), with or without a score and a term for
unlikeness. What a token adds never grows while others are picked.

Legend: b batch, n tokens, r rows to cover (visual tokens, then text tokens), t text rows, e width, c picks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.operators.rules import Coverage
from eos_platform.operators.score import scaled
from eos_platform.operators.tokens import unit

SAME = 1e-5  # values that differ by no more of their size are equal: of two tokens that cover each other, say


class Covered(NamedTuple):
    """The picks in order (b, c); of every token (b, n) its gain and how far it was, when picked or at the end."""

    order_bc: Tensor
    gain_bn: Tensor
    far_bn: Tensor


def cover_rows(rule: Coverage, unit_bne: Tensor, cosine_bnn: Tensor, text_bte: Tensor | None) -> Tensor:
    """M (b, r, n), each kind of rows times its weight.

    Args:
        unit_bne: what tokens are compared by, of length 1.
        cosine_bnn: their cosines.
        text_bte: text rows, zeros where there are fewer; None: none are asked for.
    """
    rows = []
    if rule.visual > 0:
        rows.append(rule.visual * _shares(cosine_bnn, rule.temperature, torch.ones_like(cosine_bnn[..., 0])))
    if rule.text > 0 and text_bte is not None:
        unit_bte = unit(text_bte).to(unit_bne.dtype)
        there_bt = (unit_bte != 0).any(-1).to(unit_bne.dtype)
        rows.append(rule.text * _shares(unit_bte @ unit_bne.mT, rule.text_temperature, there_bt))
    return torch.cat(rows, 1)


def _shares(cosine_brn: Tensor, temperature: float, there_br: Tensor) -> Tensor:
    if temperature == 0:
        return cosine_brn * there_br[..., None]
    many_b1 = there_br.sum(-1, keepdim=True).clamp_min(1)
    return (cosine_brn / temperature).softmax(-1) * (there_br / many_b1)[..., None]


@torch.no_grad()
def coverage(
    rule: Coverage,
    compared_bne: Tensor,
    count: int,
    *,
    log_m_bn: Tensor | None = None,
    score_bn: Tensor | None = None,
    spread: float | Tensor = 0.0,
    text_bte: Tensor | None = None,
    present_bn: Tensor | None = None,
) -> Covered:
    """Pick ``count`` tokens, ties going to the lower index.

    Args:
        log_m_bn: log of what multiplies the gain, before the power (weighing ``product`` or ``raw``).
        score_bn: what the gain is added to, in [0, 1] (weighing ``sum``). Neither: the gain alone.
        spread: how much being far from those picked adds, in a sum.
        text_bte: text rows, where they are covered.
        present_bn: bool; tokens that are not there cover nothing, need no cover and are picked last.
    """
    unit_bne = unit(compared_bne)
    cosine_bnn = unit_bne @ unit_bne.mT
    rows_brn = cover_rows(rule, unit_bne, cosine_bnn, text_bte)
    if present_bn is not None and rule.visual > 0:
        there_bn1 = present_bn[..., None].to(rows_brn.dtype)
        rows_brn = torch.cat([rows_brn[:, : there_bn1.shape[1]] * there_bn1, rows_brn[:, there_bn1.shape[1] :]], 1)
    gone_bn = torch.zeros_like(cosine_bnn[..., 0], dtype=torch.bool) if present_bn is None else ~present_bn
    factor_bn = 1.0 if log_m_bn is None else (rule.power * log_m_bn).exp()
    best_br1 = torch.zeros_like(rows_brn[..., :1])
    far_bn = torch.full_like(cosine_bnn[..., 0], 2.0)
    found_gain_bn, found_far_bn = torch.zeros_like(far_bn), far_bn
    taken_bn, order = torch.zeros_like(gone_bn), list[Tensor]()
    for step in range(count):  # as many rounds as picks is in the nature of the rule
        free_bn = ~(taken_bn | gone_bn)
        gain_bn = (rows_brn - best_br1).clamp_min_(0).sum(1)
        if score_bn is None:
            value_bn, shown_gain_bn, shown_far_bn = gain_bn * factor_bn, gain_bn, far_bn
        else:
            shown_gain_bn, shown_far_bn = (scaled(one, free_bn.to(one.dtype)) for one in (gain_bn, far_bn))
            value_bn = score_bn
            if step:
                value_bn = score_bn + rule.weight * shown_gain_bn + spread * shown_far_bn
        value_bn = value_bn.masked_fill(gone_bn, -1.0e30).masked_fill(taken_bn, -torch.inf)
        top_b1 = value_bn.amax(-1, keepdim=True)
        pick_b1 = (value_bn >= top_b1 - SAME * top_b1.abs()).byte().argmax(-1, keepdim=True)  # the first of equals
        found_gain_bn = torch.where(taken_bn, found_gain_bn, shown_gain_bn)
        found_far_bn = torch.where(taken_bn, found_far_bn, shown_far_bn)
        order.append(pick_b1)
        taken_bn = taken_bn.scatter(1, pick_b1, True)
        best_br1 = torch.maximum(best_br1, rows_brn.take_along_dim(pick_b1[:, None], 2))
        far_bn = torch.minimum(far_bn, 1 - cosine_bnn.take_along_dim(pick_b1[..., None], 1)[:, 0])
    return Covered(torch.cat(order, 1), found_gain_bn, found_far_bn)
