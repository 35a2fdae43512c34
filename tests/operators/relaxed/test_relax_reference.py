"""The values of a relaxed site, against loops, wherever its tokens are partly there; and rows in which nothing is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import features_of, tokens_of
from relaxed_reference import degrees, relative, relax_one

from eos_platform.operators.relaxed.line import soft_keep
from eos_platform.operators.relaxed.relax import relax
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import Support
from eos_platform.operators.tokens import RelaxedTokens

DOUBLE = torch.float64
SUPPORTS = (Support(), Support(kind="window", size=4), Support(kind="window", size=6), Support(kind="nearest", size=3))


def site_of(**changes):
    values = {"count": 6.3, "gamma": 0.7, "tau": 0.2, "nu": 0.6, "rho": 0.3, "beta": 0.5} | changes
    weights = torch.tensor(values.pop("weights", [1.0, 0.5, -0.4, 0.3, 0.7]), dtype=DOUBLE)
    tensors = {name: torch.tensor(v, dtype=DOUBLE) if isinstance(v, float) else v for name, v in values.items()}
    return RelaxedSite(layer=0, weights=weights, **tensors)


@st.composite
def partly_there(draw):
    """(site, tokens, features, grid, temperature, candidates): oblong grids, presence anywhere above 0, sizes not 1."""
    grid = draw(st.sampled_from([(2, 6), (4, 6), (6, 2), (3, 8)]))
    n = draw(st.integers(9, grid[0] * grid[1]))
    seed, b, d = draw(st.integers(0, 10**6)), draw(st.integers(1, 3)), draw(st.integers(3, 7))
    x, size, origin = tokens_of(seed, b, n, d, grid)
    presence = 0.1 + 0.9 * torch.rand(b, n, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    candidates = draw(st.sampled_from([None, 8]))
    if candidates:
        presence[:, : n - 1] = presence[:, : n - 1].clamp_min(0.6)  # the last may be as good as gone
    site = site_of(
        count=draw(st.sampled_from([0.6, 2.5, 4.0])),
        gamma=draw(st.sampled_from([0.0, 0.7, 1.0])),
        tau=draw(st.sampled_from([0.03, 0.4, 1.0, 2.5])),
        nu=draw(st.sampled_from([0.0, 0.6, 1.0])),
        rho=draw(st.sampled_from([0.0, 0.3, -1.2])),
        source=draw(st.sampled_from(["ones", "importance"])),
        support=draw(st.sampled_from([each for each in SUPPORTS if each.kind != "window" or divides(each, grid)])),
        weights=draw(st.sampled_from([[1.0, 0.5, -0.4, 0.3, 0.7], [0.0, -1.3, 0.0, 0.0, 0.2]])),
    )
    tokens = RelaxedTokens(x, size, origin, presence)
    return site, tokens, features_of(seed, b, n), grid, draw(st.sampled_from([0.2, 0.7])), candidates


def divides(support, grid):
    return support.size in (grid[0] * grid[1] // 2, 4 if grid != (3, 8) else 0, 6)


@settings(max_examples=80)
@given(partly_there())
def test_values_are_those_of_the_formulas(case):
    site, tokens, features, grid, temperature, candidates = case
    out = relax(site, tokens, features, grid, temperature=temperature, hard=False, candidates=candidates)
    for row in range(len(tokens.x_bnd)):
        one = (values[row].numpy() for values in tokens)
        x, size, origin, presence = one
        own = {name: values[row].numpy() for name, values in features.items()}
        few, y, sizes, after = relax_one(site, x, size, origin, presence, own, grid, temperature, candidates)
        if out.index_bm is not None:
            assert out.index_bm[row].tolist() == few
        assert out.tokens.origin_bn[row].tolist() == origin[few].tolist()
        for found, wanted in ((out.tokens.presence_bn, after), (out.tokens.size_bn, sizes), (out.tokens.x_bnd, y)):
            np.testing.assert_allclose(found[row].numpy(), wanted, rtol=2e-5, atol=1e-7)


@given(st.integers(0, 10**6), st.floats(0.05, 11.5), st.sampled_from([0.03, 0.2, 1.0, 5.0]))
def test_the_threshold_is_the_one_that_gives_the_count(seed, count, temperature):
    g = torch.Generator().manual_seed(seed)
    score, presence = torch.randn(2, 24, generator=g, dtype=DOUBLE), torch.rand(2, 24, generator=g, dtype=DOUBLE)
    presence = presence * (12 / presence.sum(-1, keepdim=True)).clamp_max(1.0)
    count = min(count, 0.98 * float(presence.sum(-1).min()))
    keep = soft_keep(score, presence, torch.tensor(count, dtype=DOUBLE), temperature)
    for row in range(2):
        wanted = degrees(score[row].numpy(), presence[row].numpy(), count, temperature)
        np.testing.assert_allclose(keep[row].numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("there", [0.02, 0.4, 1.0, 3.0])
def test_importance_is_relative_to_what_is_there_however_little(there):
    """The mean over the tokens present weighs them by presence alone: half of everything changes nothing."""
    tokens, features, grid = tokens_of(5, 2, 12, 4, (2, 6)), features_of(5, 2, 12), (2, 6)
    presence = torch.rand(2, 12, generator=torch.Generator().manual_seed(2), dtype=DOUBLE) + 0.1
    presence = presence * there / presence.sum(-1, keepdim=True)
    site = site_of(count=there * 0.5, gamma=0.0, rho=1.5)
    out = relax(site, RelaxedTokens(*tokens, presence), features, grid, temperature=0.3, hard=False).tokens
    factor = (out.x_bnd / tokens.x_bnd).mean(-1)
    assert (out.presence_bn * factor).sum(-1) == pytest.approx(out.presence_bn.sum(-1).numpy(), rel=1e-6)
    assert relative(np.array([0.0, 1.0]), np.array([1.0, 1.0])).mean() == pytest.approx(1.0)


@pytest.mark.parametrize("source", ["ones", "importance"])
def test_a_row_in_which_nothing_is_left_passes_unchanged_with_finite_gradients(source):
    tokens, features, grid = tokens_of(6, 2, 12, 4, (3, 4)), features_of(6, 2, 12), (3, 4)
    presence = torch.ones(2, 12, dtype=DOUBLE)
    presence[0] = 0.0
    leaves = [tokens.x_bnd.requires_grad_(), presence.requires_grad_()]
    site = site_of(rho=0.0, source=source, gamma=1.0)
    leaves += [getattr(site, name).requires_grad_() for name in ("weights", "gamma", "tau", "nu", "rho", "count")]
    out = relax(site, RelaxedTokens(*tokens, presence), features, grid, temperature=0.3, hard=False).tokens
    torch.testing.assert_close(out.x_bnd[0], tokens.x_bnd[0])
    torch.testing.assert_close(out.size_bn[0], tokens.size_bn[0])
    loss = out.x_bnd.square().sum() + out.size_bn.square().sum() + out.presence_bn.square().sum()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, leaves))
