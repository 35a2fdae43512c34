"""How an operator picks, as coordinates of the distance between operators."""

import pytest

from eos_platform.analysis.explain.nearest import _picking
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target


def operator(**score):
    return OperatorSpec(target=Target(layers=4, grid=(4, 4)), sites=(SiteSpec(layer=0, keep=4, score=score),))


def test_weights_of_a_score_are_a_direction():
    """Only their proportion counts, and their squares add up to the site's share."""
    _, one = _picking(operator(norm=0.3, uniqueness=-0.4))
    _, same = _picking(operator(norm=3.0, uniqueness=-4.0))
    _, alone = _picking(operator(norm=7.0))
    assert one == pytest.approx(same)
    assert (one["norm"], one["uniqueness"]) == pytest.approx((0.6 * alone["norm"], 0.8 * alone["norm"]))
