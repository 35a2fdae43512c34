"""Saved views, as MLflow's page reads them."""

import json

import pytest
from mlflow.exceptions import MlflowException

from eos_platform.objectives import parse
from eos_platform.tracking import names
from eos_platform.tracking.mlflow_ui import views

LONGEST = 5000  # characters MLflow takes in an experiment tag


def test_the_three_views_are_tags_of_the_experiment(make_recorder):
    recorder = make_recorder("a-uid")
    recorder.describe("name: a\n", "words", {"model": "m", "varied": "budget, learning_rate"}, {})
    tags = recorder.client.get_experiment(recorder.experiment.experiment_id).tags
    saved = {key.removeprefix(names.VIEW): tag for key, tag in tags.items() if key.startswith(names.VIEW)}
    assert {key: json.loads(tag)["name"] for key, tag in saved.items()} == views.NAMES
    assert all(len(tag) < LONGEST for tag in saved.values())
    shown = {key: views.unpacked(tag) for key, tag in saved.items()}
    (parallel,) = [chart for chart in shown[views.HEALTH]["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert parallel["selectedParams"] == ["budget", "learning_rate"]
    assert all("a-uid" in state["searchFilter"] for state in shown.values())
    held, validated = [chart for chart in shown[views.FRONT]["compareRunCharts"] if chart["type"] == "SCATTER"]
    assert [held[axis]["key"] for axis in ("xaxis", "yaxis")] == [names.COMPUTE_RATIO, names.HELDOUT_ACCURACY]
    assert validated["yaxis"]["key"] == names.ACCURACY


def test_every_chart_stands_in_a_section_and_every_other_metric_is_quiet():
    for state in views.states("uid", [], {"heldout_accuracy/count", names.LOSS}).values():
        places = {section["uuid"] for section in state["compareRunSections"]}
        charts = state["compareRunCharts"]
        assert {chart["metricSectionId"] for chart in charts} <= places
        assert len({chart["uuid"] for chart in charts}) == len(charts)
        drawn = [chart["metricKey"] for chart in charts if "metricKey" in chart]
        assert {"heldout_accuracy/count", names.LOSS, names.ACCURACY} <= set(drawn)
        assert len(drawn) == len(set(drawn))


@pytest.mark.parametrize("trouble", [MlflowException("no"), OSError("no")])
def test_a_server_that_takes_no_views_is_no_trouble(trouble):
    class Refusing:
        def set_experiment_tag(self, *given):
            raise trouble

    assert not views.save_views(Refusing(), "1", "uid")


def test_one_address_opens_a_view():
    assert views.view_url("7", views.FRONT, "http://host:5000/") == (
        "http://host:5000/#/experiments/7/runs"
        "?viewStateShareKey=pareto-front&compareRunsMode=CHART&workflowType=machine_learning"
    )


def test_the_axes_are_the_studys_objectives():
    axes = parse({"accuracy/count": "maximise", "mean_tokens": "minimise", "prefill_ms": "minimise"})
    shown = views.states("uid", ["budget"], axes=axes)
    line, first, second = shown[views.FRONT]["compareRunCharts"][:3]
    assert line["selectedMetricKeys"] == ["front/heldout_accuracy/count", "heldout_accuracy/count"]
    assert line["selectedXAxisMetricKey"] == "mean_tokens"
    assert (first["xaxis"]["key"], first["yaxis"]["key"]) == ("mean_tokens", "heldout_accuracy/count")
    assert (second["xaxis"]["key"], second["yaxis"]["key"]) == ("mean_tokens", "accuracy/count")
    (parallel,) = [chart for chart in shown[views.HEALTH]["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert parallel["selectedMetrics"] == ["prefill_ms", "mean_tokens", "accuracy/count"]
