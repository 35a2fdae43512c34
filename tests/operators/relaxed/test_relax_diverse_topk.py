"""The relaxed site's learned parts: cover, probe, and candidates that are all that is handed on."""

import dataclasses

import pytest
import torch
from operator_cases import features_of, tokens_of

from eos_platform.operators.reduce import reduce
from eos_platform.operators.relaxed.relax import relax
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import SiteSpec, Transfer
from eos_platform.operators.tokens import RelaxedTokens, Tokens, gather_tokens

GRID = (5, 8)
N, D = 40, 6
PROBE = (1.0, -0.5, 0.2, 0.0, 0.8, -1.1)


def spec(selector, **changes):
    values = {
        "layer": 0,
        "keep": 9,
        "selector": selector,
        "score": {"vision": 0.6, "uniqueness": -0.4},
        "probe": PROBE,
        "spread": 0.7 if selector == "diverse_topk" else 0.0,
        "transfer": Transfer(gamma=0.8, tau=0.1, nu=0.7),
        "rho": 0.2,
    }
    return SiteSpec(**(values | changes))


@pytest.mark.parametrize("selector", ["diverse_topk", "score"])
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("candidates", [None, 20, 39])
@pytest.mark.parametrize("probe", [PROBE, ()])
def test_becomes_the_deployed_site(selector, hard, candidates, probe):
    site = spec(selector, probe=probe)
    tokens, features = Tokens.of(tokens_of(5, 3, N, D, GRID).x_bnd), features_of(5, 3, N)
    temperature = 0.03 if hard else 1e-6
    given = RelaxedTokens.of(tokens.x_bnd)
    out, index = relax(
        RelaxedSite.of(site), given, features, GRID, temperature=temperature, hard=hard, candidates=candidates
    )
    if candidates is not None:
        assert index.shape == (3, candidates)
        assert (index.diff(dim=1) > 0).all()
        assert torch.equal(out.origin_bn, gather_tokens(given.origin_bn, index))
    found = reduce(site, tokens, features, GRID)
    kept = out.presence_bn > 0.5
    assert kept.sum(1).tolist() == [9, 9, 9]
    places = kept.nonzero()[:, 1].view(3, 9)
    assert torch.equal(gather_tokens(out.origin_bn, places), found.tokens.origin_bn)
    torch.testing.assert_close(gather_tokens(out.x_bnd, places), found.tokens.x_bnd, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        gather_tokens(out.size_bn, places), found.tokens.size_bn, rtol=1e-4, atol=1e-4, check_dtype=False
    )


@pytest.mark.parametrize("selector", ["diverse_topk", "score"])
def test_candidates_beyond_the_margin_change_nothing_and_the_soft_count_is_the_count(selector):
    tokens, features = tokens_of(6, 2, N, D, GRID), features_of(6, 2, N)
    given = RelaxedTokens.of(tokens.x_bnd)
    site = dataclasses.replace(RelaxedSite.of(spec(selector)), count=torch.tensor(8.4))
    # a cover's line is scaled to unit spread among its candidates: that alone may differ
    few = relax(site, given, features, GRID, temperature=0.02, hard=False, candidates=32)
    every = relax(site, given, features, GRID, temperature=0.02, hard=False)
    torch.testing.assert_close(few.tokens.presence_bn.sum(1), torch.full((2,), 8.4, dtype=torch.float64))
    torch.testing.assert_close(every.tokens.presence_bn.sum(1), torch.full((2,), 8.4, dtype=torch.float64))
    tolerance = 0.25 if selector == "diverse_topk" else 1e-5
    torch.testing.assert_close(
        few.tokens.presence_bn, every.tokens.presence_bn.gather(1, few.index_bm), rtol=0, atol=tolerance
    )
    assert every.index_bm is None


def test_an_absent_token_is_no_candidate_while_others_are_there():
    tokens, features = tokens_of(6, 2, N, D, GRID), features_of(6, 2, N)
    presence = torch.ones(2, N, dtype=torch.float64)
    presence[:, ::4] = 0.0
    given = RelaxedTokens.of(tokens.x_bnd)._replace(presence_bn=presence)
    for selector in ("diverse_topk", "score"):
        out = relax(RelaxedSite.of(spec(selector)), given, features, GRID, temperature=0.1, hard=False, candidates=30)
        assert (out.index_bm % 4 > 0).all()


@pytest.mark.parametrize("selector", ["diverse_topk", "score"])
@pytest.mark.parametrize("candidates", [None, 24])
def test_gradients_of_probe_and_spread_are_those_of_the_function(selector, candidates):
    tokens, features = tokens_of(4, 2, N, D, GRID), features_of(4, 2, N)
    site = RelaxedSite.of(spec(selector))
    weights, probe = site.weights.double().requires_grad_(), site.probe.double().requires_grad_()
    spread = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    slopes = torch.linspace(0.2, 1.7, candidates or N, dtype=torch.float64)

    def function(weights, probe, spread):
        changed = dataclasses.replace(
            site,
            weights=weights,
            probe=probe,
            spread=spread if selector == "diverse_topk" else None,
            count=site.count.double(),
        )
        given = RelaxedTokens.of(tokens.x_bnd)
        out = relax(changed, given, features, GRID, temperature=0.5, hard=False, candidates=candidates).tokens
        return (out.presence_bn[..., None] * slopes[:, None] * torch.sin(out.x_bnd)).sum()

    if selector == "score":
        assert torch.autograd.gradcheck(
            lambda *values: function(*values, spread), (weights, probe), atol=1e-5, rtol=1e-4
        )
        return
    leaves = (weights, probe, spread)
    gradients = torch.autograd.grad(function(*leaves), leaves)
    for number, gradient in enumerate(gradients):
        # the spread of a cover's line, by which it is divided, passes no gradient: nearly that of the function
        moved = [leaf.detach() for leaf in leaves]
        step = 1e-5 * gradient / gradient.norm()
        up, down = (function(*moved[:number], moved[number] + sign * step, *moved[number + 1 :]) for sign in (1, -1))
        assert float((up - down) / 2e-5) == pytest.approx(float(gradient.norm()), rel=0.2)
        assert gradient.norm() > 1e-3


def test_a_probe_alone_ranks():
    tokens = tokens_of(4, 1, N, D, GRID)
    site = spec("score", score={}, rho=0.0)
    found = reduce(site, Tokens.of(tokens.x_bnd), {}, GRID)
    cosine = torch.nn.functional.cosine_similarity(tokens.x_bnd[0], torch.tensor(PROBE, dtype=torch.float64), dim=-1)
    assert found.index_br[0].tolist() == sorted(cosine.topk(9).indices.tolist())
