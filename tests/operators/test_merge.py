"""Merging (tau 0) and pooling in windows against their dense forms, products with a matrix; and what they cost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import GRIDS, deployed_cases, given_of, tokens_of
from torch.utils.flop_counter import FlopCounterMode

from eos_platform.costs.site_flops import reduce_flops
from eos_platform.operators import transfer
from eos_platform.operators.designs import DESIGNS, LLAVA
from eos_platform.operators.reduce import reduce
from eos_platform.operators.selectors import selection
from eos_platform.operators.spec import SiteSpec, Support, Target, Transfer
from eos_platform.operators.tokens import Tokens, gather_tokens


def dense(alike_bqr, allowed_bqr, mass_bq, x_bqd, size_br):
    """One share of 1 a dropped token, at the most similar of those permitted."""
    if allowed_bqr is not None:
        alike_bqr = alike_bqr.masked_fill(~allowed_bqr, -(2.0**100))
    share_bqr = torch.zeros_like(alike_bqr).scatter(-1, alike_bqr.argmax(-1, keepdim=True), 1.0)
    share_bqr = share_bqr if allowed_bqr is None else share_bqr * allowed_bqr
    t_bqr = share_bqr * mass_bq[..., None] / size_br[:, None]
    return t_bqr.mT.to(x_bqd.dtype) @ x_bqd, t_bqr.sum(1)


def same(site, tokens, found, grid, monkeypatch):
    """As deployed, and by products, with every similarity computed where it is needed."""
    out = reduce(site, tokens, found, grid)
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_merged", dense)
        patch.setattr(selection, "compared_once", lambda site, tokens, width: False)
        slow = reduce(site, tokens, found, grid)
    assert torch.equal(out.index_br, slow.index_br)
    for name, a, b in zip(tokens._fields, out.tokens, slow.tokens, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_dense_form(monkeypatch, dtype):
    @settings(max_examples=200)
    @given(deployed_cases())
    def check(case):
        site, tokens, found, grid = case
        if site.transfer.by == "anchor":
            return
        site = site.model_copy(update={"transfer": site.transfer.model_copy(update={"gamma": 0.8, "tau": 0.0})})
        tokens = tokens._replace(x_bnd=tokens.x_bnd.to(dtype), size_bn=tokens.size_bn.to(dtype))
        same(site, tokens, {name: value.to(dtype) for name, value in found.items()}, grid, monkeypatch)

    check()


@pytest.mark.parametrize("similarity", ["hidden", "keys"])
@pytest.mark.parametrize("support", [Support(), Support(kind="window", size=6), Support(kind="nearest", size=2)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"important": 5},
        {"important": 5, "keep": 13, "summary": True},
        {"among": 0.4},
        {"keep": 11},
        {"metric": "distance"},
        {"to": "all"},
        {"source": "importance", "mu": 0.5, "nu": 0.3, "gamma": 0.6},
    ],
    ids=str,
)
def test_the_selectors_similarities_serve_the_transfer(monkeypatch, similarity, support, changes):
    grid = GRIDS[4]
    moved = {name: value for name, value in changes.items() if name in Transfer.model_fields}
    moves = {"gamma": 1.0, "to": "destinations", "support": support} | moved
    site = {"layer": 0, "keep": 15, "selector": "alternate", "score": {"vision": 1.0}, "similarity": similarity}
    site = SiteSpec.model_validate(
        site | {name: value for name, value in changes.items() if name not in moved} | {"transfer": moves}
    )
    for n in (24, 23):
        same(site, tokens_of(2, 3, n, 8, grid), given_of(2, 3, n, 8), grid, monkeypatch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_receive_much_lose_nothing(monkeypatch, dtype):
    """Many to one: sums are wide whatever the tokens' precision."""
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.ones(2, 200, 16), torch.randn(2, 10, 16, generator=g)], 1).to(dtype)
    site = SiteSpec(layer=0, keep=11, score={"vision": 1.0}, transfer=Transfer(gamma=1.0))
    vision = torch.arange(210.0).expand(2, 210)
    out = reduce(site, Tokens.of(x), {"vision": vision}, (14, 15))
    assert out.tokens.size_bn[:, 0].tolist() == [200.0, 200.0]
    assert out.tokens.x_bnd.dtype == dtype
    assert torch.equal(out.tokens.x_bnd[:, 0], torch.ones(2, 16, dtype=dtype))


def counted(site, n, width, keys):
    tokens = Tokens.of(torch.randn(1, n, width))
    given = given_of(0, 1, n, width, torch.float32) | {"keys": torch.randn(1, n, keys)}
    given |= {name: torch.rand(1, n) for name in ("next_vision", "raters")}
    with FlopCounterMode(display=False) as counter:
        reduce(site, tokens, given, LLAVA.grid)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["tome", "tome-tower", "diffrate", "visionzip", "sparsevlm", "pool"])
@pytest.mark.parametrize("keep", [400, 192, 77, 30, 9])
def test_a_merge_costs_its_similarities(name, keep):
    """And the similarities of a bipartition once, whatever chooses by them and merges by them."""
    operator = DESIGNS[name].build(Target(layers=8, grid=(24, 24), vision_layers=5), keep)
    for site, n in zip(operator.sites, operator.incoming, strict=True):
        flops = counted(site, n, 32, 24)
        assert reduce_flops(site, n, 32, 24) == pytest.approx(flops, rel=0.01)
        width = 32 if site.similarity == "hidden" else 24
        if name.startswith("tome"):
            assert flops == 2 * width * (n // 2) * (n - n // 2)
        elif name in ("sparsevlm", "pool"):
            assert flops == 0  # distances, which are no products; nothing at all


@pytest.mark.parametrize("size", [1, 6, 8, 12])
@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), keep=st.integers(1, 20), n=st.integers(20, 24))
def test_pooling_in_windows_equals_the_dense_form(size, seed, keep, n):
    grid = GRIDS[4]
    tokens, found = tokens_of(seed, 2, n, 8, grid), given_of(seed, 2, n, 8)
    support = Support(kind="window", size=size)
    moves = Transfer(gamma=0.7, tau=float("inf"), nu=0.5, support=support, source="importance")
    site = SiteSpec(layer=0, keep=keep, score={"vision": 1.0}, transfer=moves)
    with FlopCounterMode(display=False) as counter:
        out = reduce(site, tokens, found, grid)
    assert counter.get_total_flops() == 0
    kept, dropped = Tokens(*(gather_tokens(v, out.index_br) for v in tokens)), []
    for row in range(2):
        dropped.append([i for i in range(n) if i not in out.index_br[row].tolist()])
    index_bq = torch.tensor(dropped)
    share_bqr = transfer.permitted(support, kept.origin_bn, gather_tokens(tokens.origin_bn, index_bq), grid).double()
    share_bqr = share_bqr / share_bqr.sum(-1, keepdim=True).clamp_min(1)
    z_bn = (found["vision"] - found["vision"].mean(-1, keepdim=True)) / found["vision"].std(-1, False)[:, None]
    mass_bn = 0.7 * tokens.size_bn * torch.softmax(z_bn, -1) * n
    t_bqr = share_bqr * gather_tokens(mass_bn, index_bq)[..., None] / kept.size_bn[:, None]
    grown_br = 1 + t_bqr.sum(1)
    y_brd = (kept.x_bnd + t_bqr.mT @ gather_tokens(tokens.x_bnd, index_bq)) / grown_br[..., None].sqrt()
    torch.testing.assert_close(out.tokens.x_bnd, y_brd)
    torch.testing.assert_close(out.tokens.size_bn, kept.size_bn * grown_br)


@pytest.mark.parametrize("name", ["tome", "diffrate", "visionzip"])
def test_a_merge_is_one_graph(name):
    """Nothing in it breaks a compiler's trace."""
    operator = DESIGNS[name].build(Target(layers=8, grid=(4, 6), vision_layers=5), 10)
    site = operator.sites[0]
    tokens, given = tokens_of(1, 2, 24, 8, (4, 6), torch.float32), given_of(1, 2, 24, 8, torch.float32)
    fused = torch.compile(reduce, backend="aot_eager", fullgraph=True, dynamic=False)(site, tokens, given, (4, 6))
    plain = reduce(site, tokens, given, (4, 6))
    assert torch.equal(fused.index_br, plain.index_br)
    torch.testing.assert_close(tuple(fused.tokens), tuple(plain.tokens))
