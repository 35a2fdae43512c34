"""The relaxed site: it becomes the deployed one, counts what it was told to, and has the gradients it claims."""

import dataclasses

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_cases import INF, HostReads, cases, features_of, tokens_of

from eos_platform.operators.reduce import reduce
from eos_platform.operators.relaxed.line import soft_keep
from eos_platform.operators.relaxed.relax import relax as relax_site
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import SiteSpec, Support, Transfer
from eos_platform.operators.tokens import RelaxedTokens, Tokens, gather_tokens

GRID = (4, 6)
SELECTORS = ("score", "diverse_topk", "grid", "alternate", "farthest", "random")
PARAMETERS = ("count", "weights", "gamma", "tau", "nu", "rho")


def relax(*args, **kwargs):
    return relax_site(*args, **kwargs).tokens


def agree(relaxed, deployed, atol=1e-4):
    """Same tokens kept (as cells of the original grid), same values and sizes on them."""
    kept_bn = relaxed.presence_bn > 0.5
    torch.testing.assert_close(relaxed.presence_bn, kept_bn.to(relaxed.presence_bn.dtype), rtol=0, atol=1e-5)
    r = deployed.tokens.x_bnd.shape[1]
    assert kept_bn.sum(-1).tolist() == [r] * len(kept_bn)
    index_br = kept_bn.nonzero()[:, 1].view(-1, r)
    assert torch.equal(gather_tokens(relaxed.origin_bn, index_br), deployed.tokens.origin_bn)
    torch.testing.assert_close(gather_tokens(relaxed.x_bnd, index_br), deployed.tokens.x_bnd, rtol=atol, atol=atol)
    torch.testing.assert_close(
        gather_tokens(relaxed.size_bn, index_br), deployed.tokens.size_bn, rtol=atol, atol=atol, check_dtype=False
    )


def generic(site, tokens, features, grid, margin):
    """Whether the scores around the cut are apart, so that a soft selection has something to converge to."""
    if site.selector not in ("score", "diverse_topk") or site.keep == tokens.x_bnd.shape[1]:
        return True
    lower = site.model_copy(update={"transfer": Transfer(), "rho": 0.0})
    relaxed = RelaxedTokens(*tokens, torch.ones_like(tokens.size_bn))
    soft = relax(RelaxedSite.of(lower), relaxed, features, grid, temperature=margin / 12, hard=False).presence_bn
    return bool(((soft - 0.5).abs() > 0.49).all())


@settings(max_examples=150)
@given(cases(selectors=SELECTORS), st.booleans())
def test_becomes_the_deployed_site(case, hard):
    site, tokens, features, grid = case
    tokens = tokens._replace(x_bnd=tokens.x_bnd.float())
    assume(hard or generic(site, tokens, features, grid, 1e-2))
    relaxed = RelaxedTokens(*tokens, torch.ones_like(tokens.size_bn))
    out = relax(RelaxedSite.of(site), relaxed, features, grid, temperature=0.03 if hard else 1e-5, hard=hard)
    agree(out, reduce(site, tokens, features, grid))


@pytest.mark.parametrize("first", SELECTORS)
@pytest.mark.parametrize("second", SELECTORS)
@pytest.mark.parametrize("hard", [True, False])
def test_two_sites_in_a_row_agree(first, second, hard):
    tokens, features = Tokens.of(tokens_of(11, 3, 24, 16, GRID).x_bnd.float()), features_of(11, 3, 24)
    relaxed = RelaxedTokens.of(tokens.x_bnd)
    own = features
    support = {"alternate": Support(kind="nearest", size=2), "grid": Support(kind="window", size=6)}
    for selector, keep in ((first, 15), (second, 9)):
        transfer = Transfer(gamma=0.8, tau=0.05, nu=0.7, source="importance", support=support.get(selector, Support()))
        score = {"last_text": 1.0, "uniqueness": 0.6, "norm": -0.3}
        site = SiteSpec(layer=0, keep=keep, selector=selector, score=score, transfer=transfer, rho=0.3)
        temperature = 0.03 if hard else 1e-5
        relaxed = relax(RelaxedSite.of(site), relaxed, features, GRID, temperature=temperature, hard=hard)
        reduced = reduce(site, tokens, own, GRID)
        own = {name: f.gather(1, reduced.index_br) for name, f in own.items()}
        tokens = reduced.tokens
        agree(relaxed, reduced)


def test_withdrawing_agrees():
    tokens = tokens_of(2, 2, 24, 8, GRID, torch.float32)
    site = RelaxedSite.of(SiteSpec(layer=0, keep=0, selector="drop_all"))
    relaxed = RelaxedTokens(*tokens, torch.ones(2, 24))
    out = relax(site, relaxed, {}, GRID, temperature=1.0, hard=False)
    assert out.presence_bn.abs().sum() == 0
    again = relax(generic_site(dtype=torch.float32), out, features_of(2, 2, 24), GRID, temperature=1.0, hard=False)
    assert again.x_bnd.isfinite().all()
    assert again.presence_bn.abs().sum() == 0


@given(
    st.integers(0, 10**6),
    st.floats(0.5, 23.5),
    st.sampled_from([0.03, 0.2, 1.0]),
)
def test_the_soft_count_is_the_count(seed, count, temperature):
    g = torch.Generator().manual_seed(seed)
    score, presence = torch.randn(3, 40, generator=g), torch.rand(3, 40, generator=g) * 0.8 + 0.2
    presence = presence * (24 / presence.sum(-1, keepdim=True))
    keep = soft_keep(score, presence, torch.tensor(count), temperature)
    torch.testing.assert_close((presence * keep).sum(-1), torch.full((3,), count), rtol=1e-4, atol=1e-4)


def test_a_count_beyond_what_is_there_keeps_all_of_it():
    keep = soft_keep(torch.randn(2, 9), torch.ones(2, 9), torch.tensor(9.0), 0.5)
    torch.testing.assert_close(keep, torch.ones(2, 9))


def generic_site(dtype=torch.float64, **changes):
    def leaf(value):
        return torch.tensor(value, dtype=dtype, requires_grad=True)

    values = {
        "layer": 0,
        "count": leaf(8.4),
        "weights": leaf([1.0, 0.5, -0.4, 0.3, 0.7]),
        "gamma": leaf(0.7),
        "tau": leaf(0.2),
        "nu": leaf(0.6),
        "rho": leaf(0.3),
        "beta": leaf(0.5),
        "source": "importance",
    }
    return RelaxedSite(**(values | changes))


def loss_of(out):
    """Something that depends on values, sizes and presence, each token by another amount."""
    slopes = torch.linspace(0.2, 1.7, out.presence_bn.shape[1], dtype=torch.float64)
    weight = (out.presence_bn * slopes)[..., None]
    return (weight * torch.sin(out.x_bnd)).sum() + (out.presence_bn * out.size_bn.log() * slopes).sum()


@pytest.mark.parametrize("support", [Support(), Support(kind="window", size=6), Support(kind="nearest", size=5)])
@pytest.mark.parametrize("tau", [0.2, 0.6, 3.0])
def test_gradients_are_those_of_the_function(support, tau):
    tokens, features = tokens_of(4, 2, 24, 6, GRID), features_of(4, 2, 24)
    presence = 0.3 + 0.7 * torch.rand(2, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    site = generic_site(support=support, tau=torch.tensor(tau, dtype=torch.float64, requires_grad=True))
    x = tokens.x_bnd.requires_grad_()

    def function(x, presence, *values):
        changed = dataclasses.replace(site, **dict(zip(PARAMETERS, values, strict=True)))
        given = RelaxedTokens(x, tokens.size_bn, tokens.origin_bn, presence)
        return loss_of(relax(changed, given, features, GRID, temperature=0.5, hard=False))

    inputs = (x, presence.requires_grad_(), *(getattr(site, name) for name in PARAMETERS))
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)
    for name, gradient in zip(PARAMETERS, torch.autograd.grad(function(*inputs), inputs)[2:], strict=True):
        assert (gradient.abs() > 1e-6).all(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tau", [1e-3, 0.2, INF])
@pytest.mark.parametrize("temperature", [1.0, 0.03, 1e-3])
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("support", [Support(), Support(kind="window", size=12), Support(kind="nearest", size=2)])
def test_gradients_stay_finite(dtype, tau, temperature, hard, support):
    tokens, features = tokens_of(4, 2, 24, 6, GRID, dtype), features_of(4, 2, 24)
    presence = torch.ones(2, 24)
    presence[0, ::3] = 0.0  # gone at an earlier site
    presence[1, :20] = 0.0
    x = tokens.x_bnd.clone()
    x[0, 5] = 0.0
    x[0, 7] = x[0, 8]
    x.requires_grad_()
    presence.requires_grad_()
    site = generic_site(torch.float32, support=support, tau=torch.tensor(tau, requires_grad=True))
    out = RelaxedTokens(x, tokens.size_bn, tokens.origin_bn, presence)
    for _ in range(3):
        out = relax(site, out, features, GRID, temperature=temperature, hard=hard)
    loss = loss_of(out)
    assert loss.isfinite()
    leaves = (x, presence, *(getattr(site, name) for name in PARAMETERS))
    for gradient in torch.autograd.grad(loss, leaves):
        assert gradient.isfinite().all()


def test_straight_through_has_the_soft_gradient_of_presence():
    tokens, features = tokens_of(4, 2, 24, 6, GRID), features_of(4, 2, 24)
    gradients = []
    for hard in (True, False):
        site = generic_site(count=torch.tensor(8.0, dtype=torch.float64, requires_grad=True))
        relaxed = RelaxedTokens(*tokens, torch.ones(2, 24, dtype=torch.float64))
        out = relax(site, relaxed, features, GRID, temperature=0.3, hard=hard)
        slopes = torch.linspace(0, 1, 24, dtype=torch.float64)
        gradients.append(torch.autograd.grad((out.presence_bn * slopes).sum(), (site.count, site.weights)))
    for hard_gradient, soft_gradient in zip(*gradients, strict=True):
        assert (soft_gradient.abs() > 1e-6).all()
        torch.testing.assert_close(hard_gradient, soft_gradient)


def test_a_dropped_token_learns_what_it_would_receive():
    tokens, features = tokens_of(4, 1, 24, 6, GRID), features_of(4, 1, 24)
    presence = torch.ones(1, 24, dtype=torch.float64)
    presence[0, 3] = 0.0
    presence.requires_grad_()
    site = generic_site(selector="grid", count=torch.tensor(12.0))
    out = relax(site, RelaxedTokens(*tokens, presence), features, GRID, temperature=0.3, hard=True)
    (gradient,) = torch.autograd.grad(out.size_bn.sum(), presence)
    assert gradient[0, 3] != 0


@pytest.mark.parametrize("tau", [1e-6, 0.01, 0.1])
def test_a_nearly_absent_token_draws_little_however_small_tau_is(tau):
    x = torch.tensor([[[1.0, 0.0], [1.0, 0.05], [0.0, 1.0]]])  # 0 goes; 1, nearly gone, is by far its nearest
    presence = torch.tensor([[1.0, 1e-3, 1.0]])
    site = generic_site(torch.float32, selector="grid", count=torch.tensor(3.0), tau=torch.tensor(tau), source="ones")
    site = dataclasses.replace(site, gamma=torch.tensor(1.0), selector="score", count=torch.tensor(1.0))
    features = {"last_text": torch.tensor([[0.0, 0.0, 1.0]])}
    site = dataclasses.replace(site, weights=torch.tensor([1.0, 0, 0, 0, 0]), rho=torch.tensor(0.0))
    out = relax(
        site, RelaxedTokens.of(x)._replace(presence_bn=presence), features, (1, 3), temperature=0.05, hard=False
    )
    assert out.size_bn[0, 2] == pytest.approx(2.0, abs=5e-3)


@pytest.mark.parametrize("support", [Support(), Support(kind="window", size=6), Support(kind="nearest", size=2)])
@pytest.mark.parametrize("selector", SELECTORS)
def test_the_host_reads_nothing(selector, support):
    tokens, features = tokens_of(1, 2, 24, 6, GRID, torch.float32), features_of(1, 2, 24)
    transfer = Transfer(gamma=0.5, tau=0.1, source="importance", support=support)
    spec = SiteSpec(layer=0, keep=14, selector=selector, score={"vision": 1.0}, transfer=transfer, rho=0.2)
    site = generic_site(torch.float32, selector=selector, support=support)
    relaxed = RelaxedTokens(*tokens, torch.ones(2, 24))
    with HostReads() as reads:
        reduce(spec, tokens, features, GRID)
        for hard in (True, False):
            relax(site, relaxed, features, GRID, temperature=0.1, hard=hard)
        assert reads.count == 0
        site.count.detach().item()
        assert reads.count == 1  # it does notice
