"""Optuna's own figures, made of the runs in MLflow."""

import pytest

from eos_platform.common.errors import EosError
from eos_platform.dashboard_data.optuna_figures import KINDS
from eos_platform.dashboard_data.studies import Studies
from eos_platform.dashboards.palette import STATES


@pytest.mark.parametrize("kind", KINDS)
def test_each_shows_the_trials_of_the_study(studies, kind):
    figure = studies.optuna_figure("small", kind, "accuracy")
    title = KINDS[kind].format("accuracy")
    assert figure.layout.title.text == f"<b>{title[:1].upper()}{title[1:]}</b>"
    drawn = figure.to_json()
    assert ("learning_rate" in drawn) == (kind in ("slice", "contour", "rank", "timeline"))
    if kind == "history":
        trials, best = figure.data
        assert list(trials.y) == pytest.approx([70, 80, 78, 88, 85, 92])  # per cent, as everywhere
        assert (best.x, best.y) == ((0, 1, 3, 5), pytest.approx((70, 80, 88, 92)))
        assert figure.layout.yaxis.title.text == trials.name == "accuracy (%)"
    if kind == "timeline":
        assert {(bar.name, bar.marker.color) for bar in figure.data} == {
            (state, STATES[state]) for state in ("complete", "failed")
        }


def test_of_the_objective_that_is_meant(studies):
    figure = studies.optuna_figure("small", "history", "compute_ratio")
    assert list(figure.data[0].y) == [0.10, 0.15, 0.20, 0.25, 0.30, 0.35]
    assert (figure.data[1].x, figure.data[1].y) == ((0, 5), (0.10, 0.10))  # the least is best
    assert figure.layout.yaxis.title.text == "compute ratio"
    with pytest.raises(EosError, match="unknown figure 'histroy'; did you mean 'history'"):
        studies.optuna_figure("small", "histroy", "accuracy")


def test_nothing_measured_yet_is_said(tmp_path):
    from browse_store import trial

    from eos_platform.tracking.recorder import Recorder

    recorder = Recorder(f"sqlite:///{tmp_path / 'mlflow.db'}", "new", "new", (tmp_path / "artifacts").as_uri())
    recorder.describe("name: new\n", "", {"model": "bundled-small"}, {"trials": 8})
    recorder.start_trial(trial(0, "running"))
    found = Studies(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert "No trial has been measured yet" in found.optuna_figure("new", "slice", "accuracy").to_json()
    assert found.optuna_figure("new", "timeline", "accuracy").data
