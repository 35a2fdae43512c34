"""A measured cost, fitted: rising, exact where measured, differentiable in between."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eos_platform.costs.device.curve import rising
from eos_platform.costs.fit import Fit, fit, points
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.protocols import CostContext

TARGET = Target(layers=8, grid=(12, 12))


@dataclass
class Shape:
    layers: int = 8
    units: int = 1


class Layered:
    """What a machine might take: some of it for every layer, some for every site, and some noise."""

    name, unit, label, relative, deterministic = "layered", "ms", "layered", False, True

    def measure(self, context, operator):
        if operator is None:
            return 2.0 + 8 * self.layer(144)
        return 2.0 + 0.5 * len(operator.sites) + sum(map(self.layer, operator.counts))

    def layer(self, count):
        return 0.01 * count + 1e-4 * count**2

    def relaxed(self, context, sites, counts):
        return None


@dataclass
class Site:
    layer: int
    count: torch.Tensor


def operator(layers):
    def make(counts):
        sites, before = [], 144
        for layer, count in zip(layers, counts, strict=True):
            if count != before:
                sites.append(SiteSpec(layer=layer, keep=count, score={"norm": 1.0}))
                before = count
        return OperatorSpec(target=TARGET, sites=tuple(sites))

    return make


CONTEXT = CostContext(Shape(), TARGET, 20)


@pytest.mark.parametrize("layers", [(0,), (0, 5), (2, 5)])
def test_a_cost_that_adds_up_over_layers_is_predicted(layers):
    cost, make = Layered(), operator(layers)
    found = fit(cost, CONTEXT, make, layers)
    for count in points(144):
        assert found.predict(make([count] * len(layers))) == pytest.approx(
            cost.measure(CONTEXT, make([count] * len(layers))), rel=0.03
        )
    if len(layers) == 2:
        assert found.site == pytest.approx(0.5, rel=0.2)
        assert found.predict(make((60, 20))) == pytest.approx(cost.measure(CONTEXT, make((60, 20))), rel=0.05)
    assert found.predict(OperatorSpec(target=TARGET)) == cost.measure(CONTEXT, None)


def test_the_relaxed_form_is_the_prediction_at_whole_counts_but_for_the_fading_of_sites():
    found = fit(Layered(), CONTEXT, operator((2, 5)), (2, 5))
    sites = [Site(2, torch.tensor(80.0)), Site(5, torch.tensor(21.0))]
    soft = found.relaxed(sites, [site.count for site in sites])
    whole = found.predict(operator((2, 5))((80, 21)))
    assert float(soft) == pytest.approx(whole - found.site / (80 - 21 + 1), rel=1e-5)


@given(st.lists(st.floats(0.1, 100), min_size=6, max_size=6))
def test_whatever_was_measured_the_prediction_rises_with_every_count(measured):
    tokens = points(144)
    found = Fit(
        tokens=tokens, values=rising(tokens, measured), unreduced=measured[-1], site=0.3, layers=8, arriving=144
    )
    curve = [found.curve(float(count)) for count in range(1, 145)]
    assert all(one < other for one, other in itertools.pairwise(curve))
    assert sum(found.values) / 6 == pytest.approx(sum(measured) / 6, rel=0.02)


def test_the_curve_is_differentiable_by_interpolation():
    found = fit(Layered(), CONTEXT, operator((0, 5)), (0, 5))

    def of(counts):
        return found.relaxed([Site(0, counts[0]), Site(5, counts[1])], [counts[0], counts[1]]).double()

    assert torch.autograd.gradcheck(of, torch.tensor([61.3, 20.7], dtype=torch.float64, requires_grad=True))


def test_a_fit_survives_being_written():
    found = fit(COSTS["mean_tokens"], CONTEXT, operator((0, 5)), (0, 5))
    assert Fit.model_validate_json(found.model_dump_json()) == found
