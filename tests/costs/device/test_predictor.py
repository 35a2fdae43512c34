"""Predictions from a profile: of operators never measured, with a gradient, and refused where nothing is known."""

from __future__ import annotations

import statistics

import pytest
import torch
from made_up_device import SHAPE, TARGET, TEXT, takes

from eos_platform.bench.profiling.plan import MOST
from eos_platform.common.errors import EosError
from eos_platform.costs.device.predictor import Prediction, Predictor, errors, rank_correlation
from eos_platform.costs.registry import COSTS
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import FEATURES, OperatorSpec, SiteSpec, Transfer
from eos_platform.protocols import CostContext, Setting


def operator(*sites):
    made = (
        SiteSpec(layer=layer, keep=keep, score=dict.fromkeys(FEATURES, 0.2), transfer=Transfer(gamma=0.5, tau=0.1))
        for layer, keep in sites
    )
    return OperatorSpec(target=TARGET, sites=tuple(made))


@pytest.mark.parametrize(("mode", "batch"), [("eager", 1), ("captured", 16)])
def test_operators_never_measured_are_predicted(made_up, unseen, mode, batch):
    prediction = Prediction.of(made_up, mode, batch)
    works = [unseen(seed) for seed in range(60)]
    predicted, real = [prediction.of_work(work) for work in works], [takes(work, batch) for work in works]
    assert rank_correlation(predicted, real) > 0.98
    assert statistics.median(abs(p / r - 1) for p, r in zip(predicted, real, strict=True)) < 0.03


def test_eager_is_as_captured_where_the_device_is_busy_and_fitted_to_its_own_where_it_waits(made_up):
    """Here the host needs 4 ms for the launches of a prefill, and the device more at batch 16 alone."""
    slow = [
        point.model_copy(update={"ms": (max(4.0, *point.ms),)}) if point.mode == "eager" else point
        for point in made_up.points
    ]
    profile = made_up.model_copy(update={"points": tuple(slow)})
    assert Prediction.of(profile, "eager", 16) == Prediction.of(profile, "captured", 16)
    waiting = Prediction.of(profile, "eager", 1)
    assert waiting != Prediction.of(profile, "captured", 1)
    assert waiting.curve(50.0) == pytest.approx(4.0, rel=0.05)


def test_a_profile_has_fifty_points_at_most_and_says_how_far_off_it_is(made_up):
    assert len(made_up.points) <= MOST
    found = errors(made_up)
    assert [(one.mode, one.batch) for one in found] == made_up.settings()
    assert all(one.operators >= 1 and one.median <= one.worst < 0.2 for one in found)


def test_the_relaxed_form_is_the_prediction_at_whole_counts_and_has_a_gradient(made_up):
    predictor = Predictor(((1.0, Prediction.of(made_up, "eager", 1)),), SHAPE, TARGET.tokens, TEXT)
    deployed = operator((2, 80), (5, 21))
    sites = [RelaxedSite.of(site) for site in deployed.sites]
    counts_s = torch.tensor([80.0, 21.0], requires_grad=True)
    soft = predictor.relaxed(sites, list(counts_s))
    assert float(soft.detach()) == pytest.approx(predictor.predict(deployed), rel=0.02)
    soft.backward()
    assert counts_s.grad is not None
    assert (counts_s.grad > 0).all()
    assert predictor.unreduced == pytest.approx(8 * (0.1 + 0.002 * 164 + 5e-6 * 164**2), rel=0.03)


def test_costs_are_predicted_where_their_device_is_not(made_up, tmp_path):
    from eos_platform.costs.amount import amount

    made_up.save(tmp_path / "h.json")
    setting = Setting(batch=16, mode="captured", answer=10, profile=str(tmp_path / "h.json"))
    context = CostContext(SHAPE, TARGET, TEXT, setting=setting)
    found = {name: amount(COSTS[name], context, operator((0, 40))) for name in COSTS if name != "peak_bytes"}
    assert {name for name, one in found.items() if one.source == "predicted"} == {
        "prefill_ms", "first_token_ms", "decode_ms", "answer_ms", "energy_j",
    }  # fmt: skip
    assert found["prefill_ms"].mark == "predicted for Made-up 9000"
    assert found["first_token_ms"].value == pytest.approx(found["prefill_ms"].value + 48)
    whole = found["first_token_ms"].value + 10 * found["decode_ms"].value
    assert found["answer_ms"].value == pytest.approx(whole / 16)
    assert found["energy_j"].value == pytest.approx(found["prefill_ms"].value / 160, rel=0.02)
    assert found["decode_ms"].value == pytest.approx(1 + 1e-3 * 60, rel=0.01)
    with pytest.raises(EosError, match="cost 'peak_bytes' is measured, and not predicted from a device profile"):
        amount(COSTS["peak_bytes"], context, None)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            {"mode": "compiled"},
            "the device profile has eager at batch 1, captured at batch 1, eager at batch 16, captured",
        ),
        ({"batch": 4}, "not eager at batch 4"),
    ],
)
def test_what_was_not_measured_is_not_predicted(made_up, tmp_path, setting, says):
    made_up.save(tmp_path / "h.json")
    context = CostContext(SHAPE, TARGET, TEXT, setting=Setting(**setting, profile=str(tmp_path / "h.json")))
    with pytest.raises(EosError, match=says):
        COSTS["prefill_ms"].predictor(context, made_up)
