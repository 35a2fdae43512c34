"""What early stopping saves: the pair of studies, and what a study took."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from eos_platform.common.errors import EosError
from eos_platform.engine.benchmarks.early_stopping import pair, spent
from eos_platform.engine.schema.study_file import StudyFile, load, packaged


def test_the_pair_differs_in_stopping_alone():
    study = load(packaged()["early-stopping"])
    whole, stopped = pair(study, 2).values()
    assert whole.scheduler.name == "none"
    assert stopped.scheduler == study.scheduler
    assert whole.name != stopped.name
    assert whole.model_copy(update={"name": "", "scheduler": None}) == stopped.model_copy(
        update={"name": "", "scheduler": None}
    )
    assert whole.sampler.seed == study.sampler.seed + 2


def test_a_study_without_stopping_has_nothing_to_compare():
    with pytest.raises(EosError, match="study 'quickstart' has no scheduler"):
        pair(load(packaged()["quickstart"]), 0)


def test_steps_and_hypervolume():
    study = StudyFile.of({"name": "s", "search": {"steps": 40}, "space": {"budget": {"float": [0.1, 0.5]}}})
    optuna_study = optuna.create_study(directions=["maximize", "minimize"])
    ends = [
        (TrialState.COMPLETE, [0.8, 0.5], {}),
        (TrialState.COMPLETE, [0.4, 0.2], {}),
        (TrialState.PRUNED, None, {"course": [[5, 0.3, 0.3, 0.3], [10, None, 0.3, 0.3]], "stopped": "so"}),
        (TrialState.FAIL, None, {}),
        (TrialState.FAIL, None, {"again": True, "failure": "interrupted", "course": [[30, 0.1, 0.1, 0.1]]}),
    ]
    for state, values, attrs in ends:
        params = {"params": {"budget": 0.3}, "distributions": {"budget": FloatDistribution(0.1, 0.5)}}
        optuna_study.add_trial(create_trial(state=state, values=values, user_attrs=attrs, **params))
    found = spent(study, optuna_study.trials, optuna_study.best_trials)
    assert (found.searches, found.stopped, found.steps, found.front) == (4, 1, 90, 2)
    assert found.hypervolume == pytest.approx(0.5 * 0.8 + 0.3 * 0.4)
