"""The file of a profile: data that is checked, and held against model and machine."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from made_up_device import SHAPE, TARGET, TEXT

from eos_platform.common.errors import EosError
from eos_platform.costs.device.known import doubts, elsewhere, profile_of
from eos_platform.costs.device.machine import machine
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.protocols import CostContext, Setting


def test_a_profile_is_read_back_as_it_was_written(made_up, tmp_path):
    assert DeviceProfile.load(made_up.save(tmp_path / "h.json")) == made_up


def test_a_profile_of_the_first_format_is_read(made_up, tmp_path):
    """There all picks stood in one column: of operators drawn at random it is not known who picked."""
    data = json.loads(made_up.save(tmp_path / "h.json").read_text()) | {"format": "eos-device-profile-1"}
    for point in data["points"]:
        if "columns" in point["work"]:
            sites, walks, picks, *rest = point["work"]["columns"]
            made_by = {"divprune": 10, "cdpruner": 23}.get(point["name"].rpartition("-")[0], 1)
            point["work"]["columns"] = [sites, walks + picks / made_by, *rest]
    (tmp_path / "former.json").write_text(json.dumps(data))
    found = DeviceProfile.load(tmp_path / "former.json")
    unknown = [point for point in made_up.points if point.held_out and sum(point.work.columns[1:3])]
    assert unknown
    assert found.points == tuple(point for point in made_up.points if point not in unknown)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.clear(), "not a device profile; eos profile --out FILE makes one"),
        (lambda data: data.update(format="other"), "not a device profile"),
        (lambda data: data["points"][0].update(ms=[-1.0]), "points.0.ms.0: input should be greater than 0"),
        (
            lambda data: data["points"][0].update(kind="prefil"),
            "points.0.kind: unknown value 'prefil'; did you mean 'prefill'?",
        ),
        (lambda data: data["points"][0].update(modes="x"), "points.0.modes"),
        (lambda data: data["model"]["shape"].pop("heads"), "model: shape: heads must be a positive number"),
        (lambda data: data.pop("machine"), "missing key 'machine'"),
    ],
)
def test_what_is_no_profile_is_one_line(made_up, tmp_path, change, says):
    path = made_up.save(tmp_path / "h.json")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(EosError) as raised:
        DeviceProfile.load(path)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_profile_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(EosError, match=r"^device profile not found: .*none\.json$"):
        profile_of(Setting(profile=str(tmp_path / "none.json")))


def test_a_profile_of_another_model_is_refused_and_other_weights_are_told(made_up):
    with pytest.raises(
        EosError, match="is of 'm', whose decoder has 64 hidden; here are 96: make one with eos profile"
    ):
        made_up.check_model(replace(SHAPE, hidden=96))
    assert made_up.check_model(SHAPE, torch.float32) == [
        "the device profile is of weights in bfloat16; here they are float32"
    ]
    assert made_up.check_model(SHAPE, torch.bfloat16) == []


def test_another_device_is_predicted_for_and_other_versions_are_told(made_up, tmp_path):
    here = machine(torch.device("cpu"))
    model = SimpleNamespace(device=torch.device("cpu"), dtype=torch.bfloat16)

    def context(of: DeviceProfile, model: object) -> CostContext:
        path = of.save(tmp_path / f"{hash(of.machine)}.json")
        return CostContext(SHAPE, TARGET, TEXT, model, setting=Setting(profile=str(path)))

    for where in (model, None):
        (line,) = doubts(context(made_up, where))
        assert line.startswith("milliseconds and joules are predicted for Made-up 9000")
    mine = made_up.model_copy(update={"machine": here})
    assert elsewhere(context(mine, model)) == ""
    assert elsewhere(context(mine, None)) == str(here)
    assert doubts(context(mine, model)) == []
    older = made_up.model_copy(update={"machine": here.model_copy(update={"torch": "2.0"})})
    (line,) = doubts(context(older, model))
    assert f"torch 2.0 then, {torch.__version__} now" in line
