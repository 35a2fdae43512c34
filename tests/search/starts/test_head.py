"""Numbers of a design's sites as parameters: they begin where the design has them, within their bounds."""

import pytest
import torch

from eos_platform.operators.spec import SiteSpec, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.search.starts.head import Head, _within

WIDTH = 12


def head(**more: object) -> Head:
    transfer = Transfer(gamma=0.7, tau=0.1, nu=0.4)
    site = SiteSpec.model_validate(
        {"layer": 0, "keep": 9, "score": {"norm": 1.0}, "transfer": transfer, "rho": 0.25, "beta": 0.6, **more}
    )
    return Head((site,), WIDTH, ("norm", "uniqueness"), SearchConfig(budget=0.3))


def test_a_site_begins_as_the_design_has_it() -> None:
    (relaxed,) = head().sites()
    assert float(relaxed.count) == 9
    numbers = (relaxed.gamma, relaxed.nu, relaxed.rho, relaxed.beta)
    assert [float(one.detach()) for one in numbers] == pytest.approx([0.7, 0.4, 0.25, 0.6])
    (spec,) = head().specs()
    assert (spec.transfer.gamma, spec.transfer.nu, spec.rho, spec.beta) == (0.7, 0.4, 0.25, 0.6)


@pytest.mark.parametrize(("name", "low", "high"), [("gamma", 0, 1), ("nu", 0, 1), ("rho", 0, 10), ("beta", 0, 1)])
def test_bounds_hold_and_have_a_gradient(name: str, low: float, high: float) -> None:
    made = head()
    for value, bound in ((-3.0, low), (30.0, high)):
        with torch.no_grad():
            getattr(made, name).fill_(value)
        (relaxed,) = made.sites()
        assert float(getattr(relaxed, name).detach()) == bound
        getattr(relaxed, name).sum().backward()
        assert getattr(made, name).grad.item() != 0
        made.zero_grad()


def test_clamping_passes_gradients_as_they_are() -> None:
    value = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    clamped = _within(value, 0.0, 1.0)
    assert clamped.tolist() == [0.0, 0.5, 1.0]
    clamped.sum().backward()
    assert value.grad.tolist() == [1.0, 1.0, 1.0]
