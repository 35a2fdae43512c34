"""Selector ``density``: centres of clusters, dense and far from anything denser (DPC-kNN, as SparseVLM recycles).

Legend: b batch, q candidates, e width of what they are compared by, k nearest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.tokens import distance


def density(compared_bqe: Tensor, count: int, neighbours: int | None = None) -> Tensor:
    """Places of ``count`` centres (b, count), the best first.

    The density of a token is exp(-mean squared distance to its k nearest, itself included, k = ``neighbours``, by
    default ``count``); what ranks is that times the distance to the nearest denser token (of equals the first is the
    denser; nothing is denser than the densest, which gets the largest distance there is). No noise breaks ties: the
    lower index does.
    """
    if count == 0:
        return torch.zeros(len(compared_bqe), 0, dtype=torch.long, device=compared_bqe.device)
    distance_bqq = distance(compared_bqe, compared_bqe)
    nearest_bqk = distance_bqq.square().topk(min(neighbours or count, distance_bqq.shape[-1]), largest=False).values
    # logarithms throughout: densities of tokens far from all others would be 0 and could no longer be told apart
    density_bq = -nearest_bqk.mean(-1)
    own_bq1, other_b1q = density_bq[..., None], density_bq[:, None]
    before_bqq = (other_b1q == own_bq1).tril(-1)
    gap_bq = distance_bqq.masked_fill(~((other_b1q > own_bq1) | before_bqq), float("inf")).amin(-1)
    gap_bq = gap_bq.minimum(distance_bqq.amax((-2, -1))[:, None])
    return (density_bq + gap_bq.log()).sort(dim=-1, descending=True, stable=True).indices[:, :count]
