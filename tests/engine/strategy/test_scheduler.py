"""Early stopping as Ray Tune sees it: decisions, what the store keeps, and a study that goes on after a kill."""

import math
import random
from types import SimpleNamespace

import optuna
import pytest
import stopping_fakes as fakes
from engine_fakes import study_file
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.strategy.scheduler import MoashaScheduler, course_of, evaluation_in, make_scheduler
from eos_platform.engine.strategy.searcher import StudySearcher
from eos_platform.engine.study import Study
from eos_platform.tracking import read_study

PLAN = {"name": "moasha", "grace": 2, "reduction": 2, "min_searches": 2}
SPACE = {"budget": {"float": [0.1, 0.5]}, "learning_rate": {"float": [0.01, 0.4]}}


def study_of(**changes):
    return study_file(**{"search": {"steps": 9, "eval_every": 1}, "space": SPACE, "scheduler": PLAN, **changes})


class Tune:
    """What Ray does with a searcher and a scheduler, one report at a time; the driver may die."""

    def __init__(self, study, optuna_study):
        self.study, self.optuna_study, self.count = study, optuna_study, 0
        self.start()

    def start(self):
        store.requeue_lost_trials(self.optuna_study)
        self.searcher = StudySearcher(self.optuna_study, self.study.space, self.study.search)
        self.scheduler = make_scheduler(self.study, self.optuna_study, self.searcher.live)
        self.trials = {}

    def ask(self):
        self.count += 1
        config = self.searcher.suggest(f"ray{self.count}")
        self.trials[config["root"]] = SimpleNamespace(trial_id=f"ray{self.count}", config=config)
        return config["root"]

    def report(self, root, step, accuracy, ratio, soft=None):
        curve = {"curve/accuracy": accuracy, "curve/compute_ratio": ratio, "curve/soft_compute_ratio": soft}
        result = {"step": step, "steps": 9, **{key: value for key, value in curve.items() if value is not None}}
        decision = self.scheduler.on_trial_result(None, self.trials[root], result)
        if decision == TrialScheduler.STOP:
            self.searcher.on_trial_complete(self.trials.pop(root).trial_id, result)
        return decision


def new_store():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=store.DIRECTIONS, sampler=optuna.samplers.RandomSampler(seed=0))


def play(study, points, seed, deaths):
    """Searches of fixed quality report in a random order, three at a time: by search, when each was stopped and why."""
    rng, optuna_study, ended, begun = random.Random(seed), new_store(), {}, []
    tune, place = Tune(study, optuna_study), {}
    turn = 0
    while len(ended) < len(points):
        turn += 1
        if turn in deaths:
            tune.start()
        while len(tune.trials) < 3 and (len(begun) < len(points) or set(begun) - set(ended) - set(tune.trials)):
            root = tune.ask()
            if root not in begun:
                begun.append(root)
            place.setdefault(root, 0)
        root = rng.choice([one for one in begun if one not in ended])
        place[root] += 1
        accuracy, ratio = points[begun.index(root)]
        if place[root] == 9:
            ended[root] = None
            final = {"finished": True, "final/accuracy": accuracy, "final/compute_ratio": ratio}
            tune.searcher.on_trial_complete(tune.trials.pop(root).trial_id, final)
        elif tune.report(root, place[root], accuracy, ratio) == TrialScheduler.STOP:
            trials = optuna_study.trials
            (ended[root],) = (
                t.user_attrs[stored.STOPPED]
                for t in trials
                if stored.STOPPED in t.user_attrs and stored.root(trials, t.number) == root
            )
    order = [ended[root] for root in begun]
    return order, optuna_study


NUMBER = st.sampled_from([0.2, 0.4, 0.6, 0.8])


@settings(max_examples=25, deadline=None)
@example([(0.4, 0.2), *[(0.2, 0.2)] * 4], 0, {22})
@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=4, max_size=8), st.integers(0, 99), st.sets(st.integers(2, 30)))
def test_a_resumed_study_decides_as_if_nothing_had_happened(points, seed, deaths):
    study = study_of(scheduler={**PLAN, "reach_budget": False})
    calm, _ = play(study, points, seed, set())
    again, _ = play(study, points, seed, set())
    rough, optuna_study = play(study, points, seed, deaths)
    said = lambda reasons: [reason and reason.split(" is ")[0] for reason in reasons]  # noqa: E731 (numbers differ)
    assert calm == again
    assert said(rough) == said(calm)
    for trial in stored.finished(optuna_study.trials):
        assert (trial.state == TrialState.PRUNED) == (stored.STOPPED in trial.user_attrs)
        assert trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert all(trial.state == TrialState.COMPLETE for trial in stored.front(optuna_study))


def test_a_decision_stands_when_the_driver_dies_before_the_trial_ends():
    study, optuna_study = study_of(), new_store()
    tune = Tune(study, optuna_study)
    first, second = tune.ask(), tune.ask()
    assert tune.report(first, 2, 0.9, 0.2) == TrialScheduler.CONTINUE
    assert (
        tune.scheduler.on_trial_result(
            None, tune.trials[second], {"step": 2, "curve/accuracy": 0.5, "curve/compute_ratio": 0.3}
        )
        == TrialScheduler.STOP
    )
    tune.start()  # neither was told to Optuna
    assert {tune.ask(), tune.ask()} == {first, second}
    assert tune.report(first, 3, 0.9, 0.2) == TrialScheduler.CONTINUE
    assert tune.report(second, 3, 0.99, 0.1) == TrialScheduler.STOP, "however good it looks now"


def test_missing_and_nan_objectives_rank_last():
    optuna_study = new_store()
    tune = Tune(study_of(), optuna_study)
    roots = [tune.ask() for _ in range(4)]
    assert tune.report(roots[0], 2, math.nan, 0.2) == TrialScheduler.CONTINUE, "nobody to compare with"
    assert tune.report(roots[1], 2, 0.5, 0.3) == TrialScheduler.CONTINUE
    assert tune.report(roots[2], 2, 0.6, None) == TrialScheduler.STOP
    assert tune.report(roots[3], 2, 0.4, 0.3) == TrialScheduler.CONTINUE, "second of four"
    assert "is not a number" in optuna_study.trials[2].user_attrs[stored.STOPPED]
    assert optuna_study.trials[2].state == TrialState.PRUNED
    assert math.isnan(course_of(optuna_study.trials[0])[0].values[0]), "kept as unknown"
    assert optuna_study.trials[0].user_attrs[stored.COURSE] == [[2, None, 0.2, 0.2]], "databases' JSON has no NaN"
    assert evaluation_in({"step": 3, "curve/loss": 1.0}) is None
    assert evaluation_in({"step": 3, "curve/accuracy": True, "curve/compute_ratio": "x"})[1:3] != (1.0, 0.0)


def test_reports_without_a_deployed_evaluation_decide_nothing():
    tune = Tune(study_of(), new_store())
    root = tune.ask()
    assert tune.scheduler.on_trial_result(None, tune.trials[root], {"step": 2, "curve/loss": 1.0}) == "CONTINUE"
    assert not tune.scheduler.rungs.reached
    assert not tune.optuna_study.trials[0].user_attrs.get(stored.COURSE)


def test_a_search_over_its_budget_is_stopped_and_one_on_its_way_is_not():
    optuna_study = new_store()
    tune = Tune(study_of(scheduler={**PLAN, "min_searches": 9}), optuna_study)
    hopeless, hopeful = tune.ask(), tune.ask()
    decisions = [tune.report(hopeless, step, 0.5, 0.1, 0.9) for step in (1, 2, 3)]
    assert decisions == ["CONTINUE", "CONTINUE", "STOP"]
    assert "cannot come down to the budget" in optuna_study.trials[0].user_attrs[stored.STOPPED]
    budget = optuna_study.trials[1].user_attrs[stored.BUDGET]
    for step in range(1, 7):
        assert tune.report(hopeful, step, 0.5, 0.1, budget + (7 - step) * 0.1) == "CONTINUE"
    patient = Tune(study_of(scheduler={**PLAN, "min_searches": 9, "reach_budget": False}), new_store())
    root = patient.ask()
    assert [patient.report(root, step, 0.5, 0.1, 0.9) for step in range(1, 8)] == ["CONTINUE"] * 7


def test_none_makes_no_scheduler():
    assert make_scheduler(study_of(scheduler="none"), new_store(), {}) is None
    assert isinstance(make_scheduler(study_of(), new_store(), {}), MoashaScheduler)


@pytest.mark.slow  # a whole study
@pytest.mark.usefixtures("ray_local")
def test_a_whole_study_with_stopping(tmp_path):
    """On Ray: better and worse searches at one budget, and one whose relaxed form stays over it."""
    file = study_file(
        search={"steps": 9, "eval_every": 1},
        space={
            "budget": {"float": [0.1, 0.5]},
            "learning_rate": {"float": [0.01, 0.4]},
            "budget_weight": {"choice": [10.0, 99.0]},
        },
        scheduler={**PLAN, "min_searches": 3},
        trials=6,
        concurrent=1,
        final={"questions": 20, "baselines": []},
    )
    study = Study(file, runs=tmp_path / "runs", console=Console(quiet=True), functions=fakes.FUNCTIONS)
    study.folder.prepare()
    with store.open_store(study.folder, create=True) as optuna_study:
        for rate, weight in ((0.3, 10.0), (0.2, 10.0), (0.1, 10.0), (0.35, 10.0), (0.05, 10.0), (0.4, 99.0)):
            optuna_study.enqueue_trial({"budget": 0.2, "learning_rate": rate, "budget_weight": weight})
    points = study.run()
    with store.open_store(study.folder, create=False) as optuna_study:
        trials = optuna_study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "PRUNED", "PRUNED"]
    assert [len(course_of(trial)) for trial in trials] == [8 + 1, 9, 2, 9, 2, 3]
    assert "is dominated, by trial" in trials[2].user_attrs[stored.STOPPED]
    assert "cannot come down to the budget 0.2" in trials[5].user_attrs[stored.STOPPED]
    assert list(points["trial"].dropna()) == [3]
    status = study.status()
    assert list(status.trials["state"]) == [
        {"COMPLETE": "complete", "PRUNED": "pruned"}[trial.state.name] for trial in trials
    ]
    runs = read_study("tiny", study.folder.mlflow_uri).dropna(subset="trial").set_index("trial")
    assert list(runs["state"]) == list(status.trials["state"])
    assert set(runs["status"]) == {"FINISHED", "KILLED"}
    recorded = {run.info.run_name: run.data.tags for run in _runs(study)}
    assert recorded["trial 2"]["eos.stopped"] == trials[2].user_attrs[stored.STOPPED]
    assert "eos.stopped" not in recorded["trial 3"]


def _runs(study):
    from eos_platform.tracking.recorder import connect, search_runs

    client = connect(study.folder.mlflow_uri)
    return search_runs(client, client.get_experiment_by_name("tiny").experiment_id, "")
