"""Numbers of every place: packed, checked, resampled, divided by."""

import pytest
import torch
from pydantic import ValidationError

from eos_platform.common.errors import EosError
from eos_platform.operators.prior import Prior
from eos_platform.operators.rescale import rescale
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

TARGET = Target(layers=4, grid=(2, 3))
SITE = {"layer": 1, "keep": 2, "score": {"norm": 1.0}}


def test_only_proportions_matter():
    prior = Prior.of("norm", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert prior == Prior.of("norm", [10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    assert sum(prior.numbers) / 6 == pytest.approx(1, abs=1e-3)
    divided = prior.divides(torch.ones(1, 2), torch.tensor([[0, 5]]))
    assert float(divided[0, 0] / divided[0, 1]) == pytest.approx(6, rel=1e-3)


def test_what_is_usually_next_to_nothing_is_a_hundredth_of_the_mean():
    divided = Prior.of("norm", [0.0, 2.0]).divides(torch.ones(1, 2), torch.tensor([[0, 1]]))
    assert divided[0].tolist() == pytest.approx([100.0, 0.5])


@pytest.mark.parametrize("values", ["", "?", "AA==", "AAA=", "AHw=", "ALw="])  # the last ones: zero, infinite, -1
def test_damaged_numbers_are_refused(values):
    with pytest.raises(ValidationError):
        Prior(feature="norm", values=values)
    with pytest.raises(ValueError, match="above 0"):
        Prior.of("norm", [0.0, 0.0])


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"prior": Prior.of("norm", [1.0] * 5)}, "a prior of 5 numbers for 6 places of the grid"),
        ({"prior": Prior.of("vision", [1.0] * 6)}, "a prior of 'vision', which the score does not weigh"),
        ({"prior": Prior.of("norm", [1.0] * 6), "place": "tower"}, "a prior is of features in the decoder"),
    ],
)
def test_priors_that_do_not_belong(changes, wrong):
    site = {name: value.model_dump() if isinstance(value, Prior) else value for name, value in changes.items()}
    with pytest.raises(EosError, match=wrong):
        OperatorSpec.of({"target": TARGET.model_dump(), "sites": [SITE | site]})


def test_another_grid_lies_between_by_straight_lines():
    prior = Prior.of("norm", [1.0, 1.0, 3.0, 3.0])
    assert prior.resampled((2, 2), (2, 2)) == prior
    wider = prior.resampled((2, 2), (2, 4)).numbers
    assert wider == pytest.approx(prior.resampled((2, 2), (2, 1)).numbers[0:1] * 4 + (1.5,) * 4, rel=1e-3)
    taller = prior.resampled((2, 2), (4, 1)).numbers
    assert taller == pytest.approx((0.5, 0.75, 1.25, 1.5), rel=1e-3)


def test_it_travels_with_its_operator_to_another_grid():
    site = SiteSpec.model_validate(SITE | {"prior": Prior.of("norm", [1, 1, 1, 3, 3, 3])})
    operator = OperatorSpec(target=TARGET, sites=(site,))
    assert OperatorSpec.from_json(operator.to_json()) == operator
    made = rescale(operator, Target(layers=4, grid=(4, 3))).operator
    assert made.sites[0].prior.numbers[::3] == pytest.approx((0.5, 0.75, 1.25, 1.5), rel=1e-3)
    gone = rescale(operator, Target(layers=4, grid=(2, 3), model="x"), absent=("norm",), probes=True)
    assert gone.operator.sites[0].prior is None or gone.operator.sites[0].score["norm"]
