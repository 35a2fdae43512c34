"""One site, deployed: tokens really leave. Static shapes, no host synchronisation, no loop over tokens.

Legend: b batch, n tokens present, r kept, q dropped, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.errors import EosError
from eos_platform.operators.score import combine, with_token_features
from eos_platform.operators.select import priority, split
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.tokens import Tokens, pick, wide
from eos_platform.operators.transfer import received


class Reduced(NamedTuple):
    """What a site leaves."""

    tokens: Tokens  # r tokens
    index_br: Tensor  # long, ascending: which of the incoming tokens stayed


def reduce(site: SiteSpec, tokens: Tokens, features: Mapping[str, Tensor], grid: tuple[int, int]) -> Reduced:
    """Apply ``site`` to the tokens present.

    Args:
        features: name -> (b, n), attention of each token; ``norm`` and ``uniqueness`` are computed when not given.
        grid: rows and columns of the original grid, which ``tokens.origin_bn`` indexes.

    Raises:
        EosError: more tokens are to stay than arrive, or a weighed feature is not given.
    """
    b, n, _ = tokens.x_bnd.shape
    if site.keep > n:
        raise EosError(f"keep {site.keep} is more than the {n} tokens that arrive")
    if site.is_noop(n):
        return Reduced(tokens, torch.arange(n, device=tokens.x_bnd.device).expand(b, n))
    with torch.autocast(tokens.x_bnd.device.type, enabled=False):
        return _reduce(site, tokens, features, grid)


def _reduce(site: SiteSpec, tokens: Tokens, features: Mapping[str, Tensor], grid: tuple[int, int]) -> Reduced:
    transfer, n = site.transfer, tokens.x_bnd.shape[1]
    moves = transfer.gamma > 0 and 0 < site.keep < n
    weighted = moves and transfer.source == "importance"
    score_bn: Tensor | None = None
    if (site.selector == "score" and site.keep < n) or site.rho > 0 or weighted:
        needed = tuple(name for name, weight in site.score.items() if weight)
        score_bn = combine(with_token_features(features, tokens.x_bnd, needed), site.score)
        score_bn = score_bn.to(wide(tokens.x_bnd).dtype)
    if site.keep == n:
        index_br = torch.arange(n, device=tokens.x_bnd.device).expand(tokens.x_bnd.shape[:2])
        kept = tokens
    else:
        index_br, index_bq = split(
            priority(site.selector, tokens.x_bnd, score_bn, site.keep, grid, site.seed), site.keep
        )
        kept = Tokens(*(pick(values, index_br) for values in tokens))
    if not moves and site.rho == 0:
        return Reduced(kept, index_br)  # pruning: the very tokens, bit for bit

    y_brd, size_br = wide(kept.x_bnd), kept.size_bn
    if moves:
        dropped = Tokens(*(pick(values, index_bq) for values in tokens))
        importance_bq = None
        if weighted and score_bn is not None:
            importance_bq = pick(torch.softmax(score_bn, -1) * n, index_bq)  # exp(s) / mean exp(s)
        sum_brd, share_br = received(transfer, kept, dropped, importance_bq, grid)
        y_brd = (y_brd + sum_brd) * (1 + share_br).pow(-transfer.nu)[..., None]
        size_br = size_br * (1 + share_br)
    if site.rho > 0 and score_bn is not None:
        u_br = torch.softmax(site.rho * pick(score_bn, index_br), -1) * site.keep
        y_brd = y_brd * u_br[..., None]
    return Reduced(Tokens(y_brd.to(tokens.x_bnd.dtype), size_br, kept.origin_bn), index_br)
