"""Profiles of an H200 beside the results: what they predict is what the page says."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from eos_platform.analysis.experiments.device_profiles import FIRST_SEED, read_rows
from eos_platform.bench.profiling.drawn import drawn
from eos_platform.bench.profiling.plan import longest
from eos_platform.costs.device.predictor import Prediction
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.costs.device.work import Work
from eos_platform.costs.shapes import DecoderShape
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import Target

STORED = Path(__file__).parents[3] / "studies" / "results" / "device-profiles"


@pytest.mark.parametrize(("name", "vision_layers"), [("llava-1.5-7b", 23), ("qwen2.5-vl-7b", 0)])
def test_predictions_are_made_again(name, vision_layers):
    profile = DeviceProfile.load(STORED / f"{name}-h200.json")
    sizes = {one.name for one in fields(DecoderShape)}
    given: dict[str, Any] = {key: value for key, value in profile.model.shape.items() if key in sizes}
    shape = DecoderShape(**given)
    target = Target(layers=shape.layers, grid=profile.model.grid, vision_layers=vision_layers)
    rows = [row for row in read_rows(STORED) if row["model"] == name]
    assert {(row["mode"], row["batch"]) for row in rows} == set(profile.settings())
    for row in rows[::15]:
        operator = drawn(target, shape.hidden, FIRST_SEED + row["seed"])
        work = Work.of(OperatorPlan.of(operator), shape, longest(profile.model.text))
        predicted = Prediction.of(profile, row["mode"], row["batch"]).of_work(work)
        assert predicted == pytest.approx(row["predicted"], rel=1e-3), operator.name
