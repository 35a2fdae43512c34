"""Where times are taken: operators carried over to other sizes, and predictions for them."""

import time
from pathlib import Path

import pytest

import eos_platform
from eos_platform.bench.operators import direction, steering
from eos_platform.benchmark.make.places import PLACES, Place, Predicted, carried, measured
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

SMALL = Target(layers=6, grid=(12, 12), model="bundled-small", vision_layers=3)
PROFILE = Path(eos_platform.__file__).parent / "studies" / "results" / "device-profiles" / "llava-1.5-7b-h200.json"


def operator(keep=29, probed=True):
    site = SiteSpec(
        layer=2, keep=keep, selector="diverse_topk", spread=1.0, score={"norm": 1.0},
        probe=direction(128, 0) if probed else (), steering=steering(128, 0) if probed else None,
    )  # fmt: skip
    return OperatorSpec(name="small", target=SMALL, sites=(site,))


@pytest.fixture(scope="module")
def predicted():
    return Predicted(DeviceProfile.load(PROFILE), PLACES["cuda"])


def test_shares_of_layers_and_tokens_stay_and_directions_are_widened():
    (site,) = carried(operator(), Target(layers=32, grid=(24, 24), model="7b", vision_layers=23), 300).sites
    assert (site.layer, site.keep) == (11, 116)
    assert len(site.probe) == site.steering.width == 300
    assert site.probe[:128] == operator().sites[0].probe == site.probe[128:256]


def test_predictions_rise_with_tokens_and_say_nothing_of_the_tower(predicted):
    few, many, whole = predicted.of(operator(10)), predicted.of(operator(80)), predicted.of(None)
    assert 5 < few < many < whole < 30
    assert predicted.of(DESIGNS["tome-tower"].build(SMALL, 40)) is None


@pytest.mark.slow  # builds a model and times it
def test_operators_are_timed_where_they_are_carried_to():
    place = Place("tiny", "", "eager", 1, 60, 2)
    found = dict(measured(place, [("a", operator()), ("b", operator(5, False))], "cpu", time.monotonic() + 60))
    assert set(found) == {"a", "b"}
    assert all(0 < ms < 10_000 for ms in found.values())
    assert not list(measured(place, [("a", operator())], "cpu", 0.0))  # time is over
