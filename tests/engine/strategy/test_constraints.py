"""Constraints: what is measured, what is violated, and that an infeasible operator is on no front."""

import engine_fakes
import pytest
import stopping_fakes as fakes
from engine_fakes import study_file
from optuna.trial import TrialState

from eos_platform.common.errors import EosError
from eos_platform.engine.schema.sections import Constraints
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.strategy.constraints import bounds, measure
from eos_platform.engine.strategy.verdict import missing, violations
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search.config import SearchConfig
from eos_platform.terminal.tables import status_remarks

ALL = Constraints.model_validate({"accuracy": {"all": 0.6, "counting": 0.5}, "compute_ratio": 0.3, "prefill_ms": 100})
GOOD = {"accuracy": 0.7, "accuracy/counting": 0.5, "compute_ratio": 0.2, "prefill_ms": 100.0}


def test_the_budget_is_always_a_constraint():
    assert [str(bound) for bound in bounds(Constraints(), 0.2)] == ["compute_ratio - budget at most 0.2"]
    assert [str(bound) for bound in bounds(ALL, 0.2)][1:] == [
        "accuracy at least 0.6",
        "accuracy/counting at least 0.5",
        "compute_ratio at most 0.3",
        "prefill_ms at most 100",
    ]


@pytest.mark.parametrize(
    ("changes", "violated"),
    [
        ({}, []),
        ({"accuracy": 0.59}, ["accuracy 0.59 < 0.6"]),
        ({"accuracy/counting": 0.4}, ["accuracy/counting 0.4 < 0.5"]),
        ({"compute_ratio": 0.31}, ["compute_ratio 0.31 > 0.3"]),
        ({"prefill_ms": 101, "accuracy": 0.1}, ["accuracy 0.1 < 0.6", "prefill_ms 101 > 100"]),
    ],
)
def test_what_is_violated_is_said_and_has_a_positive_excess(changes, violated):
    measured = GOOD | changes
    assert violations(ALL, 0.5, measured) == violated
    assert sum(bound.excess(measured[bound.measure]) > 0 for bound in bounds(ALL, 0.5)) == len(violated)


def test_what_cannot_be_judged_has_failed():
    assert missing(ALL, GOOD) is None
    assert missing(ALL, {**GOOD, "prefill_ms": float("nan")}) == "prefill_ms is nan"
    assert missing(ALL, {key: GOOD[key] for key in GOOD if key != "accuracy/counting"}) == (
        "accuracy/counting is missing"
    )


def test_only_what_is_asked_for_is_measured():
    operator = OperatorSpec(target=engine_fakes.TARGET, sites=(SiteSpec(layer=0, keep=70, score={"norm": 1.0}),))
    config = SearchConfig(eval_questions=10)

    def never(*args):
        raise AssertionError("not asked for")

    assert measure(Constraints(), None, operator, config, never, never) == {}
    assert measure(Constraints(accuracy={"all": 0.5}), None, operator, config, never, never) == {}
    found = measure(ALL, None, operator, config, fakes.evaluate, fakes.cost)
    assert found == {"accuracy/counting": 0.9, "prefill_ms": 70.0}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"acuracy": 0.5}, "constraints: unknown key 'acuracy'; did you mean 'accuracy'?"),
        ({"accuracy": {"countin": 0.5}}, "constraints.accuracy: unknown skill 'countin'; did you mean 'counting'?"),
        ({"accuracy": 1.5}, "constraints.accuracy.all: input should be less than or equal to 1 (got 1.5)"),
        ({"accuracy": {"all": "x"}}, "constraints.accuracy.all: "),
        ({"accuracy": [0.5]}, "constraints.accuracy: "),
        ({"kv_bytes": -1}, "constraints.kv_bytes: input should be greater than 0 (got -1)"),
        ({"kv_byte": 9}, "constraints: unknown key 'kv_byte'; did you mean 'kv_bytes'?"),
        ({"prefill_ms": 0}, "constraints.prefill_ms: input should be greater than 0 (got 0)"),
        ({"compute_ratio": 0.01}, "constraints.compute_ratio: 0.01 is below every budget (0.05 and more)"),
    ],
)
def test_bad_constraints_are_refused_in_one_line(changes, says):
    with pytest.raises(EosError) as caught:
        study_file(constraints=changes)
    assert says in str(caught.value)


def test_constraints_make_a_study_another_one():
    assert study_file().identity() != study_file(constraints={"accuracy": 0.5}).identity()
    assert study_file(constraints={}).identity() == study_file().identity()


@pytest.mark.slow  # a whole study
@pytest.mark.usefixtures("ray_local")
def test_infeasible_operators_are_on_no_front_and_shown_as_such(make_study):
    study = make_study(
        search={"steps": 4},
        space={"budget": {"float": [0.1, 0.5]}, "learning_rate": {"float": [0.01, 0.4]}},
        constraints={"accuracy": {"all": 0.55, "counting": 0.5}, "prefill_ms": 150},
        trials=4,
        concurrent=1,
        final={"questions": 20, "baselines": []},
    )
    study._functions = fakes.FUNCTIONS
    study.folder.prepare()
    with store.open_store(study.folder, create=True) as optuna_study:
        for budget, rate in ((0.2, 0.3), (0.1, 0.3), (0.3, 0.01), (0.5, 0.4)):
            optuna_study.enqueue_trial({"budget": budget, "learning_rate": rate})
    points = study.run()
    with store.open_store(study.folder, create=False) as optuna_study:
        trials = optuna_study.trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert [trial.user_attrs.get("violated") for trial in trials] == [
        None,
        ["accuracy/counting 0.2 < 0.5"],
        ["accuracy 0.51 < 0.55"],
        ["prefill_ms 230 > 150"],
    ]
    assert list(points["trial"].dropna()) == [0]
    assert list(study.status().trials["front"]) == [True, False, False, False]
    assert "trial 3 is infeasible: prefill_ms 230 > 150" in status_remarks(study.status())
