"""Many budgets from one search: each meets its own, and starts from its neighbour."""

from types import SimpleNamespace

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.search import SearchConfig, search
from eos_platform.search.front import configs_of, front
from eos_platform.tasks import Workload

TINY = SearchConfig(steps=16, batch_size=4, search_questions=32, eval_questions=16)


def test_every_budget_is_met_from_the_largest_down(small: Workload) -> None:
    reported: list[tuple[float, int]] = []
    found = list(
        front(small, (0.15, 0.4, 0.25), TINY, report=lambda b: lambda step, curves: reported.append((b, step)))
    )
    budgets = [0.4, 0.25, 0.15]
    assert [result.operator.provenance["search"]["budget"] for result in found] == budgets
    for result, budget in zip(found, budgets, strict=True):
        assert 0.95 * budget <= result.compute_ratio <= budget
    assert [len([1 for b, _ in reported if b == budget]) for budget in budgets] == [16, 4, 4]


def test_a_neighbour_starts_where_the_other_ended(small: Workload) -> None:
    first = search(small, TINY)
    still = TINY.model_copy(update={"steps": 4, "learning_rate": 1e-12, "budget": 0.1})
    second = search(small, still, start=first.parameters)
    for name, value in first.parameters.items():
        torch.testing.assert_close(second.parameters[name], value, rtol=0, atol=1e-6)


def test_what_cannot_be_is_refused_before_anything_is_searched(small: Workload) -> None:
    with pytest.raises(EosError, match="at least one budget"):
        configs_of(TINY, ())
    with pytest.raises(EosError, match=r"budget 0\.001 is impossible"):
        next(front(small, (0.4, 0.001), TINY))
    other = search(small, TINY.model_copy(update={"layers": (0,), "steps": 4}))
    with pytest.raises(EosError, match="the same sites, steering and model"):
        search(small, TINY, start=other.parameters)


def test_nobody_need_listen(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a report the searches run in silence; each is told its predecessor's parameters."""
    seen = []

    def stand_in(workload, config, *, report, start, cost):
        seen.append((config.budget, report, start))
        return SimpleNamespace(parameters=config.budget)

    monkeypatch.setattr(f"{front.__module__}.search", stand_in)
    list(front(small, (0.4, 0.15, 0.25), TINY))
    assert seen == [(0.4, None, None), (0.25, None, 0.4), (0.15, None, 0.25)]


@pytest.mark.parametrize(("start", "end", "soft"), [(0.3, 0.03, 0.1), (0.05, 0.03, 0.05), (0.3, 0.2, 0.2)])
def test_later_searches_are_short_and_cool(start: float, end: float, soft: float) -> None:
    config = TINY.model_copy(
        update={"steps": 42, "temperature_start": start, "temperature_end": end, "budget_warm_up": 2.0}
    )
    first, *later = configs_of(config, (0.1, 0.3, 0.2, 0.3))
    assert first == config.model_copy(update={"budget": 0.3})
    assert [one.budget for one in later] == [0.2, 0.1]
    for one in later:
        assert (one.steps, one.temperature_start, one.budget_warm_up) == (10, soft, 1.0)
        assert one.batch_size == config.batch_size
