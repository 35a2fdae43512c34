"""Counts that meet a budget, and how they move with what the cost depends on."""

import pytest
import torch

from eos_platform.search.cost import AT, bisection, parabola

TOKENS = 100


def cost(shares, bend):
    """Of counts; it depends on another parameter too."""
    return lambda counts: (counts * torch.arange(1.0, len(shares) + 1).to(counts)).sum() + bend * counts.square().sum()


@pytest.mark.parametrize("budget", [40.0, 150.0])
def test_bisection_meets_the_budget_and_agrees_with_the_parabola(budget):
    shares, bend = torch.tensor([1.0, 0.6, 0.2]), torch.tensor(0.01)
    found = bisection(cost(shares, bend), shares, budget, TOKENS)
    spent = cost(shares, bend)((found * shares).clamp_min(1.0))
    assert float(spent) == pytest.approx(budget, rel=1e-5)
    if float(found) * 0.2 > 1:
        assert float(parabola(cost(shares, bend), shares, budget, TOKENS)) == pytest.approx(float(found), rel=1e-4)


def test_the_gradient_is_that_of_finite_differences():
    def scale(shares, bend, budget):
        return bisection(cost(shares, bend), shares, budget, TOKENS)

    inputs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in ([1.0, 0.6, 0.2], 0.01, 150.0)]
    assert torch.autograd.gradcheck(scale, inputs, eps=1e-3, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("budget", "bound"), [(1.0, 1.0), (1e6, TOKENS - 1.0)])
def test_a_budget_out_of_reach_gives_the_bound_and_no_gradient(budget, bound):
    shares = torch.tensor([1.0, 0.6], requires_grad=True)
    found = bisection(cost(shares, torch.tensor(0.01)), shares, budget, TOKENS)
    assert float(found.detach()) == pytest.approx(bound, rel=1e-5)
    found.backward()
    assert not shares.grad.any()


def test_a_flat_cost_gives_no_gradient_that_is_not_a_number():
    shares = torch.tensor([1.0, 0.6], requires_grad=True)
    found = bisection(lambda counts: 0 * counts.sum() + 5.0, shares, 6.0, TOKENS)
    found.backward()
    assert shares.grad.isfinite().all()


def test_the_parabola_goes_through_shares_of_what_there_is():
    assert list(AT) == sorted(AT)
    assert 0 < AT[0] < AT[-1] < 1
