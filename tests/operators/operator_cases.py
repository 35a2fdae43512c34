"""Random but reproducible inputs and sites for the operator tests."""

import numpy as np
import torch
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from eos_platform.operators.spec import Coverage, Prior, Quota, SiteSpec, Steering, Support, Suppression, Transfer
from eos_platform.operators.tokens import Tokens

DEPLOYED = (
    *("score", "diverse_topk", "grid", "alternate", "farthest", "random"),
    *("spaced", "bipartite", "density", "pivots", "dpp", "coverage", "suppress", "max_sum"),
)
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


def given_of(seed, b, n, d, dtype=torch.float64, texts=3):
    """All that a model may say of the tokens: more features, the keys, and text tokens that serve as pivots."""
    g = torch.Generator().manual_seed(seed + 2)
    more = {name: torch.rand(b, n, generator=g, dtype=torch.float64) - 0.2 for name in ("relevance", "key_norm")}
    keys = torch.randn(b, n, 5, generator=g, dtype=torch.float64).to(dtype)
    text = torch.randn(b, texts, d, generator=g, dtype=torch.float64).to(dtype)
    question = torch.randn(b, d, generator=g, dtype=torch.float64).to(dtype)
    rows = torch.cat([text, torch.zeros_like(text[:, :1])], 1)
    more["padding"] = (torch.rand(b, n, generator=torch.Generator().manual_seed(seed + 3)) < 0.3).double()
    return features_of(seed, b, n) | more | {"keys": keys, "text_pivots": text, "text_rows": rows, "question": question}


def factors_of(grid):
    """Numbers of equal windows."""
    return [a * b for a in range(1, grid[0] + 1) for b in range(1, grid[1] + 1) if not grid[0] % a + grid[1] % b]


@st.composite
def sites(draw, n, grid, selectors=("score", "grid", "alternate", "farthest")):
    selector = draw(st.sampled_from(selectors))
    cells = grid[0] * grid[1]
    least = max(1, n // 2) if selector == "alternate" else 1
    factors = factors_of(grid)
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
    spread = draw(st.sampled_from([0.0, 1.0, 2.5])) if selector == "diverse_topk" else 0.0
    return SiteSpec(layer=0, keep=keep, selector=selector, score=weights, spread=spread, transfer=transfer, rho=rho)


@st.composite
def cases(draw, **kwargs):
    """(site, tokens, features, grid): the whole grid, or what an earlier site left of it."""
    grid = draw(st.sampled_from(GRIDS))
    cells = grid[0] * grid[1]
    n = draw(st.one_of(st.just(cells), st.integers(1, cells)))
    site = draw(sites(n, grid, **kwargs))
    seed, b, d = draw(st.integers(0, 10**6)), draw(st.integers(1, 3)), draw(st.integers(3, 9))
    return site, tokens_of(seed, b, n, d, grid), features_of(seed, b, n), grid


@st.composite
def coverages(draw, similarity):
    text = draw(st.sampled_from([0.0, 1.0])) if similarity == "hidden" else 0.0
    return Coverage(
        visual=draw(st.sampled_from([0.5, 1.0] if text == 0 else [0.0, 0.5])),
        temperature=draw(st.sampled_from([0.0, 0.2])),
        text=text,
        text_temperature=draw(st.sampled_from([0.0, 0.1])),
        power=draw(st.sampled_from([0.5, 1.0])),
        weight=draw(st.sampled_from([0.5, 1.0])),
    )


@st.composite
def quotas(draw, factors, more=()):
    share = draw(st.sampled_from(["equal", "mean", "none", *more]))
    cap = draw(st.integers(1, 4)) if share == "none" else draw(st.one_of(st.none(), st.integers(1, 4)))
    kind = draw(st.sampled_from(["strips", "windows"]))
    return Quota(groups=draw(st.sampled_from(factors)), kind=kind, share=share, cap=cap)


@st.composite
def deployed_sites(draw, n, grid, selectors=DEPLOYED):
    """Sites off every axis, those that only deployed ones have too."""
    selector = draw(st.sampled_from(selectors))
    whole = n == grid[0] * grid[1]
    names = draw(st.lists(st.sampled_from(["vision", "norm", "uniqueness", "key_norm"]), min_size=1, unique=True))
    similarity = draw(st.sampled_from(["hidden", "keys", "centred"])) if selector != "pivots" else "hidden"
    weighing = draw(st.sampled_from(["sum", "product", "raw"])) if selector in ("diverse_topk", "coverage") else "sum"
    coverage = draw(coverages(similarity)) if selector == "coverage" else None
    quota = suppress = None
    if selector in ("score", "suppress"):
        more = ["survivors"] if selector == "suppress" else []
        quota = draw(st.one_of(st.none(), quotas(factors_of(grid), more)))
    if selector == "suppress":
        suppress = Suppression(theta=draw(st.sampled_from([0.1, 0.4, 0.9])), relative=draw(st.booleans()))
    raw = weighing == "raw" or (quota is not None and quota.share == "mean")
    transfer = {
        "gamma": draw(st.sampled_from([0.0, 0.3, 1.0, 1.0])),
        "nu": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "mu": draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])),
        "source": draw(st.sampled_from(["ones", "importance", "attention"])),
        "by": draw(st.sampled_from(["source", "source", "anchor"])),
        "to": draw(st.sampled_from(["all", "destinations"])),
        "among": draw(st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.0])),
        "metric": draw(st.sampled_from(["cosine", "distance"])),
    }
    pooled = [a * b for a in range(1, grid[0] + 1) for b in range(1, grid[1] + 1)]
    overlap = selector == "grid" and whole and transfer["by"] == "anchor" and draw(st.booleans())
    summary = not overlap and n > 1 and draw(st.booleans())
    if overlap:
        keep = draw(st.sampled_from(pooled))
        support = Support(kind="overlap", size=keep)
    elif transfer["by"] == "anchor":
        keep, support = draw(st.integers(1 + summary, n)), Support(kind="nearest", size=draw(st.integers(1, 4)))
    else:
        keep, support = draw(st.integers(1 + summary, n)), Support()
        kind = draw(st.sampled_from(["all", "window", "nearest"]))
        if kind != "all":
            size = draw(st.sampled_from(factors_of(grid)) if kind == "window" else st.integers(1, 4))
            support = Support(kind=kind, size=size)
    important = 0 if overlap else draw(st.integers(0, keep - summary))
    if selector == "grid" and whole and important == 0 and not overlap:
        keep = min(n, draw(st.sampled_from(factors_of(grid))) + summary)
        summary = summary and keep - 1 in factors_of(grid)
    tau = INF if transfer["by"] == "anchor" else draw(st.sampled_from([0.0, 0.05, 0.5, INF]))
    excludes = selector in ("score", "diverse_topk", "coverage", "suppress", "farthest", "random") and not summary
    prior = None
    if draw(st.booleans()):
        places = np.random.default_rng(draw(st.integers(0, 99))).random(grid[0] * grid[1])
        prior = Prior.of(names[0], [float(place) for place in places])
    return SiteSpec(
        layer=0,
        keep=keep,
        selector=selector,
        suppress=suppress,
        prior=prior,
        exclude_padding=excludes and draw(st.booleans()),
        important=important,
        score={name: draw(st.sampled_from([1.0, -0.7, 0.4])) for name in names},
        spread=draw(st.sampled_from([0.0, 1.0, 2.5])) if selector in ("diverse_topk", "coverage") else 0.0,
        similarity=similarity,
        mixing="sum" if raw else draw(st.sampled_from(["sum", "sum", "product"])),
        weighing=weighing,
        coverage=coverage,
        quota=quota,
        seed=draw(st.integers(0, 3)),
        transfer=Transfer(tau=tau, support=support, **transfer),
        summary=summary,
        rho=draw(st.sampled_from([0.0, 0.0, 0.4])),
    )


@st.composite
def deployed_cases(draw, **kwargs):
    """(site, tokens, given, grid) of ``deployed_sites``."""
    grid = draw(st.sampled_from(GRIDS))
    cells = grid[0] * grid[1]
    n = draw(st.one_of(st.just(cells), st.integers(1, cells)))
    site = draw(deployed_sites(n, grid, **kwargs))
    seed, b, d = draw(st.integers(0, 10**6)), draw(st.integers(1, 3)), draw(st.integers(3, 9))
    if draw(st.booleans()):
        site = site.model_copy(update={"mixing": "sum"})
        probe = tuple((-1.0) ** k * (1 + k % 3) for k in range(d))
        steering = Steering.of(*torch.randn(2, 2, d, generator=torch.Generator().manual_seed(seed)))
        site = site.model_copy(update={"probe": probe, "steering": steering if draw(st.booleans()) else None})
    return site, tokens_of(seed, b, n, d, grid), given_of(seed, b, n, d, texts=draw(st.integers(0, 4))), grid


class HostReads(TorchDispatchMode):
    """Counts operations that make the host wait for the device: reading a value, or a shape that depends on one."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))
