"""Studies whose budgets are about another cost than compute: the file, the constraint, warm starts, stopping."""

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
import stopping_fakes as fakes
from engine_fakes import SHAPE, TARGET, study_file
from rich.console import Console

from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COSTS
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.strategy import warm_start
from eos_platform.engine.strategy.constraints import bounds, costs_of
from eos_platform.engine.strategy.rungs import InterimEvaluation, judge_budget
from eos_platform.engine.strategy.scheduler import evaluation_in
from eos_platform.engine.strategy.verdict import violations
from eos_platform.engine.study import Study
from eos_platform.engine.trial import Facts
from eos_platform.objectives import parse
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search.spent import Spent

SPACE = {"budget": {"float": [100.0, 400.0]}, "learning_rate": {"float": [0.01, 0.4]}}
BYTES = {"accuracy": "maximise", "kv_bytes": "minimise"}
FACTS = Facts("fake", TARGET, SHAPE, 30)


def of(**changes):
    return study_file(**{"space": SPACE, "search": {"steps": 9, "cost": "prefill_ms"}, **changes})


def test_budgets_may_be_written_in_the_units_of_the_cost():
    fixed = study_file(
        search={"cost": "prefill_ms", "budget": "0.008 s"}, space={"learning_rate": {"float": [0.01, 0.1]}}
    )
    assert fixed.search["budget"] == 8.0
    assert StudyFile.of(fixed.model_dump(exclude_defaults=True, by_alias=True)).search == fixed.search
    varied = of(search={"cost": "kv_bytes"}, space={"budget": {"choice": ["100kB", "0.2MB", 300000]}})
    assert varied.space["budget"].choice == (100e3, 200e3, 300e3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"search": {"cost": "prefil_ms"}}, "search: cost: unknown cost 'prefil_ms'; did you mean 'prefill_ms'?"),
        ({"space": {"learning_rate": {"float": [0.01, 0.1]}}}, "search: budget: cost prefill_ms needs one, in ms"),
        ({"search": {"cost": "compute_ratio"}}, "less than or equal to 1"),
        ({"space": {"budget": {"choice": ["8ms", "9kB"]}}}, "'9kB' is of cost kv_bytes; cost prefill_ms is in ms"),
        ({"space": {**SPACE, "cost": {"choice": ["prefill_ms"]}}, "search": {}}, "a study has one cost"),
        ({"constraints": {"prefill_ms": 50}}, "constraints.prefill_ms: 50 is below every budget (100 and more)"),
        ({"objectives": {"accuracy": "maximise", "kv_byte": "minimise"}}, "did you mean 'kv_bytes'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(changes, says):
    with pytest.raises(EosError) as raised:
        of(**changes)
    assert says in str(raised.value)


def test_any_limit_on_compute_goes_with_budgets_of_another_cost():
    assert of(constraints={"compute_ratio": 0.1}).constraints.compute_ratio == 0.1


def test_the_budget_is_a_constraint_on_its_cost_and_a_measured_one_may_scatter():
    study = of()
    (exact,) = bounds(study.constraints, 200e3, "kv_bytes")
    assert (exact.key, exact.limit) == ("kv_bytes - budget", 200e3)
    (measured,) = bounds(study.constraints, 8.0, "prefill_ms")
    assert (measured.key, measured.measure, measured.limit) == ("prefill_ms - budget", "prefill_ms", 8.4)
    assert violations(study.constraints, 8.0, {"prefill_ms": 8.3}, "prefill_ms") == []
    assert violations(study.constraints, 8.0, {"prefill_ms": 8.5}, "prefill_ms") == ["prefill_ms 8.5 > 8.4"]


def test_costs_to_be_measured_are_those_that_no_search_measures_anyway():
    axes = parse({"accuracy/count": "maximise", "kv_bytes": "minimise", "mean_tokens": "minimise"}, COSTS)
    assert costs_of(of(constraints={"prefill_ms": 500}).constraints, axes) == ["prefill_ms", "kv_bytes"]


def test_stopping_reads_the_cost_of_the_budget():
    report = {"step": 3, "curve/accuracy": 0.5, "curve/compute_ratio": 0.1}
    report |= {"curve/prefill_ms": 9.0, "curve/soft_cost": 9.5, "curve/soft_compute_ratio": 0.2}
    assert evaluation_in(report).dearest == 0.2
    assert evaluation_in(report, cost="prefill_ms").dearest == 9.5
    course = [InterimEvaluation(step, (0.5, 0.1), 10.0 - 0.01 * step) for step in (1, 2, 3)]
    assert judge_budget(course, 8.0, 10, cost="prefill_ms").startswith(
        "step 3: prefill 9.97 ms cannot come down to the budget 8 in 7 steps"
    )


def searched(keep, **search):
    operator = OperatorSpec(target=TARGET, sites=(SiteSpec(layer=0, keep=keep, score={"norm": 1.0}),))
    return operator.model_copy(update={"provenance": {"search": search}}) if search else operator


def test_warm_starts_are_at_budgets_of_the_studys_cost(tmp_path):
    """Whatever budgets others had: of the same cost they stand, of another the operator is measured."""
    made = {
        "plain": searched(100),
        "ratio": searched(60, budget=0.3, learning_rate=0.2),
        "timed": searched(50, budget=120.0, learning_rate=0.1, cost="prefill_ms"),
    }
    paths = [str(one.save(tmp_path / f"{name}.json")) for name, one in made.items()]
    asked = []

    def costs(operators):
        asked.extend(one.tokens_left for one in operators)
        return [2.0 * one.tokens_left for one in operators]

    found = warm_start.origins(of(warm_start={"operators": paths}), tmp_path, FACTS, costs)
    assert [dict(origin.fields) for origin in found] == [
        {"budget": 200.0},
        {"budget": 120.0, "learning_rate": 0.2},
        {"budget": 120.0, "learning_rate": 0.1, "cost": "prefill_ms"},
    ]
    assert asked == [100, 60]
    ratios = warm_start.origins(study_file(warm_start={"operators": paths}), tmp_path, FACTS)
    assert ratios[1].fields == {"budget": 0.3, "learning_rate": 0.2}
    assert ratios[2].fields["learning_rate"] == 0.1
    assert 0 < ratios[2].fields["budget"] < 1


def timed_search(workload, config, **options):
    """As the other stand-in, at a budget in milliseconds; those above 300 measure a tenth more than was predicted."""
    assert config.cost == "prefill_ms"
    found = fakes.search(workload, SimpleNamespace(**{**vars(config), "budget": config.budget / 576}), **options)
    measured = config.budget * (1.1 if config.budget > 300 else 1.0)
    return SimpleNamespace(**vars(found), cost=Spent("prefill_ms", "ms", config.budget, measured, config.budget))


def no_check(workload, config):
    """There is no model to fit a cost on."""


@pytest.mark.slow  # a whole study on a real Ray, and costs measured in it
@pytest.mark.usefixtures("ray_local")
def test_a_study_at_budgets_in_milliseconds_with_bytes_as_an_objective(tmp_path):
    functions = replace(fakes.FUNCTIONS, search=timed_search, check=no_check)
    file = of(trials=3, concurrent=1, objectives=BYTES, final={"questions": 20, "baselines": [], "ratios": 1})
    study = Study(file, runs=tmp_path, console=Console(file=io.StringIO()), functions=functions)
    study.folder.prepare()
    with store.open_store(study.folder, create=True) as optuna_study:
        for budget in (100.0, 200.0, 400.0):
            optuna_study.enqueue_trial({"budget": budget, "learning_rate": 0.1 + budget / 2000})
    points = study.run()
    with store.open_store(study.folder, create=False) as optuna_study:
        assert optuna_study.metric_names == ["accuracy", "kv_bytes"]
        trials, front = optuna_study.trials, {trial.number for trial in stored.front(optuna_study)}
    assert [trial.user_attrs["measured"]["prefill_ms"] for trial in trials] == pytest.approx([100.0, 200.0, 440.0])
    assert [sorted(trial.constraints) for trial in trials] == [["prefill_ms - budget"]] * 3
    assert trials[2].user_attrs["violated"] == ["prefill_ms 440 > 420"]
    assert front == {0, 1}
    assert points["kv_bytes"].notna().all()
    assert [line for line in study.check() if "compute_ratio" not in line] == []
