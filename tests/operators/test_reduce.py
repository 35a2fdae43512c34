"""The deployed site against the loop reference, its corners, and what it promises about batches and precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_cases import INF, cases, features_of, tokens_of
from operator_reference import reduce_one

from eos_platform.common.errors import EosError
from eos_platform.operators.reduce import _ranks, _weighs, reduce
from eos_platform.operators.score import combine, with_token_features
from eos_platform.operators.spec import SiteSpec, Support, Transfer
from eos_platform.operators.tokens import Tokens, gather_tokens

GRID = (4, 6)
MERGE = Transfer(gamma=1.0, tau=0.0, nu=1.0)


@settings(max_examples=300)
@given(cases())
def test_equals_the_loops(case):
    site, tokens, features, grid = case
    out = reduce(site, tokens, features, grid)
    for row in range(len(tokens.x_bnd)):
        own = {name: f[row].numpy() for name, f in features.items()}
        stay, y, size = reduce_one(site, *(v[row].numpy() for v in tokens), own, grid)
        assert out.index_br[row].tolist() == stay
        assert out.tokens.origin_bn[row].tolist() == tokens.origin_bn[row][stay].tolist()
        np.testing.assert_allclose(out.tokens.x_bnd[row].numpy(), y, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(out.tokens.size_bn[row].numpy(), size, rtol=1e-8)


@settings(max_examples=60)
@given(cases(selectors=("score", "grid", "alternate", "farthest", "random")))
def test_a_row_does_not_depend_on_its_batch(case):
    site, tokens, features, grid = case
    together = reduce(site, tokens, features, grid)
    for row in range(len(tokens.x_bnd)):
        alone = reduce(
            site, Tokens(*(v[row : row + 1] for v in tokens)), {k: f[row : row + 1] for k, f in features.items()}, grid
        )
        assert torch.equal(alone.index_br[0], together.index_br[row])
        torch.testing.assert_close(alone.tokens.x_bnd[0], together.tokens.x_bnd[row], rtol=0, atol=1e-9)


@settings(max_examples=60)
@given(cases(selectors=("score",)), st.randoms(use_true_random=False))
def test_order_of_tokens_does_not_matter(case, random):
    site, tokens, features, grid = case
    full = with_token_features(features, tokens.x_bnd, tuple(site.score))
    ranked_bn = combine(full, site.score).sort(-1).values
    # of equal scores the lower index wins, so there order does matter
    assume(ranked_bn.shape[1] < 2 or bool((ranked_bn.diff(dim=-1) > 1e-6).all()))
    order = torch.tensor(random.sample(range(tokens.x_bnd.shape[1]), tokens.x_bnd.shape[1]))
    straight = reduce(site, tokens, features, grid)
    moved = reduce(site, *_permuted(tokens, features, order), grid)
    back = moved.tokens.origin_bn.argsort(-1)
    assert torch.equal(gather_tokens(moved.tokens.origin_bn, back), straight.tokens.origin_bn)
    torch.testing.assert_close(gather_tokens(moved.tokens.x_bnd, back), straight.tokens.x_bnd, rtol=0, atol=1e-8)


def _permuted(tokens, features, order):
    return Tokens(*(v[:, order] for v in tokens)), {k: f[:, order] for k, f in features.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tau", [0.0, 0.1, INF])
def test_half_precision_is_computed_in_single(dtype, tau):
    tokens, features = tokens_of(3, 2, 24, 16, GRID, dtype), features_of(3, 2, 24)
    transfer = Transfer(gamma=0.8, tau=tau, nu=0.5, source="importance")
    site = SiteSpec(layer=0, keep=9, score={"last_text": 1.0, "uniqueness": 0.5}, transfer=transfer, rho=0.3)
    out = reduce(site, tokens, features, GRID)
    exact = reduce(site, Tokens(tokens.x_bnd.double(), tokens.size_bn, tokens.origin_bn), features, GRID)
    assert out.tokens.x_bnd.dtype == dtype
    assert out.tokens.size_bn.dtype == torch.float32
    assert torch.equal(out.index_br, exact.index_br)
    torch.testing.assert_close(
        out.tokens.x_bnd, exact.tokens.x_bnd.to(dtype), rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5
    )
    torch.testing.assert_close(out.tokens.size_bn, exact.tokens.size_bn.float(), rtol=1e-5, atol=1e-5)


def test_autocast_does_not_lower_the_precision():
    tokens, features = tokens_of(3, 2, 24, 16, GRID, torch.float32), features_of(3, 2, 24)
    site = SiteSpec(layer=0, keep=9, score={"last_text": 1.0}, transfer=Transfer(gamma=1.0, tau=0.05))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = reduce(site, tokens, features, GRID)
    assert torch.equal(inside.tokens.x_bnd, reduce(site, tokens, features, GRID).tokens.x_bnd)


def test_pruning_is_a_gather_bit_for_bit():
    tokens, features = tokens_of(5, 3, 24, 8, GRID, torch.bfloat16), features_of(5, 3, 24)
    out = reduce(SiteSpec(layer=0, keep=7, score={"vision": 1.0}), tokens, features, GRID)
    expected = features["vision"].topk(7).indices.sort().values
    assert torch.equal(out.index_br, expected)
    assert torch.equal(out.tokens.x_bnd, torch.stack([x[i] for x, i in zip(tokens.x_bnd, expected, strict=True)]))
    assert torch.equal(out.tokens.size_bn, tokens.size_bn.gather(1, expected))


def test_merging_is_the_mean_weighted_by_sizes():
    tokens = tokens_of(6, 1, 12, 8, GRID)
    out = reduce(SiteSpec(layer=0, keep=8, selector="alternate", transfer=MERGE), tokens, {}, GRID)
    x, size, stay = tokens.x_bnd[0], tokens.size_bn[0], out.index_br[0].tolist()
    unit = F.normalize(x, dim=-1)
    groups = {j: [j] for j in stay}
    for i in set(range(12)) - set(stay):
        groups[max(stay, key=lambda j, i=i: float(unit[i] @ unit[j]))].append(i)
    for place, members in enumerate(groups.values()):
        weight = size[members]
        torch.testing.assert_close(out.tokens.x_bnd[0, place], (weight[:, None] * x[members]).sum(0) / weight.sum())
        torch.testing.assert_close(out.tokens.size_bn[0, place], weight.sum())
    assert max(map(len, groups.values())) > 1


def test_pooling_spreads_evenly():
    tokens = Tokens.of(torch.randn(2, 24, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    site = SiteSpec(layer=0, keep=6, selector="grid", transfer=Transfer(gamma=1.0, tau=INF, nu=0.0))
    out = reduce(site, tokens, {}, GRID)
    dropped = tokens.x_bnd.sum(1) - gather_tokens(tokens.x_bnd, out.index_br).sum(1)
    torch.testing.assert_close(out.tokens.x_bnd, gather_tokens(tokens.x_bnd, out.index_br) + dropped[:, None] / 6)
    torch.testing.assert_close(out.tokens.size_bn, torch.full((2, 6), 4.0))


@pytest.mark.parametrize(
    ("grid", "window"), [((4, 6), (2, 2)), ((4, 6), (2, 3)), ((24, 24), (3, 3)), ((24, 24), (1, 2))]
)
def test_pooling_inside_windows_is_average_pooling(grid, window):
    x_bdhw = torch.randn(2, 5, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    count = grid[0] * grid[1] // (window[0] * window[1])
    transfer = Transfer(gamma=1.0, tau=INF, nu=1.0, support=Support(kind="window", size=count))
    site = SiteSpec(layer=0, keep=count, selector="grid", transfer=transfer)
    out = reduce(site, Tokens.of(x_bdhw.flatten(2).mT), {}, grid)
    torch.testing.assert_close(out.tokens.x_bnd, F.avg_pool2d(x_bdhw, window).flatten(2).mT)


def test_reweighting_keeps_every_token():
    tokens, features = tokens_of(7, 2, 24, 8, GRID), features_of(7, 2, 24)
    out = reduce(SiteSpec(layer=0, keep=24, score={"vision": 1.0}, rho=0.5), tokens, features, GRID)
    v = features["vision"]
    u = ((v - v.mean(1, keepdim=True)) / v.std(1, unbiased=False, keepdim=True) * 0.5).exp()
    torch.testing.assert_close(out.tokens.x_bnd, tokens.x_bnd * (u / u.mean(1, keepdim=True))[..., None])
    assert torch.equal(out.tokens.size_bn, tokens.size_bn)


def test_a_site_that_does_nothing_returns_the_tokens():
    tokens = tokens_of(8, 2, 24, 8, GRID, torch.bfloat16)
    out = reduce(SiteSpec(layer=0, keep=24, selector="farthest", transfer=MERGE), tokens, {}, GRID)
    assert all(torch.equal(a, b) for a, b in zip(out.tokens, tokens, strict=True))
    assert out.index_br.tolist() == [list(range(24))] * 2


def test_withdrawing_leaves_nothing():
    tokens = tokens_of(8, 2, 24, 8, GRID)
    out = reduce(SiteSpec(layer=0, keep=0, selector="drop_all", transfer=MERGE), tokens, {}, GRID)
    assert [tuple(v.shape) for v in (*out.tokens, out.index_br)] == [(2, 0, 8), (2, 0), (2, 0), (2, 0)]


def test_random_is_the_same_for_every_row_and_differs_by_seed():
    tokens = tokens_of(9, 3, 24, 8, GRID)
    picks = {s: reduce(SiteSpec(layer=0, keep=9, selector="random", seed=s), tokens, {}, GRID).index_br for s in (0, 1)}
    assert torch.equal(picks[0][0], picks[0][2])
    assert not torch.equal(picks[0], picks[1])
    assert picks[0][0].tolist() == sorted(set(picks[0][0].tolist()))


@pytest.mark.parametrize("selector", ["score", "alternate", "farthest"])
def test_ties_go_to_the_lower_index(selector):
    x = torch.ones(1, 9, 4)
    site = SiteSpec(layer=0, keep=6, selector=selector, score={"vision": 1.0}, transfer=MERGE)
    out = reduce(site, Tokens.of(x), {"vision": torch.full((1, 9), 0.1)}, (3, 3))
    expected = [0, 1, 2, 3, 5, 7] if selector == "alternate" else [0, 1, 2, 3, 4, 5]
    assert out.index_br.tolist() == [expected]
    assert out.tokens.size_bn.tolist() == [[4.0, 1.0, 1.0, 1.0, 1.0, 1.0]]  # all three dropped ones went to the first


def test_a_dropped_token_with_nobody_in_its_window_is_discarded():
    tokens = Tokens.of(torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)))
    transfer = Transfer(gamma=1.0, tau=0.1, support=Support(kind="window", size=2))  # rows of a 2x2 grid
    site = SiteSpec(layer=0, keep=1, score={"vision": 1.0}, transfer=transfer)
    out = reduce(site, tokens, {"vision": torch.tensor([[4.0, 1.0, 2.0, 3.0]])}, (2, 2))
    assert out.tokens.size_bn.tolist() == [[2.0]]
    torch.testing.assert_close(out.tokens.x_bnd[0, 0], tokens.x_bnd[0, :2].mean(0))


def test_zero_tokens_give_no_nan():
    site = SiteSpec(
        layer=0, keep=3, score={"uniqueness": 1.0, "norm": 1.0}, transfer=Transfer(gamma=1.0, tau=0.1), rho=1
    )
    out = reduce(site, Tokens.of(torch.zeros(2, 9, 4)), {}, (3, 3))
    assert out.tokens.x_bnd.isfinite().all()


def test_a_feature_nobody_gives_is_refused():
    site = SiteSpec(layer=0, keep=3, score={"vision": 1.0})
    with pytest.raises(EosError, match=r"no feature 'vision' here; given: last_text"):
        reduce(site, Tokens.of(torch.randn(1, 9, 4)), {"last_text": torch.rand(1, 9)}, (3, 3))


def test_keeping_more_than_arrive_is_refused():
    with pytest.raises(EosError, match="keep 10 is more than the 9 tokens that arrive"):
        reduce(SiteSpec(layer=0, keep=10, selector="grid"), Tokens.of(torch.randn(1, 9, 4)), {}, (3, 3))


def test_a_score_that_nothing_rests_on_is_not_asked_for():
    """Pruned at random, nobody gives anything, so that what a dropped token would weigh is not read."""
    none = Transfer(gamma=0.0, source="importance")
    site = SiteSpec(layer=0, keep=4, selector="random", score={"norm": 1.0}, transfer=none)
    assert not _weighs(site, 16)
    assert not _ranks(site, 16)
    assert _weighs(site.model_copy(update={"transfer": Transfer(gamma=1.0, source="importance")}), 16)
    assert not _weighs(site.model_copy(update={"summary": True}), 4)  # nothing is dropped
