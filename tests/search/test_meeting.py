"""The last step of a search: on a made-up clock that runs slower than the fit knows, measured costs meet the budget."""

from __future__ import annotations

import pytest

from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COSTS
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Transfer
from eos_platform.search import SearchConfig, search
from eos_platform.search.cost import SearchCost, search_cost
from eos_platform.search.meeting import MET, TIMES, TRIES, WHOLE, meet
from eos_platform.tasks.typical import cost_context

MEASURED = ("prefill_ms", "first_token_ms", "decode_ms", "answer_ms", "peak_bytes", "energy_j")
QUICK = {"steps": 6, "batch_size": 4, "search_questions": 32, "eval_questions": 32}


class Clock:
    """What is measured of an operator: a part that is always there, and one for each token."""

    def __init__(self) -> None:
        self.slow, self.steps, self.asked = 1.0, 0, 0
        self.scatter = (1.0,)

    def __call__(self, context, operator):
        self.asked += 1
        tokens = operator.mean_tokens if operator else context.target.tokens
        if self.steps:  # as a GPU's tiles
            tokens = -(-tokens // self.steps) * self.steps
        return (4.0 + 0.05 * tokens) * self.slow * self.scatter[self.asked % len(self.scatter)]


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    for name in MEASURED:
        monkeypatch.setattr(type(COSTS[name]), "measure", lambda self, *given: made(*given))
    return made


def fitted(small, name, budget=1e9) -> SearchCost:
    return search_cost(small, SearchConfig(cost=name, budget=budget, layers=(0, 3), **QUICK))


def operator(small, *sites) -> OperatorSpec:
    made = (SiteSpec(layer=layer, keep=keep, score={"norm": 1.0}, transfer=Transfer()) for layer, keep in sites)
    return OperatorSpec(target=small.target, sites=tuple(made))


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("slow", [0.8, 1.12])
def test_every_measured_cost_meets_its_budget_when_the_machine_has_drifted(small, clock, name, slow):
    cost, searched = fitted(small, name), operator(small, (0, 60), (3, 40))
    budget = cost.deployed(searched)
    assert budget == pytest.approx(4.0 + 0.05 * searched.mean_tokens, rel=0.02)
    clock.slow = slow
    met = meet(cost, searched, budget)
    assert abs(met.spent.miss) <= MET
    assert met.spent.value == pytest.approx(clock(cost.context, met.operator))
    assert (met.operator.mean_tokens < searched.mean_tokens) == (slow > 1)
    assert met.operator.sites[0].keep * 2 == pytest.approx(met.operator.sites[1].keep * 3, abs=3)
    (said,) = met.remarks
    assert f"counts scaled by {met.scale / WHOLE:.3f} to meet the budget as measured" in said
    assert ("above it" if slow > 1 else "below it") in said
    assert meet(cost, searched, budget, met.scale).operator == met.operator


def test_what_meets_its_budget_stays_and_is_measured_a_few_times(small, clock):
    cost, searched = fitted(small, "prefill_ms"), operator(small, (0, 60))
    clock.slow, clock.asked = 1.02, 0
    met = meet(cost, searched, cost.deployed(searched))
    assert (met.operator, met.scale, met.remarks) == (searched, WHOLE, ())
    assert clock.asked == TIMES


def test_a_clock_that_scatters_or_goes_in_steps_ends_near_the_budget(small, clock):
    cost, searched = fitted(small, "prefill_ms"), operator(small, (0, 60), (3, 40))
    budget = cost.deployed(searched)
    clock.slow, clock.scatter, clock.asked = 1.1, (1.0, 1.3, 0.98, 1.01, 0.99), 0
    met = meet(cost, searched, budget)
    assert abs(clock.slow * (4.0 + 0.05 * met.operator.mean_tokens) / budget - 1) < 2 * MET
    assert clock.asked <= TIMES * TRIES
    clock.scatter, clock.steps = (1.0,), 24
    before = meet(cost, searched, budget)
    assert abs(before.spent.miss) <= abs(clock(cost.context, searched) / budget - 1)


@pytest.mark.parametrize("name", ["compute_ratio", "kv_bytes", "mean_tokens"])
def test_computed_costs_are_left_as_they_are(small, name):
    searched = operator(small, (0, 60))
    cost = SearchCost(COSTS[name], cost_context(small))
    met = meet(cost, searched, 2 * cost.deployed(searched))
    assert (met.operator, met.spent.source, met.remarks) == (searched, "computed", ())


def test_an_operator_of_the_vision_tower_is_left_as_it_is(small, clock):
    cost = fitted(small, "prefill_ms")
    searched = get_design("tome-tower").build(small.target, 40)
    with pytest.raises(EosError, match="its counts are not scaled"):
        meet(cost, searched, 5.0, 2 * WHOLE)
    assert meet(cost, searched, 5.0).operator == searched


def test_a_search_ends_at_its_budget_as_measured_and_says_so_and_does_so_again(small, clock, tmp_path):
    cost = fitted(small, "prefill_ms")
    budget = 4.0 + 0.05 * 50
    config = SearchConfig(cost="prefill_ms", budget=budget, layers=(0, 3), **QUICK)
    clock.slow = 1.15
    result = search(small, config, cost=cost, checkpoint=tmp_path)
    assert abs(result.cost.miss) <= MET
    assert result.cost.value == pytest.approx(clock(cost.context, result.operator))
    assert result.cost.predicted < budget * 0.95
    assert result.operator.provenance["cost"] == result.cost.as_json()
    assert any(line.startswith("counts scaled by ") for line in result.remarks)
    clock.slow = 1.3
    again = search(small, config, checkpoint=tmp_path)  # it has ended: what was found is found again
    assert again.operator.counts == result.operator.counts
    left = search(small, config, cost=cost, meets=False)
    assert left.cost.miss > 2 * MET
