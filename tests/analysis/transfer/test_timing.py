"""Times come last, in turns, where the device of a place is here; what is timed is not timed again."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eos_platform.analysis.stats.bitpack import pack
from eos_platform.analysis.transfer import timing as module
from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.places import Place
from eos_platform.analysis.transfer.plan import ANEW, UNCHANGED, UNREDUCED, ZERO_SHOT, Settings
from eos_platform.analysis.transfer.store import Cells
from eos_platform.analysis.transfer.timing import time_cells
from eos_platform.common import strict_json
from eos_platform.costs.device.machine import machine
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks import Workload

HERE = Path(__file__).parents[3] / "studies" / "results" / "device-profiles" / "bundled-small-cpu.json"


@pytest.fixture
def matrix(tmp_path: Path, small: Workload) -> tuple[Settings, Cells]:
    """A place on this device, one on another, one without; an operator of each, and one that is the same."""
    profile = DeviceProfile.load(HERE)
    here = machine(small.model.device).model_copy(update={"threads": 1})
    profile.model_copy(update={"machine": here}).save(tmp_path / "here.json")
    profile.model_copy(update={"machine": here.model_copy(update={"name": "far"})}).save(tmp_path / "far.json")
    places = [f"bundled-small:device_profile={tmp_path / name}.json" for name in ("here", "far")]
    settings = Settings.of({"places": (*places, "bundled-small"), "budgets": (0.5,)})
    cells = Cells(tmp_path / "matrix", settings)
    design = get_design("divprune").build(small.target, 72)
    for place in [Place.parse(text).name for text in settings.places]:
        for kind, operator in ((UNREDUCED, None), (ANEW, design), (ZERO_SHOT, design), (UNCHANGED, None)):
            cells.add(_record(kind, place, operator, place != "bundled-small"))
    return settings, cells


def _record(kind: str, place: str, operator: OperatorSpec | None, own: bool) -> Record:
    record: dict[str, Any] = {
        "key": f"{kind}|a|{place}|0.5|0", "kind": kind, "place": place, "source": "a", "budget": 0.5, "seed": 0,
        "status": "measured", "accuracy": 0.5, "questions": 2, "scores": pack([True, False]), "compute_ratio": 0.5,
        "about": {}, "seconds": 1.0, "operator": strict_json.loads(operator.to_json()) if operator else None,
    }  # fmt: skip
    if kind == UNCHANGED:
        record |= {"status": "refused", "reason": "no"}
    cost = {"name": "prefill_ms", "unit": "ms", "unreduced": 2.0, "budget": 1.0, "predicted": 1.0}
    return record | ({"cost": cost} if own else {})


def test_only_what_is_here_is_timed_and_once(
    matrix: tuple[Settings, Cells], small: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, cells = matrix
    asked: list[str] = []

    def measure(cost: Any, context: Any, operator: OperatorSpec | None) -> float:
        assert (cost.name, context.setting.batch) == ("prefill_ms", 16)
        asked.append("" if operator is None else operator.name)
        return (10.0 if operator is None else 4.0) + [5.0, 0.0, 1.0][Counter(asked)[asked[-1]] - 1]

    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.setattr(Place, "load", lambda place, device: small)
    told: list[str] = []
    time_cells(settings, cells, "cpu", told.append)
    assert asked == ["", asked[1]] * 3  # in turns; the same operator once
    assert told == ["bundled-small:device_profile=here:cost_batch=16: timing 2 operators"]
    times = {record["key"]: record["cost"]["measured"] for record in cells.records.values() if _timed(record)}
    assert sorted(times.values()) == [5.0, 5.0, 11.0]
    assert all("=here:" in key for key in times)
    again = Cells(cells.folder, settings)
    assert again.records == cells.records
    time_cells(settings, again, "cpu", told.append)
    assert len(asked) == 6


def _timed(record: Record) -> bool:
    return "measured" in record.get("cost", {})
