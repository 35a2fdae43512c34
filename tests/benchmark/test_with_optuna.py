"""OperatorBench under Optuna: real studies of one and of several objectives."""

import optuna
import pytest

from eos_platform.benchmark import OperatorBench
from eos_platform.benchmark.with_optuna import RUNGS, directions, distributions, objective, suggest
from eos_platform.common.errors import EosError

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(scope="module")
def bench():
    return OperatorBench("bundled-small", ("composed", "design", "searched"))


@pytest.mark.parametrize("conditional", [True, False])
def test_a_study_of_two_objectives_finds_points_of_the_table(bench, conditional):
    study = optuna.create_study(
        directions=directions(), sampler=optuna.samplers.NSGAIISampler(population_size=4, seed=0)
    )
    study.optimize(objective(bench, conditional=conditional), n_trials=12)
    for trial in study.trials:
        answer = bench.query(trial.user_attrs["config"])
        assert trial.values == [answer["error"], answer["compute_ratio"]]
        assert trial.user_attrs["cost"] == answer.cost
        every = len(trial.params) == len(distributions(bench.space()))
        assert every is not conditional
    assert study.best_trials


def test_conditional_suggestions_are_of_what_counts(bench):
    fixed = {"family": "design", "design": "vtw", "ratio": 3}
    trial = optuna.trial.FixedTrial(fixed)
    assert suggest(trial, bench.space())["ratio"] == 0.2  # an ordered parameter is the number of its choice
    assert set(trial.params) == set(fixed)


def test_accuracy_is_to_be_large():
    assert directions(("accuracy", "kv_bytes", "error/chart")) == ["maximize", "minimize", "minimize"]


def test_a_study_of_one_objective_prunes_at_rungs_of_questions(bench):
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=RUNGS[0], reduction_factor=2)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner)
    study.optimize(objective(bench, ("error",), rungs=RUNGS), n_trials=30)
    pruned = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert 5 < len(pruned) < 30
    for trial in pruned:
        answer = bench.query(trial.user_attrs["config"], ("error",), max(trial.intermediate_values))
        assert trial.intermediate_values[answer.questions] == answer["error"]
    assert study.best_value == min(trial.value for trial in study.trials if trial.state.name == "COMPLETE")


def test_several_objectives_prune_nothing(bench):
    with pytest.raises(EosError, match="Optuna prunes by one objective alone"):
        objective(bench, rungs=RUNGS)
