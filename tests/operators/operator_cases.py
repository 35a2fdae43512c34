"""Random but reproducible inputs and sites for the operator tests."""

import torch
from hypothesis import strategies as st

from eos_platform.operators.spec import SiteSpec, Support, Transfer
from eos_platform.operators.tokens import Tokens

GRIDS = ((1, 1), (1, 2), (2, 3), (3, 3), (4, 6), (5, 5))
INF = float("inf")


def tokens_of(seed, b, n, d, grid, dtype=torch.float64):
    """Generic tokens: ``n`` of the grid's cells present, in order, with sizes that are not 1."""
    g = torch.Generator().manual_seed(seed)
    cells = grid[0] * grid[1]
    x = torch.randn(b, n, d, generator=g, dtype=torch.float64) + 0.3
    size = 1 + 3 * torch.rand(b, n, generator=g, dtype=torch.float64)
    origin = torch.stack([torch.randperm(cells, generator=g)[:n].sort().values for _ in range(b)])
    return Tokens(x.to(dtype), size.to(torch.promote_types(dtype, torch.float32)), origin)


def features_of(seed, b, n):
    g = torch.Generator().manual_seed(seed + 1)
    return {k: torch.rand(b, n, generator=g, dtype=torch.float64) for k in ("last_text", "mean_text", "vision")}


@st.composite
def sites(draw, n, grid, selectors=("score", "grid", "alternate", "farthest")):
    selector = draw(st.sampled_from(selectors))
    cells = grid[0] * grid[1]
    least = max(1, n // 2) if selector == "alternate" else 1
    factors = [a * b for a in range(1, grid[0] + 1) for b in range(1, grid[1] + 1) if not grid[0] % a + grid[1] % b]
    keep = draw(st.sampled_from(factors)) if selector == "grid" and n == cells else draw(st.integers(least, n))
    support = draw(
        st.one_of(
            st.just(Support()),
            st.sampled_from(factors).map(lambda k: Support(kind="window", size=k)),
            st.integers(1, 4).map(lambda k: Support(kind="nearest", size=k)),
        )
    )
    names = draw(st.lists(st.sampled_from(["last_text", "vision", "norm", "uniqueness"]), min_size=1, unique=True))
    weights = {name: draw(st.sampled_from([1.0, -0.7, 0.4])) for name in names}
    transfer = Transfer(
        gamma=draw(st.sampled_from([0.0, 0.3, 1.0])),
        tau=draw(st.sampled_from([0.0, 0.05, 0.5, INF])),
        nu=draw(st.sampled_from([0.0, 0.5, 1.0])),
        source=draw(st.sampled_from(["ones", "importance"])),
        support=support,
    )
    rho = draw(st.sampled_from([0.0, 0.4]))
    return SiteSpec(layer=0, keep=keep, selector=selector, score=weights, transfer=transfer, rho=rho)


@st.composite
def cases(draw, **kwargs):
    """(site, tokens, features, grid): the whole grid, or what an earlier site left of it."""
    grid = draw(st.sampled_from(GRIDS))
    cells = grid[0] * grid[1]
    n = draw(st.one_of(st.just(cells), st.integers(1, cells)))
    site = draw(sites(n, grid, **kwargs))
    seed, b, d = draw(st.integers(0, 10**6)), draw(st.integers(1, 3)), draw(st.integers(3, 9))
    return site, tokens_of(seed, b, n, d, grid), features_of(seed, b, n), grid
