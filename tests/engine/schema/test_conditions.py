"""Conditional spaces and how the parts of a study file go together: accepted, refused, and why."""

import optuna
import pytest
from engine_fakes import study_file

from eos_platform.common.errors import EosError
from eos_platform.engine.schema.conditions import active, grid_size, ordered, suggest
from eos_platform.engine.schema.space import corners

SPACE = {
    "budget_growth": {"float": [0.1, 2.0], "when": {"budget_rule": ["penalty", "two-sided"]}},
    "cost_weight": {"float": [0.0, 1.0], "when": {"budget_rule": "penalty", "probe": True}},
    "budget_rule": {"choice": ["exact", "penalty", "two-sided"]},
    "probe": {"choice": [True, False]},
    "layers": {"choice": [[0, 4], [0]], "when": {"probe": False}},
}


def test_a_field_is_asked_for_only_where_it_varies():
    space = study_file(space=SPACE).space
    assert ordered(space).index("budget_rule") < ordered(space).index("budget_growth")
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(60):
        found = suggest(optuna_study.ask(), space)
        assert ("budget_growth" in found) == (found["budget_rule"] != "exact")
        assert ("cost_weight" in found) == (found["budget_rule"] == "penalty" and found["probe"])
        assert ("layers" in found) == (not found["probe"])
        assert found.get("layers") in (None, (0, 4), (0,))
        assert active(space, {**found, "cost_weight": 0.5}).keys() == found.keys() | (
            {"cost_weight"} if found["budget_rule"] == "penalty" and found["probe"] else set()
        )
        seen.add(tuple(sorted(found)))
    assert len(seen) == 5


def test_without_conditions_the_order_is_that_of_the_file():
    space = {name: {"choice": [1, 2]} for name in ("seed", "eval_every", "batch_size")}
    assert ordered(study_file(space=space).space) == list(space)


def test_a_field_that_hangs_on_one_that_does_not_vary_does_not_either():
    space = {
        "budget_rule": {"choice": ["exact", "penalty"]},
        "probe": {"choice": [True, False], "when": {"budget_rule": "penalty"}},
        "seed": {"int": [0, 4], "when": {"probe": False}},
    }
    space = study_file(space=space).space
    assert grid_size(space) == 1 + 1 + 5
    assert active(space, {"budget_rule": "exact", "probe": False, "seed": 3}) == {"budget_rule": "exact"}
    assert {tuple(corner) for corner in corners(space)} == {
        ("budget_rule",),
        ("budget_rule", "probe"),
        ("budget_rule", "probe", "seed"),
    }


def test_values_are_checked_only_in_combinations_that_come_about():
    space = {
        "selector": {"choice": ["diverse_topk", "score"]},
        "temperature_end": {"float": [0.5, 0.9], "when": {"selector": "score"}},
        "temperature_start": {"float": [1.0, 2.0], "when": {"selector": "score"}},
    }
    assert study_file(space=space)
    space["temperature_start"] = {"float": [1.0, 2.0], "when": {"selector": "diverse_topk"}}
    with pytest.raises(EosError, match="temperature_end must not be above temperature_start"):
        study_file(space=space)


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ({"budget_rul": "exact"}, "space.seed.when: unknown varied field 'budget_rul'; did you mean 'budget_rule'?"),
        ({"budget_rule": "penalti"}, "budget_rule: unknown value 'penalti'; did you mean 'penalty'?"),
        ({"budget_rule": "two-sided"}, "space.seed.when: 'budget_rule' is never 'two-sided'; known: exact, penalty"),
        ({"steps": 4}, "space.seed.when: 'steps' is fixed in search, so there is nothing to wait for"),
        ({"budget": 0.2}, "space.seed.when: 'budget' must be a choice"),
        ({"seed": 1}, "space.seed.when: unknown varied field 'seed'"),
        ({"probe": True}, "space: conditions go in a circle: "),
        ({"budget_rule": []}, "'budget_rule': give at least one value"),
        ({}, "space.seed.when: "),
        ("exact", "space.seed.when: "),
    ],
)
def test_conditions_that_cannot_be(when, says):
    space = {
        "budget": {"float": [0.1, 0.3]},
        "budget_rule": {"choice": ["exact", "penalty"]},
        "probe": {"choice": [True, False], "when": {"seed": 1}},
        "seed": {"choice": [0, 1], "when": when},
    }
    if when != {"probe": True}:
        del space["probe"]
    with pytest.raises(EosError) as caught:
        study_file(space=space)
    assert says in str(caught.value)


MOASHA = {"name": "moasha", "grace": 10, "reduction": 2}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scheduler": "moash"}, "scheduler.name: unknown value 'moash'; did you mean 'moasha'?"),
        ({"scheduler": "moasha"}, "scheduler: moasha needs grace"),
        ({"scheduler": {"grace": 3}}, "scheduler: 'grace' belongs to moasha"),
        ({"scheduler": {**MOASHA, "grce": 3}}, "unknown key 'scheduler.grce'; did you mean 'grace'?"),
        (
            {"scheduler": {**MOASHA, "reduction": 1}},
            "scheduler.reduction: input should be greater than or equal to 1.1 (got 1)",
        ),
        ({"scheduler": {**MOASHA, "tie_break": "crowd"}}, "scheduler.tie_break: unknown value 'crowd'"),
        ({"scheduler": MOASHA, "search": {"steps": 80}}, "set search.eval_every (steps between them), such as 10"),
        (
            {"scheduler": MOASHA, "search": {"steps": 80, "eval_every": 20}},
            "scheduler.grace: nothing is deployed within 10 steps; search.eval_every is 20",
        ),
        (
            {"scheduler": MOASHA, "search": {"steps": 10, "eval_every": 2}},
            "scheduler.grace: a search of 10 steps ends before a rung at 10 could save anything",
        ),
        ({"sampler": "nsga4"}, "sampler.name: unknown sampler 'nsga4'; did you mean 'nsga3'?"),
    ],
)
def test_strategies_and_stopping_that_cannot_be(changes, says):
    with pytest.raises(EosError) as caught:
        study_file(**changes)
    assert says in str(caught.value)


def test_stopping_may_come_and_go_and_is_written_as_it_was():
    search = {"steps": 40, "eval_every": 5}
    with_it = study_file(search=search, scheduler=MOASHA)
    assert (
        with_it.identity()
        == study_file(search=search).identity()
        == study_file(search=search, scheduler=None).identity()
    )
    assert with_it.scheduler.reduction == 2
    assert "moasha" in with_it.to_yaml()
