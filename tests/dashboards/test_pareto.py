"""The Pareto figure, by what its traces hold, for whole and for crippled frames."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos_platform.analysis.stats.pareto import pareto_mask
from eos_platform.dashboards.palette import SEARCHED, UNREDUCED, design_styles
from eos_platform.dashboards.pareto import COLUMNS, front_mask, pareto_figure
from eos_platform.objectives import COSTS, DEFAULT
from eos_platform.operators.designs import DESIGNS


def point(name, family, ratio, accuracy, design=None, **more):
    row = {
        "name": name,
        "family": family,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.02,
        "accuracy_high": accuracy + 0.01,
        "compute_ratio": ratio,
        "mean_tokens": 576 * ratio,
        "tokens_left": 40,
        "regime": "hybrid",
        "trial": None,
        "design": design,
        "questions": 4096,
    }
    return row | more


@pytest.fixture
def points():
    return pd.DataFrame(
        [
            point("trial 1", "searched", 0.20, 0.90, trial=1),
            point("fastv at .2", "hand-designed", 0.19, 0.74, "fastv"),
            point("trial 0", "searched", 0.08, 0.80, trial=0),
            point("trial 2", "searched", 0.15, 0.60, trial=2),
            point("fastv at .1", "hand-designed", 0.10, 0.41, "fastv"),
            point("tome at .1", "hand-designed", 0.10, 0.66, "tome"),
            point("all tokens", "unreduced", 1.0, 0.966, regime="identity"),
        ]
    )


def traces(figure):
    return {trace.name: trace for trace in figure.data if trace.showlegend is not False}


def test_every_group_is_drawn_where_it_belongs(points):
    drawn = traces(pareto_figure(points, "T"))
    assert set(drawn) == {"Pareto front", "dominated", "fastv", "tome", "unreduced model"}
    assert drawn["Pareto front"].x == (0.08, 0.20)
    assert drawn["Pareto front"].y == pytest.approx((80.0, 90.0))
    assert drawn["dominated"].x == (0.15,)
    assert drawn["fastv"].x == (0.10, 0.19)
    assert drawn["unreduced model"].x == (1.0,)
    assert drawn["unreduced model"].y == pytest.approx((96.6,))


def test_families_are_told_apart(points):
    drawn = traces(pareto_figure(points, "T"))
    assert drawn["Pareto front"].marker.color == drawn["Pareto front"].line.color == SEARCHED
    assert drawn["Pareto front"].line.shape == "hv"
    assert drawn["dominated"].mode == "markers"
    assert drawn["unreduced model"].marker.color == UNREDUCED
    assert drawn["fastv"].line.width < drawn["Pareto front"].line.width
    symbols = [drawn[name].marker.symbol for name in ("fastv", "tome", "unreduced model")]
    assert len({*symbols, None}) == 4


def test_the_unreduced_model_is_a_dashed_line_across(points):
    figure = pareto_figure(points, "T")
    (line,) = [trace for trace in figure.data if trace.line.dash == "dash"]
    assert line.y == pytest.approx((96.6, 96.6))
    assert np.log10(line.x) == pytest.approx(figure.layout.xaxis.range)
    assert line.text[0].strip() == "96.6 %"


def test_intervals_are_bars_in_per_cent(points):
    bars = traces(pareto_figure(points, "T"))["Pareto front"].error_y
    assert bars.array == pytest.approx((1.0, 1.0))
    assert bars.arrayminus == pytest.approx((2.0, 2.0))


def test_axes_hold_every_point_and_name_their_units(points):
    layout = pareto_figure(points, "Mine <b>&").layout
    low, high = (10**edge for edge in layout.xaxis.range)
    assert layout.xaxis.type == "log"
    assert low < 0.08 < 1.0 < high
    assert all(low <= tick <= high for tick in layout.xaxis.tickvals)
    assert "0.1<br>" in layout.xaxis.ticktext[layout.xaxis.tickvals.index(0.1)]
    assert "10 %" in layout.xaxis.ticktext[layout.xaxis.tickvals.index(0.1)]
    assert "FLOPs" in layout.xaxis.title.text
    assert layout.yaxis.title.text == "Accuracy (%)"
    assert layout.yaxis.range[0] < 39.0
    assert layout.yaxis.range[1] > 97.6
    assert "Mine &lt;b&gt;&amp;" in layout.title.text
    assert "4,096 questions" in layout.title.subtitle.text


def test_hovering_tells_what_a_point_is(points):
    points.loc[0, "name"] = "<trial & 1>"
    front = traces(pareto_figure(points, "T"))["Pareto front"]
    assert front.hovertemplate.startswith("%{customdata}")
    text = front.customdata[1]
    for part in ("&lt;trial &amp; 1&gt;", "regime hybrid", "trial 1", "90.0 %", "88.0 to 91.0", "0.200"):
        assert part in text
    assert "115.2 mean" in text
    assert "40 left" in text


def test_unknown_intervals_and_numbers_draw_the_point_alone(points):
    points[["accuracy_low", "accuracy_high", "mean_tokens", "tokens_left", "questions"]] = math.nan
    figure = pareto_figure(points, "T")
    front = traces(figure)["Pareto front"]
    assert front.error_y.array == front.error_y.arrayminus == (0, 0)
    assert "nan" not in "".join(front.customdata).lower()
    assert "bars" not in figure.layout.title.subtitle.text


def test_only_the_needed_columns(points):
    figure = pareto_figure(points[["family", "accuracy", "compute_ratio", "name"]], "T")
    assert {"Pareto front", "fastv at .1", "tome at .1"} <= set(traces(figure))


@pytest.mark.parametrize("family", ["searched", "hand-designed", "unreduced"])
def test_one_family_alone_and_one_point_alone(points, family):
    for rows in (points[points.family == family], points[points.family == family].head(1)):
        figure = pareto_figure(rows, "T")
        assert sum(len(trace.x) for trace in traces(figure).values()) == len(rows)
        low, high = figure.layout.yaxis.range
        assert high - low >= 5


def test_an_empty_frame_says_so():
    for empty in (pd.DataFrame(columns=list(COLUMNS)), pd.DataFrame()):
        figure = pareto_figure(empty, "T")
        assert not figure.data
        assert figure.layout.annotations[0].text == "No operator measured yet"


def test_points_without_a_place_are_left_out(points):
    lost = points.head(3).assign(compute_ratio=[math.nan, 0.0, 0.08], accuracy=[0.9, 0.5, 0.8])
    drawn = traces(pareto_figure(lost, "T"))
    assert set(drawn) == {"Pareto front"}
    assert drawn["Pareto front"].x == (0.08,)


def test_a_strange_family_is_refused(points):
    with pytest.raises(ValueError, match="unknown family 'found'; known: searched, hand-designed, unreduced"):
        pareto_figure(points.replace("searched", "found"), "T")


def test_the_frame_is_left_alone(points):
    before = points.copy(deep=True)
    pareto_figure(points, "T")
    pd.testing.assert_frame_equal(points, before)


step = st.integers(1, 6).map(lambda value: value / 6)


@given(st.lists(st.tuples(step, step), max_size=20))
def test_the_front_drawn_is_the_front_reported(rows):
    points = pd.DataFrame(rows, columns=["compute_ratio", "accuracy"], dtype=float)
    assert front_mask(points).tolist() == pareto_mask(points).tolist()


def test_a_design_keeps_its_style_whoever_stands_beside_it():
    assert design_styles(["tome"])["tome"] == design_styles(["zebra", "tome", "fastv"])["tome"]
    many = design_styles([f"design {number}" for number in range(6)] + ["tome", "fastv", "pool", "random"])
    assert len({style.symbol for style in many.values()}) == 10
    go.Scatter(marker={"symbol": [style.symbol for style in many.values()]})  # plotly knows every symbol


def test_a_design_published_and_tuned_is_drawn_twice(points):
    fastv = points[points.design == "fastv"]
    both = pd.concat([points.assign(variant="published"), fastv.assign(variant="tuned", accuracy=0.8)])
    drawn = traces(pareto_figure(both, "T"))
    published, tuned = drawn["fastv, published"], drawn["fastv, tuned"]
    assert (published.marker.symbol, tuned.marker.symbol) == ("diamond-open", "diamond")
    assert published.marker.color == tuned.marker.color
    assert published.visible == "legendonly"
    assert drawn["tome"].visible is True
    assert pareto_figure(both, "T").layout.title.subtitle.text.endswith("click the legend to show them as published")


def test_every_design_of_the_package_looks_different():
    styles = design_styles(DESIGNS)
    assert len(set(styles.values())) == len(DESIGNS)
    go.Scatter(marker={"symbol": [style.symbol for style in styles.values()]})
    go.Scatter(marker={"symbol": [f"{style.symbol}-open" for style in styles.values()]})


def test_a_budget_veils_what_is_dearer(points):
    veil, line = pareto_figure(points, "T", budget=0.12).layout.shapes
    assert (veil.type, veil.x0) == ("rect", 0.12)
    assert veil.x1 > 1.0
    assert line.x0 == line.x1 == 0.12
    assert not pareto_figure(points, "T").layout.shapes


def test_points_carry_their_keys_and_the_front_may_be_given(points):
    known = points.assign(key=[f"k{number}" for number in range(len(points))], front=False)
    known.loc[known["name"] == "trial 2", "front"] = True
    drawn = traces(pareto_figure(known, "T"))
    assert drawn["Pareto front"].ids == ("k3",)
    assert drawn["dominated"].ids == ("k2", "k0")
    assert traces(pareto_figure(points, "T"))["Pareto front"].ids is None


def test_bars_may_be_left_out(points):
    assert traces(pareto_figure(points, "T"))["Pareto front"].error_y.visible
    assert not traces(pareto_figure(points, "T", bars=False))["Pareto front"].error_y.visible


def test_thousands_of_dominated_points_are_drawn_by_the_gpu(points):
    many = pd.concat([points, *[points[points["name"] == "trial 2"]] * 700])
    drawn = traces(pareto_figure(many, "T"))
    assert (drawn["dominated"].type, drawn["Pareto front"].type) == ("scattergl", "scatter")
    assert not drawn["dominated"].error_y.visible


@pytest.mark.parametrize(
    ("others", "name"), [("validation", "dominated (validation)"), ("held-out", "dominated"), (None, "dominated")]
)
def test_other_questions_than_those_of_the_front_are_named(points, others, name):
    on = {"trial 0": "held-out", "trial 1": "held-out", "trial 2": others}  # the first two are the front
    points = points.assign(measured_on=points["name"].map(on).astype(object))
    assert {"Pareto front (held-out)", name} <= set(traces(pareto_figure(points, "T")))


TWO = (DEFAULT[0], COSTS["prefill_ms"])


def test_the_front_of_two_other_objectives_has_its_line_and_intervals_as_well(points):
    points = points.assign(prefill_ms=[20.0, 19.0, 8.0, 15.0, 10.0, 10.0, 100.0])
    points = points.assign(measured_on=["held-out", *["held-out"] * 2, "validation", *["held-out"] * 3])
    drawn = traces(pareto_figure(points, "T", axes=TWO))
    front = drawn["Pareto front (held-out)"]
    assert (front.mode, front.line.shape, front.x, front.y) == ("lines+markers", "hv", (8.0, 20.0), (0.8, 0.9))
    assert front.error_y.arrayminus == pytest.approx((0.02, 0.02))
    assert drawn["dominated (validation)"].mode == "markers"
    assert "unreduced model" in drawn
    assert not any(trace.error_y.array for trace in pareto_figure(points, "T", axes=TWO, bars=False).data)
    sideways = traces(pareto_figure(points, "T", axes=TWO[::-1]))["Pareto front (held-out)"]
    assert sideways.line.shape == "vh"
    assert sideways.error_x.array == pytest.approx((0.01, 0.01))


def test_on_axes_that_are_not_the_studys_own_the_front_is_said_to_be_the_studys(points):
    drawn = traces(pareto_figure(points.assign(prefill_ms=1.0), "T", axes=TWO, own=False))
    assert {"on the study's front", "off the study's front"} <= set(drawn)
    assert {trace.mode for trace in drawn.values()} == {"markers"}
