"""Sites at which tokens leave while they are searched: values are those of the deployed site, numbers get gradients."""

from dataclasses import replace

import pytest
import torch
from operator_cases import HostReads, given_of, tokens_of

from eos_platform.operators.reduce import reduce
from eos_platform.operators.relaxed.leaving import leave
from eos_platform.operators.relaxed.relax_units import relax_units, shared
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import ALL_FEATURES, Prior, Quota, SiteSpec, Steering, Support, Suppression, Transfer
from eos_platform.operators.tokens import RelaxedTokens

GRID = (4, 6)
MERGE = Transfer(gamma=0.8, tau=0.0, nu=0.6, to="destinations")
SITES = {
    "pairs": SiteSpec(layer=0, keep=15, selector="alternate", transfer=MERGE, beta=1.0),
    "protected pairs": SiteSpec(layer=0, keep=15, selector="alternate", transfer=MERGE, protect=0.7, score={"norm": 1}),
    "clusters": SiteSpec(
        layer=0,
        keep=9,
        selector="density",
        important=4,
        score={"vision": 1.0},
        transfer=MERGE.model_copy(update={"among": 0.5, "metric": "distance"}),
    ),
    "contextual": SiteSpec(
        layer=0,
        keep=8,
        selector="spaced",
        important=5,
        score={"vision": 1.0},
        similarity="keys",
        transfer=MERGE.model_copy(update={"mu": 1.0}),
    ),
    "dpp": SiteSpec(layer=0, keep=7, selector="dpp", score={"relevance": 1.0}),
    "unlike, taken together": SiteSpec(layer=0, keep=7, selector="max_sum", score={"vision": 1.0}),
    "no two alike": SiteSpec(
        layer=0,
        keep=9,
        selector="suppress",
        score={"vision": 1.0, "norm": 0.5},
        suppress=Suppression(theta=0.5, relative=True),
        quota=Quota(groups=4, kind="components", share="survivors"),
        prior=Prior.of("vision", [1 + place for place in range(24)]),
        exclude_padding=True,
        transfer=MERGE,
    ),
    "anchors": SiteSpec(
        layer=0,
        keep=6,
        score={"vision": 1.0},
        transfer=Transfer(gamma=1.0, tau=float("inf"), by="anchor", support=Support(kind="nearest", size=3)),
    ),
    "summary": SiteSpec(
        layer=0, keep=6, summary=True, score={"vision": 1.0}, transfer=Transfer(source="attention"), rho=0.4
    ),
    "reweighted": SiteSpec(layer=0, keep=24, score={"vision": 1.0, "norm": -0.3}, rho=0.8),
}


def searched(spec: SiteSpec, **more) -> RelaxedSite:
    """The site with its numbers as leaves."""

    def leaf(value):
        return torch.tensor(value, dtype=torch.float64, requires_grad=True)

    mixes = tuple(name for name in ALL_FEATURES if name in spec.score)
    return RelaxedSite(
        layer=spec.layer,
        count=torch.tensor(float(spec.keep)),
        weights=leaf([spec.score[name] for name in mixes]),
        gamma=leaf(spec.transfer.gamma),
        tau=torch.tensor(spec.transfer.tau),
        nu=leaf(spec.transfer.nu),
        rho=leaf(spec.rho),
        beta=leaf(spec.beta),
        selector=spec.selector,
        template=spec,
        mixes=mixes,
        protect=leaf(spec.protect) if spec.protect else None,
        **more,
    )


def relaxed_tokens(tokens):
    return RelaxedTokens(*tokens, torch.ones_like(tokens.size_bn))


@pytest.mark.parametrize("name", SITES)
def test_values_are_those_of_the_deployed_site(name):
    tokens, given = tokens_of(3, 2, 24, 5, GRID), given_of(3, 2, 24, 5)
    deployed = reduce(SITES[name], tokens, given, GRID)
    found = leave(searched(SITES[name]), relaxed_tokens(tokens), given, GRID, 0.1)
    assert torch.equal(found.index_br, deployed.index_br)
    torch.testing.assert_close(found.tokens.x_bnd, deployed.tokens.x_bnd)
    torch.testing.assert_close(found.tokens.size_bn, deployed.tokens.size_bn)
    torch.testing.assert_close(found.tokens.presence_bn, torch.ones_like(found.tokens.presence_bn))


def test_strengths_weights_and_protection_have_gradients():
    tokens, given = tokens_of(4, 2, 24, 5, GRID), given_of(4, 2, 24, 5)
    spec = SITES["protected pairs"].model_copy(update={"score": {"norm": 1.0, "vision": 0.4}})
    site = searched(spec)
    left = leave(site, relaxed_tokens(tokens), given, GRID, 0.3).tokens
    (left.x_bnd.sum() + (left.presence_bn * left.x_bnd[..., 0]).sum()).backward()
    for value in (site.gamma, site.nu, site.weights, site.protect):
        assert bool(value.grad.isfinite().all())
        assert bool(value.grad.abs().sum() > 0)


def test_a_metric_is_the_deployed_one_and_learns_from_the_identity():
    g = torch.Generator().manual_seed(5)
    text, visual = (torch.randn(2, 5, generator=g, dtype=torch.float64).half().double() for _ in range(2))
    tokens, given = tokens_of(5, 2, 24, 5, GRID), given_of(5, 2, 24, 5)
    deployed = reduce(SITES["pairs"].model_copy(update={"metric": Steering.of(text, visual)}), tokens, given, GRID)
    plain = reduce(SITES["pairs"], tokens, given, GRID)
    found = leave(searched(SITES["pairs"], metric=(text, visual)), relaxed_tokens(tokens), given, GRID, 0.1)
    assert torch.equal(found.index_br, deployed.index_br)
    torch.testing.assert_close(found.tokens.x_bnd, deployed.tokens.x_bnd)
    assert not torch.equal(deployed.index_br, plain.index_br)

    still = torch.zeros_like(visual, requires_grad=True)
    found = leave(searched(SITES["pairs"], metric=(text, still)), relaxed_tokens(tokens), given, GRID, 0.1)
    torch.testing.assert_close(found.tokens.x_bnd, plain.tokens.x_bnd)
    found.tokens.x_bnd.square().sum().backward()
    assert bool(still.grad.abs().sum() > 0)


def test_protection_keeps_what_scores_well():
    tokens = tokens_of(6, 1, 24, 5, GRID)
    even = torch.arange(24) % 2 == 0
    wanted = torch.where(even & (torch.arange(24) < 6), 5.0, 0.0)[None].double()
    spec = SITES["protected pairs"].model_copy(update={"score": {"vision": 1.0}, "protect": 100.0})
    stays = reduce(spec, tokens, {"vision": wanted}, GRID).index_br[0]
    assert {0, 2, 4} <= set(stays.tolist())
    plain = spec.model_copy(update={"protect": 0.0})
    assert torch.equal(
        reduce(plain, tokens, {"vision": wanted}, GRID).index_br,
        reduce(SITES["pairs"], tokens, {}, GRID).index_br,
    )


def test_units_keep_their_share():
    site = searched(SITES["pairs"])
    assert shared(site, 12, 24, False, 12).template.keep == 8
    assert shared(replace(site, template=SITES["contextual"]), 12, 24, False, 12).template.important == 3
    tokens = tokens_of(7, 2, 24, 5, GRID)
    tokens = tokens._replace(origin_bn=torch.arange(12).repeat(2).expand(2, -1))
    done = relax_units(site, relaxed_tokens(tokens), {}, [((3, 4), 2)], [12], total=24, temperature=0.1, hard=False)
    assert done.lengths == (8,)
    assert done.tokens.x_bnd.shape == (2, 16, 5)


@pytest.mark.parametrize("name", SITES)
def test_the_host_reads_nothing(name):
    tokens, given = tokens_of(8, 2, 24, 5, GRID), given_of(8, 2, 24, 5)
    site = searched(SITES[name])
    leave(site, relaxed_tokens(tokens), given, GRID, 0.1)  # tables of the grid are made once
    with HostReads() as reads:
        leave(site, relaxed_tokens(tokens), given, GRID, 0.1)
    assert reads.count == 0
