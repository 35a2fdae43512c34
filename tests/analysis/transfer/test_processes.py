"""Cells of a matrix by processes that share a device: the same records as in one; dead ones are not waited for."""

import queue
import threading
from pathlib import Path

import pytest

from eos_platform.analysis.transfer import processes as module
from eos_platform.analysis.transfer.plan import Settings, first_items, transfers
from eos_platform.analysis.transfer.processes import on_processes
from eos_platform.analysis.transfer.run import here, run
from eos_platform.common.errors import EosError

SETTINGS = {
    "places": ("bundled-small", "bundled-small-v2"), "budgets": (0.35,), "ways": ("carried",), "steps": 4,
    "questions": 16, "search": {"batch_size": 4, "search_questions": 32, "eval_questions": 16},
}  # fmt: skip


class Ended:
    """A process that is no more."""

    def is_alive(self) -> bool:
        return False


def test_processes_that_died_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    done: queue.Queue[dict[str, str] | None] = queue.Queue()
    for one in ({"key": "first"}, None):
        done.put(one)
    records = module._records(done, [Ended(), Ended()])
    assert next(records) == {"key": "first"}
    with pytest.raises(EosError, match="ended before"):
        next(records)


class Taken:
    """A counter that processes share."""

    def __init__(self) -> None:
        self.value = 0

    def get_lock(self) -> threading.Lock:
        return threading.Lock()


def test_after_the_time_nothing_is_begun_and_all_is_left() -> None:
    settings = Settings.of(SETTINGS)
    done: queue.Queue[dict | None] = queue.Queue()
    taken = [Taken(), Taken()]
    lanes = module._lanes(first_items(settings), settings, 0)
    module._work(lanes, taken, 1, done, settings, {}, "cpu", 1, until=0.0)
    assert [one.value for one in taken] == [len(lane) + 1 for lane in lanes]
    assert done.get_nowait() is None
    assert done.empty()


def test_cells_of_a_place_are_a_lane_in_the_order_of_ways_and_budgets() -> None:
    settings = Settings.of({**SETTINGS, "budgets": (0.5, 0.35), "ways": ("zero-shot", "calibrated"), "seeds": 3})
    lanes = module._lanes(transfers(settings), settings, 2)
    assert [{item.place for group in lane for item in group} for lane in lanes] == [
        {name} for name in SETTINGS["places"]
    ]
    for lane in lanes:
        assert [len(group) for group in lane] == [2, 1] * 4
        order = list(dict.fromkeys((item.kind, item.budget) for group in lane for item in group))
        assert order == [(way, budget) for way in settings.ways for budget in settings.budgets]
    items = [item for lane in lanes for group in lane for item in group]
    assert sorted(item.key for item in items) == sorted(item.key for item in transfers(settings))


@pytest.mark.slow  # two processes that load torch, two searches
def test_the_same_records_as_in_one_process(tmp_path: Path) -> None:
    settings = Settings.of(SETTINGS)
    alone = run(settings, tmp_path / "alone", here("cpu")).records
    shared = run(settings, tmp_path / "shared", on_processes(2, "cpu", at_a_time=1)).records
    assert {key: record["scores"] for key, record in shared.items()} == {
        key: record["scores"] for key, record in alone.items()
    }
