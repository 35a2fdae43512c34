"""The axes that only deployed sites have, against the loop reference; and what they promise about batches and ties."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import DEPLOYED, GRIDS, INF, HostReads, deployed_cases, deployed_sites, given_of, tokens_of
from operator_reference import reduce_one

from eos_platform.common.errors import EosError
from eos_platform.operators.reduce import needed, reduce
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.rules import Coverage, Quota, Suppression
from eos_platform.operators.spec import SiteSpec, Support, Transfer
from eos_platform.operators.tokens import Tokens, gather_tokens

GRID = (4, 6)


def equals_the_loops(site, tokens, found, grid, tolerance=1e-8):
    out = reduce(site, tokens, found, grid)
    for row in range(len(tokens.x_bnd)):
        own = {name: f[row].double().numpy() for name, f in found.items()}
        x, size, origin = (v[row].numpy() for v in tokens)
        stay, y, sizes = reduce_one(site, x, size, origin, own, grid)
        assert out.index_br[row].tolist() == stay
        assert out.tokens.origin_bn[row].tolist() == origin[stay].tolist()
        np.testing.assert_allclose(out.tokens.x_bnd[row].numpy(), y, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(out.tokens.size_bn[row].numpy(), sizes, rtol=tolerance)


@settings(max_examples=400)
@given(deployed_cases())
def test_equals_the_loops(case):
    equals_the_loops(*case)


@settings(max_examples=100)
@given(deployed_cases())
def test_reads_what_it_says_it_reads(case):
    site, tokens, found, grid = case
    read = needed(site, tokens.x_bnd.shape[1])
    out = reduce(site, tokens, {name: found[name] for name in read if name in found}, grid)
    whole = reduce(site, tokens, found, grid)
    assert torch.equal(out.index_br, whole.index_br)
    assert all(torch.equal(a, b) for a, b in zip(out.tokens, whole.tokens, strict=True))


@settings(max_examples=150)
@given(deployed_cases())
def test_a_row_does_not_depend_on_its_batch(case):
    site, tokens, found, grid = case
    together = reduce(site, tokens, found, grid)
    for row in range(len(tokens.x_bnd)):
        one = {name: f[row : row + 1] for name, f in found.items()}
        alone = reduce(site, Tokens(*(v[row : row + 1] for v in tokens)), one, grid)
        assert torch.equal(alone.index_br[0], together.index_br[row])
        torch.testing.assert_close(alone.tokens.x_bnd[0], together.tokens.x_bnd[row], rtol=0, atol=1e-9)


def rules(selector):
    """The selector, and what it cannot be without."""
    bars = Suppression(theta=0.9, relative=True) if selector == "suppress" else None
    return {
        "selector": selector,
        "coverage": Coverage(text=1.0) if selector == "coverage" else None,
        "suppress": bars,
        "quota": Quota(groups=2, share="survivors") if bars else None,
    }


@st.composite
def tied_cases(draw):
    """Tokens of eight kinds, at cosines of -1, 0 and 1 to the bit, whose features have two values."""
    grid = draw(st.sampled_from(GRIDS))
    n, b = grid[0] * grid[1], draw(st.integers(1, 2))
    site = draw(deployed_sites(n, grid, selectors=tuple(name for name in DEPLOYED if name != "density")))
    # the mean is subtracted with rounding, after which no cosine is whole to the bit
    similarity = "hidden" if site.similarity == "centred" else site.similarity
    site = site.model_copy(update={"score": {"vision": 1.0}, "similarity": similarity})
    tokens, found = tokens_of(0, b, n, 4, grid), given_of(0, b, n, 4)
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    kinds = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
    kinds = torch.cat([kinds, -kinds])
    found["keys"] = kinds[torch.randint(8, (b, n), generator=g)]
    found["text_pivots"] = kinds[torch.randint(8, (b, 3), generator=g)]
    found["vision"] = torch.randint(2, (b, n), generator=g).double()
    return site, tokens._replace(x_bnd=kinds[torch.randint(8, (b, n), generator=g)]), found, grid


@settings(max_examples=300)
@given(tied_cases())
def test_ties_go_to_the_lower_index(case):
    equals_the_loops(*case)


@pytest.mark.parametrize("selector", ["score", "spaced", "bipartite", "density", "pivots", "dpp"])
def test_among_equal_tokens_the_first_stay(selector):
    site = SiteSpec(layer=0, keep=6, selector=selector, score={"vision": 1.0})
    found = {"vision": torch.full((2, 9), 0.1), "text_pivots": torch.ones(2, 2, 4)}
    out = reduce(site, Tokens.of(torch.ones(2, 9, 4)), found, (3, 3))
    # of nine in the list the five even places are alike; the first three leave
    expected = [1, 3, 5, 6, 7, 8] if selector == "bipartite" else [0, 1, 2, 3, 4, 5]
    assert out.index_br.tolist() == [expected] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keep", [7, 16])
@pytest.mark.parametrize("selector", DEPLOYED)
@pytest.mark.parametrize("metric", ["cosine", "distance"])
def test_half_precision_is_computed_in_single(selector, keep, dtype, metric):
    tokens, found = tokens_of(3, 2, 24, 16, GRID, dtype), given_of(3, 2, 24, 16, dtype)
    found |= {name: f.float() for name, f in found.items() if f.dim() == 2}
    transfer = Transfer(gamma=0.8, tau=0.1, nu=0.5, mu=0.5, among=0.6, source="attention", metric=metric)
    score = {"vision": 1.0, "uniqueness": 0.5}
    site = SiteSpec(
        **rules(selector), layer=0, keep=keep, important=2, score=score, transfer=transfer, rho=0.3, summary=True
    )
    out = reduce(site, tokens, found, GRID)
    assert out.tokens.x_bnd.dtype == dtype
    assert out.tokens.size_bn.dtype == torch.float32
    exact = reduce(site, tokens._replace(x_bnd=tokens.x_bnd.double()), found, GRID)
    assert torch.equal(out.index_br, exact.index_br)
    loose = dtype == torch.bfloat16
    torch.testing.assert_close(out.tokens.x_bnd, exact.tokens.x_bnd.to(dtype), rtol=1e-2 if loose else 1e-5, atol=1e-5)
    torch.testing.assert_close(out.tokens.size_bn, exact.tokens.size_bn.float(), rtol=1e-5, atol=1e-5)
    if not loose:
        equals_the_loops(site, tokens, found, GRID, 1e-5)


OVERLAPPING = Transfer(gamma=1.0, tau=INF, by="anchor", support=Support(kind="overlap", size=15))


@pytest.mark.parametrize("selector", DEPLOYED)
@pytest.mark.parametrize("by", ["source", "anchor", "overlap"])
def test_the_host_reads_nothing(selector, by):
    tokens, found = tokens_of(1, 2, 24, 6, GRID, torch.float32), given_of(1, 2, 24, 6, torch.float32)
    common = {"layer": 0, "keep": 15, "score": {"vision": 1.0}, "rho": 0.2}
    near = Support(kind="nearest", size=3)
    transfer = Transfer(gamma=0.5, mu=1.0, among=0.4, to="destinations", support=near, source="attention")
    site = SiteSpec(**common, **rules(selector), important=3, summary=True, transfer=transfer)
    if by == "anchor":
        transfer = Transfer(gamma=0.5, tau=INF, by="anchor", support=near, metric="distance")
        site = SiteSpec(**common, **rules(selector), transfer=transfer)
    elif by == "overlap":
        site = SiteSpec(**common, selector="grid", transfer=OVERLAPPING)
    with HostReads() as reads:
        reduce(site, tokens, found, GRID)
    assert reads.count == 0


@pytest.mark.parametrize(
    ("grid", "shape"),
    [((4, 6), (1, 1)), ((4, 6), (3, 5)), ((5, 7), (3, 3)), ((5, 7), (3, 5)), ((24, 24), (5, 5)), ((24, 24), (16, 8))],
)
def test_pooling_inside_overlapping_windows_is_adaptive_pooling(grid, shape):
    x_bdhw = torch.randn(2, 5, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    count = shape[0] * shape[1]
    transfer = Transfer(gamma=1.0, tau=INF, nu=1.0, by="anchor", support=Support(kind="overlap", size=count))
    site = SiteSpec(layer=0, keep=count, selector="grid", transfer=transfer)
    assert site.regime(grid[0] * grid[1]) == "pool"
    out = reduce(site, Tokens.of(x_bdhw.flatten(2).mT), {}, grid)
    torch.testing.assert_close(out.tokens.x_bnd, F.adaptive_avg_pool2d(x_bdhw, shape).flatten(2).mT)


def test_a_summary_stands_in_the_place_of_the_last_that_goes():
    tokens = tokens_of(4, 2, 24, 8, GRID)
    found = {"vision": torch.arange(24.0).expand(2, 24).double()}
    site = SiteSpec(layer=0, keep=4, score={"vision": 1.0}, transfer=Transfer(source="attention"), summary=True)
    out = reduce(site, tokens, found, GRID)
    assert out.index_br.tolist() == [[20, 21, 22, 23]] * 2
    assert torch.equal(out.tokens.x_bnd[:, 1:], tokens.x_bnd[:, 21:])
    torch.testing.assert_close(out.tokens.x_bnd[:, 0], (found["vision"][..., None] * tokens.x_bnd)[:, :21].sum(1))
    torch.testing.assert_close(out.tokens.size_bn[:, 0], tokens.size_bn[:, :21].sum(1))


def test_only_destinations_receive():
    tokens, found = Tokens.of(tokens_of(4, 1, 24, 8, GRID).x_bnd), given_of(4, 1, 24, 8)
    transfer = Transfer(gamma=1.0, tau=0.0, to="destinations")
    common = {"layer": 0, "score": {"vision": 1.0}, "transfer": transfer}
    out = reduce(SiteSpec(**common, keep=9, selector="spaced", important=6), tokens, found, GRID)
    important = found["vision"][0].topk(6).indices.tolist()
    grown = out.index_br[0][out.tokens.size_bn[0] > 1].tolist()
    assert grown
    assert not set(grown) & set(important)
    assert float(out.tokens.size_bn.sum()) == 24
    out = reduce(SiteSpec(**common, keep=6, selector="spaced", important=6), tokens, found, GRID)
    assert torch.equal(out.tokens.x_bnd, gather_tokens(tokens.x_bnd, out.index_br))  # nobody may receive
    out = reduce(SiteSpec(**common, keep=16, selector="alternate"), tokens, found, GRID)
    assert all(place % 2 == 1 for place in out.index_br[0][out.tokens.size_bn[0] > 1].tolist())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selector": "farthest", "similarity": "keys"}, "similarity 'keys' compares keys of the vision tower"),
        ({"selector": "pivots", "score": {"norm": 1.0}}, "selector 'pivots' needs the text tokens"),
        ({"score": {"key_norm": 1.0}}, "no feature 'key_norm' here; given: vision$"),
    ],
)
def test_what_the_model_does_not_give_is_asked_for(changes, message):
    tokens, found = tokens_of(4, 1, 24, 8, GRID), {"vision": torch.rand(1, 24), "odd": torch.rand(1, 24)}
    with pytest.raises(EosError, match=message):
        reduce(SiteSpec(layer=0, keep=12, **changes), tokens, found, GRID)
    reduce(SiteSpec(layer=0, keep=24, **changes), tokens, found, GRID)  # nobody goes: nothing is needed


def test_overlapping_windows_need_the_whole_grid():
    site = SiteSpec(layer=0, keep=15, selector="grid", transfer=OVERLAPPING)
    with pytest.raises(EosError, match="support 'overlap' needs all 4x6 tokens of the grid, not 20"):
        reduce(site, tokens_of(4, 1, 20, 8, GRID), {}, GRID)


def test_zero_tokens_give_no_nan():
    x, found = torch.zeros(2, 9, 4), given_of(4, 2, 9, 4, torch.float32)
    for selector in DEPLOYED:
        for metric in ("cosine", "distance"):
            transfer = Transfer(gamma=1.0, tau=0.1, mu=1.0, metric=metric, source="attention")
            score = {"uniqueness": 1.0, "norm": 1.0}
            common = {"layer": 0, "keep": 5, "rho": 1.0, "summary": True}
            site = SiteSpec(**common, **rules(selector), score=score, transfer=transfer)
            assert reduce(site, Tokens.of(x), found, (3, 3)).tokens.x_bnd.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "axis"),
    [
        ({"place": "tower"}, "place 'tower'"),
        ({"important": 3}, "important 3"),
        ({"similarity": "keys"}, "similarity 'keys'"),
        ({"summary": True}, "summary True"),
        *(({"selector": name}, f"selector '{name}'") for name in ("spaced", "bipartite", "density", "pivots", "dpp")),
        ({"transfer": Transfer(to="destinations")}, "transfer.to 'destinations'"),
        ({"transfer": Transfer(among=0.5)}, "transfer.among 0.5"),
        ({"transfer": Transfer(mu=1.0)}, "transfer.mu 1.0"),
        ({"transfer": Transfer(metric="distance")}, "transfer.metric 'distance'"),
        ({"transfer": Transfer(source="attention")}, "transfer.source 'attention'"),
        (
            {"transfer": Transfer(by="anchor", tau=INF, support=Support(kind="nearest", size=2))},
            "transfer.by 'anchor'",
        ),
        ({"score": {"vision": 1.0, "raters": 0.5}}, "feature 'raters'"),
    ],
)
def test_axes_that_no_search_moves_have_no_relaxed_form(changes, axis):
    site = SiteSpec(**({"layer": 0, "keep": 9, "score": {"vision": 1.0}} | changes))
    with pytest.raises(EosError, match=f"a search does not move sites with {axis}: such a site has no relaxed form"):
        RelaxedSite.of(site)
