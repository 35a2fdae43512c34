"""Every strategy a study file may name, on the real Optuna: several objectives, stopped and failed trials,
constraints, conditions, and a driver that dies in the middle."""

import itertools

import optuna
import pytest
from engine_fakes import study_file
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from eos_platform.common.errors import EosError
from eos_platform.engine.schema.conditions import grid_size, holds
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.strategy.samplers import _is_callable, make_sampler
from eos_platform.engine.strategy.searcher import StudySearcher

NAMES = ("tpe", "nsga2", "nsga3", "gp", "qmc", "random", "grid")
SPACE = {
    "budget": {"float": [0.1, 0.5], "step": 0.1},
    "budget_rule": {"choice": ["exact", "penalty"]},
    "budget_growth": {"choice": [0.5, 1.0, 2.0], "when": {"budget_rule": "penalty"}},
    "seed": {"int": [0, 1]},
}
POINTS = 5 * 2 * (1 + 3)


def study_of(name, **changes):
    values = {"space": SPACE, "sampler": {"name": name, "seed": 3}, "trials": 30, "constraints": {"accuracy": 0.35}}
    return study_file(**{**values, **changes})


def new_store():
    return optuna.create_study(directions=store.DIRECTIONS)


def searcher_of(study, optuna_study):
    sampler = lambda number: make_sampler(study.sampler, number, study.trials, study.space)  # noqa: E731
    return StudySearcher(optuna_study, study.space, study.search, sampler=sampler, constraints=study.constraints)


def end(searcher, number, ray_id):
    """Every fourth trial is stopped early, every fifth fails; the others are good, some of them infeasible."""
    search = searcher.frozen(ray_id).params
    if number % 4 == 3:
        searcher.on_trial_complete(ray_id, {"step": 3})
    elif number % 5 == 4:
        searcher.on_trial_complete(ray_id, {"failure": "it broke", "finished": True})
    else:
        accuracy = 0.3 + search["budget"] + 0.01 * search["seed"]
        measured = {"final/accuracy": accuracy, "final/compute_ratio": search["budget"] * 0.9}
        searcher.on_trial_complete(ray_id, {"finished": True, **measured})


def params(trial):
    return sorted(trial.params.items())


def drive(study, optuna_study, trials, dies_after=()):
    """Run a study, two trials at a time; the driver dies after some of the trials."""
    searcher, running, ended, asked = searcher_of(study, optuna_study), [], 0, itertools.count()
    while len(stored.finished(optuna_study.get_trials(deepcopy=False))) < trials:
        done = len(stored.finished(optuna_study.get_trials(deepcopy=False)))
        while len(running) < 2 and done + len(running) < trials:
            ray_id = f"ray{next(asked)}"
            config = searcher.suggest(ray_id)
            running.append((config["root"], ray_id, config["search"]))
        root, ray_id, _ = running.pop(0)
        end(searcher, root, ray_id)
        ended += 1
        if ended in dies_after:
            store.requeue_lost_trials(optuna_study)
            searcher, running = searcher_of(study, optuna_study), []
    return stored.finished(optuna_study.get_trials(deepcopy=False))


@pytest.mark.parametrize("name", NAMES)
def test_a_study_to_its_end(name):
    study = study_of(name, trials=12 if name == "gp" else 30)
    optuna_study = new_store()
    trials = drive(study, optuna_study, study.trials)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    for trial in trials:
        values = {key: study.space[key].value(value) for key, value in trial.params.items()}
        for key, dimension in study.space.items():
            assert (key in values) == holds(dimension, values), "conditions are kept"
        if trial.state == TrialState.COMPLETE:
            assert set(trial.constraints) == {"compute_ratio - budget", "accuracy"}
            feasible = trial.values[0] >= 0.35
            assert (trial.constraints["accuracy"] <= 0) == feasible
            assert (stored.VIOLATED in trial.user_attrs) == (not feasible)
    front = stored.front(optuna_study)
    assert front
    assert all(trial.state == TrialState.COMPLETE and trial.values[0] >= 0.35 for trial in front)
    used = {tuple(sorted(trial.params.items())) for trial in trials}
    assert len(used) > {"grid": len(trials) - 1}.get(name, len(trials) // 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_that_dies_loses_and_doubles_nothing(name):
    trials = 9 if name == "gp" else 14
    study = study_of(name, trials=trials)
    rough = drive(study, new_store(), trials, dies_after=(3, 4, 7))
    assert len(rough) == trials
    if name in ("qmc", "random"):  # the others learn from what had ended when they were asked
        calm = drive(study, new_store(), trials)
        assert sorted(map(params, rough)) == sorted(map(params, calm)), "deaths change no proposal"


def test_a_grid_has_every_point_once_however_it_goes():
    assert grid_size(study_of("tpe").space) == POINTS
    study = study_of("grid", trials=POINTS)
    trials = drive(study, new_store(), POINTS, dies_after=(2, 11, 30))
    found = [tuple(sorted(trial.params.items())) for trial in trials]
    budgets, seeds = [0.1, 0.2, 0.3, 0.4, 0.5], [0, 1]
    rules = [("exact", None), *(("penalty", growth) for growth in (0.5, 1.0, 2.0))]
    wanted = set()
    for budget, seed, (rule, growth) in itertools.product(budgets, seeds, rules):
        point = {"budget": budget, "seed": seed, "budget_rule": rule}
        wanted.add(tuple(sorted((point | ({"budget_growth": growth} if growth else {})).items())))
    rounded = {tuple((k, round(v, 9) if isinstance(v, float) else v) for k, v in point) for point in found}
    assert rounded == wanted
    assert len(found) == POINTS


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"budget": {"float": [0.1, 0.2]}}, "sampler: space.budget: a grid needs a choice, an int or a step"),
        ({"seed": {"int": [0, 2]}}, "trials: the grid has 3 points, not 6; set trials: 3"),
        ({"seed": {"int": [0, 2**31]}}, "sampler: the grid has more than 10000 points"),
    ],
)
def test_what_is_no_grid(space, says):
    with pytest.raises(EosError, match=says):
        study_file(space=space, sampler="grid")


@pytest.mark.parametrize("name", ["tpe", "nsga2", "nsga3", "gp"])
def test_strategies_that_learn_do(name):
    """One that learns proposes better trials than chance once it has seen some: here, learning rates near the best."""
    trials, last = (18, 8) if name == "gp" else (40, 15)  # a Gaussian process takes its time
    study = study_file(
        space={"learning_rate": {"float": [0.01, 1.0]}, "budget": {"float": [0.1, 0.5]}},
        sampler={"name": name, "seed": 1},
        trials=trials,
    )
    optuna_study = new_store()
    searcher = searcher_of(study, optuna_study)
    for number in range(trials):
        config = searcher.suggest(str(number))["search"]
        accuracy = 0.9 - abs(config["learning_rate"] - 0.2) - 0.1 * (0.5 - config["budget"])
        measured = {"final/accuracy": accuracy, "final/compute_ratio": config["budget"] * 0.9}
        searcher.on_trial_complete(str(number), {"finished": True, **measured})
    away = [abs(trial.params["learning_rate"] - 0.2) for trial in optuna_study.trials]
    chance = 0.3362  # the mean distance from .2 of a number drawn evenly from .01 to 1
    assert sum(away[-last:]) / last < 0.7 * chance


def test_what_makes_samplers_is_a_function_or_a_class_that_is_none():
    class Maker:
        def __init__(self, of):
            self.of = of

    assert _is_callable(Maker) is Maker
    assert _is_callable(len) is len
    for thing, said in ((RandomSampler, "the class RandomSampler"), (RandomSampler(), "RandomSampler"), (3, "int")):
        with pytest.raises(TypeError, match=f"found {said}"):
            _is_callable(thing)
