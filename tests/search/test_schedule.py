"""What changes from step to step, and nothing but the step decides."""

import pytest

from eos_platform.search import SearchConfig
from eos_platform.search.schedule import WARM_UP_BUDGETS, WARM_UP_MOST, Schedule


def budgets(**settings: object) -> list[float]:
    schedule = Schedule(SearchConfig(steps=100, **settings))  # type: ignore[arg-type]
    return [schedule.budget(step) for step in range(100)]


@pytest.mark.parametrize(("budget", "first"), [(0.1, 0.25), (0.15, 0.375), (0.2, WARM_UP_MOST)])
def test_a_budget_comes_down_from_an_easier_one_and_then_stays(budget: float, first: float) -> None:
    found = budgets(budget=budget)
    assert found[0] == pytest.approx(first)
    assert found[:41] == sorted(found[:41], reverse=True)
    assert len(set(found[:41])) == 41
    assert found[40:] == [budget] * 60  # half of the soft stage, which is four fifths of the steps, and the rest
    assert found[20] ** 2 == pytest.approx(found[0] * budget)  # geometric


@pytest.mark.parametrize(
    "settings",
    [
        {"budget": 0.99 * WARM_UP_BUDGETS[0]},
        {"budget": 1.01 * WARM_UP_BUDGETS[1]},
        {"budget": 0.25, "budget_warm_up": 1.0},
        {"budget": 0.9},
        {"budget": 0.2, "budget_rule": "penalty"},
        {"budget": 0.2, "budget_rule": "two-sided"},
    ],
)
def test_others_stay_where_they_are(settings: dict) -> None:
    assert set(budgets(**settings)) == {settings["budget"]}


def test_temperature_and_rate_fall() -> None:
    config = SearchConfig(steps=100)
    schedule = Schedule(config)
    temperatures, rates = zip(*((schedule.temperature(step), schedule.rate(step)) for step in range(100)), strict=True)
    assert temperatures[0] == config.temperature_start
    assert temperatures[79:] == pytest.approx([config.temperature_end] * 21)
    assert list(temperatures) == sorted(temperatures, reverse=True)
    assert rates[0] == pytest.approx(config.learning_rate / 10)
    assert max(rates) < config.learning_rate
    assert list(rates[9:]) == sorted(rates[9:], reverse=True)
    assert rates[99] == pytest.approx(config.learning_rate / 10, rel=0.01)


@pytest.mark.parametrize(("steps", "straight_through"), [(4, 0.0), (4, 0.9), (5, 0.9), (10, 0.9), (12, 0.2)])
def test_the_shortest_searches_take_a_soft_step_at_the_budget(steps: int, straight_through: float) -> None:
    schedule = Schedule(SearchConfig(steps=steps, straight_through=straight_through))
    assert schedule.budget(max(0, schedule.soft_steps - 1)) == 0.2
    assert schedule.temperature(0) >= schedule.temperature(steps - 1) > 0
