"""Searches a minute: the studies that are timed, and what is read from their stores."""

from datetime import datetime, timedelta

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from typer import Typer
from typer.testing import CliRunner

from eos_platform.common.errors import EosError
from eos_platform.engine.benchmarks.throughput import main, numbers_of, rate, study_of

BEGIN = datetime(2026, 1, 1)


def trial(begun, ended, state=TrialState.COMPLETE):
    made = create_trial(
        state=state,
        values=[0.9, 0.2] if state == TrialState.COMPLETE else None,
        params={"seed": 1},
        distributions={"seed": IntDistribution(0, 9)},
    )
    made.datetime_start, made.datetime_complete = BEGIN + timedelta(seconds=begun), BEGIN + timedelta(seconds=ended)
    return made


def test_the_clock_runs_from_the_first_beginning_to_the_last_end():
    took = rate([trial(2, 12), trial(0, 11), trial(11, 30)])
    assert (took.searches, took.seconds, took.a_minute) == (3, 30, 6)


def test_a_failed_search_is_no_rate():
    with pytest.raises(EosError, match="a search failed"):
        rate([trial(0, 1), trial(0, 1, TrialState.FAIL)])


@pytest.mark.parametrize(("gpus", "each"), [(0, 0), (4, 1)])
def test_searches_are_equal_but_for_their_seed(gpus, each):
    study = study_of("bundled-small", 0.2, 40, at_once=2, rounds=3, gpus=gpus)
    assert (list(study.space), study.trials, study.concurrent) == (["seed"], 6, 2)
    assert (study.resources.gpu, study.search) == (each, {"budget": 0.2, "steps": 40})


def test_more_at_once_than_gpus_are_refused_and_so_is_nonsense():
    assert numbers_of("1, 2", 2) == [1, 2]
    with pytest.raises(EosError, match="there are 2 GPUs here"):
        numbers_of("1,4", 2)
    app = Typer()
    app.command()(main)
    for word in ("0", "two", "1,,2", ""):
        done = CliRunner().invoke(app, ["--at-once", word])
        assert done.exit_code == 2, done.output
        assert "takes whole numbers" in done.output
