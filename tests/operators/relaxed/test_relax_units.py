"""A relaxed site on several units: the deployed operator's shares, each unit by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from eos_platform.operators.reduce import reduce
from eos_platform.operators.relaxed.relax import relax
from eos_platform.operators.relaxed.relax_units import relax_units, shared
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.rescale import sites_for
from eos_platform.operators.rules import Coverage
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Support, Target
from eos_platform.operators.tokens import RelaxedTokens, Tokens

GRIDS = ((2, 3), (3, 3), (1, 7), (4, 5), (8, 8))


@pytest.mark.parametrize("keep", [1, 2, 5, 9, 13, 15])
def test_whole_counts_are_those_of_the_deployed_operator(keep: int) -> None:
    window = {"gamma": 1.0, "support": {"kind": "window", "size": 3}}
    site = SiteSpec.model_validate({"layer": 0, "keep": keep, "score": {"norm": 1.0}, "transfer": window})
    operator = OperatorSpec(target=Target(layers=2, grid=(4, 4)), sites=(site,))
    for grid in GRIDS:
        found = shared(RelaxedSite.of(site), grid[0] * grid[1], 16, hard=True)
        (expected,) = sites_for(operator, grid)
        assert int(found.count) == expected.keep
        assert found.support == Support(kind="window", size=expected.transfer.support.size)


def test_soft_counts_are_shares_and_have_a_gradient() -> None:
    site = RelaxedSite.of(SiteSpec(layer=0, keep=6, score={"norm": 1.0}))
    for hard in (False, True):
        count = torch.tensor(6.3, requires_grad=True)
        found = shared(replace(site, count=count), 24, 16, hard)
        assert float(found.count.detach()) == pytest.approx(9.0 if hard else 9.45)
        (grad,) = torch.autograd.grad(found.count, count)
        assert float(grad) == pytest.approx(1.5)
    assert shared(site, 16, 16, True) is site


@pytest.mark.parametrize("candidates", [None, 9])
def test_units_are_relaxed_each_by_itself(candidates: int | None) -> None:
    """Two of one grid and one of another, together as one by one."""
    units, generator = (((4, 4), 2), ((2, 6), 1)), torch.Generator().manual_seed(0)
    x_bnd = torch.randn(3, 44, 8, generator=generator)
    origin_n = torch.cat([torch.arange(16), torch.arange(16), torch.arange(12)])
    tokens = RelaxedTokens(x_bnd, torch.ones(3, 44), origin_n.expand(3, -1), torch.ones(3, 44))
    site = RelaxedSite.of(
        SiteSpec.model_validate(
            {"layer": 0, "keep": 6, "score": {"norm": 1.0, "uniqueness": 0.5}, "transfer": {"gamma": 0.9, "tau": 0.1}}
        )
    )
    after, index_bm, lengths = relax_units(
        site, tokens, {}, units, (16, 12), total=16, temperature=0.1, hard=False, candidates=candidates
    )
    assert lengths == ((16, 12) if candidates is None else (9, 7))
    start = done = 0
    for grid, total in (((4, 4), 16), ((4, 4), 16), ((2, 6), 12)):
        few = None if candidates is None else {16: 9, 12: 7}[total]
        mine = RelaxedTokens(*(values[:, start : start + total] for values in tokens))
        alone, index = relax(
            shared(site, total, 16, False), mine, {}, grid, temperature=0.1, hard=False, candidates=few
        )
        stop = done + alone.x_bnd.shape[1]
        for found, expected in zip(after, alone, strict=True):
            assert torch.allclose(found[:, done:stop], expected, atol=1e-6)
        if index is not None:
            assert index_bm is not None
            assert torch.equal(index_bm[:, done:stop], index + start)
        start, done = start + total, stop
    assert done == after.x_bnd.shape[1]


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (SiteSpec(layer=0, keep=6, selector="coverage", coverage=Coverage(text=1.0)), "text_rows"),
        (SiteSpec(layer=0, keep=6, selector="pivots", important=2, score={"norm": 1.0}), "text_pivots"),
    ],
)
def test_text_that_units_are_compared_with_is_the_same_for_all(spec: SiteSpec, given: str) -> None:
    """Its rows are the prompt's: not as many as there are visual tokens, and not shared out among units."""
    generator = torch.Generator().manual_seed(0)
    x_bnd, text_bpd = torch.randn(2, 32, 8, generator=generator), torch.randn(2, 5, 8, generator=generator)
    origin_bn = torch.arange(16).repeat(2).expand(2, -1)
    tokens = RelaxedTokens(x_bnd, torch.ones(2, 32), origin_bn, torch.ones(2, 32))
    mixes = tuple(spec.score)
    site = replace(
        RelaxedSite.of(SiteSpec(layer=0, keep=6, score={"norm": 1.0})),
        weights=torch.ones(len(mixes)),
        selector=spec.selector,
        template=spec,
        mixes=mixes,
    )
    after, index_bm, lengths = relax_units(
        site, tokens, {given: text_bpd}, (((4, 4), 2),), (16,), total=16, temperature=0.1, hard=True
    )
    assert lengths == (6,)
    assert index_bm is not None
    for number, start in enumerate((0, 16)):
        mine = Tokens(*(values[:, start : start + 16] for values in tokens[:3]))
        deployed = reduce(spec, mine, {given: text_bpd}, (4, 4))
        columns = slice(6 * number, 6 * number + 6)
        assert torch.equal(index_bm[:, columns] - start, deployed.index_br)
        assert torch.allclose(after.x_bnd[:, columns], deployed.tokens.x_bnd, atol=1e-6)


def test_only_a_window_is_a_share_of_the_tokens() -> None:
    transfer = {"gamma": 1.0, "support": {"kind": "nearest", "size": 5}}
    site = SiteSpec.model_validate({"layer": 0, "keep": 6, "score": {"norm": 1.0}, "transfer": transfer})
    assert shared(RelaxedSite.of(site), 40, 16, True).support == Support(kind="nearest", size=5)
