"""Wide tokens: all pairs compared at once, and what moves goes by the same similarities."""

import pytest
import selector_reference
import torch
from operator_cases import features_of, tokens_of
from torch.utils.flop_counter import FlopCounterMode

from eos_platform.costs.site_flops import reduce_flops
from eos_platform.operators.reduce import reduce
from eos_platform.operators.selectors import diverse_topk as cover
from eos_platform.operators.selectors import selection
from eos_platform.operators.spec import SiteSpec, Support, Transfer
from eos_platform.operators.tokens import Tokens, cosine_of_all, unit

GRID = (5, 8)
N, D = 40, 12


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setattr(cover, "WIDE", 4)


def site(**changes):
    values = {"layer": 0, "keep": 9, "selector": "diverse_topk", "spread": 0.8, "score": {"vision": 1.0}}
    return SiteSpec(**(values | {"transfer": Transfer(gamma=0.9, tau=0.05, nu=0.7)} | changes))


SITES = {
    "shared out": site(),
    "merged": site(transfer=Transfer(gamma=1.0)),
    "nearest": site(transfer=Transfer(gamma=1.0, tau=0.3, support=Support(kind="nearest", size=3))),
    "evenly among the nearest": site(
        transfer=Transfer(gamma=1.0, tau=float("inf"), support=Support(kind="nearest", size=2))
    ),
    "evenly": site(transfer=Transfer(gamma=1.0, tau=float("inf"))),
    "in windows": site(keep=10, transfer=Transfer(gamma=1.0, tau=0.1, support=Support(kind="window", size=10))),
    "some give": site(transfer=Transfer(gamma=1.0, tau=0.1, among=0.4)),
    "destinations": site(transfer=Transfer(gamma=1.0, tau=0.1, to="destinations")),
    "important first": site(important=4),
    "with a summary": site(summary=True),
    "important alone": site(keep=4, important=4),
    "by distance": site(transfer=Transfer(gamma=1.0, metric="distance")),
    "by anchor": site(
        transfer=Transfer(gamma=1.0, by="anchor", tau=float("inf"), support=Support(kind="nearest", size=3))
    ),
    "pruned": site(transfer=Transfer()),
}


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_at_once_is_the_same_as_row_by_row(name, dtype, monkeypatch):
    one, tokens = SITES[name], Tokens.of(tokens_of(3, 2, N, D, GRID).x_bnd.to(dtype))
    features = features_of(3, 2, N)
    rows = reduce(one, tokens, features, GRID)
    monkeypatch.setattr(cover, "WIDE", 4)
    pairs = reduce(one, tokens, features, GRID)
    assert torch.equal(pairs.index_br, rows.index_br)
    for a, b in zip(pairs.tokens, rows.tokens, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SITES)
def test_it_costs_what_is_counted(name, wide):
    one, x_bnd = SITES[name], tokens_of(4, 1, N, D, GRID).x_bnd
    with FlopCounterMode(display=False) as counter:
        reduce(one, Tokens.of(x_bnd), features_of(4, 1, N), GRID)
    assert reduce_flops(one, N, D, D) == counter.get_total_flops()


def test_similarities_are_computed_once(wide, monkeypatch):
    seen = []
    plain = selection.cosine_of_all
    monkeypatch.setattr(selection, "cosine_of_all", lambda x_bne: seen.append(x_bne.shape) or plain(x_bne))
    monkeypatch.setattr("eos_platform.operators.transfer.cosine", lambda *given: pytest.fail("compared again"))
    reduce(SITES["shared out"], Tokens.of(tokens_of(5, 2, N, D, GRID).x_bnd), features_of(5, 2, N), GRID)
    assert seen == [(2, N, D)]


@pytest.mark.parametrize("spread", [0.0, 0.7, 3.0])
def test_the_picks_are_the_reference_s(spread, wide):
    x_bnd, score_bn = tokens_of(6, 2, N, D, GRID).x_bnd, features_of(6, 2, N)["vision"]
    order_br, gap_bn = cover.diverse_topk(x_bnd, score_bn, torch.tensor(spread), 11)
    for x, score, order in zip(x_bnd.numpy(), score_bn.tolist(), order_br.tolist(), strict=True):
        assert order == selector_reference.cover(x, score, spread, 11)
    assert gap_bn.isfinite().all()


def test_cosines_of_all_pairs_and_a_token_of_length_nothing():
    x_bnd = tokens_of(7, 2, N, D, GRID).x_bnd
    x_bnd[0, 3] = 0
    torch.testing.assert_close(cosine_of_all(x_bnd), unit(x_bnd) @ unit(x_bnd).mT, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tau", [0.0, 0.05])
def test_gradients_flow_through_the_similarities_too(wide, tau):
    x_bnd = tokens_of(8, 2, N, D, GRID).x_bnd.requires_grad_()
    one, given = site(transfer=Transfer(gamma=0.9, tau=tau, nu=0.7)), features_of(8, 2, N)

    def moved(x_bnd):
        return reduce(one, Tokens.of(x_bnd), given, GRID).tokens.x_bnd

    assert torch.autograd.gradcheck(moved, x_bnd, fast_mode=True)
