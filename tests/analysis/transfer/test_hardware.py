"""Places with a cost of their own: what a device profile tells, budgets as shares of it, what cannot be."""

from pathlib import Path

import pytest

from eos_platform.analysis.transfer.fitted import fitted
from eos_platform.analysis.transfer.hardware import Hardware
from eos_platform.analysis.transfer.places import Place, of_a_search, parse_places
from eos_platform.analysis.transfer.plan import ANEW, UNCHANGED, WAYS, ZERO_SHOT, Settings, places_by_name
from eos_platform.analysis.transfer.run import here, run
from eos_platform.common.errors import EosError
from eos_platform.costs.device.predictor import Prediction
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.operators.designs import get_design
from eos_platform.protocols import Setting
from eos_platform.tasks import Workload

PROFILES = Path(__file__).parents[3] / "studies" / "results" / "device-profiles"
CPU = PROFILES / "bundled-small-cpu.json"  # eager at batch 16 alone


def test_a_place_may_name_a_device() -> None:
    place = Place.parse(f"bundled-small:device_profile={CPU}")
    assert place.hardware == Hardware("prefill_ms", Setting(16, "eager", 64, str(CPU)))  # what was measured
    assert place.name == "bundled-small:device_profile=bundled-small-cpu:cost_batch=16"
    assert place.questions == Place.parse("bundled-small")
    cost = Place.parse("bundled-small:crowds:side=224:cost=kv_bytes")
    assert cost.hardware == Hardware("kv_bytes", Setting())
    assert cost.name == "bundled-small:crowds:side=224:cost=kv_bytes"
    both = parse_places([f"bundled-small:device_profile={CPU}", "bundled-small", "bundled-small:cost=kv_bytes"])
    assert len({place.name for place in both}) == 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("device_profil=x", "unknown option 'device_profil'; did you mean 'device_profile'"),
        ("device_profile=nowhere.json", "device profile not found: nowhere.json"),
        (f"device_profile={CPU}:cost_batch=2", "eager at batch 16; not eager at batch 2"),
        (f"device_profile={CPU}:cost_batch=many", "cost_batch"),
        (f"device_profile={CPU}:device_profile={CPU}", "'device_profile' is given twice"),
        (f"device_profile={CPU}:cost=kv_bytes", "kv_bytes is the same on every device"),
        ("cost=prefill_ms", "name its profile"),
        ("cost=kv_byte", "did you mean 'kv_bytes'"),
        ("cost_mode=eagr", "cost_mode"),
        ("cost=", "OPTION=VALUE is expected"),
    ],
)
def test_devices_that_cannot_be(words: str, why: str) -> None:
    with pytest.raises(EosError, match=why):
        Place.parse(f"bundled-small:{words}")


def test_what_a_place_says_is_not_said_for_all() -> None:
    with pytest.raises(EosError, match="in a matrix a place has it, as in MODEL:cost=kv_bytes"):
        Settings.of({"places": ("bundled",), "search": {"cost": "kv_bytes"}})
    with pytest.raises(EosError, match="a search has one cost"):
        of_a_search("bundled-small:cost=kv_bytes")


def test_a_budget_is_a_share_of_what_the_device_takes(small: Workload) -> None:
    place = Place.parse(f"bundled-small:device_profile={CPU}")
    assert place.hardware is not None
    settings = Settings.of({"places": ("bundled-small",)})
    config, cost = place.hardware.config(settings.config(0.5, 0, 4), small)
    whole = Prediction.of(DeviceProfile.load(CPU), "eager", 16).curve(small.target.tokens + small.text_tokens)
    assert cost.whole == pytest.approx(whole)
    assert (config.cost, config.cost_batch, config.budget) == ("prefill_ms", 16, pytest.approx(whole / 2))
    made, _ = fitted(get_design("divprune").build(small.target, 72), small, cost, config.budget)
    assert 0.4 * whole < cost.deployed(made) <= 0.5 * whole


@pytest.mark.slow  # two matrices: four searches, eight transfers
@pytest.mark.parametrize(
    ("places", "budget"),
    [
        (("bundled-small", f"bundled-small:device_profile={CPU}"), 0.5),
        (("bundled-qwen:sizes=112", "bundled-qwen:sizes=224"), 0.7),
    ],
)
def test_operators_go_to_other_devices_and_sizes(places: tuple[str, ...], budget: float, tmp_path: Path) -> None:
    search = {"batch_size": 4, "search_questions": 32, "eval_questions": 16}
    values = {"places": places, "budgets": (budget,), "ways": (UNCHANGED, ZERO_SHOT), "steps": 4, "search": search}
    settings = Settings.of({**values, "questions": 16})
    cells = run(settings, tmp_path, here("cpu"))
    assert {record["status"] for record in cells.records.values()} == {"measured"}
    own = {name for name, place in places_by_name(settings).items() if place.hardware}
    for record in cells.records.values():
        assert ("cost" in record) == (record["place"] in own)
        cost = record.get("cost")
        share = cost["predicted"] / cost["unreduced"] if cost else record["compute_ratio"]
        if record["kind"] in (ANEW, ZERO_SHOT):
            assert 0 < share <= budget + 1e-9, record["key"]
        if record["kind"] in WAYS:  # one model: its directions stay, and so do the shares of what is unchanged
            found = cells.records[f"{ANEW}|{record['source']}|{record['source']}|{budget:g}|0"]["operator"]
            assert [bool(site.get("probe")) for site in record["operator"]["sites"]] == [
                bool(site.get("probe")) for site in found["sites"]
            ]
            if record["kind"] == UNCHANGED and cost:
                assert record["operator"]["sites"] == found["sites"]


def test_a_profile_of_another_model_is_refused(small: Workload) -> None:
    other = Place.parse(f"bundled-small:device_profile={PROFILES / 'llava-1.5-7b-h200.json'}")
    assert other.hardware is not None
    with pytest.raises(EosError, match="whose decoder has 32 layers"):
        other.hardware.config(Settings.of({"places": ("bundled-small",)}).config(0.5, 0, 4), small)
