"""The figures of one operator looked into."""

import pandas as pd
import pytest

from eos_platform.dashboards.explain import ablation_figure, staircase_figure

ABLATIONS = pd.DataFrame(
    {
        "name": ["spread 0", "<b>gamma 0", "nu 1", "site removed"],
        "was": ["1.1", "0.9", "0.5", ""],
        "accuracy": [0.5, 0.8, 0.9, 0.97],
        "difference": [-0.4, -0.1, 0.0, 0.07],
        "low": [-0.45, -0.2, -0.02, 0.03],
        "high": [-0.35, 0.01, 0.02, 0.1],
        "compute_ratio": [0.2, 0.2, 0.2, 0.7],
        "matched": [True, True, True, False],
    }
)


def test_largest_loss_on_top_and_intervals_around_it():
    figure = ablation_figure(ABLATIONS, "A <title>")
    assert "A &lt;title&gt;" in figure.layout.title.text
    assert list(figure.layout.yaxis.categoryarray) == ["site removed", "nu 1", "&lt;b&gt;gamma 0", "spread 0"]
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == ["worse", "better, other compute", "not significant"]
    worse = traces["worse"]
    assert list(worse.x) == pytest.approx([-40.0])
    assert list(worse.error_x.array) == pytest.approx([5.0])
    assert list(worse.error_x.arrayminus) == pytest.approx([5.0])
    assert "(was 1.1)" in worse.hovertext[0]
    assert "at compute ratio 0.700" in traces["better, other compute"].hovertext[0]
    assert set(traces["not significant"].y) == {"nu 1", "&lt;b&gt;gamma 0"}


def test_a_step_where_tokens_go():
    layers = pd.DataFrame(
        {"operator": ["mine"] * 3 + ["tome"] * 3, "layer": [0, 1, 2] * 2, "tokens": [9, 4, 4, 6, 6, 6]}
    )
    figure = staircase_figure(layers)
    mine, other = figure.data
    assert (mine.name, other.name) == ("mine", "tome")
    assert list(mine.x) == [-0.5, 0.5, 0.5, 1.5, 1.5, 2.5]
    assert list(mine.y) == [9, 9, 4, 4, 4, 4]
    assert mine.line.width > other.line.width
    assert figure.layout.yaxis.range[1] > 9


def test_nothing_to_show_is_said():
    assert ablation_figure(ABLATIONS[:0]).layout.annotations[0].text == "No parameter to change"
    empty = pd.DataFrame({"operator": [], "layer": [], "tokens": []})
    assert staircase_figure(empty).layout.annotations[0].text == "No layer"
