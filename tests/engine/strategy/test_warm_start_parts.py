"""Which of many origins are tried, how many, and what a search can learn from an operator: bounds from both sides."""

import math

import optuna
import pytest
import torch
from engine_fakes import TARGET, study_file

from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.strategy import warm_start
from eos_platform.engine.strategy.start_from import parameters_of
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Support, Transfer
from eos_platform.search.config import SearchConfig

SPACE = {"budget": {"float": [0.05, 0.9]}, "learning_rate": {"float": [0.01, 0.4]}}


def queued(trials, most=None, budgets=range(1, 9)):
    plan = {"designs": ["fastv"]} | ({"max_searches": most} if most else {})
    study = study_file(space=SPACE, trials=trials, warm_start=plan)
    optuna_study = optuna.create_study(directions=store.DIRECTIONS)
    found = [warm_start.Origin(f"at {n}", {"budget": n / 10}, None) for n in budgets]
    count = warm_start.begin(optuna_study, study, found)
    assert count == len(optuna_study.trials)
    return [round(10 * trial.system_attrs["fixed_params"]["budget"]) for trial in optuna_study.trials]


@pytest.mark.parametrize(
    ("most", "taken"),
    [(1, [1]), (2, [1, 8]), (3, [1, 5, 8]), (4, [1, 3, 6, 8]), (8, [*range(1, 9)]), (20, [*range(1, 9)])],
)
def test_the_most_are_spread_over_all_budgets(most, taken):
    assert queued(40, most) == taken


@pytest.mark.parametrize(("trials", "count"), [(1, 1), (2, 1), (5, 3), (6, 3), (7, 4), (40, 8)])
def test_by_default_half_of_the_trials_rounded_up_are_begun_with(trials, count):
    assert len(queued(trials)) == count


def test_order_of_arrival_does_not_matter_where_some_are_left_out():
    assert queued(40, 3, [8, 2, 5, 1, 7, 3, 6, 4]) == [1, 5, 8]


def test_what_waits_and_what_is_done_takes_room():
    study = study_file(space=SPACE, trials=4, warm_start={"designs": ["fastv"], "max_searches": 9})
    optuna_study = optuna.create_study(directions=store.DIRECTIONS)
    optuna_study.enqueue_trial({"budget": 0.11})
    optuna_study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.COMPLETE, values=[0.5, 0.2]))
    found = [warm_start.Origin(f"at {n}", {"budget": n / 10}, None) for n in range(1, 9)]
    assert warm_start.begin(optuna_study, study, found) == 2


GOOD = {"layer": 0, "keep": 120, "selector": "diverse_topk", "score": {"vision": 0.6}}
LATER = {"layer": 5, "keep": 30, "score": {"last_text": 0.9}}
NEAREST = Support(kind="nearest", size=4)


def learned(*sites, config=None, width=60):
    operator = OperatorSpec(target=TARGET, sites=tuple(SiteSpec.model_validate(site) for site in sites))
    return parameters_of(operator, config or SearchConfig(layers=(0, 5)), TARGET, width)


@pytest.mark.parametrize(
    ("site", "config", "possible"),
    [
        ({}, {}, True),
        ({"selector": "score"}, {}, False),
        ({"selector": "score"}, {"selector": "score"}, True),
        ({}, {"selector": "score"}, False),
        ({"positions": "renumber"}, {}, False),
        ({"positions": "renumber"}, {"positions": "renumber"}, True),
        ({"important": 1}, {}, False),
        ({"summary": True}, {}, False),
        ({"similarity": "keys"}, {}, False),
        ({"score": {"last_text": 0.5, "vision": 0.5}}, {}, False),
        ({"score": {"key_norm": 0.5}}, {}, False),
        ({"transfer": Transfer(gamma=0.5, support=NEAREST)}, {}, False),
        ({"transfer": Transfer(gamma=0.5, support=NEAREST)}, {"support": "nearest"}, True),
        ({"transfer": Transfer(gamma=0.0, support=NEAREST)}, {}, True),
        ({"transfer": Transfer(gamma=0.5)}, {"support": "nearest"}, False),
        ({"transfer": Transfer(gamma=0.5, source="importance")}, {}, False),
        ({"transfer": Transfer(gamma=0.5, among=0.5)}, {}, False),
        ({"transfer": Transfer(gamma=0.5, mu=0.5)}, {}, False),
        ({"probe": (0.1,) * 60}, {}, True),
        ({"probe": (0.1,) * 59}, {}, False),
        ({"probe": (0.1,) * 60}, {"probe": False}, False),
        ({"probe": (0.1,) * 60, "steering": Steering.of(*torch.ones(2, 8, 60))}, {}, True),
        ({"probe": (0.1,) * 60, "steering": Steering.of(*torch.ones(2, 9, 60))}, {}, False),
    ],
)
def test_what_a_search_can_learn(site, config, possible):
    settings = SearchConfig.model_validate({"layers": (0, 5), **config})
    later = LATER | {"positions": settings.positions}
    if settings.support == "nearest":
        later |= {"transfer": Transfer(gamma=0.5, support=NEAREST)}
    assert (learned(GOOD | site, later, config=settings) is not None) == possible


def test_the_second_site_always_goes_by_score():
    assert learned(GOOD, LATER) is not None
    assert learned(GOOD, LATER | {"selector": "diverse_topk"}) is None
    by_score = SearchConfig(layers=(0, 5), selector="score")
    assert learned(GOOD | {"selector": "score"}, LATER, config=by_score) is not None


def test_sites_must_be_where_the_search_has_them():
    assert learned(GOOD) is not None
    assert learned(GOOD, LATER | {"layer": 4}) is None
    assert learned(LATER) is None  # under an exact rule the first site meets the budget
    assert learned(LATER, config=SearchConfig(layers=(0, 5), budget_rule="penalty")) is not None
    assert learned(GOOD, GOOD | {"keep": 100}, LATER) is None  # two at one layer


def logit(share):
    return math.log(share / (1 - share))


def test_what_is_learned_is_read_back_and_stays_off_the_edges():
    transfer = Transfer(gamma=1.0, tau=0.0, nu=0.25)
    found = learned(GOOD | {"transfer": transfer, "rho": 0.0, "beta": 0.0, "spread": 30.0})
    row = {name: value[0] if value.dim() else value for name, value in found.items()}
    assert [row[name].item() for name in ("keep", "gamma", "nu", "beta", "log_tau", "spread")] == pytest.approx(
        [logit(120 / 576), logit(0.99), logit(0.25), logit(0.01), math.log(1e-3), 10.0], rel=1e-5
    )
    assert torch.nn.functional.softplus(row["rho"]).item() == pytest.approx(0.01, rel=1e-4)
    scale = math.sqrt(0.5**2 + 0.5**2 + 0.2**2 + 0.1**2 + 0.5**2)
    assert row["weights"].tolist() == pytest.approx([0, 0, 0.6 * scale, 0, 0], rel=1e-6)
    assert found["keep"][1].item() == 4.0  # a site that the operator lacks hardly acts
    high = learned(GOOD | {"transfer": Transfer(gamma=0.0, tau=math.inf), "rho": 40.0, "beta": 1.0})
    assert high["log_tau"][0].item() == pytest.approx(math.log(10.0))
    assert torch.nn.functional.softplus(high["rho"])[0].item() == pytest.approx(10.0, rel=1e-4)
    assert [high["gamma"][0].item(), high["beta"][0].item()] == pytest.approx([logit(0.01), logit(0.99)], rel=1e-5)
