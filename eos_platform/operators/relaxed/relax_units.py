"""One relaxed site on prompts that hold several units, each reduced by itself: images, tiles, frames; or films.

A site's count is a share: of ``total`` tokens it is for, and of those of every unit alike, as when it is deployed.
Legend: b batch, u units of one grid, l visual tokens of each, n those of all units, m handed on, d width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid, cells_of
from eos_platform.operators.reduce import OF_A_PROMPT
from eos_platform.operators.relaxed.relax import Relaxed, relax
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import SiteSpec, Support
from eos_platform.operators.tokens import RelaxedTokens


class RelaxedUnits(NamedTuple):
    """What a relaxed site hands on of all units."""

    tokens: RelaxedTokens
    index_bm: Tensor | None  # long: which of the incoming tokens these are; None: all
    lengths: tuple[int, ...]  # tokens handed on of each unit, by group


def relax_units(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    features: Mapping[str, Tensor],
    units: Sequence[tuple[Grid, int]],
    lengths: Sequence[int],
    *,
    total: int,
    temperature: float | Tensor,
    hard: bool,
    candidates: int | None = None,
) -> RelaxedUnits:
    """Apply ``site`` to every unit.

    Args:
        tokens: of all units, group by group, unit by unit; ``origin_bn`` counts in each unit by itself.
        features: see ``relax``.
        units: grids, and how many units of each.
        lengths: tokens present of each unit, by group.
        total: what the site's count, and ``candidates``, are shares of.
        temperature, hard: see ``relax``.
        candidates: only so many tokens of ``total`` may stay and are handed on.
    """
    reduced: list[tuple[Relaxed, int, int, int]] = []
    start = 0
    for (grid, many), length in zip(units, lengths, strict=True):
        stop = start + many * length
        alone = start == 0 and many == 1 and len(units) == 1

        def of(values: Tensor, start: int = start, stop: int = stop, many: int = many) -> Tensor:
            return values[:, start:stop].unflatten(1, (many, -1)).flatten(0, 1)

        mine = tokens if alone else RelaxedTokens(*(of(values) for values in tokens))
        repeated = features
        if not alone:
            repeated = {
                name: values.repeat_interleave(many, 0) if name in OF_A_PROMPT else of(values)
                for name, values in features.items()
            }
        size = cells_of(grid)
        few = None if candidates is None else math.ceil(candidates * size / total)
        few = None if few is None or few >= length else few
        done = relax(
            shared(site, size, total, hard, length),
            mine,
            repeated,
            grid,
            temperature=temperature,
            hard=hard,
            candidates=few,
        )
        reduced.append((done, many, length, start))
        start = stop
    if len(reduced) == 1 and reduced[0][1] == 1:
        done = reduced[0][0]
        return RelaxedUnits(done.tokens, done.index_bm, (done.tokens.x_bnd.shape[1],))
    kept = tuple(done.tokens.x_bnd.shape[1] for done, *_ in reduced)
    each = [[_back(values, many) for values in done.tokens] for done, many, *_ in reduced]
    joined = RelaxedTokens(*(torch.cat(parts, 1) for parts in zip(*each, strict=True)))
    if all(done.index_bm is None for done, *_ in reduced):
        return RelaxedUnits(joined, None, kept)
    return RelaxedUnits(joined, torch.cat([_index(*one) for one in reduced], 1), kept)


def shared(site: RelaxedSite, size: int, total: int, hard: bool, arriving: int | None = None) -> RelaxedSite:
    """A site as it is for a unit of ``size`` tokens, its count a share of ``total``.

    Args:
        arriving: tokens of the unit that arrive, where the site has a template.
    """
    if size == total:
        return site
    if site.template is not None:
        return replace(site, template=_share_of(site.template, size, total, arriving or size))
    count = (site.count * (size / total)).clamp(1.0, size)
    if hard:  # half up, like the deployed operator's
        whole = torch.floor(site.count.detach().round() * size / total + 0.5).clamp(1.0, size)
        count = whole + (count - count.detach())
    support = site.support
    if support.kind == "window" and support.size is not None:
        share = max(1, (2 * support.size * size + total) // (2 * total))
        support = Support(kind="window", size=min(share, size))
    quota = site.quota
    if quota is not None and quota.groups is not None:
        groups = min(max(1, (2 * quota.groups * size + total) // (2 * total)), size)
        quota = quota.model_copy(update={"groups": groups})
    return replace(site, count=count, support=support, quota=quota)


def _share_of(spec: SiteSpec, size: int, total: int, arriving: int) -> SiteSpec:
    """The rules of a site for a unit of ``size`` tokens; whole numbers are rounded half up."""

    def share(count: int) -> int:
        return (2 * count * size + total) // (2 * total)

    least = (arriving + 1) // 2 if spec.selector == "alternate" else 1 + spec.summary
    keep = min(arriving, max(least, share(spec.keep)))
    important = min(share(spec.important), keep - spec.summary)
    transfer, support = spec.transfer, spec.transfer.support
    if support.kind in ("window", "overlap") and support.size is not None:
        windows = keep if support.kind == "overlap" else min(size, max(1, share(support.size)))
        transfer = transfer.model_copy(update={"support": support.model_copy(update={"size": windows})})
    return spec.model_copy(update={"keep": keep, "important": important, "transfer": transfer})


def _back(values: Tensor, many: int) -> Tensor:
    """(b * u, m, ...) as (b, u * m, ...)."""
    return values.unflatten(0, (-1, many)).flatten(1, 2)


def _index(done: Relaxed, many: int, length: int, start: int) -> Tensor:
    """Which of all incoming tokens a group's are (b, u * m)."""
    index_bm = done.index_bm
    if index_bm is None:
        batch, device = len(done.tokens.x_bnd), done.tokens.x_bnd.device
        index_bm = torch.arange(length, device=device).expand(batch, -1)
    offset_u = start + length * torch.arange(many, device=index_bm.device)
    return (index_bm.unflatten(0, (-1, many)) + offset_u[:, None]).flatten(1, 2)
