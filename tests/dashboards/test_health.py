"""How a study goes, by what the traces hold."""

import math

import numpy as np
import pandas as pd
import pytest

from eos_platform.dashboards.health import (
    hypervolume_figure,
    importance_figure,
    parallel_figure,
    states_figure,
    why_nothing,
)
from eos_platform.dashboards.palette import STATES
from eos_platform.protocols import Objective


@pytest.fixture
def trials():
    return pd.DataFrame(
        {
            "state": ["complete", "failed", "complete", "running"],
            "start": [0.0, 0.0, 60.0, 90.0],
            "end": [60.0, 30.0, 120.0, math.nan],
            "accuracy": [0.8, math.nan, 0.9, math.nan],
            "compute_ratio": [0.1, math.nan, 0.2, math.nan],
            "rate": [0.001, 0.01, 0.1, 0.1],
            "rule": ["exact", "penalty", "penalty", "exact"],
        }
    )


def test_trials_that_ended_by_how(trials):
    drawn = {trace.name: trace for trace in states_figure(trials).data}
    assert set(drawn) == {"complete (2)", "failed (1)"}
    assert drawn["complete (2)"].x == pytest.approx((1.0, 2.0))
    assert drawn["complete (2)"].y == (1, 2)
    assert drawn["failed (1)"].line.color == STATES["failed"]


def test_hypervolume(trials):
    figure = hypervolume_figure(pd.DataFrame({"minutes": [1.0, 2.0], "hypervolume": [0.7, 0.8]}))
    assert figure.data[0].y == (0.7, 0.8)
    low, high = figure.layout.yaxis.range
    assert 0 <= low < 0.7 < 0.8 < high <= 1
    assert figure.layout.xaxis.title.text == "minutes since the first trial began"


def test_the_volume_over_three_objectives_names_them_where_there_is_room():
    axes = [Objective(name, "minimise", f"a cost called {name}") for name in ("prefill_ms", "kv_bytes", "mean_tokens")]
    figure = hypervolume_figure(pd.DataFrame({"minutes": [1.0, 2.0], "hypervolume": [7e6, 8e6]}), axes=axes)
    assert figure.layout.yaxis.title.text == "hypervolume"
    said = figure.layout.title.subtitle.text
    assert said == "of a cost called prefill_ms, a cost called kv_bytes, a cost called mean_tokens"


def test_importance_by_objective():
    rows = [("budget", "accuracy", 0.9), ("rate", "accuracy", 0.1), ("budget", "compute ratio", 1.0)]
    figure = importance_figure(pd.DataFrame(rows, columns=["parameter", "objective", "share"]))
    accuracy, ratio = figure.data
    assert dict(zip(accuracy.y, accuracy.x, strict=True)) == pytest.approx({"budget": 90, "rate": 10})
    assert ratio.name == "compute ratio"
    assert figure.layout.yaxis.categoryarray == ("rate", "budget")  # the largest at the top


def test_parallel_coordinates_show_measured_trials(trials):
    (trace,) = parallel_figure(trials, ["rate", "rule"]).data
    rate, rule, ratio, accuracy = trace.dimensions
    assert rate.label == "rate (log)"
    assert rate.values == pytest.approx(np.log10([0.001, 0.1]))
    assert (rule.ticktext, rule.values) == (("exact", "penalty"), (0, 1))
    assert ratio.values == (0.1, 0.2)
    assert accuracy.values == pytest.approx((80, 90))


def test_nothing_yet_is_said(trials):
    none = trials[:0]
    for figure in (
        states_figure(none),
        hypervolume_figure(pd.DataFrame(columns=["minutes", "hypervolume"])),
        importance_figure(pd.DataFrame(columns=["parameter", "objective", "share"])),
        parallel_figure(none, []),
    ):
        assert not figure.data
        assert figure.layout.annotations[0].text


def test_of_thousands_of_trials_some_lines_are_drawn_the_best_among_them(trials):
    many = pd.concat([trials[trials["accuracy"].notna()]] * 1000, ignore_index=True)
    many.loc[77, "accuracy"] = 0.99
    figure = parallel_figure(many, ["rate"])
    values = figure.data[0].dimensions[-1].values
    assert len(values) == 600
    assert max(values) == pytest.approx(99)
    assert "(600 of 2000 measured)" in figure.layout.title.text


def test_nothing_to_show_says_why():
    trials = pd.DataFrame({"state": ["failed", "pruned", "failed"], "start": 0.0, "end": [1.0, 2.0, math.nan]})
    assert why_nothing(trials) == "2 ended, but none was measured:<br>2 failed, 1 pruned"
    assert why_nothing(trials.assign(end=math.nan, state="running")) == "3 running, none finished yet"
    assert "a comparison has none" in why_nothing(trials[:0])
    figure = hypervolume_figure(pd.DataFrame(columns=["minutes", "hypervolume"]), empty=why_nothing(trials))
    assert figure.layout.annotations[0].text.startswith("2 ended, but none was measured")
